"""Drives examples/signing-keys/python: for each line of standard input it signs a token, and verifies all of
them. It prints how many these are, and the id of the key that signed the last one."""

import json, sys

sys.path.insert(0, sys.argv[1])
settings = json.loads(sys.argv[2])
import tokens as example


class SecretsManager:
    """In place of boto3, which the example's environment in the lab does not have."""

    def get_secret_value(self, **request):
        import urllib.request

        headers = {"X-Amz-Target": "secretsmanager.GetSecretValue", "Content-Type": "application/x-amz-json-1.1"}
        asked = urllib.request.Request(settings["secretsManager"], json.dumps(request).encode(), headers)
        with urllib.request.urlopen(asked) as answer:
            return json.load(answer)


signer = example.Signer(SecretsManager(), settings["secret"])
verifier = example.Verifier(settings["jwks"], settings["maxCache"] / 2, [settings["algorithm"]])
signed = []
for line in sys.stdin:
    signed.append(signer.sign({"sub": "somebody"}, 60))
    claims = [verifier.verify(token) for token in signed]
    assert all(one["sub"] == "somebody" for one in claims)
    print(len(claims), example.jwt.get_unverified_header(signed[-1])["kid"], flush=True)
refused = 0
for bad in (lambda: signer.sign({}, 10**9), lambda: verifier.verify(signed[-1][:-8] + "AAAAAAAA")):
    try:
        bad()
    except Exception:
        refused += 1
print("refused", refused, flush=True)
