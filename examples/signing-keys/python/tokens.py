"""Signs tokens with a secret that lockstep-signing-key rotates, and verifies them with the published keys. To be copied.

    signer = Signer(boto3.client("secretsmanager"), "tokens")
    token = signer.sign({"sub": "somebody"}, 900)

    verifier = Verifier("https://tokens.example.com/.well-known/jwks.json", 300, ["ES256"])
    claims = verifier.verify(token)
"""

import json
import threading
import time

import jwt


class Signer:
    """Keeps a copy of the secret for half of its maxCache. One thread at a time reads it again."""

    def __init__(self, secrets_manager, secret):
        self._client, self._secret = secrets_manager, secret
        self._lock, self._copy, self._until = threading.Lock(), None, 0.0

    def sign(self, claims, seconds):
        """A token that lives for so many seconds."""
        secret = self._read()
        if seconds > secret["maxTokenLifetime"]:
            raise ValueError(f"a token may live for {secret['maxTokenLifetime']} s (maxTokenLifetime)")
        key, now = secret["current"], int(time.time())
        claims = {**claims, "iat": now, "exp": now + seconds}
        return jwt.encode(claims, key["privateKey"], key["algorithm"], headers={"kid": key["kid"]})

    def _read(self):
        with self._lock:
            if time.monotonic() >= self._until:
                began = time.monotonic()
                answer = self._client.get_secret_value(SecretId=self._secret, VersionStage="AWSCURRENT")
                self._copy = json.loads(answer["SecretString"])
                # The copy is as old as the beginning of the read.
                self._until = began + self._copy["maxCache"] / 2
            return self._copy


class Verifier:
    """Keeps a copy of the published keys for `seconds`, half of the secret's maxCache. The other half belongs to caches on the way."""

    def __init__(self, url, seconds, algorithms):
        # Without cache_keys: it would keep a key for longer than its set.
        self._keys = jwt.PyJWKClient(url, cache_jwk_set=True, lifespan=seconds, timeout=5)
        self._algorithms = algorithms

    def verify(self, token, **options):
        """The claims of a token. `options` are those of jwt.decode, such as `audience` and `issuer`. Raises jwt.PyJWTError."""
        key = self._keys.get_signing_key_from_jwt(token).key
        return jwt.decode(token, key, algorithms=self._algorithms, options={"require": ["exp"]}, **options)
