// Signs tokens with a secret that lockstep-signing-key rotates, and verifies them with the published keys. To be copied.
//
//   const client = new SecretsManager();
//   const signer = new Signer(() => client.getSecretValue({ SecretId: "tokens" }).then((answer) => answer.SecretString));
//   const token = await signer.sign({ sub: "somebody" }, 900);
//
//   const verifier = new Verifier("https://tokens.example.com/.well-known/jwks.json", 300, ["ES256"]);
//   const claims = await verifier.verify(token);

import { createRemoteJWKSet, importPKCS8, jwtVerify, SignJWT } from "jose";

/** Keeps a copy of the secret for half of its maxCache. All who wait share one read. */
export class Signer {
  #read;
  #copy;
  #until = 0;

  /** `read` resolves to the text of AWSCURRENT. */
  constructor(read) {
    this.#read = read;
  }

  /** A token that lives for so many seconds. */
  async sign(claims, seconds) {
    const { key, current, maxTokenLifetime } = await this.#secret();
    if (seconds > maxTokenLifetime) throw new RangeError(`a token may live for ${maxTokenLifetime} s (maxTokenLifetime)`);
    const now = Math.floor(Date.now() / 1000);
    return new SignJWT(claims)
      .setProtectedHeader({ alg: current.algorithm, kid: current.kid })
      .setIssuedAt(now)
      .setExpirationTime(now + seconds)
      .sign(key);
  }

  #secret() {
    if (Date.now() >= this.#until) {
      const began = Date.now();
      // Until the answer says for how long it may be kept, nobody reads again.
      this.#until = Infinity;
      this.#copy = this.#read().then(async (text) => {
        const { current, maxCache, maxTokenLifetime } = JSON.parse(text);
        const key = await importPKCS8(current.privateKey, current.algorithm);
        // The copy is as old as the beginning of the read.
        this.#until = began + maxCache * 500;
        return { key, current, maxTokenLifetime };
      });
      this.#copy.catch(() => (this.#until = 0));
    }
    return this.#copy;
  }
}

/** Keeps a copy of the published keys for `seconds`, half of the secret's maxCache. The other half belongs to caches on the way. */
export class Verifier {
  #keys;
  #algorithms;

  constructor(url, seconds, algorithms) {
    this.#keys = createRemoteJWKSet(new URL(url), { cacheMaxAge: seconds * 1000, timeoutDuration: 5000 });
    this.#algorithms = algorithms;
  }

  /** The claims of a token. `options` are those of jwtVerify, such as `audience` and `issuer`. */
  async verify(token, options = {}) {
    const expected = { ...options, algorithms: this.#algorithms, requiredClaims: ["exp"] };
    return (await jwtVerify(token, this.#keys, expected)).payload;
  }
}
