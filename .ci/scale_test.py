"""One stack serves hundreds of secrets, and docs/deploy.md states how many entries each list parameter takes."""

import ast
import fnmatch
import json
import re
import unittest

import no_credentials  # noqa: F401
import boto3
import stand_in
from moto import mock_aws
from template import ROOT
from template_test import FUNCTIONS, SUFFIXES, TEMPLATE, accepts, deploy

REGION_AND_ACCOUNT = "eu-central-1:123456789012"
SECRETS = 300
# Quotas of AWS. Environment variables: Lambda quotas. Parameter value: CloudFormation quotas. Policies: IAM quotas, which do not count white
# space; the inline policies of a role count together.
ENVIRONMENT, PARAMETER, INLINE_POLICIES, MANAGED_POLICY = 4096, 4096, 10_240, 6_144
# What an entry looks like. The names of RDS's secrets are this long.
ENTRIES = {
    "SuperuserSecretArns": f"arn:aws:secretsmanager:{REGION_AND_ACCOUNT}:secret:rds!db-{{:08}}-0000-0000-0000-000000000000-AbCdEf",
    "AdminSecretArns": f"arn:aws:secretsmanager:{REGION_AND_ACCOUNT}:secret:rds!db-{{:08}}-0000-0000-0000-000000000000-AbCdEf",
    "IssuerSourceArns": f"arn:aws:ssm:{REGION_AND_ACCOUNT}:parameter/lockstep/issuers/issuer-{{:08}}",
    "KmsKeyArns": f"arn:aws:kms:{REGION_AND_ACCOUNT}:key/{{:08}}-12ab-34cd-56ef-1234567890ab",
    "AllowedHosts": "issuer{:04}=host{:04}.example.com",
    "AllowedPrivateHosts": "issuer{:04}=host{:04}.example.com",
    "PublishedObjectArns": "arn:aws:s3:::public-keys-of-the-company/issuer-{:08}/jwks.json",
    "PublishedBucketArns": "arn:aws:s3:::public-keys-of-the-company-{:08}",
    "PublishedParameterArns": f"arn:aws:ssm:{REGION_AND_ACCOUNT}:parameter/lockstep/keys/issuer-{{:08}}",
    "PublishedPlaces": "issuers/issuer-{:08}=s3://public-keys-of-the-company/issuer-00000000/jwks.json",
    "VerifyHosts": "host{:04}.example.com",
    "AccountSecretArns": f"arn:aws:secretsmanager:{REGION_AND_ACCOUNT}:secret:acme/accounts/account-{{:08}}-AbCdEf",
    "HostedZoneArns": "arn:aws:route53:::hostedzone/Z{:020}",
    "ChallengeNames": "_acme-challenge.host{:04}.example.com",
    "AllowedDomains": "host{:04}.example.com",
    "Directories": "https://acme.host{:04}.example.com/directory",
    "EndpointHosts": "host{:04}.example.com",
    "AcmCertificateArns": f"arn:aws:acm:{REGION_AND_ACCOUNT}:certificate/{{:08}}-12ab-34cd-56ef-1234567890ab",
    "FleetFunctionArns": f"arn:aws:lambda:{REGION_AND_ACCOUNT}:function:another-{{:08}}-postgres",
    "RekeyKmsKeyArns": f"arn:aws:kms:{REGION_AND_ACCOUNT}:key/{{:08}}-12ab-34cd-56ef-1234567890ab",
    "CertificateObjectArns": "arn:aws:s3:::certificates-of-the-company/host{:04}.example.com/*",
}
# Lambda quotas and API: entries of VpcConfig and Layers.
FIXED = {"VpcSubnetIds": 16, "VpcSecurityGroupIds": 5, "LayerArns": 5}


def documents():
    """The policies of each role: the inline ones, and the managed ones."""
    iam = boto3.client("iam")
    for role in iam.list_roles()["Roles"]:
        inline = iam.get_role_policy(RoleName=role["RoleName"], PolicyName="rotation")["PolicyDocument"]
        # moto returns the policy of a role as the text of a Python dictionary.
        yield "inline", ast.literal_eval(inline) if isinstance(inline, str) else inline
    for policy in iam.list_policies(Scope="Local")["Policies"]:
        version = iam.get_policy_version(PolicyArn=policy["Arn"], VersionId=policy["DefaultVersionId"])["PolicyVersion"]
        yield "managed", version["Document"]


def size(document):
    return len(json.dumps(document, separators=(",", ":")))


def fits(parameter, count):
    """Whether a stack of all functions with so many entries is within AWS's quotas."""
    value = ",".join(ENTRIES[parameter].format(*[it] * 2) for it in range(count))
    assert accepts(TEMPLATE["Parameters"][parameter], value)
    if len(value) > PARAMETER:
        return False
    with mock_aws():
        deploy("lockstep", TEMPLATE, dict.fromkeys([*FUNCTIONS, "DeployFleet"], "true") | {parameter: value})
        for function in boto3.client("lambda").list_functions()["Functions"]:
            if sum(len(key) + len(str(text)) for key, text in function["Environment"]["Variables"].items()) > ENVIRONMENT:
                return False
        limits = {"inline": INLINE_POLICIES, "managed": MANAGED_POLICY}
        return all(size(document) <= limits[kind] for kind, document in documents())


class Limits(unittest.TestCase):
    def test_the_page_states_how_many_entries_fit(self):
        page = (ROOT / "docs/deploy.md").read_text(encoding="utf-8")
        stated = {name: int(count.replace(",", "")) for name, count in re.findall(r"(?m)^\| `(\w+)` \| ([\d,]+) ", page)}
        lists = {name for name, it in TEMPLATE["Parameters"].items() if it["Type"] == "CommaDelimitedList"}
        self.assertEqual(lists, set(ENTRIES) | set(FIXED))
        self.assertEqual(set(stated), lists)
        self.assertEqual({name: stated[name] for name in FIXED}, FIXED)
        for parameter in ENTRIES:
            with self.subTest(parameter):
                self.assertTrue(fits(parameter, stated[parameter]), "fewer fit")
                # A limit that is far from the truth would send people to the prefix too early.
                self.assertFalse(fits(parameter, stated[parameter] * 5 // 4), "many more fit")


def matches(statement, action, arn):
    as_list = lambda it: it if isinstance(it, list) else [it]  # noqa: E731
    return action in as_list(statement["Action"]) and any(fnmatch.fnmatchcase(arn, it) for it in as_list(statement["Resource"]))


class ManySecrets(unittest.TestCase):
    def test_one_stack_serves_300_secrets_with_a_superuser_each(self):
        with stand_in.Server() as server:
            call = lambda service: stand_in.client(service, server.url)  # noqa: E731
            manager, cloudformation = call("secretsmanager"), call("cloudformation")
            superusers = [
                manager.create_secret(Name=f"rds!db-{it:08}-0000-0000-0000-000000000000", SecretString="{}")["ARN"] for it in range(SECRETS)
            ]
            call("s3").create_bucket(Bucket="artifacts", CreateBucketConfiguration={"LocationConstraint": "eu-central-1"})
            call("s3").put_object(Bucket="artifacts", Key="function.zip", Body=b"PK\x05\x06" + bytes(18))
            cloudformation.create_stack(
                StackName="lockstep", TemplateBody=json.dumps(TEMPLATE), Capabilities=["CAPABILITY_IAM"],
                Parameters=[{"ParameterKey": key, "ParameterValue": value} for key, value in (
                    ("SuperuserSecretNamePrefix", "rds!"), ("SecretNamePrefix", "app/"),
                )],
            )
            function = call("lambda").get_function(FunctionName="lockstep-postgres")["Configuration"]
            # A stack has at most 500 resources, and each secret is two.
            for begin in range(0, SECRETS, 150):
                cloudformation.create_stack(
                    StackName=f"secrets-{begin}",
                    TemplateBody=json.dumps({"Resources": secrets(range(begin, begin + 150), superusers, function["FunctionArn"])}),
                )
            self.check(call, function, superusers)

    def check(self, call, function, superusers):
        variables = function["Environment"]["Variables"]
        self.assertLess(sum(len(key) + len(str(text)) for key, text in variables.items()), ENVIRONMENT // 4)
        allowed = variables["SUPERUSER_SECRET_ARNS"].strip(",")
        self.assertEqual(allowed, f"arn:aws:secretsmanager:{REGION_AND_ACCOUNT}:secret:rds!*")
        role = call("iam").get_role_policy(RoleName=function["Role"].split("/")[-1], PolicyName="rotation")["PolicyDocument"]
        statements = {it["Sid"]: it for it in (ast.literal_eval(role) if isinstance(role, str) else role)["Statement"]}
        manager = call("secretsmanager")
        pages = manager.get_paginator("list_secrets").paginate(Filters=[{"Key": "name", "Values": ["app/"]}])
        found = [it for page in pages for it in page["SecretList"]]
        self.assertEqual(len(found), SECRETS)
        used = set()
        for secret in found:
            master = json.loads(manager.get_secret_value(SecretId=secret["ARN"])["SecretString"])["masterarn"]
            used.add(master)
            self.assertTrue(master.startswith(allowed.removesuffix("*")))
            self.assertTrue(matches(statements["SuperuserPasswords"], "secretsmanager:GetSecretValue", master))
            self.assertTrue(matches(statements["SecretsThatNameThisFunction"], "secretsmanager:PutSecretValue", secret["ARN"]))
            # A superuser's secret is only read, and a rotated secret is no superuser's.
            self.assertFalse(matches(statements["SecretsThatNameThisFunction"], "secretsmanager:PutSecretValue", master))
            self.assertFalse(matches(statements["SuperuserPasswords"], "secretsmanager:GetSecretValue", secret["ARN"]))
            self.assertIn({"Key": "rotated-by", "Value": function["FunctionArn"]}, secret["Tags"])
        self.assertEqual(used, set(superusers))


def secrets(numbers, superusers, function):
    """The resources of secrets, as a person's template has them."""
    resources = {}
    for number in numbers:
        resources[f"Secret{number}"] = {"Type": "AWS::SecretsManager::Secret", "Properties": {
            "Name": f"app/{number}",
            "GenerateSecretString": {
                "SecretStringTemplate": json.dumps({"username": "app", "host": f"db{number}.example.com", "masterarn": superusers[number]}),
                "GenerateStringKey": "password", "PasswordLength": 32, "ExcludeCharacters": "\"@/\\",
            },
        }}
        resources[f"Schedule{number}"] = {"Type": "AWS::SecretsManager::RotationSchedule", "Properties": {
            "SecretId": {"Ref": f"Secret{number}"}, "RotationLambdaARN": function,
            "RotationRules": {"ScheduleExpression": "rate(30 days)"},
        }}
    return resources


if __name__ == "__main__":
    unittest.main()
