"""Deactivates an account at a CA, as whoever has its key can (RFC 8555, section 7.3.6). The environment has the key and the CA."""

import base64
import json
import os
import ssl
import urllib.request

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, utils

trust = ssl.create_default_context(cadata=os.environ["TRUSTED"])
key = serialization.load_pem_private_key(os.environ["KEY"].encode(), None)


def encoded(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def ask(url, body=None):
    asked = urllib.request.Request(url, body, {"Content-Type": "application/jose+json"})
    return urllib.request.urlopen(asked, context=trust)


def sign(url, payload, **by):
    nonce = ask(directory["newNonce"]).headers["Replay-Nonce"]
    protected = encoded(json.dumps({"alg": "ES256", "nonce": nonce, "url": url, **by}).encode())
    payload = encoded(json.dumps(payload).encode())
    signature = key.sign(f"{protected}.{payload}".encode(), ec.ECDSA(hashes.SHA256()))
    raw = b"".join(number.to_bytes(32, "big") for number in utils.decode_dss_signature(signature))
    return ask(url, json.dumps({"protected": protected, "payload": payload, "signature": encoded(raw)}).encode())


directory = json.load(ask(os.environ["DIRECTORY"]))
point = key.public_key().public_numbers()
jwk = {"kty": "EC", "crv": "P-256", **{name: encoded(getattr(point, name).to_bytes(32, "big")) for name in "xy"}}
account = sign(directory["newAccount"], {"onlyReturnExisting": True}, jwk=jwk).headers["Location"]
print(json.load(sign(account, {"status": "deactivated"}, kid=account))["status"])
