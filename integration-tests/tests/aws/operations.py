"""boto3 against the lab: every operation answers in the types of AWS's model, and fails with the exceptions of that model.

Arguments: the ARN of a function that fails, and the file of an event for it.
"""

import base64
import json
import sys
import uuid
from datetime import datetime, timedelta

import boto3
from botocore.exceptions import ClientError

function, event = sys.argv[1:]
client = boto3.client("secretsmanager")
operations = set()


def check_against_model(http_response, model, **_):
    """Each field that the lab sends is one that the model knows, and boto3 would otherwise drop without a word."""
    operations.add(model.name)
    if model.output_shape is None:
        assert http_response.content in (b"", b"{}"), http_response.content
    elif http_response.status_code == 200:
        check_shape(json.loads(http_response.content), model.output_shape, model.name)


def check_shape(value, shape, path):
    if shape.type_name == "structure":
        for name, field in value.items():
            assert name in shape.members, f"{path}.{name} is not in the model"
            check_shape(field, shape.members[name], f"{path}.{name}")
    elif shape.type_name == "list":
        for item in value:
            check_shape(item, shape.member, f"{path}[]")
    elif shape.type_name == "map":
        for item in value.values():
            check_shape(item, shape.value, f"{path}{{}}")
    else:
        expected = {"string": str, "boolean": bool, "timestamp": (int, float), "blob": str, "long": int, "integer": int}
        assert isinstance(value, expected[shape.type_name]), f"{path} is {type(value)}, not {shape.type_name}"


client.meta.events.register("after-call.secrets-manager", check_against_model)


def refused(exception, call, **arguments):
    """The call fails with this exception of the model, which names itself and has a message."""
    try:
        call(**arguments)
    except getattr(client.exceptions, exception) as error:
        found = error.response["Error"]
        assert found["Code"] == exception, found
        assert found["Message"], found
        assert error.response["ResponseMetadata"]["HTTPStatusCode"] == 400
        assert error.response["ResponseMetadata"]["RequestId"]
        return found["Message"]
    raise AssertionError(f"no {exception}")


def is_date(value):
    return isinstance(value, datetime) and value.tzinfo is not None and abs(datetime.now(value.tzinfo) - value) < timedelta(1)


# Create and read.
created = client.create_secret(
    Name="app/one", SecretString="first", Description="of app one", Tags=[{"Key": "team", "Value": "a"}]
)
arn, first = created["ARN"], created["VersionId"]
assert arn.startswith("arn:aws:secretsmanager:us-east-1:123456789012:secret:app/one-") and created["Name"] == "app/one"
for name in (arn, "app/one", arn.rpartition("-")[0]):
    value = client.get_secret_value(SecretId=name)
    assert (value["SecretString"], value["VersionId"], value["VersionStages"]) == ("first", first, ["AWSCURRENT"])
    assert value["ARN"] == arn and is_date(value["CreatedDate"]) and "SecretBinary" not in value
client.create_secret(Name="app/binary", SecretBinary=b"\x00\xff bytes")
binary = client.get_secret_value(SecretId="app/binary")
assert binary["SecretBinary"] == b"\x00\xff bytes" and "SecretString" not in binary

# Change.
second = str(uuid.uuid4())
put = client.put_secret_value(SecretId=arn, SecretString="second", ClientRequestToken=second)
assert (put["VersionId"], put["VersionStages"]) == (second, ["AWSCURRENT"])
assert client.get_secret_value(SecretId=arn, VersionStage="AWSPREVIOUS")["VersionId"] == first
third = client.update_secret(SecretId=arn, SecretString="third", Description="changed")["VersionId"]
client.update_secret_version_stage(
    SecretId=arn, VersionStage="AWSCURRENT", MoveToVersionId=second, RemoveFromVersionId=third
)
described = client.describe_secret(SecretId=arn)
assert described["VersionIdsToStages"] == {second: ["AWSCURRENT"], third: ["AWSPREVIOUS"]}
assert described["Description"] == "changed" and described["Tags"] == [{"Key": "team", "Value": "a"}]
assert is_date(described["CreatedDate"]) and is_date(described["LastChangedDate"])
assert isinstance(described["LastAccessedDate"], datetime)
assert "DeletedDate" not in described and not described.get("RotationEnabled")

# Tags.
client.tag_resource(SecretId=arn, Tags=[{"Key": "team", "Value": "b"}, {"Key": "stage", "Value": "test"}])
client.untag_resource(SecretId=arn, TagKeys=["stage"])
assert client.describe_secret(SecretId=arn)["Tags"] == [{"Key": "team", "Value": "b"}]

# Lists, by boto3's own paginators.
for number in range(5):
    client.create_secret(Name=f"many/{number}", SecretString=str(number))
pages = list(client.get_paginator("list_secrets").paginate(PaginationConfig={"PageSize": 2}))
names = [secret["Name"] for page in pages for secret in page["SecretList"]]
assert len(pages) == 4 and sorted(names) == sorted(["app/one", "app/binary"] + [f"many/{n}" for n in range(5)]), names
found = client.list_secrets(Filters=[{"Key": "name", "Values": ["many/"]}])["SecretList"]
assert len(found) == 5 and all(is_date(secret["CreatedDate"]) for secret in found)
tagged = client.list_secrets(Filters=[{"Key": "tag-value", "Values": ["b"]}])["SecretList"]
assert [secret["ARN"] for secret in tagged] == [arn]
assert tagged[0]["SecretVersionsToStages"] == {second: ["AWSCURRENT"], third: ["AWSPREVIOUS"]}
versions = client.list_secret_version_ids(SecretId=arn, IncludeDeprecated=True)
assert {version["VersionId"] for version in versions["Versions"]} == {first, second, third}
assert all(is_date(version["CreatedDate"]) for version in versions["Versions"])
batch = client.batch_get_secret_value(SecretIdList=["many/1", "many/2", "none"])
assert {value["Name"]: value["SecretString"] for value in batch["SecretValues"]} == {"many/1": "1", "many/2": "2"}
assert [(error["SecretId"], error["ErrorCode"]) for error in batch["Errors"]] == [("none", "ResourceNotFoundException")]
batch = client.batch_get_secret_value(Filters=[{"Key": "name", "Values": ["app/binary"]}])
assert batch["SecretValues"][0]["SecretBinary"] == b"\x00\xff bytes"

# Passwords.
password = client.get_random_password(PasswordLength=40, ExcludePunctuation=True)["RandomPassword"]
assert len(password) == 40 and password.isalnum()

# Rotation, with a function that fails.
rotation = client.rotate_secret(
    SecretId="many/1", RotationLambdaARN=function, RotationRules={"ScheduleExpression": "rate(10 days)"}
)
assert set(client.describe_secret(SecretId="many/1")["VersionIdsToStages"]) >= {rotation["VersionId"]}
described = client.describe_secret(SecretId="many/1")
assert described["RotationEnabled"] is True and described["RotationLambdaARN"] == function
assert described["RotationRules"]["ScheduleExpression"] == "rate(10 days)" and isinstance(described["NextRotationDate"], datetime)
client.cancel_rotate_secret(SecretId="many/1")
assert not client.describe_secret(SecretId="many/1").get("RotationEnabled")

# Delete and restore.
deleted = client.delete_secret(SecretId="many/2", RecoveryWindowInDays=7)
assert timedelta(6.9) < deleted["DeletionDate"] - datetime.now(deleted["DeletionDate"].tzinfo) < timedelta(7.1)
refused("InvalidRequestException", client.get_secret_value, SecretId="many/2")
assert isinstance(client.describe_secret(SecretId="many/2")["DeletedDate"], datetime)
planned = client.list_secrets(IncludePlannedDeletion=True)["SecretList"]
assert [secret["Name"] for secret in planned if "DeletedDate" in secret] == ["many/2"]
assert client.restore_secret(SecretId="many/2")["Name"] == "many/2"
assert client.get_secret_value(SecretId="many/2")["SecretString"] == "2"
client.delete_secret(SecretId="many/3", ForceDeleteWithoutRecovery=True)
refused("ResourceNotFoundException", client.describe_secret, SecretId="many/3")

# Refusals, as the exceptions of the model.
refused("ResourceNotFoundException", client.get_secret_value, SecretId="none")
message = refused("ResourceNotFoundException", client.get_secret_value, SecretId=arn, VersionStage="NONE")
assert message == "Secrets Manager can't find the specified secret value for staging label: NONE", message
refused("ResourceExistsException", client.create_secret, Name="app/one", SecretString="other")
refused("ResourceExistsException", client.put_secret_value, SecretId=arn, SecretString="other", ClientRequestToken=second)
refused("InvalidParameterException", client.delete_secret, SecretId=arn, RecoveryWindowInDays=7, ForceDeleteWithoutRecovery=True)
refused("InvalidParameterException", client.put_secret_value, SecretId=arn, SecretString="a", SecretBinary=b"b")
refused("InvalidParameterException", client.update_secret_version_stage, SecretId=arn, VersionStage="AWSCURRENT", MoveToVersionId=third)
refused("InvalidNextTokenException", client.list_secrets, NextToken="nonsense")
refused("InvalidRequestException", client.rotate_secret, SecretId="many/4")
try:
    client.create_secret(Name="not a name!", SecretString="x")
except ClientError as error:
    assert error.response["Error"]["Code"] in ("ValidationException", "InvalidParameterException"), error
else:
    raise AssertionError("a bad name was taken")

# Lambda and STS, as far as the lab has them.
functions = boto3.client("lambda")
with open(event, "rb") as payload:
    answer = functions.invoke(FunctionName=function, Payload=payload, LogType="Tail")
error = json.load(answer["Payload"])
assert (answer["StatusCode"], answer["FunctionError"]) == (200, "Unhandled"), answer
assert error["errorType"] == "secret-not-found" and error["errorMessage"], error
log = base64.b64decode(answer["LogResult"]).decode()
assert log.startswith("START RequestId: ") and "REPORT RequestId: " in log, log
shown = functions.get_function(FunctionName=function.rsplit(":", 1)[1])["Configuration"]
assert (shown["FunctionArn"], shown["Runtime"], shown["State"]) == (function, "provided.al2023", "Active"), shown
for operation in (functions.invoke, functions.get_function):
    try:
        operation(FunctionName="none")
    except functions.exceptions.ResourceNotFoundException as error:
        assert "Function not found" in error.response["Error"]["Message"]
    else:
        raise AssertionError("a function that is not there was found")
assert boto3.client("sts").get_caller_identity()["Account"] == "123456789012"

assert len(operations) == 16, sorted(operations)
print("ok")
