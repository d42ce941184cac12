"""A fleet is the same with SAM, the CDK and Terraform."""

import functools
import json
import re
import shutil
import unittest

import no_credentials  # noqa: F401
import cdk_test
import deployed
import terraform_test
from cases import EVERYTHING, FLEET_ROWS, FUNCTIONS, KEY, PROPERTY, ROOT, SECRET, VARIABLE
from deployed import as_list, statements
from fleet_test import ACCOUNT, REGION, resolved

TOPIC = f"arn:aws:sns:{REGION}:{ACCOUNT}:TOPIC"
# Settings that a fleet has like a rotation function.
SHARED = (
    "NamePrefix", "SecretNamePrefix", "SecretTagKey", "SecretTagValue", "KmsKeyArns", "VpcSubnetIds", "VpcSecurityGroupIds", "SecretsManagerEndpoint",
    "SsmEndpoint", "RunbookUrl", "LogLevel", "LogRetentionDays", "LogKmsKeyArn", "Tracing", "Architecture", "LayerArns", "MemorySize", "Timeout",
    "CaBundle", "PermissionsBoundaryArn", "RolePath",
)
OTHER = f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:orders-postgres"
OWN = {
    "FleetFunctionArns": OTHER, "FleetInVpc": "true", "RekeyKmsKeyArns": KEY.format("07"), "FingerprintKeySecretArn": SECRET.format("fingerprints"),
    "FingerprintSchedule": "rate(12 hours)", "WebhookSecretArn": SECRET.format("webhook"), "WebhookRequestsPerSecond": "9", "HearAwsFindings": "true",
    "GitHubTokenSecretArn": SECRET.format("github"), "GitHubApiUrl": "https://github.example.com/api/v3", "StartOnLeak": "true", "AllowPageRuns": "true",
    "StepFunctionsEndpoint": "https://states.example",
}
CASES = {"plain": {}, "leaks": {"FingerprintKeySecretArn": SECRET.format("fingerprints")}, "full": {it: EVERYTHING[it] for it in SHARED} | OWN}


def names(column):
    """The name of each parameter with another tool."""
    rows = {row[0][0]: row[column][0] for row in FLEET_ROWS if row[0] and row[column]}
    return {it: (PROPERTY if column == 1 else VARIABLE)[it] for it in SHARED} | rows


def with_functions(values):
    """The values, with the functions of a stack of SAM among those that are named."""
    prefix = values.get("NamePrefix", "lockstep")
    own = [f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:{prefix}-{kind}" for kind in FUNCTIONS]
    return values | {"FleetFunctionArns": ",".join([*own, *([OTHER] if "FleetFunctionArns" in values else [])])}


def words(description):
    """Which rule it is."""
    return next(word for word in ("fingerprints", "Health", "GuardDuty") if word in description)


class Normal:
    """What a fleet is, without the names that a tool chooses."""

    def __init__(self, prefix):
        self.prefix = prefix
        self.found = {}
        self.rules = {}

    def put(self, *path, value):
        self.found[" / ".join(path)] = value

    def statements(self, document):
        """Denials concern more functions in a stack than in a construct."""
        own = {f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:{self.prefix}-{it}" for it in ("fleet", "fleet-page", "fleet-leaks")}
        for sid, effect, actions, resources, principals, conditions in statements(document):
            if effect == "Deny":
                rotation = {f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:{self.prefix}-{kind}" for kind in FUNCTIONS}
                limit = own if sid == "NetworkInterfacesNotForTheCode" else rotation
                conditions = frozenset((test, key, values & limit or values) for test, key, values in conditions)
            yield str((sid, effect, sorted(actions), sorted(resources), sorted(principals), sorted(map(str, ((t, k, sorted(v)) for t, k, v in conditions)))))

    def alarm(self, name, text, actions, metrics, threshold, comparison, periods, missing):
        least = {"GreaterThanThreshold": threshold + 1, "GreaterThanOrEqualToThreshold": threshold}[comparison]
        metrics = sorted(str(it) for it in metrics if ("RuleName", "none") not in it[2])
        self.put("alarm", name, value=(text, actions, metrics, least, periods, missing))

    def dimensions(self, pairs):
        return tuple(sorted((name, "API" if name == "ApiId" else self.rules.get(value, value)) for name, value in pairs))


def of_cloudformation(resources, prefix, statements_of_managed=lambda _: []):
    """Of resources in which everything is filled in."""
    it = Normal(prefix)
    of = lambda kind: [(name, resource["Properties"]) for name, resource in resources.items() if resource["Type"] == kind]  # noqa: E731
    about_fleet = lambda name: name.startswith(f"{prefix}-fleet")  # noqa: E731
    roles = {f"AWS::IAM::Role {name}": role for name, role in of("AWS::IAM::Role")}

    def put_role(who, arn):
        role = roles[arn]
        documents = [policy["PolicyDocument"] for policy in role["Policies"]] + statements_of_managed(role)
        it.put("role", who, value=(role["Description"], role.get("Path", "/"), role.get("PermissionsBoundary")))
        it.put("statements", who, value=sorted(text for document in documents for text in it.statements(document)))
        it.put("trust", who, value=sorted(it.statements(with_resource(role["AssumeRolePolicyDocument"]))))

    for _, p in of("AWS::Lambda::Function"):
        if about_fleet(name := p["FunctionName"]):
            network = p.get("VpcConfig", {})
            it.put("function", name, value={
                "description": p["Description"], "timeout": int(p["Timeout"]), "memory": int(p["MemorySize"]), "architectures": p["Architectures"],
                "runtime": p["Runtime"], "handler": p["Handler"], "tracing": p.get("TracingConfig", {}).get("Mode", "PassThrough"),
                "layers": p.get("Layers") or [], "subnets": sorted(network.get("SubnetIds", [])), "groups": sorted(network.get("SecurityGroupIds", [])),
                "level": p["LoggingConfig"]["ApplicationLogLevel"], "variables": variables(p["Environment"]["Variables"]), "reserved": p.get("ReservedConcurrentExecutions"),
            })
            put_role(name, p["Role"])
    for _, p in of("AWS::Logs::LogGroup"):
        if about_fleet(name := p["LogGroupName"].removeprefix("/aws/lambda/")):
            it.put("log", name, value=(int(p["RetentionInDays"]), p.get("KmsKeyId")))
    (_, machine), = of("AWS::StepFunctions::StateMachine")
    it.put("machine", value=(machine["StateMachineName"], machine["StateMachineType"], machine["TracingConfiguration"]["Enabled"], machine["DefinitionString"].strip()))
    put_role("machine", machine["RoleArn"])
    (_, flag), = of("AWS::SSM::Parameter")
    it.put("stop", value=(flag["Name"], flag["Type"], flag["Value"], flag["Description"]))
    rules = {name: p for name, p in of("AWS::Events::Rule") if any(word in p["Description"] for word in ("fingerprints", "exposed", "findings"))}
    for name, p in rules.items():
        it.rules |= {name: words(p["Description"]), f"rule {name}": words(p["Description"])}
        target, = p["Targets"]
        it.put("rule", words(p["Description"]), value=(p["Description"], p.get("ScheduleExpression"), p.get("EventPattern"), target["Arn"], asked(target.get("Input"))))
    for _, p in of("AWS::Lambda::Permission"):
        function = p["FunctionName"].split(":")[-1]
        if about_fleet(function):
            source = "API" if "execute-api" in p["SourceArn"] else it.rules[p["SourceArn"]]
            it.put("permission", source, value=(p["Action"], function, p["Principal"]))
    for _, p in of("AWS::ApiGatewayV2::Api"):
        it.put("api", value=(p["Name"], p["Description"], p["ProtocolType"]))
    for _, p in of("AWS::ApiGatewayV2::Integration"):
        it.put("integration", value=(p["IntegrationType"], p["IntegrationUri"], p["PayloadFormatVersion"]))
    for _, p in of("AWS::ApiGatewayV2::Route"):
        it.put("route", value=(p["RouteKey"], p["AuthorizationType"]))
    for _, p in of("AWS::ApiGatewayV2::Stage"):
        limits = p["DefaultRouteSettings"]
        it.put("stage", value=(p["StageName"], p["AutoDeploy"], int(limits["ThrottlingRateLimit"]), int(limits["ThrottlingBurstLimit"])))
    for _, p in of("AWS::Logs::MetricFilter"):
        made, = p["MetricTransformations"]
        it.put("filter", p["LogGroupName"], value=(p["FilterPattern"], made["MetricNamespace"], made["MetricName"], made["MetricValue"]))
    for _, p in of("AWS::IAM::ManagedPolicy"):
        if "runs of" in p["Description"]:
            it.put("on call", value=(p["Description"], p.get("Path", "/"), sorted(it.statements(p["PolicyDocument"]))))
    for _, p in of("AWS::CloudWatch::Alarm"):
        if about_fleet(p["AlarmName"]):
            those = [part["MetricStat"] for part in p.get("Metrics", []) if "MetricStat" in part]
            metrics = [(m["Metric"]["Namespace"], m["Metric"]["MetricName"], it.dimensions((d["Name"], d["Value"]) for d in m["Metric"].get("Dimensions", [])), m["Stat"], m["Period"])
                       for m in those]
            metrics = metrics or [(p["Namespace"], p["MetricName"], it.dimensions((d["Name"], d["Value"]) for d in p.get("Dimensions", [])), p["Statistic"], p["Period"])]
            it.alarm(p["AlarmName"], p["AlarmDescription"], [TOPIC if a == "TOPIC" else a for a in p["AlarmActions"]], metrics, p["Threshold"],
                     p["ComparisonOperator"], p["EvaluationPeriods"], p["TreatMissingData"])
    return it.found


def asked(text):
    """What a rule hands to its function. The order of functions means nothing."""
    given = json.loads(text or "null")
    if given and "functions" in given.get("Select", {}):
        given["Select"]["functions"].sort()
    return given


def with_resource(document):
    """A trust policy names no resource."""
    return {"Statement": [{"Resource": []} | it for it in document["Statement"]]}


def variables(those):
    """Without those that are empty, which is the same as none, and those that the SAM CLI needs."""
    return {name: str(value) for name, value in those.items() if value != ""}


def of_plan(plan, prefix):
    it = Normal(prefix)
    of = lambda kind: [values for its, values in plan if its == kind]  # noqa: E731
    roles = {role["arn"]: role for role in of("aws_iam_role")}

    def put_role(who, arn):
        role = roles[arn]
        documents = [json.loads(p["policy"]) for p in of("aws_iam_role_policy") if p["role"] == role["name"]]
        it.put("role", who, value=(role["description"], role["path"], role["permissions_boundary"]))
        it.put("statements", who, value=sorted(text for document in documents for text in it.statements(document)))
        it.put("trust", who, value=sorted(it.statements(with_resource(json.loads(role["assume_role_policy"])))))

    for p in of("aws_lambda_function"):
        network, = p["vpc_config"] or [{}]
        it.put("function", p["function_name"], value={
            "description": p["description"], "timeout": p["timeout"], "memory": p["memory_size"], "architectures": p["architectures"], "runtime": p["runtime"],
            "handler": p["handler"], "tracing": p["tracing_config"][0]["mode"], "layers": p["layers"] or [], "subnets": sorted(network.get("subnet_ids", [])),
            "groups": sorted(network.get("security_group_ids", [])), "level": p["logging_config"][0]["application_log_level"],
            "variables": variables(p["environment"][0]["variables"]), "reserved": p["reserved_concurrent_executions"],
        })
        put_role(p["function_name"], p["role"])
    for p in of("aws_cloudwatch_log_group"):
        it.put("log", p["name"].removeprefix("/aws/lambda/"), value=(p["retention_in_days"], p["kms_key_id"]))
    machine, = of("aws_sfn_state_machine")
    it.put("machine", value=(machine["name"], machine["type"], machine["tracing_configuration"][0]["enabled"], machine["definition"].strip()))
    put_role("machine", machine["role_arn"])
    flag, = of("aws_ssm_parameter")
    it.put("stop", value=(flag["name"], flag["type"], flag["value"], flag["description"]))
    for p in of("aws_cloudwatch_event_rule"):
        it.rules |= {p["name"]: words(p["description"]), p["arn"]: words(p["description"])}
        target, = [t for t in of("aws_cloudwatch_event_target") if t["rule"] == p["name"]]
        pattern = json.loads(p["event_pattern"]) if p["event_pattern"] else None
        it.put("rule", words(p["description"]), value=(p["description"], p["schedule_expression"], pattern, target["arn"], asked(target["input"])))
    for p in of("aws_lambda_permission"):
        source = "API" if "execute-api" in p["source_arn"] else it.rules[p["source_arn"]]
        it.put("permission", source, value=(p["action"], p["function_name"], p["principal"]))
    for p in of("aws_apigatewayv2_api"):
        it.put("api", value=(p["name"], p["description"], p["protocol_type"]))
    for p in of("aws_apigatewayv2_integration"):
        it.put("integration", value=(p["integration_type"], p["integration_uri"], p["payload_format_version"]))
    for p in of("aws_apigatewayv2_route"):
        it.put("route", value=(p["route_key"], p["authorization_type"]))
    for p in of("aws_apigatewayv2_stage"):
        limits, = p["default_route_settings"]
        it.put("stage", value=(p["name"], p["auto_deploy"], limits["throttling_rate_limit"], limits["throttling_burst_limit"]))
    for p in of("aws_cloudwatch_log_metric_filter"):
        made, = p["metric_transformation"]
        it.put("filter", p["log_group_name"], value=(p["pattern"], made["namespace"], made["name"], made["value"]))
    policy, = of("aws_iam_policy")
    it.put("on call", value=(policy["description"], policy["path"], sorted(it.statements(policy["policy"]))))
    for p in of("aws_cloudwatch_metric_alarm"):
        those = [query["metric"][0] for query in p["metric_query"] if query["metric"]]
        metrics = [(m["namespace"], m["metric_name"], it.dimensions((m["dimensions"] or {}).items()), m["stat"], m["period"]) for m in those]
        it.alarm(p["alarm_name"], p["alarm_description"], p["alarm_actions"], metrics, p["threshold"], p["comparison_operator"], p["evaluation_periods"],
                 p["treat_missing_data"])
    return it.found


@functools.cache
def of_sam(case):
    values = CASES[case]
    resources = resolved(**values, DeployFleet="true", AlarmEmail="")
    managed = lambda role: [resources[arn.removeprefix("policy ")]["Properties"]["PolicyDocument"] for arn in role.get("ManagedPolicyArns", [])]  # noqa: E731
    documents = lambda role: [json.loads(it) if isinstance(it, str) else it for it in managed(role)]  # noqa: E731
    return of_cloudformation(resources, values.get("NamePrefix", "lockstep"), documents)


class Same(unittest.TestCase):
    maxDiff = None

    def check(self, case, found):
        expected = of_sam(case)
        self.assertEqual(sorted(found), sorted(expected))
        for part, value in expected.items():
            with self.subTest(case=case, part=part):
                self.assertEqual(found[part], value)

    def test_the_cdk_deploys_what_the_template_does(self):
        app = cdk_test.installed()
        shutil.copy(ROOT / ".ci/cdk/fleet.ts", app)
        called = names(1)
        cases = {case: {called[name]: value for name, value in with_functions(values).items() if name in called} for case, values in CASES.items()}
        (app / "fleet.json").write_text(json.dumps(cases), encoding="utf-8")
        templates = cdk_test.synthesized(app, "fleet.ts", "fleet.json")
        for case, values in CASES.items():
            resources = templates[case]["Resources"]
            resolve = deployed.Resolver(resources, {})
            self.check(case, of_cloudformation({name: resolve(it) for name, it in resources.items()}, values.get("NamePrefix", "lockstep")))
            outputs = " ".join(templates[case]["Outputs"])
            self.assertRegex(outputs, "FleetArn")

    def test_terraform_deploys_what_the_template_does(self):
        types = {name: str(body["type"]) for name, body in terraform_test.variables_of_the_module("examples/terraform/fleet").items()}
        called = names(2)

        def call(case, values):
            given = {called[name]: value for name, value in with_functions(values).items() if name in called} | {"alarm_topic_arn": TOPIC}
            listed = {name: [it for it in value.split(",")] if "list(" in types[name] else value for name, value in given.items()}
            arguments = "".join(f"  {name} = {json.dumps(value)}\n" for name, value in listed.items())
            return f'module "{case}" {{\n  source = "./lockstep/fleet"\n{arguments}}}\n'

        plans = terraform_test.planned("".join(call(case, values) for case, values in CASES.items()))
        for case, values in CASES.items():
            self.check(case, of_plan(plans[case], values.get("NamePrefix", "lockstep")))

    def test_the_call_of_the_page_can_be_planned(self):
        page = terraform_test.PAGE.read_text(encoding="utf-8")
        rotation, fleet = (re.findall(rf"(?ms)^```{language}\n(.*?)^```$", page)[0] for language in ("hcl", "terraform"))
        source = re.search(r'source += "(https://\S+)"', rotation)[1]
        with terraform_test.configuration() as plan:
            text = (rotation + fleet).replace(f"{source}//fleet", "./lockstep/fleet").replace(source, "./lockstep")
            self.assertIn('source = "./lockstep/fleet"', text)
            outputs = plan(text)["planned_values"]["outputs"]
        self.assertEqual(outputs["fleet"]["value"], f"arn:aws:states:{REGION}:{ACCOUNT}:stateMachine:lockstep-fleet")

    def test_every_setting_of_the_fleet_is_compared(self):
        own = {row[0][0] for row in FLEET_ROWS if row[0]} - {"DeployFleet"}
        self.assertEqual(set(OWN), own)
        self.assertEqual(set(CASES["full"]), own | set(SHARED))
        shared = (ROOT / "examples/cdk/src/fleet-props.ts").read_text(encoding="utf-8").split("export interface FleetProps")[0]
        properties = set(re.findall(r"\| '(\w+)'", shared)) - {"code", "vpcSubnets"}
        self.assertEqual(properties, {PROPERTY[it].split(".")[0] for it in SHARED})

    def test_a_mistake_is_an_error_that_says_what_is_wrong(self):
        with terraform_test.configuration() as plan:
            for arguments, said in {
                "function_arns = []": "names no rotation function",
                f'function_arns = ["{OTHER}"]\n  start_on_leak = true': "need fingerprint_key_secret_arn",
            }.items():
                found = plan(f'module "a" {{\n  source = "./lockstep/fleet"\n  alarm_topic_arn = "{TOPIC}"\n  {arguments}\n}}\n', fails=True)
                self.assertIn(said, re.sub(r"\s*\n[│ ]*", " ", found))


if __name__ == "__main__":
    unittest.main()
