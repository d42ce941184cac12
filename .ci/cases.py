"""What is deployed with each tool, to compare them: each function, with the defaults and with every setting, as the template has it."""

import functools
import json
import re
import tomllib
import unittest
import zipfile
from pathlib import Path

import no_credentials  # noqa: F401
import deployed
from deployed import of_cloudformation
from template import ROOT, Deployment, conditions_used, load, references, sam_transform

TEMPLATE = sam_transform(load(ROOT / "template.yaml"))
PARAMETERS = TEMPLATE["Parameters"]
WORKSPACE = tomllib.loads((ROOT / "Cargo.toml").read_text(encoding="utf-8"))["workspace"]["package"]
IDS = {it["name"]: it["id"] for it in (load(file) for file in sorted((ROOT / "release/template/functions").glob("*.yaml")))}
FUNCTIONS = {kind: f"Deploy{name}" for kind, name in IDS.items()}


def readers(parameter):
    """The functions that a parameter concerns: those whose settings or role mention it, or all, if none does."""
    through = {name for name, it in TEMPLATE["Conditions"].items() if parameter in references(it)}
    through |= {name for name, it in TEMPLATE["Conditions"].items() if through & set(conditions_used([it]))}
    parts = {kind: [TEMPLATE["Resources"][f"{name}{it}"]["Properties"] for it in ("Function", "Role")] for kind, name in IDS.items()}
    return {kind for kind, it in parts.items() if parameter in references(it) or through & set(conditions_used(it))} or set(FUNCTIONS)


SECRET = "arn:aws:secretsmanager:eu-central-1:123456789012:secret:{}-AbCdEf"
KEY = "arn:aws:kms:eu-central-1:123456789012:key/1234abcd-12ab-34cd-56ef-0000000000{}"
# A value that is not the default, for each parameter.
EVERYTHING = {
    "NamePrefix": "mine", "SecretNamePrefix": "prod/", "SecretTagKey": "team", "SecretTagValue": "orders",
    "SuperuserSecretArns": f"{SECRET.format('a')},{SECRET.format('b')}", "SuperuserSecretNamePrefix": "super/",
    "AdminSecretArns": SECRET.format("admin"), "AdminSecretNamePrefix": "admin/",
    "IssuerSourceArns": "arn:aws:ssm:eu-central-1:123456789012:parameter/issuers/acme", "KmsKeyArns": f"{KEY.format('01')},{KEY.format('02')}",
    "PublishedObjectArns": "arn:aws:s3:::keys/prod/jwks.json,arn:aws:s3:::keys/prod/more.json", "PublishedBucketArns": "arn:aws:s3:::keys",
    "PublishedParameterArns": "arn:aws:ssm:eu-central-1:123456789012:parameter/keys/jwks", "AccountSecretArns": SECRET.format("account"),
    "HostedZoneArns": "arn:aws:route53:::hostedzone/Z1D633PJN98FT9,arn:aws:route53:::hostedzone/Z2FDTNDATAQYW2",
    "ChallengeNames": "_acme-challenge.*,*.validation.example", "AllowedDomains": "example.com,example.org",
    "Directories": "https://acme.example/directory", "EndpointHosts": "lb.example.com,10.0.0.7", "AcmCertificateArns": "arn:aws:acm:eu-central-1:123456789012:certificate/1234abcd",
    "CertificateObjectArns": "arn:aws:s3:::certificates/prod/*", "S3Endpoint": "https://s3.example", "Route53Endpoint": "https://route53.example",
    "AcmEndpoint": "https://acm.example", "PublishedPlaces": "app/*=s3://keys/prod/jwks.json,cloudfront:4b4f0d1e", "CloudFrontKeyGroups": "true",
    "VerifyHosts": "tokens.example.com,b.example:8443",
    "VpcSubnetIds": "subnet-0a1b,subnet-2c3d", "VpcSecurityGroupIds": "sg-0a1b,sg-2c3d",
    "SecretsManagerEndpoint": "https://sm.example", "RdsEndpoint": "https://rds.example", "SsmEndpoint": "https://ssm.example",
    "AlarmEmail": "someone@example.com", "WatchSchedule": "rate(12 hours)", "LookMissingHours": "14", "RunbookUrl": "https://wiki.example/runbooks",
    "LogLevel": "DEBUG", "LogRetentionDays": "30", "LogKmsKeyArn": KEY.format("03"), "Tracing": "Active",
    "PasswordLength": "40", "ExcludeCharacters": "abc", "ExcludeNumbers": "true", "ExcludePunctuation": "true", "ExcludeUppercase": "true",
    "ExcludeLowercase": "true", "RequireEachIncludedType": "false", "CaBundle": "/opt/ca.pem", "MaxRefusedLogins": "3",
    "AllowPowerfulRoles": "true", "AllowMd5": "true", "UsernameCharacterLimit": "20", "Issuers": "ssm:/issuers/acme,file:/opt/b.yaml",
    "AllowedHosts": "okta=login.example.com,okta=b.example.com", "AllowedPrivateHosts": "gitlab=git.internal.example",
    "AllowUnprovenKeys": "true", "IssuerEndpointUrl": "https://proxy.example", "AllowRecover": "true", "AllowRotateNow": "true", "AllowRetire": "true", "Architecture": "arm64",
    "LayerArns": "arn:aws:lambda:eu-central-1:123456789012:layer:ca:3", "MemorySize": "512", "Timeout": "90", "ReservedConcurrency": "5",
    "PermissionsBoundaryArn": "arn:aws:iam::123456789012:policy/boundary", "RolePath": "/rotation/",
}
# The constructs and the module have no such parameters.
OTHERWISE = {*FUNCTIONS.values(), "CreateKmsKey", "OnCallReadsValues"}


def table(part):
    """The rows of a table of settings: parameters, properties, variables, and what differs."""
    for line in (ROOT / "docs/settings.md").read_text(encoding="utf-8").split("## The fleet")[part].splitlines():
        if line.startswith("| ") and not line.startswith("| SAM"):
            *cells, differs = [it.strip() for it in line.strip("|").split("|")]
            yield (*(re.findall(r"`([\w.]+)`", it) for it in cells), differs)


ROWS, FLEET_ROWS = list(table(0)), list(table(1))
# .ci/fleet_tools_test.py compares what these do.
OF_THE_FLEET = {it for parameters, *_ in FLEET_ROWS for it in parameters}
PROPERTY = {parameters[0]: properties[0] for parameters, properties, *_ in ROWS if len(parameters) == 1 and properties}
VARIABLE = {parameters[0]: variables[0] for parameters, _, variables, _ in ROWS if len(parameters) == 1 and variables}


def given(kind, full):
    """The parameters of a case."""
    if not full:
        return {}
    return {name: value for name, value in EVERYTHING.items() if kind in readers(name)}


CASES = {f"{kind}-{'full' if full else 'plain'}": (kind, given(kind, full)) for kind in FUNCTIONS for full in (False, True)}


def named(kind, values):
    """The name of the function, and the prefix."""
    prefix = values.get("NamePrefix", "lockstep")
    return f"{prefix}-{kind}", prefix


@functools.cache
def of_sam():
    return {case: of_template(kind, values) for case, (kind, values) in CASES.items()}


def of_template(kind, values):
    flags = {flag: str(it == kind).lower() for it, flag in FUNCTIONS.items()}
    deployment = Deployment(TEMPLATE, **flags, **values)
    parameters = {}
    for name, value in deployment.parameters.items():
        listed = PARAMETERS[name]["Type"] == "CommaDelimitedList"
        parameters[name] = [it for it in value.split(",") if it] if listed else int(value) if PARAMETERS[name]["Type"] == "Number" else value
    resources = json.loads(json.dumps(deployment.resources))
    for it in resources.values():
        # TagPolicy is text, because a key of YAML cannot contain a parameter.
        document = it.get("Properties", {}).get("PolicyDocument")
        if isinstance(document, dict) and "Fn::Sub" in document:
            it["Properties"]["PolicyDocument"] = json.loads(deployed.Resolver(resources, parameters)(document))
    found = of_cloudformation(resources, parameters, kind, *named(kind, values))
    found.attach = deployed.Resolver(resources, parameters)(deployment.outputs[f"{IDS[kind]}AttachCommand"]["Value"])
    return found


def zips_of_a_release(directory):
    for kind in (*FUNCTIONS, "fleet"):
        for architecture in ("x86_64", "arm64"):
            path = Path(directory, f"lockstep-{kind}-{architecture}.zip")
            with zipfile.ZipFile(path, "w") as archive:
                archive.writestr("bootstrap", f"{kind} {architecture}")
            yield path


class Same(unittest.TestCase):
    """What is compared, for one tool."""

    maxDiff = None

    def check(self, tool):
        for case, expected in of_sam().items():
            for part, value in parts(expected).items():
                with self.subTest(case=case, part=part):
                    self.assertEqual(parts(tool[case])[part], value)


def parts(it):
    """What a function has, as text that shows where two differ."""
    statements = lambda those: sorted(str([sorted(map(str, part)) if isinstance(part, frozenset) else part for part in one]) for one in those)  # noqa: E731
    found = {
        "function": it.function, "environment": it.environment, "log": it.log, "role": it.role, "permissions": it.permissions,
        "subscriptions": it.subscriptions, "rules": it.rules, "alarms": sorted(it.alarms),
        "attach": it.attach.strip(), "key": it.key,
        "role's statements": statements(it.role_statements), "topic's statements": statements(it.topic_statements),
        # The CDK's own statement for the account has no name.
        "key's statements": statements(one[1:] for one in it.key_statements),
    }
    for suffix, (text, actions, rings) in it.alarms.items():
        found[f"alarm {suffix}"] = text, actions, sorted(map(str, rings))
    return found
