"""Checks of the template that `sam validate` and cfn-lint do not make: it agrees with the documentation, and moto's CloudFormation can deploy
every combination of functions. UPDATE_DOCS=1 rewrites the table of parameters in docs/deploy.md."""

import ast
import io
import itertools
import json
import logging
import os
import re
import tomllib
import unittest
import zipfile

import no_credentials  # noqa: F401
import boto3
import make_template
from moto import mock_aws
from samcli.cli.types import CfnParameterOverridesType
from samcli.commands.deploy.guided_config import GuidedConfig
from samcli.lib.providers.sam_function_provider import SamFunctionProvider
from samcli.lib.providers.sam_stack_provider import SamLocalStackProvider
from template import PLACEHOLDER, ROOT, Deployment, conditions_used, load, references, sam_transform, walk

# The SAM CLI turns on the log of botocore.
logging.getLogger("botocore").setLevel(logging.WARNING)

WRITTEN = load(ROOT / "template.yaml")
TEMPLATE = sam_transform(WRITTEN)
EXAMPLE = load(ROOT / "examples/deploy/database.yaml")
DEPLOY_PAGE = ROOT / "docs/deploy.md"
# Ids begin the names of a function's resources, and names are in what AWS shows.
SUFFIXES = {it["id"]: it["name"] for it in make_template.functions()}
FUNCTIONS = {f"Deploy{it}": it for it in SUFFIXES}
SECRET = "arn:aws:secretsmanager:eu-central-1:123456789012:secret:{}-AbCdEf"
KEY = "arn:aws:kms:eu-central-1:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab"
# Turns on everything that is off by default.
EVERYTHING = {
    "SecretNamePrefix": "prod/",
    "SecretTagKey": "team",
    "SecretTagValue": "orders",
    "SuperuserSecretArns": SECRET.format("superuser"),
    "AdminSecretArns": SECRET.format("admin"),
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
}
NOTHING = {"WatchSchedule": "never"}
# Resource types that moto's CloudFormation does not create (version 5.2.1). It has to create all others.
NOT_IN_MOTO = {
    "AWS::CloudWatch::Alarm",
    "AWS::SNS::Subscription",
    "AWS::SNS::TopicPolicy",
    "AWS::SecretsManager::RotationSchedule",
    "AWS::SecretsManager::Secret",
    "AWS::SecretsManager::SecretTargetAttachment",
}


def combinations():
    """Each function alone, all but one, and all, each with as little else as possible, with the defaults, and with everything."""
    count = len(FUNCTIONS)
    for size in sorted({1, count - 1, count}):
        for chosen in itertools.combinations(FUNCTIONS, size):
            for more in (NOTHING, {}, EVERYTHING):
                yield {flag: "true" if flag in chosen else "false" for flag in FUNCTIONS} | more


def deployed(parameters):
    """The names of the functions of such a combination, as in logical ids."""
    return [name for flag, name in FUNCTIONS.items() if parameters[flag] == "true"]


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
        for template in (WRITTEN, EXAMPLE):
            sections = {name: it for name, it in template.items() if name not in ("Parameters", "Metadata", "Rules")}
            self.assertEqual(sorted(set(template["Parameters"]) - set(references(sections))), [])

    def test_defaults_and_the_values_of_these_tests_are_accepted(self):
        for name, parameter in WRITTEN["Parameters"].items():
            self.assertTrue(accepts(parameter, str(parameter["Default"])), name)
        for name, value in EVERYTHING.items():
            self.assertTrue(accepts(WRITTEN["Parameters"][name], value), name)

    def test_invalid_values_are_refused(self):
        for name, value in {
            "NamePrefix": "a" * 56,
            "SecretTagKey": 'team": "", "x',
            "SecretTagValue": "${aws:PrincipalTag/team}",
            "SecretNamePrefix": "*",
            "SuperuserSecretArns": SECRET.format("a")[:-7],
            "KmsKeyArns": "alias/mine",
            "WatchSchedule": "daily",
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
                self.assertEqual(sorted(functions), sorted(f"{it}Function" for it in deployed(parameters)))
                for name in deployed(parameters):
                    self.assertTrue({f"{name}FunctionArn", f"{name}RoleArn", f"{name}AttachCommand"} <= set(deployment.outputs))

    def test_each_variable_is_one_that_the_function_reads(self):
        documented = {name: set() for name in SUFFIXES.values()}
        page = (ROOT / "docs/configuration.md").read_text(encoding="utf-8")
        for variable, whose in re.findall(r"^\| `([A-Z_0-9]+)` \| ([^|]+) \|", page, re.MULTILINE):
            readers = SUFFIXES.values() if whose == "all" else whose.split(", ")
            for function in readers:
                documented[function].add(variable)
        for name, suffix in SUFFIXES.items():
            given = set(TEMPLATE["Resources"][f"{name}Function"]["Properties"]["Environment"]["Variables"])
            self.assertEqual(given, documented[suffix], suffix)

    def test_only_actions_without_a_narrower_resource_have_the_resource_star(self):
        anything = set()
        for parameters in combinations():
            for kind, document in policy_documents(Deployment(TEMPLATE, **parameters)):
                if kind in ("AWS::IAM::Role", "AWS::IAM::ManagedPolicy"):
                    anything |= {it["Sid"] for it in document["Statement"] if it["Resource"] == "*" and it["Effect"] == "Allow"}
        self.assertEqual(anything, {"FindHostedZones", "FindOverdueRotations", "NetworkInterfacesForLambda", "Traces"})

    def test_each_statement_is_explained(self):
        page = DEPLOY_PAGE.read_text(encoding="utf-8")
        statements = {it["Sid"] for it in walk(WRITTEN["Resources"]) if isinstance(it, dict) and "Sid" in it}
        statements |= set(re.findall(r'"Sid": "(\w+)"', json.dumps(WRITTEN["Resources"]).replace('\\"', '"')))
        self.assertEqual(sorted(it for it in statements if f"`{it}`" not in page), [])

    def test_each_output_and_alarm_is_explained(self):
        page = DEPLOY_PAGE.read_text(encoding="utf-8")
        alarms = {name for name, it in WRITTEN["Resources"].items() if it["Type"] == "AWS::CloudWatch::Alarm"}
        names = {re.sub(f"^({'|'.join(SUFFIXES)})", "", it) for it in alarms | set(WRITTEN["Outputs"])}
        self.assertEqual(sorted(it for it in names if it not in page), [])

    def test_lambda_drops_no_line_of_the_log(self):
        # Lambda treats lines without a level, such as metrics, as INFO.
        for name in SUFFIXES:
            properties = TEMPLATE["Resources"][f"{name}Function"]["Properties"]
            self.assertEqual(properties["LoggingConfig"]["ApplicationLogLevel"], "TRACE", name)
            self.assertEqual(properties["Environment"]["Variables"]["LOG_LEVEL"], {"Ref": "LogLevel"}, name)

    def test_services_may_invoke_functions_only_for_this_account(self):
        permissions = [it["Properties"] for it in TEMPLATE["Resources"].values() if it["Type"] == "AWS::Lambda::Permission"]
        self.assertEqual(len(permissions), 2 * len(FUNCTIONS))
        for permission in permissions:
            if permission["Principal"] == "secretsmanager.amazonaws.com":
                self.assertEqual(permission["SourceAccount"], {"Ref": "AWS::AccountId"})
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
        self.assertEqual(sorted(functions), sorted(f"{name}Function" for name in SUFFIXES))
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
        deployment = Deployment(EXAMPLE)
        self.assertEqual((deployment.dangling(), deployment.missing_dependencies()), ([], []))

    def test_the_permission_comes_before_the_schedule(self):
        self.assertEqual(EXAMPLE["Resources"]["Schedule"]["DependsOn"], ["Permission", "Attachment"])

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
        self.assertEqual(sorted(found), sorted(f"lockstep-{SUFFIXES[it]}" for it in deployed(parameters)))
        roles = {it["Arn"] for it in boto3.client("iam").list_roles()["Roles"]}
        for function in found.values():
            self.assertIn(function["Role"], roles)
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

    def check_rules(self, parameters):
        events = boto3.client("events")
        targets = {}
        for rule in events.list_rules()["Rules"]:
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
        dashboard = json.loads(boto3.client("cloudwatch").get_dashboard(DashboardName="lockstep-eu-central-1")["DashboardBody"])
        taken = set()
        for widget in dashboard["widgets"]:
            cells = set(itertools.product(
                range(widget["x"], widget["x"] + widget["width"]), range(widget["y"], widget["y"] + widget["height"])
            ))
            self.assertFalse(cells & taken, widget)
            self.assertLessEqual(widget["x"] + widget["width"], 24)
            taken |= cells
        alarms = next(it for it in dashboard["widgets"] if it["type"] == "alarm")["properties"]["alarms"]
        # moto creates no alarms: for_moto has put a text in place of each ARN.
        resources = Deployment(TEMPLATE, **parameters).resources
        made = [f"arn-of-{name}" for name, it in resources.items() if it["Type"] == "AWS::CloudWatch::Alarm"]
        self.assertEqual(sorted(alarms), sorted(made))

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


def deploy(name, template, parameters):
    """Deploys into moto. Returns the outputs, and the types of resources that the stack should have and does have. Conditions are evaluated
    first, because moto looks for the resources of both branches."""
    deployment = Deployment(template, **parameters)
    body = {
        "Parameters": template["Parameters"],
        "Mappings": template.get("Mappings", {}),
        "Resources": {name: it for name, it in deployment.resources.items() if it["Type"] not in NOT_IN_MOTO},
        "Outputs": deployment.outputs,
    }
    for part in ("Resources", "Outputs"):
        body[part] = {name: {key: it[key] for key in it if key != "Condition"} for name, it in body[part].items()}
    unknown = set(deployment.resources) - set(body["Resources"])
    cloudformation = boto3.client("cloudformation")
    put_code()
    cloudformation.create_stack(
        StackName=name,
        TemplateBody=json.dumps(for_moto(body, unknown, deployment.parameters)),
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


def for_moto(body, unknown, parameters):
    """Puts a text in place of each reference to a resource that moto does not create, and a dictionary in place of the policy that is text."""
    body = json.loads(json.dumps(body))
    for part in walk(body):
        if not isinstance(part, dict):
            continue
        if part.get("Ref") in unknown:
            part["Fn::Sub"] = f"ref-of-{part.pop('Ref')}"
        if isinstance(part.get("Fn::Sub"), str):
            for name in unknown:
                part["Fn::Sub"] = part["Fn::Sub"].replace(f"${{{name}.Arn}}", f"arn-of-{name}").replace(f"${{{name}}}", f"ref-of-{name}")
        if "Fn::Sub" in part.get("PolicyDocument", {}):
            part["PolicyDocument"] = json.loads(filled_in(part["PolicyDocument"]["Fn::Sub"], parameters))
    return body


def filled_in(text, parameters):
    """The result of Fn::Sub for a text that refers only to parameters."""
    pseudo = {"AWS::Partition": "aws", "AWS::Region": "eu-central-1", "AWS::AccountId": "123456789012"}
    return PLACEHOLDER.sub(lambda name: (parameters | pseudo)[name[1]], text)


if __name__ == "__main__":
    unittest.main()
