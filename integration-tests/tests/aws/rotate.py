"""What a client does: reads a secret, has it rotated, reads it again, and opens the database with it.

Arguments: the secret, the file with the server's CA, and the ARN of the rotation function unless the secret has one.
"""

import json
import sys
import time

import boto3
import psycopg

secret, ca = sys.argv[1:3]
function = {"RotationLambdaARN": argument for argument in sys.argv[3:]}
client = boto3.client("secretsmanager")


def credential():
    return json.loads(client.get_secret_value(SecretId=secret)["SecretString"])


def user_of_session(credential):
    connection = psycopg.connect(
        host=credential["host"],
        port=credential["port"],
        dbname=credential["dbname"],
        user=credential["username"],
        password=credential["password"],
        sslmode="verify-full",
        sslrootcert=ca,
    )
    with connection:
        assert connection.pgconn.ssl_in_use
        return connection.execute("SELECT session_user").fetchone()[0]


before = credential()
assert user_of_session(before) == before["username"]

version = client.rotate_secret(SecretId=secret, **function)["VersionId"]
for _ in range(300):
    labels = client.describe_secret(SecretId=secret)["VersionIdsToStages"]
    if "AWSCURRENT" in labels[version]:
        break
    time.sleep(0.1)
else:
    sys.exit(f"still not rotated: {labels}")

after = credential()
assert after["password"] != before["password"]
assert {**after, "password": ""} == {**before, "password": ""}
assert user_of_session(after) == after["username"]
previous = client.get_secret_value(SecretId=secret, VersionStage="AWSPREVIOUS")
assert json.loads(previous["SecretString"]) == before
try:
    user_of_session(before)
except psycopg.OperationalError as error:
    assert "password authentication failed" in str(error), error
else:
    sys.exit("the old password still opens the database")
print("rotated")
