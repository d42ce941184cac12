"""What only the fleet has: the definition that is deployed is the one that the fleet is tested with, the deployed machine may invoke what it invokes, and the
commands of its pages start it. integration-tests/tests/fleet runs the same definition with the real functions."""

import ast
import contextlib
import fnmatch
import json
import os
import re
import subprocess
import sys
import tempfile
import threading
import time
import unittest
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from unittest import mock

import no_credentials  # noqa: F401
import boto3
import deployed
import make_template
import stand_in
from template import ROOT, Deployment, load, sam_transform, walk
from template_test import EVERYTHING, FUNCTIONS, PLAIN_FLEET, longest_prefix, put_code

TEMPLATE = sam_transform(load(ROOT / "template.yaml"))
DEFINITION = ROOT / "functions/fleet/state-machine.asl.json"
ACCOUNT, REGION = "123456789012", "eu-central-1"
ALL = EVERYTHING | dict.fromkeys(FUNCTIONS, "true")


def resolved(**parameters):
    """The resources of a deployment, with everything filled in."""
    deployment = Deployment(TEMPLATE, **parameters)
    given = {name: [it for it in value.split(",") if it] if TEMPLATE["Parameters"][name]["Type"] == "CommaDelimitedList" else value
             for name, value in deployment.parameters.items()}
    resolve = deployed.Resolver(json.loads(json.dumps(deployment.resources)), given)
    return {name: resolve(it) for name, it in deployment.resources.items()}


def length(document):
    """How IAM counts: white space is free."""
    return len(re.sub(r"\s", "", document if isinstance(document, str) else json.dumps(document)))


class Policies(unittest.TestCase):
    def test_none_is_longer_than_iam_allows(self):
        # "IAM and AWS STS quotas": 6,144 characters in a managed policy, and 10,240 in all inline policies of a role. The region with the longest name
        # has 14 characters.
        others = ",".join(f"arn:aws:lambda:ap-southeast-7:{ACCOUNT}:function:{'o' * 20}-{it}" for it in range(8))
        given = ALL | {"NamePrefix": "p" * longest_prefix(), "OnCallReadsValues": "true", "FleetFunctionArns": others}
        with mock.patch.dict(deployed.PSEUDO, {"AWS::Region": "ap-southeast-7"}):
            resources = resolved(**given)
        for name, it in resources.items():
            if it["Type"] == "AWS::IAM::ManagedPolicy":
                self.assertLessEqual(length(it["Properties"]["PolicyDocument"]), 6_144, name)
            if it["Type"] == "AWS::IAM::Role":
                self.assertLessEqual(sum(length(policy["PolicyDocument"]) for policy in it["Properties"]["Policies"]), 10_240, name)

    def test_the_function_that_strangers_reach_rotates_nothing(self):
        role = resolved(**ALL)["LeaksRole"]["Properties"]
        self.assertEqual(role["ManagedPolicyArns"], ["policy CommonPolicy"])
        allowed = {}
        for statement in role["Policies"][0]["PolicyDocument"]["Statement"]:
            for action in deployed.as_list(statement["Action"]):
                allowed.setdefault(action, []).extend(deployed.as_list(statement["Resource"]))
        self.assertEqual(set(allowed), {"secretsmanager:GetSecretValue", "states:StartExecution", "states:DescribeExecution", "logs:CreateLogStream", "logs:PutLogEvents"})
        self.assertEqual(allowed["secretsmanager:GetSecretValue"], [ALL[it] for it in ("FingerprintKeySecretArn", "WebhookSecretArn", "GitHubTokenSecretArn")])
        self.assertNotIn("states:", json.dumps(resolved(**ALL | {"StartOnLeak": "false"})["LeaksRole"]))

    def test_whoever_sees_the_page_invokes_a_function_that_rotates_nothing(self):
        resources = resolved(**ALL)
        self.assertEqual(resources["FleetPageFunction"]["Properties"]["Environment"]["Variables"]["SERVES"], "page")
        statements = resources["FleetPageRole"]["Properties"]["Policies"][0]["PolicyDocument"]["Statement"]
        allowed = {action for it in statements for action in deployed.as_list(it["Action"])}
        self.assertEqual(resources["FleetPageRole"]["Properties"]["ManagedPolicyArns"], resources["FleetRole"]["Properties"]["ManagedPolicyArns"])
        for it in statements:
            self.assertNotIn("*", deployed.as_list(it["Resource"]), it["Sid"])
        # It reads the values of the same secrets as the fleet.
        whose = {it["Sid"]: (it["Resource"], it["Condition"]["StringEquals"]) for it in statements + resources["FleetRole"]["Properties"]["Policies"][0]["PolicyDocument"]["Statement"]
                 if it["Sid"].startswith("SecretsOf")}
        self.assertEqual(whose["SecretsOfThePlans"], whose["SecretsOfTheFleet"])
        looks = {"secretsmanager:DescribeSecret", "secretsmanager:GetSecretValue", "ssm:GetParameter", "states:ListExecutions", "states:DescribeExecution"}
        logs = {"logs:CreateLogStream", "logs:PutLogEvents"}
        self.assertEqual(allowed, looks | logs | {"states:StartExecution", "ssm:PutParameter"})
        without = resolved(**ALL | {"AllowPageRuns": "false"})["FleetPageRole"]["Properties"]["Policies"][0]["PolicyDocument"]["Statement"]
        self.assertEqual({action for it in without for action in deployed.as_list(it["Action"])}, looks | logs)
        on_call = {it["Sid"]: it for it in resources["FleetOnCallPolicy"]["Properties"]["PolicyDocument"]["Statement"]}
        invoked = [it.rsplit(":", 1)[1] for sid, it in on_call.items() if "lambda:InvokeFunction" in deployed.as_list(it["Action"]) for it in it["Resource"]]
        self.assertEqual(invoked, ["lockstep-fleet-page", "lockstep-fleet-leaks"])
        # The dashboard invokes no other function of the fleet, and the fleet's own role starts no run.
        board = str(resources["Dashboard"]["Properties"]["DashboardBody"])
        self.assertIn(":function:lockstep-fleet-page", board)
        self.assertNotIn(':function:lockstep-fleet"', board)
        self.assertNotIn("states:", str(resources["FleetRole"]["Properties"]["Policies"]))

    def test_the_fleet_touches_only_secrets_of_these_functions(self):
        resources = resolved(**ALL)
        own = [f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:lockstep-{it['name']}" for it in make_template.functions()]
        expected = {*own, ALL["FleetFunctionArns"]}
        statements = resources["FleetRole"]["Properties"]["Policies"][0]["PolicyDocument"]["Statement"]
        of_secrets = [it for it in statements if "secret:prod/*" in str(it["Resource"])]
        self.assertEqual(len(of_secrets), 4)
        for statement in of_secrets:
            self.assertEqual(set(statement["Condition"]["StringEquals"]["secretsmanager:resource/AllowRotationLambdaArn"]), expected)
        written = {it for statement in statements for it in deployed.as_list(statement["Action"]) if re.search(":(Put|Create|Delete)", it)}
        self.assertEqual(written, {"logs:CreateLogStream", "logs:PutLogEvents"})
        machine = resources["FleetMachineRole"]["Properties"]["Policies"][0]["PolicyDocument"]["Statement"]
        asked, = [it["Resource"] for it in machine if it["Sid"] == "AskWhetherASecretIsWell"]
        self.assertEqual(set(asked), expected)

    def test_a_secret_of_another_stack_needs_the_tag_as_well(self):
        resources = resolved(**ALL)
        attached = resources["FleetRole"]["Properties"]["ManagedPolicyArns"]
        documents = [resources[it.removeprefix("policy ")]["Properties"]["PolicyDocument"] for it in attached]
        denied, = [it for document in documents for it in deployed.statements(document) if it[0] == "SecretsWithoutTheTag"]
        functions, = [values for _, key, values in denied[5] if key == "secretsmanager:resource/AllowRotationLambdaArn"]
        self.assertIn(ALL["FleetFunctionArns"], functions)
        self.assertEqual(len(functions), len(make_template.functions()) + 1)

    def test_the_schedule_selects_what_the_role_may_tag(self):
        target, = resolved(**ALL)["FingerprintRule"]["Properties"]["Targets"]
        select = json.loads(target["Input"])["Select"]
        self.assertEqual(set(select["functions"]), {ALL["FleetFunctionArns"], *(f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:lockstep-{it['name']}" for it in make_template.functions())})
        self.assertEqual((select["names"], select["tags"]), (["prod/*"], {ALL["SecretTagKey"]: ALL["SecretTagValue"]}))
        plain, = resolved(**PLAIN_FLEET | {"FingerprintKeySecretArn": ALL["FingerprintKeySecretArn"]})["FingerprintRule"]["Properties"]["Targets"]
        self.assertEqual({it: json.loads(plain["Input"])["Select"].get(it) for it in ("names", "tags")}, {"names": ["*"], "tags": None})

    def test_every_notice_of_a_leak_rings(self):
        resources = resolved(**ALL)
        self.assertEqual(resources["LeaksNoticeFilter"]["Properties"]["FilterPattern"], '{ $.target = "rotation::notice" }')
        # Only what is about leaks is a notice, and only that function answers it.
        sources = [it for it in (ROOT / "functions/fleet/src").rglob("*.rs") if re.search(r"\bnotice\(", it.read_text(encoding="utf-8"))]
        self.assertEqual({it.parent.name for it in sources}, {"leak"})

    def test_everything_but_the_fleet_is_off_by_default(self):
        resources = resolved(**PLAIN_FLEET)
        made = {name for name in resources if re.match("Fleet|Leak|Webhook|Finger|Health|GuardDuty|Credential", name)}
        self.assertEqual(made, {
            "FleetFunction", "FleetLogGroup", "FleetRole", "FleetPageFunction", "FleetPageLogGroup", "FleetPageRole", "FleetStopParameter", "FleetMachine", "FleetMachineRole", "FleetOnCallPolicy",
            "FleetRunFailed", "FleetErrors", "FleetThrottled",
        })
        actions = str([resources["FleetRole"], resources["FleetPageRole"]])
        for absent in ("UpdateSecret'", "TagResource", "kms:", "states:StartExecution", "ssm:PutParameter"):
            self.assertNotIn(absent, actions)
        self.assertFalse([it for it in resolved() if it.startswith(("Fleet", "Leak"))])


class Rules(unittest.TestCase):
    """The patterns of the rules, matched by EventBridge's own test in moto."""

    def test_each_hears_its_events_and_no_others(self):
        resources = resolved(**ALL)
        events = {it.stem: json.loads(it.read_text(encoding="utf-8")) for it in (ROOT / "events/fleet").glob("*.json")}
        hears = {"HealthRule": {"health"}, "GuardDutyRule": {"guardduty"}}
        other = json.loads(json.dumps(events["health"]))
        other["detail"]["eventTypeCode"] = "AWS_EC2_OPERATIONAL_ISSUE"
        no_key = json.loads(json.dumps(events["guardduty"]))
        del no_key["detail"]["resource"]["accessKeyDetails"]
        events |= {"another of AWS Health": other, "a finding without a key": no_key}
        for rule, heard in hears.items():
            pattern = resources[rule]["Properties"]["EventPattern"]
            self.assertEqual({name for name, event in events.items() if matches(pattern, event)}, heard, rule)


def matches(pattern, event):
    from moto.events.models import EventPattern
    return "source" in event and EventPattern.load(json.dumps(pattern)).matches_event(event)


class Functions(BaseHTTPRequestHandler):
    """Lambda's API for the tasks of the machine. It plays the fleet's function for a run of one secret; the function itself is tested elsewhere."""

    invoked = []
    outcome = "finished"

    def do_POST(self):
        arn = urllib.request.unquote(self.path).split("/functions/")[1].split("/")[0]
        payload = json.loads(self.rfile.read(int(self.headers["content-length"])))
        self.invoked.append((arn, payload))
        answer = json.dumps(self.answered(payload)).encode()
        self.send_response(200)
        for header in (("content-type", "application/json"), ("content-length", str(len(answer)))):
            self.send_header(*header)
        self.end_headers()
        self.wfile.write(answer)

    def answered(self, payload):
        lane = {"job": {"mode": "rotate"}, "todo": ["one"], "progress": None, "done": []}
        match payload.get("Do"):
            case "begin" if not payload["Order"].get("run"):
                return {"doing": "plan", "plan": {"secrets": 1}}
            case "begin":
                return {"doing": "look", "part": 0}
            case "next" if payload["State"]["part"] == 0:
                return {"doing": "work", "part": 1, "concurrency": 1, "lanes": [lane]}
            case "next":
                return {"doing": "report", "results": payload["State"]["results"]}
            case "lane" if "answer" not in payload["Lane"]:
                ask = {"function": f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:lockstep-postgres", "payload": {"Step": "diagnose"}}
                return lane | {"doing": "ask", "ask": ask}
            case "lane":
                return lane | {"doing": "end", "done": [payload["Lane"]["answer"]["finding"]]}
            case "report":
                return {"outcome": self.outcome, "cause": "{}", "done": payload["State"]["results"][0]["done"]}
        return {"finding": "healthy"}

    def log_message(self, *_):
        pass


@contextlib.contextmanager
def functions():
    """Where the tasks of moto's state machines are sent to."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Functions)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    Functions.invoked.clear()
    with mock.patch.dict(os.environ, {"MOTO_PORT": str(server.server_port)}):
        yield Functions.invoked
    server.shutdown()


class Deployed(unittest.TestCase):
    """The stack in moto, whose interpreter runs the machine that CloudFormation made."""

    def setUp(self):
        server = stand_in.Server()
        self.url = server.__enter__().url
        self.addCleanup(server.__exit__, None, None, None)
        with mock.patch.object(boto3, "client", self.client):
            put_code()
        self.client("cloudformation").create_stack(
            StackName="lockstep", TemplateBody=json.dumps(TEMPLATE), Capabilities=["CAPABILITY_IAM"],
            Parameters=[{"ParameterKey": "DeployFleet", "ParameterValue": "true"}],
        )

        self.deployed = self.client("stepfunctions").describe_state_machine(stateMachineArn=self.output("FleetArn"))
        # moto keeps the machines that it interprets apart from those that CloudFormation makes: the deployed one is made again there, as it is.
        self.interprets(True)
        self.addCleanup(self.interprets, False)
        made = self.client("stepfunctions").create_state_machine(**{it: self.deployed[it] for it in ("name", "definition", "roleArn")})
        self.assertEqual(made["stateMachineArn"], self.output("FleetArn"))

    def interprets(self, yes):
        config = json.dumps({"stepfunctions": {"execute_state_machine": yes}}).encode()
        request = urllib.request.Request(f"{self.url}/moto-api/config", data=config, headers={"content-type": "application/json"})
        urllib.request.urlopen(request).close()

    def client(self, service):
        return boto3.session.Session().client(service, endpoint_url=self.url, region_name=REGION)

    def output(self, name):
        stack, = self.client("cloudformation").describe_stacks(StackName="lockstep")["Stacks"]
        return next(it["OutputValue"] for it in stack["Outputs"] if it["OutputKey"] == name)

    def test_the_definition_is_the_one_that_the_fleet_is_tested_with(self):
        machine = self.deployed
        expected = DEFINITION.read_text(encoding="utf-8").replace("${FleetFunctionArn}", self.output("FleetFunctionArn"))
        self.assertEqual(machine["definition"].strip(), expected.strip())
        # Nothing else is filled in, and the interpreter of integration-tests/tests/fleet gets the same file.
        self.assertIn('include_str!("../../../functions/fleet/state-machine.asl.json")', (ROOT / "lab/src/fleet/mod.rs").read_text(encoding="utf-8"))
        role = self.client("iam").get_role(RoleName=machine["roleArn"].split("/")[-1])["Role"]
        self.assertIn("FleetMachineRole", role["RoleName"])

    def ended(self, order):
        machines = self.client("stepfunctions")
        execution = machines.start_execution(stateMachineArn=self.output("FleetArn"), name="one", input=json.dumps(order))["executionArn"]
        for _ in range(300):
            found = machines.describe_execution(executionArn=execution)
            if found["status"] != "RUNNING":
                return found["status"], json.loads(found["output"]) if "output" in found else found.get("cause")
            time.sleep(0.1)
        self.fail("the execution does not end")

    def test_an_order_without_run_is_answered_by_the_plan(self):
        with functions() as invoked:
            self.assertEqual(self.ended({"select": {"names": ["*"]}}), ("SUCCEEDED", {"secrets": 1}))
        self.assertEqual([arn for arn, _ in invoked], [self.output("FleetFunctionArn")])
        execution = invoked[0][1]["Execution"]
        self.assertEqual((execution["Name"], execution["Id"].split(":")[5]), ("one", "execution"))

    def test_a_run_invokes_only_what_its_role_allows(self):
        with functions() as invoked:
            status, report = self.ended({"run": True, "why": "a test", "select": {"names": ["*"]}})
        self.assertEqual((status, report), ("SUCCEEDED", {"outcome": "finished", "cause": "{}", "done": ["healthy"]}))
        asked = {arn for arn, _ in invoked}
        self.assertEqual(asked, {self.output("FleetFunctionArn"), self.output("PostgresFunctionArn")})
        steps = [payload.get("Do") or payload["Step"] for _, payload in invoked]
        self.assertEqual(steps, ["begin", "next", "lane", "diagnose", "lane", "next", "report"])
        iam = self.client("iam")
        role, = [it["RoleName"] for it in iam.list_roles()["Roles"] if "FleetMachineRole" in it["RoleName"]]
        document = iam.get_role_policy(RoleName=role, PolicyName="rotation")["PolicyDocument"]
        # moto returns the policy of a role as the text of a Python dictionary.
        document = ast.literal_eval(document) if isinstance(document, str) else document
        allowed = [it for it in walk(document) if isinstance(it, dict) and it.get("Action") == "lambda:InvokeFunction"]
        patterns = [pattern for it in allowed for pattern in deployed.as_list(it["Resource"])]
        for arn in asked:
            self.assertTrue(any(fnmatch.fnmatchcase(arn, pattern) for pattern in patterns), (arn, patterns))

    def test_the_commands_of_the_page_start_and_stop_it(self):
        page = (ROOT / "docs/fleet.md").read_text(encoding="utf-8")
        block, = re.findall(r"<!-- the state machine -->\n```sh\n(.*?)```", page, re.DOTALL)
        orders = re.findall(r"(?ms)^```sh\n((?:run=\$\()?aws stepfunctions start-execution .*?)^```$", page)
        stop, = re.findall(r"<!-- the stop flag -->\n```sh\n(.*?)```", page, re.DOTALL)
        self.assertGreaterEqual(len(orders), 3)
        environment = {name: value for name, value in os.environ.items() if name.startswith("AWS_")}
        tools = Path(sys.executable).parent
        with tempfile.TemporaryDirectory() as empty, functions():
            environment |= {"PATH": f"{tools}:/usr/bin:/bin", "HOME": empty, "AWS_ENDPOINT_URL": self.url, "AWS_DEFAULT_REGION": REGION}
            type_ = lambda text: subprocess.run(["bash", "-ec", text], cwd=empty, env=environment, capture_output=True, text=True, timeout=120, check=False)  # noqa: E731
            shown = type_(block + 'echo "$FLEET"')
            self.assertEqual((shown.returncode, shown.stdout.strip()), (0, self.output("FleetArn")), shown.stderr)
            # moto cannot copy an execution, which it does before it starts another one of the same region: one order is enough for that.
            started = type_(block + orders[0])
            self.assertRegex(started.stdout, r"^(RUNNING|SUCCEEDED)\b", started.stderr)
            for order in orders[1:]:
                given = json.loads(re.search(r"--input '(.*)'", order, re.DOTALL)[1].replace("…", "x"))
                self.assertIn("select", given)
            self.assertEqual(type_(stop).returncode, 0)
        flag = self.client("ssm").get_parameter(Name="/lockstep/fleet/stop")["Parameter"]["Value"]
        self.assertEqual(flag, "stop")


if __name__ == "__main__":
    unittest.main()
