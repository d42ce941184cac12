"""Checks of the template that `sam validate` and cfn-lint do not make: it agrees with the documentation, and moto's CloudFormation can deploy
every combination of functions. UPDATE_DOCS=1 rewrites the table of parameters in docs/deploy.md."""

import ast
import io
import itertools
import json
import logging
import os
import re
import subprocess
import tomllib
import unittest
import zipfile

import no_credentials  # noqa: F401
import boto3
import make_template
from botocore import xform_name
from moto import mock_aws
from samcli.cli.types import CfnParameterOverridesType
from samcli.commands.deploy.guided_config import GuidedConfig
from samcli.lib.providers.sam_function_provider import SamFunctionProvider
from samcli.lib.providers.sam_stack_provider import SamLocalStackProvider
from moto_template import NOT_IN_MOTO, for_moto
from template import PLACEHOLDER, ROOT, Deployment, conditions_used, load, references, sam_transform, sub_parts, walk

# The SAM CLI turns on the log of botocore.
logging.getLogger("botocore").setLevel(logging.WARNING)

WRITTEN = load(ROOT / "template.yaml")
TEMPLATE = sam_transform(WRITTEN)
EXAMPLE = load(ROOT / "examples/deploy/database.yaml")
ALTERNATING = load(ROOT / "examples/deploy/alternating.yaml")
DEPLOY_PAGE = ROOT / "docs/deploy.md"
# Ids begin the names of a function's resources, and names are in what AWS shows.
SUFFIXES = {it["id"]: it["name"] for it in make_template.functions()}
FUNCTIONS = {f"Deploy{it}": it for it in SUFFIXES}
# The fleet's functions rotate nothing themselves: .ci/fleet_test.py looks at what only they have.
FLEET = {"Fleet": "fleet", "FleetPage": "fleet-page", "Leaks": "fleet-leaks"}
SECRET = "arn:aws:secretsmanager:eu-central-1:123456789012:secret:{}-AbCdEf"
KEY = "arn:aws:kms:eu-central-1:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab"
# Turns on everything that is off by default.
EVERYTHING = {
    "SecretNamePrefix": "prod/",
    "SecretTagKey": "team",
    "SecretTagValue": "orders",
    "SuperuserSecretArns": SECRET.format("superuser"),
    "SuperuserSecretNamePrefix": "rds!",
    "AdminSecretArns": SECRET.format("admin"),
    "AdminSecretNamePrefix": "admins/",
    "IssuerSourceArns": "arn:aws:ssm:eu-central-1:123456789012:parameter/issuers/acme",
    "AccountSecretArns": SECRET.format("account"),
    "HostedZoneArns": "arn:aws:route53:::hostedzone/Z1D633PJN98FT9",
    "AllowedDomains": "example.com",
    "Directories": "https://acme-v02.api.letsencrypt.org/directory",
    "AcmCertificateArns": "arn:aws:acm:eu-central-1:123456789012:certificate/1",
    "CertificateObjectArns": "arn:aws:s3:::certificates/*",
    "KmsKeyArns": KEY,
    "CreateKmsKey": "true",
    "VpcSubnetIds": "subnet-0a1b,subnet-2c3d",
    "VpcSecurityGroupIds": "sg-0a1b",
    "LogKmsKeyArn": KEY,
    "AlarmEmail": "someone@example.com",
    "RdsEndpoint": "https://vpce-1.rds.eu-central-1.vpce.amazonaws.com",
    "SsmEndpoint": "https://vpce-1.ssm.eu-central-1.vpce.amazonaws.com",
    "S3Endpoint": "https://bucket.vpce-1.s3.eu-central-1.vpce.amazonaws.com",
    "PublishedObjectArns": "arn:aws:s3:::tokens.example.com/.well-known/jwks.json",
    "PublishedBucketArns": "arn:aws:s3:::tokens.example.com",
    "CloudFrontKeyGroups": "true",
    "PublishedParameterArns": "arn:aws:ssm:eu-central-1:123456789012:parameter/app/jwks",
    "Route53Endpoint": "https://vpce-1.route53.us-east-1.vpce.amazonaws.com",
    "AcmEndpoint": "https://vpce-1.acm.eu-central-1.vpce.amazonaws.com",
    "S3Endpoint": "https://bucket.vpce-1.s3.eu-central-1.vpce.amazonaws.com",
    "LayerArns": "arn:aws:lambda:eu-central-1:123456789012:layer:ca:3",
    "CaBundle": "/opt/ca.pem",
    "Issuers": "ssm:/issuers/acme",
    "Tracing": "Active",
    "ReservedConcurrency": "5",
    "PermissionsBoundaryArn": "arn:aws:iam::123456789012:policy/boundary",
    "RolePath": "/rotation/",
    "DeployFleet": "true",
    "FleetFunctionArns": "arn:aws:lambda:eu-central-1:123456789012:function:orders-postgres",
    "FleetInVpc": "true",
    "RekeyKmsKeyArns": KEY,
    "FingerprintKeySecretArn": SECRET.format("fingerprints"),
    "WebhookSecretArn": SECRET.format("webhook"),
    "GitHubTokenSecretArn": SECRET.format("github"),
    "GitHubApiUrl": "https://github.example.com/api/v3",
    "WebhookRequestsPerSecond": "9",
    "HearAwsFindings": "true",
    "StartOnLeak": "true",
    "AllowPageRuns": "true",
    "StepFunctionsEndpoint": "https://vpce-1.states.eu-central-1.vpce.amazonaws.com",
}
# The fleet with nothing but what it is without other parameters.
PLAIN_FLEET = {"DeployFleet": "true"}
NOTHING = {"WatchSchedule": "never"}


def combinations():
    """Each function alone, all but one, and all, each with as little else as possible, with the defaults, and with everything."""
    count = len(FUNCTIONS)
    for size in sorted({1, count - 1, count}):
        for chosen in itertools.combinations(FUNCTIONS, size):
            for more in (NOTHING, {}, EVERYTHING, *([PLAIN_FLEET] if size == count else [])):
                yield {flag: "true" if flag in chosen else "false" for flag in FUNCTIONS} | more


def deployed(parameters):
    """The names of the functions of such a combination, as in logical ids."""
    return [name for flag, name in FUNCTIONS.items() if parameters[flag] == "true"]


def fleet(parameters):
    """The same, of the fleet's functions."""
    leaks = {"Leaks"} if parameters.get("FingerprintKeySecretArn") else set()
    return sorted({"Fleet", "FleetPage"} | leaks) if parameters.get("DeployFleet") == "true" else []


def groups(template):
    return template["Metadata"]["AWS::CloudFormation::Interface"]["ParameterGroups"]


def accepts(parameter, value):
    """Whether CloudFormation would accept this value."""
    items = value.split(",") if parameter["Type"] == "CommaDelimitedList" else [value]
    if "AllowedPattern" in parameter and not all(re.fullmatch(parameter["AllowedPattern"], it) for it in items):
        return False
    if "AllowedValues" in parameter and value not in map(str, parameter["AllowedValues"]):
        return False
    return not ("MinValue" in parameter and not parameter["MinValue"] <= int(value) <= parameter["MaxValue"])


def alarms(template):
    """The alarms of a template or a deployment."""
    resources = template.resources if isinstance(template, Deployment) else template["Resources"]
    return {name: it for name, it in resources.items() if it["Type"] == "AWS::CloudWatch::Alarm"}


def longest_prefix():
    """The longest NamePrefix that the template accepts."""
    pattern = WRITTEN["Parameters"]["NamePrefix"]["AllowedPattern"]
    return 1 + int(re.search(r"\{0,(\d+)\}", pattern)[1])


def policy_documents(deployment):
    for resource in deployment.resources.values():
        for part in walk(resource):
            # TagPolicy is text, and only denies.
            if isinstance(part, dict) and "Statement" in part.get("PolicyDocument", {}):
                yield resource["Type"], part["PolicyDocument"]


class Parameters(unittest.TestCase):
    def test_each_is_described_and_in_one_group_with_a_label(self):
        labels = WRITTEN["Metadata"]["AWS::CloudFormation::Interface"]["ParameterLabels"]
        grouped = [name for group in groups(WRITTEN) for name in group["Parameters"]]
        self.assertEqual(sorted(grouped), sorted(WRITTEN["Parameters"]))
        self.assertEqual(sorted(labels), sorted(WRITTEN["Parameters"]))
        for name, parameter in WRITTEN["Parameters"].items():
            self.assertGreater(len(parameter.get("Description", "")), 10, name)
            self.assertEqual("AllowedPattern" in parameter, "ConstraintDescription" in parameter, name)

    def test_each_is_used(self):
        for template in (WRITTEN, EXAMPLE, ALTERNATING):
            sections = {name: it for name, it in template.items() if name not in ("Parameters", "Metadata", "Rules")}
            self.assertEqual(sorted(set(template["Parameters"]) - set(references(sections))), [])

    def test_defaults_and_the_values_of_these_tests_are_accepted(self):
        for name, parameter in WRITTEN["Parameters"].items():
            self.assertTrue(accepts(parameter, str(parameter["Default"])), name)
        for name, value in EVERYTHING.items():
            self.assertTrue(accepts(WRITTEN["Parameters"][name], value), name)

    def test_invalid_values_are_refused(self):
        for name, value in {
            "NamePrefix": "a" * (longest_prefix() + 1),
            "SecretTagKey": 'team": "", "x',
            "SecretTagValue": "${aws:PrincipalTag/team}",
            "SecretNamePrefix": "*",
            "SuperuserSecretArns": SECRET.format("a")[:-7],
            "SuperuserSecretNamePrefix": "app*",
            "KmsKeyArns": "alias/mine",
            "WatchSchedule": "daily",
            "LookMissingHours": "169",
            "RunbookUrl": "https://example.com/runbooks/",
            "ExcludeCharacters": ":/@\"'\\",
            "LayerArns": "arn:aws:lambda:eu-central-1:123456789012:layer:ca",
            "CaBundle": "MIIB",
            "Issuers": "acme.yaml",
            "AlarmEmail": "nobody",
            "RolePath": "rotation",
            "ReservedConcurrency": "0",
        }.items():
            self.assertFalse(accepts(WRITTEN["Parameters"][name], value), name)

    def test_the_sam_cli_saves_and_reads_the_defaults_as_they_are(self):
        # `sam deploy --guided` writes them to samconfig.toml, and later deployments read them from there.
        defaults = {name: str(it["Default"]) for name, it in WRITTEN["Parameters"].items()}
        saved = " ".join(f"{name}={GuidedConfig.quote_parameter_values(value)}" for name, value in defaults.items())
        self.assertEqual(CfnParameterOverridesType().convert((saved,), None, None), defaults)

    def test_the_pages_of_functions_deploy_with_parameters_that_exist(self):
        for page, function in ("certificates", "acme-tls"), ("signing-keys", "tokens-signing-key"):
            text = (ROOT / f"docs/{page}.md").read_text(encoding="utf-8").replace("ACCOUNT-ARN", SECRET.format("account"))
            self.assertIn(f"`{function}`", text, page)
            given = dict(re.findall(r"(\w+)=(\S+)", text.split("--parameter-overrides")[1].split("```")[0]))
            for name, value in given.items():
                self.assertTrue(accepts(WRITTEN["Parameters"][name], value), name)
            made = [it for it in Deployment(TEMPLATE, **given).resources.values() if it["Type"] == "AWS::Lambda::Function"]
            names = [it["Properties"]["FunctionName"]["Fn::Sub"].replace("${NamePrefix}", given["NamePrefix"]) for it in made]
            self.assertEqual(names, [function])

    def test_the_page_has_a_table_of_them(self):
        text = DEPLOY_PAGE.read_text(encoding="utf-8")
        begin, end = "<!-- parameters -->\n", "<!-- end of parameters -->\n"
        head, rest = text.split(begin)
        tail = rest.split(end)[1]
        current = head + begin + parameter_table() + end + tail
        if os.environ.get("UPDATE_DOCS"):
            DEPLOY_PAGE.write_text(current, encoding="utf-8")
        else:
            self.assertEqual(text, current, "docs/deploy.md is not up to date: run this with UPDATE_DOCS=1")


def parameter_table():
    lines = []
    for group in groups(WRITTEN):
        lines += [f"\n**{group['Label']['default']}**\n", "| parameter | default | meaning |", "|---|---|---|"]
        for name in group["Parameters"]:
            parameter = WRITTEN["Parameters"][name]
            default = f"`{parameter['Default']}`" if parameter["Default"] != "" else ""
            meaning = parameter["Description"].replace("|", "\\|")
            if "AllowedValues" in parameter and set(parameter["AllowedValues"]) != {"true", "false"}:
                meaning += f" One of {', '.join(f'`{it}`' for it in parameter['AllowedValues'])}."
            lines.append(f"| `{name}` | {default} | {meaning} |")
    return "\n".join(lines) + "\n\n"


class Template(unittest.TestCase):
    def test_each_condition_is_used(self):
        used = set(conditions_used([WRITTEN["Resources"], WRITTEN["Outputs"], WRITTEN["Globals"], WRITTEN["Conditions"]]))
        self.assertEqual(used, set(WRITTEN["Conditions"]))

    def test_the_version_is_that_of_the_workspace(self):
        workspace = tomllib.loads((ROOT / "Cargo.toml").read_text(encoding="utf-8"))["workspace"]["package"]
        metadata = WRITTEN["Metadata"]["AWS::ServerlessRepo::Application"]
        self.assertEqual(metadata["SemanticVersion"], workspace["version"])
        self.assertEqual(metadata["SpdxLicenseId"], workspace["license"])
        for file in (metadata["LicenseUrl"], metadata["ReadmeUrl"]):
            self.assertTrue((ROOT / file).is_file(), file)

    def test_every_reference_of_every_combination_exists(self):
        for parameters in combinations():
            with self.subTest(**parameters):
                deployment = Deployment(TEMPLATE, **parameters)
                self.assertEqual(deployment.dangling(), [])
                self.assertEqual(deployment.missing_dependencies(), [])
                functions = [name for name, it in deployment.resources.items() if it["Type"] == "AWS::Lambda::Function"]
                self.assertEqual(sorted(functions), sorted(f"{it}Function" for it in (*deployed(parameters), *fleet(parameters))))
                for name in deployed(parameters):
                    self.assertTrue({f"{name}FunctionArn", f"{name}RoleArn", f"{name}AttachCommand"} <= set(deployment.outputs))

    def test_each_variable_is_one_that_the_function_reads(self):
        names = SUFFIXES | FLEET
        documented = {name: set() for name in names.values()}
        page = (ROOT / "docs/configuration.md").read_text(encoding="utf-8")
        for variable, whose in re.findall(r"^\| `([A-Z_0-9]+)` \| ([^|]+) \|", page, re.MULTILINE):
            for reader in whose.split(", "):
                for function in SUFFIXES.values() if reader == "all" else [reader]:
                    documented[function].add(variable)
        for name, suffix in names.items():
            given = set(TEMPLATE["Resources"][f"{name}Function"]["Properties"]["Environment"]["Variables"])
            self.assertEqual(given, documented[suffix], suffix)

    def test_only_actions_without_a_narrower_resource_have_the_resource_star(self):
        anything = set()
        for parameters in combinations():
            for kind, document in policy_documents(Deployment(TEMPLATE, **parameters)):
                if kind in ("AWS::IAM::Role", "AWS::IAM::ManagedPolicy"):
                    anything |= {it["Sid"] for it in document["Statement"] if it["Resource"] == "*" and it["Effect"] == "Allow"}
        self.assertEqual(anything, {"FindHostedZones", "FindOverdueRotations", "FindSecretsAlarmsAndCalls", "KeyGroupsOfCloudFront", "NetworkInterfacesForLambda",
                                    "Traces"})

    def test_who_may_begin_a_rotation_may_invoke_the_function_that_carries_it_out(self):
        """Secrets Manager refuses RotateSecret otherwise:
        https://docs.aws.amazon.com/secretsmanager/latest/apireference/API_RotateSecret.html. The lab's Secrets Manager does not ask."""
        for parameters in combinations():
            for _, document in policy_documents(Deployment(TEMPLATE, **parameters)):
                allowed = [it for it in document["Statement"] if it["Effect"] == "Allow"]
                invoked = [resource for it in allowed if "lambda:InvokeFunction" in as_list(it["Action"]) for resource in as_list(it["Resource"])]
                for statement in allowed:
                    if "secretsmanager:RotateSecret" in as_list(statement["Action"]):
                        served = statement["Condition"]["StringEquals"]["secretsmanager:resource/AllowRotationLambdaArn"]
                        self.assertEqual([it for it in as_list(served) if it not in invoked], [], statement["Sid"])

    def test_keys_are_used_through_secrets_manager_in_every_partition(self):
        # AWS's pages have both names for China.
        services = [{"Fn::Sub": f"secretsmanager.${{AWS::Region}}.{it}"} for it in ("amazonaws.com", "${AWS::URLSuffix}")]
        statements = [it for it in walk(WRITTEN["Resources"]["CommonPolicy"]) if isinstance(it, dict) and "kms:Decrypt" in it.get("Action", "")]
        self.assertEqual([it["Sid"] for it in statements], ["KeysOfTheSecrets", "KeyOfThisStack"])
        for statement in statements:
            self.assertEqual(statement["Condition"]["StringEquals"]["kms:ViaService"], services)

    def test_each_statement_is_explained(self):
        page = DEPLOY_PAGE.read_text(encoding="utf-8")
        statements = {it["Sid"] for it in walk(WRITTEN["Resources"]) if isinstance(it, dict) and "Sid" in it}
        statements |= set(re.findall(r'"Sid": "(\w+)"', json.dumps(WRITTEN["Resources"]).replace('\\"', '"')))
        self.assertEqual(sorted(it for it in statements if f"`{it}`" not in page), [])

    def test_each_output_and_alarm_is_explained(self):
        page = DEPLOY_PAGE.read_text(encoding="utf-8")
        names = {re.sub(f"^({'|'.join(SUFFIXES)})", "", it) for it in WRITTEN["Outputs"]}
        for resource in alarms(WRITTEN).values():
            name = resource["Properties"]["AlarmName"]["Fn::Sub"].removeprefix("${NamePrefix}-")
            names.add("\n| `PREFIX-" + re.sub(f"^({'|'.join(SUFFIXES.values())})-", "FUNCTION-", name) + "` |")
        self.assertEqual(sorted(it for it in names if it not in page), [])

    def test_each_alarm_has_a_page_for_the_person_who_is_woken(self):
        alarms = [it["Properties"]["AlarmName"]["Fn::Sub"] for it in WRITTEN["Resources"].values() if it["Type"] == "AWS::CloudWatch::Alarm"]
        self.assertGreater(len(alarms), 5)
        page = (ROOT / "docs/runbooks/README.md").read_text(encoding="utf-8")
        table = page.split("| alarm | consumers | page |")[1].split("\n\n")[0]
        for name in alarms:
            suffix = re.sub(rf"^\$\{{NamePrefix\}}-(({'|'.join(SUFFIXES.values())})-)?", "", name)
            self.assertTrue((ROOT / f"docs/runbooks/alarms/{suffix}.md").is_file(), name)
            self.assertIn(f"-{suffix}`", table, name)
            self.assertIn(f"(alarms/{suffix}.md)", table, name)

    def test_lambda_drops_no_line_of_the_log(self):
        # Lambda treats lines without a level, such as metrics, as INFO.
        for name in (*SUFFIXES, *FLEET):
            properties = TEMPLATE["Resources"][f"{name}Function"]["Properties"]
            self.assertEqual(properties["LoggingConfig"]["ApplicationLogLevel"], "TRACE", name)
            self.assertEqual(properties["Environment"]["Variables"]["LOG_LEVEL"], {"Ref": "LogLevel"}, name)

    def test_services_may_invoke_functions_only_for_this_account(self):
        permissions = [it["Properties"] for it in TEMPLATE["Resources"].values() if it["Type"] == "AWS::Lambda::Permission"]
        # Of the fleet: a schedule, two rules, and the webhook's API.
        self.assertEqual(len(permissions), 2 * len(FUNCTIONS) + 4)
        for permission in permissions:
            if permission["Principal"] == "secretsmanager.amazonaws.com":
                self.assertEqual(permission["SourceAccount"], {"Ref": "AWS::AccountId"})
            elif permission["Principal"] == "apigateway.amazonaws.com":
                self.assertIn("${AWS::AccountId}:${LeakWebhook}/$default/POST/github", permission["SourceArn"]["Fn::Sub"])
            else:
                self.assertEqual(permission["Principal"], "events.amazonaws.com")
                self.assertIn("Fn::GetAtt", permission["SourceArn"])

    def test_an_alarm_has_at_most_ten_metrics(self):
        # "Create an alarm based on a metric math expression", Amazon CloudWatch user guide.
        for name, resource in WRITTEN["Resources"].items():
            metrics = resource["Properties"].get("Metrics", []) if resource["Type"] == "AWS::CloudWatch::Alarm" else []
            self.assertLessEqual(sum("MetricStat" in it for it in metrics), 10, name)
            self.assertEqual(sum(it.get("ReturnData", True) for it in metrics), min(len(metrics), 1), name)
            expression = next((it["Expression"] for it in metrics if "Expression" in it), "")
            for metric in metrics:
                if "MetricStat" in metric:
                    self.assertRegex(expression, rf"\bFILL\({metric['Id']}, 0\)", name)

    def test_an_alarm_rings_again_for_the_next_failure(self):
        # An alarm acts when its state changes, so it has to be OK again before the next look, and soon after a failure.
        for resource in alarms(TEMPLATE).values():
            properties = resource["Properties"]
            name = properties["AlarmName"]["Fn::Sub"]
            periods = {it["Period"] for it in walk(properties) if isinstance(it, dict) and "Period" in it}
            # "Errors" counts three within an hour. CloudWatch looks back a day at most with shorter periods, and a week with these.
            expected = 3600 if name.endswith(("-errors", "-look-missing")) else 300
            self.assertEqual(periods, {expected}, name)
            evaluated = properties["EvaluationPeriods"]
            self.assertEqual(evaluated, {"Ref": "LookMissingHours"} if name.endswith("-look-missing") else 1, name)
            missing = "breaching" if name.endswith("-look-missing") else "notBreaching"
            self.assertEqual(properties["TreatMissingData"], missing, name)
            self.assertEqual(properties["AlarmActions"], [{"Ref": "AlarmTopic"}], name)

    def test_each_function_has_its_alarms_and_the_stack_the_others(self):
        for parameters in combinations():
            watched = parameters.get("WatchSchedule") != "never"
            expected = {"throttled", "step-near-timeout", "failure-rule-broken"}
            expected |= {"rotation-overdue", "watch-rule-broken"} if watched else set()
            expected |= {"journal-not-draining"} if parameters["DeployApiKey"] == "true" else set()
            expected |= {"tls-certificate-expires"} if watched and parameters["DeployTls"] == "true" else set()
            if fleet(parameters):
                expected |= {"fleet-run-failed", "fleet-errors", "fleet-throttled"}
            if "Leaks" in fleet(parameters):
                expected |= {"fleet-credential-leaked", "fleet-fingerprints-missing", "fleet-rule-broken", "fleet-webhook-refused"}
            for function in deployed(parameters):
                own = {"rotation-failed", "errors"} | ({"look-missing"} if watched else set())
                expected |= {f"{SUFFIXES[function]}-{it}" for it in own}
            deployment = Deployment(TEMPLATE, **parameters)
            names = {it["Properties"]["AlarmName"]["Fn::Sub"].removeprefix("${NamePrefix}-") for it in alarms(deployment).values()}
            self.assertEqual(names, expected)

    def test_a_mail_names_the_log_the_first_command_and_the_page(self):
        every = EVERYTHING | dict.fromkeys(FUNCTIONS, "true") | {"NamePrefix": "p" * longest_prefix(), "RunbookUrl": WRITTEN["Parameters"]["RunbookUrl"]["Default"]}
        deployment = Deployment(TEMPLATE, **every)
        failure, = (it["InputTransformer"]["InputTemplate"] for it in deployment.resources["FailureRule"]["Properties"]["Targets"])
        mails = {"rotation-failed": failure}
        for resource in alarms(deployment).values():
            properties = resource["Properties"]
            mails[properties["AlarmName"]["Fn::Sub"].removeprefix("${NamePrefix}-")] = properties["AlarmDescription"]
        for name, text in mails.items():
            with self.subTest(name):
                text, own = sub_parts(text["Fn::Sub"])
                own = {key: " ".join(value["Fn::Join"][1]) for key, value in own.items()}
                own |= {"AWS::Region": "ap-southeast-7", "AlarmTopic": "arn:aws:sns:ap-southeast-7:123456789012:lockstep-" + "t" * 60}
                own |= {"FleetMachine": f"arn:aws:states:ap-southeast-7:123456789012:stateMachine:{'p' * longest_prefix()}-fleet"}
                text = PLACEHOLDER.sub(lambda key: str((deployment.parameters | own)[key[1]]), text)
                # "AlarmDescription", PutMetricAlarm.
                self.assertLessEqual(len(text), 1024)
                _, log, command, page = (it.strip('"') for it in text.split("\n"))
                self.assertRegex(log, r"^Log groups?: (/aws/lambda/|none, )")
                suffix = re.sub(f"^({'|'.join(SUFFIXES.values())})-", "", name)
                self.assertEqual(page, f"What to do: {deployment.parameters['RunbookUrl']}/alarms/{suffix}.md")
                called = re.findall(r"\baws ([a-z0-9]+) ([a-z-]+) ", command.removeprefix("First command: "))
                self.assertTrue(called, command)
                for service, operation in called:
                    # `logs tail` is a command of the AWS CLI's own.
                    known = {xform_name(it, "-") for it in boto3.client(service).meta.service_model.operation_names} | {"tail"}
                    self.assertIn(operation, known)
                subprocess.run(["bash", "-n", "-c", command.removeprefix("First command: ").replace("<secret>", "secret")], check=True)

    def test_each_metric_is_one_that_functions_emit(self):
        page = (ROOT / "docs/observability.md").read_text(encoding="utf-8")
        emitted = set(re.findall(r"^\| `(\w+)` \|", page, re.MULTILINE))
        text = json.dumps(WRITTEN["Resources"]).replace("\\n", " ").replace('\\\\\\"', '"').replace('\\"', '"')
        used = set(re.findall(r'"Namespace": "Lockstep", "MetricName": "(\w+)"', text))
        used |= set(re.findall(r'\["Lockstep", "(\w+)"', text)) | set(re.findall(r'MetricName="(\w+)"', text))
        self.assertGreater(len(used), 10)
        self.assertEqual(sorted(used - emitted), [])


class LocalInvocation(unittest.TestCase):
    """How the SAM CLI reads the template for `sam local invoke`. It cannot evaluate every Fn::If that CloudFormation can. Such a value stays a
    dictionary, and the SAM CLI takes the keys of a dictionary in Layers for ARNs."""

    def test_every_function_is_found_with_its_settings(self):
        functions = functions_for_local_invocation({"Architecture": "arm64", "SuperuserSecretArns": SECRET.format("superuser")})
        self.assertEqual(sorted(functions), sorted(f"{name}Function" for name in (*SUFFIXES, *FLEET)))
        for name, suffix in SUFFIXES.items():
            function = functions[f"{name}Function"]
            found = (function.functionname, function.runtime, function.handler, function.architectures)
            self.assertEqual(found, (f"lockstep-{suffix}", "provided.al2023", "bootstrap", ["arm64"]))
            variables = function.environment["Variables"]
            self.assertEqual(set(variables), set(TEMPLATE["Resources"][f"{name}Function"]["Properties"]["Environment"]["Variables"]))
            self.assertEqual([name for name, value in variables.items() if not isinstance(value, (str, int))], [])

    def test_layers_are_those_of_the_parameter(self):
        layers = [EVERYTHING["LayerArns"], "arn:aws:lambda:eu-central-1:123456789012:layer:issuers:1"]
        for parameters, expected in (({}, []), ({"LayerArns": ""}, []), ({"LayerArns": ",".join(layers)}, layers)):
            for name, function in functions_for_local_invocation(parameters).items():
                with self.subTest(function=name, **parameters):
                    self.assertEqual([layer.arn for layer in function.layers], expected)
                    # The SAM CLI checks the ARN of a layer only when it needs the layer's name.
                    self.assertEqual(len({layer.name for layer in function.layers}), len(expected))


def functions_for_local_invocation(parameters):
    stacks, _ = SamLocalStackProvider.get_stacks(str(ROOT / "template.yaml"), parameter_overrides=parameters)
    return {function.name: function for function in SamFunctionProvider(stacks).get_all()}


class Example(unittest.TestCase):
    def test_nothing_dangles(self):
        for example in (EXAMPLE, ALTERNATING):
            deployment = Deployment(example)
            self.assertEqual((deployment.dangling(), deployment.missing_dependencies()), ([], []))

    def test_the_permission_comes_before_the_schedule(self):
        self.assertEqual(EXAMPLE["Resources"]["Schedule"]["DependsOn"], ["Permission", "Attachment"])
        # The permission is in the nested stack, which is complete before its output is read.
        self.assertEqual(ALTERNATING["Resources"]["Schedule"]["DependsOn"], "Attachment")
        arn = ALTERNATING["Resources"]["Schedule"]["Properties"]["RotationLambdaARN"]
        self.assertEqual(arn, {"Fn::GetAtt": ["Lockstep", "Outputs.PostgresFunctionArn"]})

    def test_deleting_an_example_leaves_host_and_port_in_the_secret(self):
        # Secrets Manager takes them out when the attachment is deleted.
        for example in (EXAMPLE, ALTERNATING):
            for it in (example["Resources"]["Secret"], example["Resources"]["Attachment"]):
                self.assertEqual((it.get("DeletionPolicy"), it.get("UpdateReplacePolicy")), ("Retain", "Retain"))

    def test_the_nested_stack_gets_parameters_that_it_has(self):
        nested = ALTERNATING["Resources"]["Lockstep"]["Properties"]
        self.assertEqual((ROOT / "examples/deploy" / nested["TemplateURL"]).resolve(), ROOT / "template.yaml")
        self.assertLessEqual(set(nested["Parameters"]), set(WRITTEN["Parameters"]))
        self.assertTrue(accepts(WRITTEN["Parameters"]["SuperuserSecretArns"], SECRET.format("rds!db-0a")))

    def test_what_it_imports_is_exported(self):
        exported = {it["Export"]["Name"]["Fn::Sub"] for it in WRITTEN["Outputs"].values() if "Export" in it}
        for part in walk(EXAMPLE):
            if isinstance(part, dict) and "Fn::ImportValue" in part:
                imported = part["Fn::ImportValue"]["Fn::Sub"].replace("${LockstepStack}", "${AWS::StackName}")
                self.assertIn(imported, exported)


class DeployedIntoMoto(unittest.TestCase):
    def test_every_combination(self):
        for parameters in combinations():
            with self.subTest(**parameters), mock_aws():
                stack = deploy("lockstep", TEMPLATE, parameters)
                self.check_functions(stack, parameters)
                self.check_outputs(stack, parameters)
                self.check_policies(stack)
                self.check_rules(parameters)
                self.check_dashboard(parameters)

    def check_functions(self, stack, parameters):
        found = {it["FunctionName"]: it for it in boto3.client("lambda").list_functions()["Functions"]}
        fleets = {f"lockstep-{FLEET[it]}" for it in fleet(parameters)}
        self.assertEqual(sorted(found), sorted({f"lockstep-{SUFFIXES[it]}" for it in deployed(parameters)} | fleets))
        roles = {it["Arn"] for it in boto3.client("iam").list_roles()["Roles"]}
        for function in found.values():
            self.assertIn(function["Role"], roles)
            if function["FunctionName"] in fleets:
                continue
            self.assertEqual(function["Timeout"], 60)
            self.assertEqual(function["Environment"]["Variables"]["EXCLUDE_CHARACTERS"], "\\:/@\"'")
            policy = json.loads(boto3.client("lambda").get_policy(FunctionName=function["FunctionName"])["Policy"])
            principals = {it["Principal"]["Service"] for it in policy["Statement"]}
            watched = {"events.amazonaws.com"} if "WatchSchedule" not in parameters else set()
            self.assertEqual(principals, {"secretsmanager.amazonaws.com"} | watched)
        groups = {it["logGroupName"] for it in boto3.client("logs").describe_log_groups()["logGroups"]}
        self.assertEqual(groups, {f"/aws/lambda/{name}" for name in found})
        self.assertEqual(set(stack["types"]) - NOT_IN_MOTO, stack["made"] - NOT_IN_MOTO)

    def check_outputs(self, stack, parameters):
        for name in deployed(parameters):
            arn = stack["outputs"][f"{name}FunctionArn"]
            self.assertTrue(arn.endswith(f":function:lockstep-{SUFFIXES[name]}"), arn)
            self.assertIn(f"--rotation-lambda-arn {arn} ", stack["outputs"][f"{name}AttachCommand"])
        self.assertEqual("KmsKeyArn" in stack["outputs"], parameters.get("CreateKmsKey") == "true")
        self.assertEqual(stack["outputs"]["DashboardName"], "lockstep-eu-central-1")
        for name, value in stack["outputs"].items():
            self.assertNotRegex(value, r"\$\{|^None$|^$", name)

    def check_policies(self, stack):
        """Every policy is JSON in which every intrinsic function is resolved."""
        iam = boto3.client("iam")
        documents = []
        for policy in iam.list_policies(Scope="Local")["Policies"]:
            version = iam.get_policy_version(PolicyArn=policy["Arn"], VersionId=policy["DefaultVersionId"])["PolicyVersion"]
            documents.append(version["Document"])
        for role in iam.list_roles()["Roles"]:
            documents.append(iam.get_role_policy(RoleName=role["RoleName"], PolicyName="rotation")["PolicyDocument"])
        for document in documents:
            # moto returns the policy of a role as the text of a Python dictionary.
            document = ast.literal_eval(document) if isinstance(document, str) else document
            self.assertNotRegex(json.dumps(document), r"\$\{|AWS::|Fn::")
            for statement in document["Statement"]:
                self.assertTrue({"Effect", "Action", "Resource"} <= set(statement), statement)
                named = statement["Resource"] if isinstance(statement["Resource"], list) else [statement["Resource"]]
                for resource in named:
                    self.assertRegex(resource, r"^(\*|arn:[^,]+)$", statement)
                if statement.get("Sid") in ("SuperuserPasswords", "AdminCredentials"):
                    self.assertEqual([it.rsplit(":", 1)[1][-1] == "*" for it in named], [False, True])

    def check_rules(self, parameters):
        events = boto3.client("events")
        targets = {}
        for rule in events.list_rules()["Rules"]:
            if any(it in rule["Name"] for it in ("Fingerprint", "Health", "GuardDuty")):
                continue
            key = "schedule" if rule.get("ScheduleExpression") else "pattern"
            if key == "pattern":
                filtered = "additionalEventData" in json.loads(rule["EventPattern"])["detail"]
                self.assertEqual(filtered, "SecretNamePrefix" in parameters)
            targets[key] = events.list_targets_by_rule(Rule=rule["Name"])["Targets"]
        watched = [] if "WatchSchedule" in parameters else [SUFFIXES[it] for it in deployed(parameters)]
        self.assertEqual(sorted(it["Id"] for it in targets.get("schedule", [])), sorted(watched))
        for target in targets.get("schedule", []):
            self.assertEqual(json.loads(target["Input"]), {"Step": "watch"})
        self.assertEqual([it["Id"] for it in targets["pattern"]], ["alarms"])

    def check_dashboard(self, parameters):
        cloudwatch = boto3.client("cloudwatch")
        names = [it["DashboardName"] for it in cloudwatch.list_dashboards()["DashboardEntries"]]
        self.assertEqual(sorted(names), [f"lockstep-eu-central-1{it}" for it in ("", "-debug", "-owner")])
        dashboards = [json.loads(cloudwatch.get_dashboard(DashboardName=it)["DashboardBody"]) for it in names]
        for dashboard in dashboards:
            taken = set()
            for widget in dashboard["widgets"]:
                cells = set(itertools.product(
                    range(widget["x"], widget["x"] + widget["width"]), range(widget["y"], widget["y"] + widget["height"])
                ))
                self.assertFalse(cells & taken, widget)
                self.assertLessEqual(widget["x"] + widget["width"], 24)
                taken |= cells
                if widget["type"] == "log":
                    # The log groups of the functions that are deployed, and of no other.
                    groups = re.findall(r"SOURCE '([^']*)' \| ", widget["properties"]["query"])
                    self.assertEqual(len(groups), len(deployed(parameters)), groups)
        alarms = next(it for dashboard in dashboards for it in dashboard["widgets"] if it["type"] == "alarm")["properties"]["alarms"]
        # moto creates no alarms: for_moto has put a text in place of each ARN.
        resources = Deployment(TEMPLATE, **parameters).resources
        made = [f"arn-of-{name}" for name, it in resources.items() if it["Type"] == "AWS::CloudWatch::Alarm"]
        self.assertEqual(sorted(alarms), sorted(made))

    def test_the_person_on_call_reads_values_only_if_the_deployer_says_so(self):
        page = (ROOT / "docs/runbooks/README.md").read_text(encoding="utf-8")
        table = page.split("| permission | on | for |")[1].split("\n\n")[0]
        for reads in ("false", "true"):
            with mock_aws():
                deploy("lockstep", TEMPLATE, PLAIN_FLEET | {"OnCallReadsValues": reads})
                iam = boto3.client("iam")
                documents = {}
                for policy in iam.list_policies(Scope="Local")["Policies"]:
                    version = iam.get_policy_version(PolicyArn=policy["Arn"], VersionId=policy["DefaultVersionId"])["PolicyVersion"]
                    documents |= {it: version["Document"] for it in ("FleetOnCallPolicy", "OnCallPolicy") if f"-{it}-" in policy["PolicyName"]}
            document = documents["OnCallPolicy"]
            allowed = {action.split(":")[1] for it in document["Statement"] for action in as_list(it["Action"])}
            values = {"GetSecretValue", "PutSecretValue"}
            self.assertEqual(values & allowed, values if reads == "true" else set())
            # Rows of the pages' table that are marked.
            for row in re.findall(r"(?m)^\| (.*) \|.*\|.*✓.*\|$", table):
                for action in re.findall(r"`(?:[a-z]+:)?(\w+)`", row):
                    self.assertIn(action, allowed)
            # What the pages of alarms type. Whoever switches a rule on again needs more rights than this.
            complete = {action for those in documents.values() for it in those["Statement"] for action in as_list(it["Action"])}
            self.assertLessEqual(typed_on_call() - {"events:EnableRule"}, complete)
            for statement in document["Statement"]:
                if statement["Resource"] == "*":
                    self.assertFalse([it for it in as_list(statement["Action"]) if not re.search(":(Describe|Get|List|Lookup)", it)])
                elif any(it.startswith("secretsmanager:") for it in as_list(statement["Action"])):
                    self.assertIn("secretsmanager:resource/AllowRotationLambdaArn", statement["Condition"]["StringEquals"])

    def test_the_example_beside_it(self):
        with mock_aws():
            deploy("lockstep", TEMPLATE, {})
            ec2 = boto3.client("ec2")
            vpc = ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
            group = ec2.create_security_group(GroupName="functions", Description="functions", VpcId=vpc)["GroupId"]
            zones = {"10.0.0.0/24": "eu-central-1a", "10.0.1.0/24": "eu-central-1b"}
            subnets = [ec2.create_subnet(VpcId=vpc, CidrBlock=it, AvailabilityZone=zones[it])["Subnet"]["SubnetId"] for it in zones]
            given = {"FunctionSecurityGroupId": group, "VpcId": vpc, "SubnetIds": ",".join(subnets)}
            stack = deploy("orders", EXAMPLE, given)
            self.assertEqual(set(stack["types"]) - NOT_IN_MOTO, stack["made"])
            database, = boto3.client("rds").describe_db_instances()["DBInstances"]
            self.assertEqual((database["DBName"], database["StorageEncrypted"]), ("orders", True))
            self.assertEqual(stack["outputs"]["DatabaseHost"], database["Endpoint"]["Address"])
            policy = json.loads(boto3.client("lambda").get_policy(FunctionName="lockstep-postgres")["Policy"])
            self.assertEqual(sum(it["Principal"]["Service"] == "secretsmanager.amazonaws.com" for it in policy["Statement"]), 2)


def typed_on_call():
    """The actions of the commands of the AWS CLI on the pages of alarms, and on the page of the code that is about the role."""
    folder = ROOT / "docs/runbooks"
    pages = [*(folder / "alarms").glob("*.md"), folder / "codes/service-denied.md"]
    commands = {it for page in pages for it in re.findall(r"\baws ([a-z]+) ([a-z-]+)", page.read_text(encoding="utf-8"))}
    services = {"stepfunctions": "states"}
    # What the CLI calls where its command has another name.
    calls = {("logs", "tail"): "FilterLogEvents"}
    named = lambda name: "".join(it.capitalize() for it in name.split("-"))  # noqa: E731
    return {f"{services.get(service, service)}:{calls.get((service, name), named(name))}" for service, name in commands}


def as_list(value):
    return value if isinstance(value, list) else [value]


def deploy(name, template, parameters):
    """Deploys into moto. Returns the outputs, and the types of resources that the stack should have and does have. Conditions are evaluated
    first, because moto looks for the resources of both branches."""
    deployment = Deployment(template, **parameters)
    cloudformation = boto3.client("cloudformation")
    put_code()
    cloudformation.create_stack(
        StackName=name,
        TemplateBody=json.dumps(for_moto(deployment)),
        Parameters=[{"ParameterKey": key, "ParameterValue": value} for key, value in parameters.items()],
        Capabilities=["CAPABILITY_IAM"],
    )
    stack = cloudformation.describe_stacks(StackName=name)["Stacks"][0]
    made = cloudformation.describe_stack_resources(StackName=name)["StackResources"]
    return {
        "outputs": {it["OutputKey"]: it["OutputValue"] for it in stack.get("Outputs", [])},
        "made": {it["ResourceType"] for it in made},
        "types": {it["Type"] for it in deployment.resources.values()},
    }


def put_code():
    """Creates the zip that the CodeUri of the transformed template names."""
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("bootstrap", "")
    s3 = boto3.client("s3")
    if s3.list_buckets()["Buckets"]:
        return
    s3.create_bucket(Bucket="artifacts", CreateBucketConfiguration={"LocationConstraint": "eu-central-1"})
    s3.put_object(Bucket="artifacts", Key="function.zip", Body=archive.getvalue())


if __name__ == "__main__":
    unittest.main()
