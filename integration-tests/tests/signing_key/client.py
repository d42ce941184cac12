"""An application that signs tokens, and others that verify them, with PyJWT. It prints a line of JSON when its standard input ends.

The signer reads AWSCURRENT again only when its copy is older than maxCache. Each verifier reads the published set again only when its copy
is older than maxCache, and not for a key that it does not know. So these clients are the worst that the two settings allow.
"""

import json, ssl, sys, threading, time, urllib.request

import jwt

settings = json.loads(sys.argv[1])
LIFETIME, CACHE = settings["maxTokenLifetime"], settings["maxCache"]
VERIFIERS = 4


class Cached:
    def __init__(self, read, age=0.0):
        self.read, self.value = read, read()
        self.at = time.time() - age

    def get(self):
        if time.time() - self.at >= CACHE:
            # The copy is as old as the beginning of the read.
            self.at, self.value = time.time(), self.read()
        return self.value


def secret():
    body = json.dumps({"SecretId": settings["secret"]}).encode()
    headers = {"X-Amz-Target": "secretsmanager.GetSecretValue", "Content-Type": "application/x-amz-json-1.1"}
    with urllib.request.urlopen(urllib.request.Request(settings["secretsManager"], body, headers)) as answer:
        return json.loads(json.load(answer)["SecretString"])


def published():
    with urllib.request.urlopen(settings["jwks"]) as answer:
        return {key.key_id: key for key in jwt.PyJWKSet.from_dict(json.load(answer)).keys}


def verify(keys, token):
    key = keys[jwt.get_unverified_header(token)["kid"]]
    return jwt.decode(token, key.key, algorithms=[key.algorithm_name], audience="lab")


def sign(key, life):
    """A token and the end of its life. What it says itself is later, so that a refusal within its life is never for its age."""
    now = time.time()
    claims = {"iat": now, "exp": now + life + 60, "aud": "lab", "sub": "somebody"}
    return jwt.encode(claims, key["privateKey"], key["algorithm"], headers={"kid": key["kid"]}), now + life


def openbao(token):
    if "openbao" not in settings:
        return True
    body = json.dumps({"role": "lab", "jwt": token}).encode()
    context = ssl.create_default_context(cadata=settings["openbao"]["ca"])
    try:
        with urllib.request.urlopen(settings["openbao"]["url"] + "/v1/auth/jwt/login", body, context=context) as answer:
            return answer.status == 200
    except urllib.error.HTTPError as error:
        counts["said"] = error.read().decode()
        return False


counts = {"tokens": 0, "verified": 0, "refused": 0, "openbao": 0, "openbaoRefused": 0, "keys": 0, "retiredTried": 0, "retiredAccepted": 0}
ended = threading.Event()
threading.Thread(target=lambda: (sys.stdin.read(), ended.set()), daemon=True).start()

signer = Cached(secret)
verifiers = [Cached(published, CACHE * number / VERIFIERS) for number in range(VERIFIERS)]
fresh = Cached(published)
living, keys, retired, last_bao = [], {}, {}, 0.0
while not ended.is_set():
    began = time.time()
    held = signer.get()
    keys[held["current"]["kid"]] = held["current"]
    living.append(sign(held["current"], LIFETIME))
    counts["tokens"] += 1
    sets = [one.get() for one in verifiers]
    # A token that ends while it is being looked at proves nothing.
    living = [(token, end) for token, end in living if end > time.time() + 0.2]
    for token, end in [living[0], living[len(living) // 2], living[-1]] if living else []:
        for keys_of_verifier in sets:
            try:
                verify(keys_of_verifier, token)
                counts["verified"] += 1
            except Exception as error:
                if time.time() < end:
                    counts["refused"] += 1
                    counts["why"] = repr(error)
    if living and time.time() - last_bao > CACHE / 4:
        last_bao = time.time()
        for token, end in (living[0], living[-1]):
            accepted = openbao(token)
            if time.time() < end:
                counts["openbao"] += 1
                counts["openbaoRefused"] += not accepted
    # Whoever kept the private part of a key that has left the set can sign nothing with it, once caches have looked again.
    now_public = fresh.get()
    for kid in [kid for kid in keys if kid not in now_public and kid not in retired]:
        retired[kid] = time.time()
    for kid in [kid for kid, since in retired.items() if time.time() > since + 2 * CACHE + 0.2][-2:]:
        token, _ = sign(keys[kid], LIFETIME)
        for keys_of_verifier in sets:
            counts["retiredTried"] += 1
            try:
                verify(keys_of_verifier, token)
                counts["retiredAccepted"] += 1
            except Exception:
                pass
    counts["keys"] = len(keys)
    counts["slowest"] = max(counts.get("slowest", 0), time.time() - began)
    time.sleep(0.05)
print(json.dumps(counts))
