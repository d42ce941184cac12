"""A rotation function as other people write them: in Python, for AWS's runtime interface client (awslambdaric).

It rotates the password of a PostgreSQL user, who changes it. It is small, and not safe: it does not know what an earlier invocation has
done.
"""

import json
import os

import boto3
import psycopg
from psycopg import sql

client = boto3.client("secretsmanager")


def value(secret, **version):
    return json.loads(client.get_secret_value(SecretId=secret, **version)["SecretString"])


def connect(credential):
    # The lab sets PGSSLROOTCERT.
    return psycopg.connect(
        host=credential["host"],
        port=credential["port"],
        dbname=credential["dbname"],
        user=credential["username"],
        password=credential["password"],
        sslmode="verify-full",
    )


def create_secret(secret, token):
    password = client.get_random_password(PasswordLength=24, ExcludePunctuation=True)["RandomPassword"]
    new = {**value(secret, VersionStage="AWSCURRENT"), "password": password}
    client.put_secret_value(
        SecretId=secret, ClientRequestToken=token, SecretString=json.dumps(new), VersionStages=["AWSPENDING"]
    )


def set_secret(secret, token):
    new = value(secret, VersionId=token, VersionStage="AWSPENDING")
    with connect(value(secret, VersionStage="AWSCURRENT")) as connection:
        assert connection.pgconn.ssl_in_use
        change = sql.SQL("ALTER ROLE {} PASSWORD {}")
        connection.execute(change.format(sql.Identifier(new["username"]), sql.Literal(new["password"])))


def test_secret(secret, token):
    # Without a rotation, RotateSecret has the configuration tested, and there is no value yet.
    with connect(value(secret, VersionId=token, VersionStage="AWSPENDING")):
        pass


def finish_secret(secret, token):
    versions = client.describe_secret(SecretId=secret)["VersionIdsToStages"]
    current = next(version for version, labels in versions.items() if "AWSCURRENT" in labels)
    client.update_secret_version_stage(
        SecretId=secret, VersionStage="AWSCURRENT", MoveToVersionId=token, RemoveFromVersionId=current
    )


STEPS = {
    "createSecret": create_secret,
    "setSecret": set_secret,
    "testSecret": test_secret,
    "finishSecret": finish_secret,
}


def handler(event, context):
    if event.get("do") == "exit":
        os._exit(3)
    if event.get("do") == "tell":
        in_time = 30_000 < context.get_remaining_time_in_millis() <= 60_000
        return {
            "handler": os.environ["_HANDLER"],
            "name": context.function_name,
            "arn": context.invoked_function_arn,
            "in time": in_time,
        }
    if event.get("do") == "variables":
        return sorted(os.environ)
    print(f"python does {event['Step']}", flush=True)
    STEPS[event["Step"]](event["SecretId"], event["ClientRequestToken"])
