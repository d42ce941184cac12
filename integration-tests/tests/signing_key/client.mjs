// The same as client.py with jose for Node: one application that signs, and others that verify with what they cached.

import { createLocalJWKSet, importPKCS8, jwtVerify, SignJWT } from "jose";

const settings = JSON.parse(process.argv[2]);
const { maxTokenLifetime, maxCache } = settings;
const now = () => Date.now() / 1000;

class Cached {
  constructor(read, age) {
    Object.assign(this, { read, at: now() - maxCache - 1, age });
  }
  async get() {
    if (now() - this.at >= maxCache) {
      const began = now();
      this.value = await this.read();
      // Each looks again at another moment.
      this.at = began - (this.age ?? 0);
      this.age = 0;
    }
    return this.value;
  }
}

async function secret() {
  const answer = await fetch(settings.secretsManager, {
    method: "POST",
    headers: { "X-Amz-Target": "secretsmanager.GetSecretValue", "Content-Type": "application/x-amz-json-1.1" },
    body: JSON.stringify({ SecretId: settings.secret }),
  });
  return JSON.parse((await answer.json()).SecretString);
}

async function published() {
  return createLocalJWKSet(await (await fetch(settings.jwks)).json());
}

const counts = { tokens: 0, verified: 0, refused: 0 };
let ended = false;
process.stdin.on("end", () => (ended = true)).resume();

const signer = new Cached(secret);
const verifiers = [0, 1, 2, 3].map((number) => new Cached(published, (maxCache * number) / 4));
let living = [];
while (!ended) {
  const { current } = await signer.get();
  const key = await importPKCS8(current.privateKey, current.algorithm);
  const exp = now() + maxTokenLifetime;
  const token = await new SignJWT({ sub: "somebody" })
    .setProtectedHeader({ alg: current.algorithm, kid: current.kid })
    .setAudience("lab")
    .setExpirationTime(Math.ceil(exp) + 60)
    .sign(key);
  counts.tokens += 1;
  living.push({ token, exp });
  living = living.filter(({ exp }) => exp > now() + 0.2);
  const looked = living.length ? [living[0], living[living.length >> 1], living.at(-1)] : [];
  for (const { token, exp } of looked) {
    for (const verifier of verifiers) {
      const keys = await verifier.get();
      try {
        await jwtVerify(token, keys, { audience: "lab" });
        counts.verified += 1;
      } catch (error) {
        if (now() < exp) {
          counts.refused += 1;
          counts.why = String(error);
        }
      }
    }
  }
  await new Promise((done) => setTimeout(done, 50));
}
console.log(JSON.stringify(counts));
