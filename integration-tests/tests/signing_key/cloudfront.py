"""CloudFront by its own client, botocore.

    cloudfront.py sign      makes a signed URL, with a canned policy, from {"privateKey", "keyPairId", "url"}
    cloudfront.py sequence  makes the same calls at each of {"endpoints"}, and prints what came back
"""

import datetime
import json
import sys

import boto3
from botocore.exceptions import ClientError
from botocore.signers import CloudFrontSigner
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa

# moto keeps no comments and no time of the last change. The double has no URL of what was made.
MOTO_LACKS = {"ResponseMetadata", "Comment", "LastModifiedTime", "Location"}
UNTIL = datetime.datetime(2030, 1, 1, tzinfo=datetime.timezone.utc)


def sign(asked):
    key = serialization.load_pem_private_key(asked["privateKey"].encode(), None)

    def signer(message):
        if isinstance(key, rsa.RSAPrivateKey):
            return key.sign(message, padding.PKCS1v15(), hashes.SHA1())
        return key.sign(message, ec.ECDSA(hashes.SHA1()))

    url = CloudFrontSigner(asked["keyPairId"], signer).generate_presigned_url(asked["url"], date_less_than=UNTIL)
    return {"url": url, "until": int(UNTIL.timestamp())}


def public_key():
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048).public_key()
    return key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo).decode()


def shape(value, known):
    """An answer without what each server chooses: ids, entity tags and moments; and without what moto does not have."""
    if isinstance(value, dict):
        return {name: shape(it, known) for name, it in sorted(value.items()) if name not in MOTO_LACKS}
    if isinstance(value, list):
        return [shape(it, known) for it in value]
    if isinstance(value, datetime.datetime):
        return "a moment"
    return known.get(value, value)


def sequence(endpoint, pems):
    cloudfront = boto3.client("cloudfront", endpoint_url=endpoint, region_name="us-east-1")
    known, answers, count = {}, {}, iter(range(100))

    def call(name, operation, **arguments):
        try:
            answer = getattr(cloudfront, operation)(**arguments)
        except ClientError as error:
            answers[name] = {"error": error.response["Error"]["Code"], "status": error.response["ResponseMetadata"]["HTTPStatusCode"]}
            return {}
        made = answer.get("PublicKey") or answer.get("KeyGroup") or {}
        if "Id" in made and made["Id"] not in known:
            known[made["Id"]] = f"the id of {next(count)}"
        if "ETag" in answer:
            known[answer["ETag"]] = "a tag"
        answers[name] = {"status": answer["ResponseMetadata"]["HTTPStatusCode"], **shape(answer, known)}
        return answer

    keys = []
    for number, pem in enumerate(pems):
        config = {"CallerReference": f"r{number}", "Name": f"n{number}", "EncodedKey": pem, "Comment": "a & <b>"}
        keys.append(call(f"create key {number}", "create_public_key", PublicKeyConfig=config)["PublicKey"]["Id"])
    call("get key", "get_public_key", Id=keys[0])
    call("list keys", "list_public_keys")
    group = call("create group", "create_key_group", KeyGroupConfig={"Name": "g", "Items": keys[:1], "Comment": "c"})
    call("get group", "get_key_group", Id=group["KeyGroup"]["Id"])
    config = {"Name": "g", "Items": keys[:2], "Comment": "d"}
    call("update group", "update_key_group", Id=group["KeyGroup"]["Id"], IfMatch=group["ETag"], KeyGroupConfig=config)
    call("update group late", "update_key_group", Id=group["KeyGroup"]["Id"], IfMatch=group["ETag"], KeyGroupConfig=config)
    tag = call("get key again", "get_public_key", Id=keys[1]).get("ETag", "")
    call("delete key in use", "delete_public_key", Id=keys[1], IfMatch=tag)
    call("delete key", "delete_public_key", Id=keys[2], IfMatch=cloudfront.get_public_key(Id=keys[2])["ETag"])
    call("list keys again", "list_public_keys")
    return answers


def main():
    asked = json.loads(sys.argv[2])
    if sys.argv[1] == "sign":
        print(json.dumps(sign(asked)))
    else:
        pems = [public_key() for _ in range(3)]
        print(json.dumps([sequence(endpoint, pems) for endpoint in asked["endpoints"]]))


main()
