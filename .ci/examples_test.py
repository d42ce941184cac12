"""The examples for Terraform and the CDK give a function the permissions and alarms of the template, and their pages name every file."""

import json
import re
import unittest

import boto3
import hcl2
from template import ROOT, Deployment, load, walk

PAGES = {"docs/terraform.md": "examples/terraform", "docs/cdk.md": "examples/cdk"}
# Files that people write. npm and Terraform put others beside them.
WRITTEN, LOCK = {".tf", ".ts", ".json"}, "package-lock.json"
WRITTEN_PAGES = [*ROOT.glob("*.md"), *(it for part in ("docs", "events", "examples", "release", "shared") for it in (ROOT / part).rglob("*.md"))]
LINKING_PAGES = [it for it in WRITTEN_PAGES if "node_modules" not in it.parts]
KINDS = {"postgres": "Postgres", "mysql": "MySql", "api-key": "ApiKey"}
ARN = "arn:aws:secretsmanager:eu-central-1:123456789012:secret:some-AbCdEf"
# Parameters for which the template has everything that the examples have.
OFFERED = {
    "DeployPostgres": "true",
    "DeployMySql": "true",
    "DeployApiKey": "true",
    "SuperuserSecretArns": ARN,
    "AdminSecretArns": ARN,
    "IssuerSourceArns": ARN,
    "KmsKeyArns": "arn:aws:kms:eu-central-1:123456789012:key/1",
    "VpcSubnetIds": "subnet-0a1b",
    "VpcSecurityGroupIds": "sg-0a1b",
}
TEMPLATE = load(ROOT / "template.yaml")
DEPLOYMENT = Deployment(TEMPLATE, **OFFERED)
REQUIREMENTS = ROOT / ".ci/requirements.txt"


def as_list(value):
    return value if isinstance(value, list) else [value]


def statement(sid, effect, actions, conditions):
    """The parts of a statement that are compared. Resources and values are not, because each tool writes them differently."""
    return sid, effect, frozenset(actions), frozenset(conditions)


def of_template(kind):
    """The statements of the role of a function."""
    role = DEPLOYMENT.resources[f"{KINDS[kind]}Role"]["Properties"]
    managed = [DEPLOYMENT.resources[it["Ref"]]["Properties"] for it in role["ManagedPolicyArns"]]
    return set().union(*(of_document(it["PolicyDocument"]) for it in role["Policies"] + managed))


def of_document(document):
    return {
        statement(it["Sid"], it["Effect"], as_list(it["Action"]),
                  ((test, key) for test, keys in it.get("Condition", {}).items() for key in keys))
        for it in document["Statement"]
    }


def alarms_of_template():
    return [it["Properties"] for it in DEPLOYMENT.resources.values() if it["Type"] == "AWS::CloudWatch::Alarm"]


def failures_of_template():
    """The expression of an alarm on failed steps, and the step that each name in it stands for."""
    metrics = DEPLOYMENT.resources["PostgresRotationFailed"]["Properties"]["Metrics"]
    expression, = (it["Expression"] for it in metrics if "Expression" in it)
    dimensions = {it["Id"]: it["MetricStat"]["Metric"]["Dimensions"] for it in metrics if "MetricStat" in it}
    steps = {name: part["Value"] for name, parts in dimensions.items() for part in parts if part["Name"] == "Step"}
    return expression, steps


class Terraform:
    """The configuration in examples/terraform."""

    def __init__(self):
        self.files = sorted((ROOT / "examples/terraform").glob("*.tf"))
        self.text = "".join(it.read_text(encoding="utf-8") for it in self.files)
        self.parsed = [hcl2.loads(it.read_text(encoding="utf-8")) for it in self.files]

    def blocks(self, kind):
        """The labels and the body of each block of a kind."""
        for block in (it for parsed in self.parsed for it in parsed.get(kind, [])):
            labels = []
            while "__is_block__" not in block:
                (label, block), = ((k, v) for k, v in block.items() if not k.startswith("__"))
                labels.append(label.strip('"'))
            yield labels, block

    def locals(self):
        return {name: value for _, block in self.blocks("locals") for name, value in block.items() if not name.startswith("__")}

    def block(self, kind, *labels):
        body, = (body for its, body in self.blocks(kind) if its == list(labels))
        return body

    def policy(self, kind):
        return {self.statement(it) for it in self.statements(self.block("data", "aws_iam_policy_document", "rotation"), kind)}

    def policy_of_topic(self):
        return {self.statement(it) for it in self.block("data", "aws_iam_policy_document", "alarms")["statement"]}

    def failures(self):
        """Like failures_of_template."""
        body = self.block("resource", "aws_cloudwatch_metric_alarm", "failed")
        expression, = (it["expression"] for it in body["metric_query"] if "expression" in it)
        steps = body["dynamic"][0]['"metric_query"']["for_each"]
        return unquoted(expression), {unquoted(name): unquoted(step) for name, step in steps.items()}

    def statements(self, document, kind):
        yield from document["statement"]
        left_out = "local.is_database" if kind == "api-key" else "local.is_api_key"
        for block in document["dynamic"]:
            block = block['"statement"']
            if left_out not in block["for_each"]:
                yield from block["content"]

    def statement(self, body):
        actions = body["actions"]
        if isinstance(actions, str):
            actions = self.locals()[re.fullmatch(r"\$\{local\.(\w+)\}", actions)[1]]
        conditions = ((unquoted(it["test"]), unquoted(it["variable"])) for it in body.get("condition", []))
        return statement(unquoted(body["sid"]), unquoted(body.get("effect", "Allow")), map(unquoted, actions), conditions)

    def declared(self):
        """The names that an expression can refer to."""
        for kind, prefix in (("resource", ""), ("data", "data."), ("variable", "var.")):
            yield from (prefix + ".".join(labels) for labels, _ in self.blocks(kind))
        yield from (f"local.{name}" for name in self.locals())

    def referred(self):
        code = re.sub(r"(?m)^\s*#.*$", "", self.text)
        code = re.sub(r'(?m)^\s*(description|alarm_description|error_message)\s*=.*$', "", code)
        yield from re.findall(r"\b(?:var|local)\.\w+", code)
        yield from re.findall(r"\bdata\.\w+\.\w+", code)
        yield from re.findall(r"(?<![\w.\"])aws_\w+\.\w+", code)


class Cdk:
    """The stack in examples/cdk, read as text. A statement is the text from `sid` to its closing parenthesis."""

    def __init__(self):
        self.text = (ROOT / "examples/cdk/lockstep.ts").read_text(encoding="utf-8")

    def policy(self):
        return self.statements(self.part("private permissions(", "private watchServiceEvents("))

    def part(self, begin, end):
        return self.text[self.text.index(begin):self.text.index(end)]

    def failures(self):
        """Like failures_of_template."""
        body = self.part("private failures(", "private watchTheWatch(")
        steps = dict(re.findall(r"(\w+): '(\w+)',", re.search(r"const steps = \{(.*?)\}", body, re.DOTALL)[1]))
        expression, = re.findall(r"expression: `(.*)`", body)
        return expression.replace("${sum}", " + ".join(f"FILL({name}, 0)" for name in steps)), steps

    @staticmethod
    def statements(body):
        shared = next(iter(re.findall(r"const actions = \[(.*?)\]", body, re.DOTALL)), "")
        for sid, rest in re.findall(r"sid: '(\w+)'(.*?)\}\)[,;]", body, re.DOTALL):
            own = re.search(r"\bactions: \[(.*?)\]", rest, re.DOTALL)
            actions = re.findall(r"'([^']+)'", own[1] if own else shared)
            effect = "Deny" if "Effect.DENY" in rest else "Allow"
            tests = re.findall(r"'?([\w:]+)'?: \{([^{}]*)\}", re.sub(r"\$\{[^}]*\}", "", rest))
            conditions = [(test, key) for test, keys in tests for key in re.findall(r"'([^']+)':", keys)]
            yield statement(sid, effect, actions, conditions)


def unquoted(text):
    return text.strip('"')


def snake(name):
    """EvaluationPeriods as evaluation_periods."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower()


def anchors(page):
    """The anchors of a page: its own, and those that GitHub and similar hosts make of headings."""
    headings = re.findall(r"(?m)^#+ (.*)$", re.sub(r"(?s)^```.*?^```$", "", page, flags=re.MULTILINE))
    made = {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
    return made | set(re.findall(r'<a id="(.*?)">', page))


class Pages(unittest.TestCase):
    def test_a_page_names_every_file_of_its_example_and_no_other(self):
        for page, directory in PAGES.items():
            text = (ROOT / page).read_text(encoding="utf-8")
            named = re.findall(rf"\]\(\.\./({directory}/[^)#]+)\)", text)
            files = [str(it.relative_to(ROOT)) for it in (ROOT / directory).iterdir() if it.suffix in WRITTEN and it.name != LOCK]
            self.assertEqual(sorted(named), sorted(files), page)

    def test_pages_build_for_a_named_processor_with_the_tools_that_are_tested(self):
        pinned = dict(re.findall(r"(?m)^([\w-]+)==(\S+)$", REQUIREMENTS.read_text(encoding="utf-8")))
        for page in PAGES:
            text = (ROOT / page).read_text(encoding="utf-8")
            builds = re.findall(r"(?m)^cargo lambda build .*$", text)
            self.assertEqual([re.findall(r"--(x86-64|arm64)\b", it) for it in builds], [["x86-64"], ["arm64"]], page)
            installed = dict(re.findall(r"([\w-]+)==([\d.]+)", re.search(r"(?m)^pip install (.*)$", text)[1]))
            self.assertEqual(installed, {it: pinned[it] for it in ("cargo-lambda", "ziglang")}, page)

    def test_links_of_every_page_lead_somewhere(self):
        links = 0
        for page in LINKING_PAGES:
            for link in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8")):
                if "://" in link:
                    continue
                links += 1
                file, _, anchor = link.partition("#")
                target = (page.parent / file).resolve() if file else page
                with self.subTest(page=page, link=link):
                    self.assertTrue(target.exists())
                    if anchor:
                        self.assertIn(anchor, anchors(target.read_text(encoding="utf-8")))
        self.assertGreater(links, 300)


class Examples(unittest.TestCase):
    def test_roles_have_the_template_s_permissions(self):
        terraform, cdk = Terraform(), set(Cdk().policy())
        for kind in KINDS:
            with self.subTest(kind=kind):
                self.assertEqual(terraform.policy(kind), of_template(kind))
        # The code of the stack selects the statements for each kind when it runs.
        self.assertEqual(cdk, set().union(*map(of_template, KINDS)))

    def test_alarms_are_those_of_the_template_s_metrics(self):
        metrics = {part["MetricName"] for part in walk(alarms_of_template()) if isinstance(part, dict) and "MetricName" in part}
        self.assertGreater(len(metrics), 5)
        for text in (Terraform().text, Cdk().text):
            found = set(re.findall(r"""metric(?:_name)?\s*=\s*"(\w+)\"""", text))
            found |= set(re.findall(r"(?:worst\(|metric\('[\w/]+', )'(\w+)'", text))
            self.assertEqual(found, metrics)

    def test_the_same_failures_ring(self):
        expression, steps = failures_of_template()
        self.assertIn("watch", steps)
        for example in (Terraform(), Cdk()):
            self.assertEqual(example.failures(), (expression, steps))

    def test_the_topic_accepts_messages_from_the_same_publishers(self):
        template = of_document(DEPLOYMENT.resources["AlarmTopicPolicy"]["Properties"]["PolicyDocument"])
        self.assertEqual(Terraform().policy_of_topic(), template)
        cdk = set(Cdk.statements(Cdk().part("this.alarms.addToResourcePolicy(", "this.watchServiceEvents(")))
        # The target of the rule adds the statement for EventBridge.
        self.assertEqual(cdk, {it for it in template if it[0] == "AlarmsOfThisAccount"})

    def test_defaults_are_those_of_the_template(self):
        parameters = {snake(name): it for name, it in TEMPLATE["Parameters"].items()}
        same = {}
        for (name,), variable in Terraform().blocks("variable"):
            if name in parameters:
                default = variable["default"]
                same[name] = unquoted(",".join(default) if isinstance(default, list) else str(default))
        self.assertEqual(same, {name: str(parameters[name]["Default"]) for name in same})
        self.assertLessEqual({"architecture", "layer_arns", "memory_size", "timeout", "name_prefix", "watch_schedule"}, set(same))
        text = Cdk().text
        self.assertEqual(re.search(r"props\.memorySize \?\? (\d+)", text)[1], same["memory_size"])
        self.assertEqual(re.search(r"props\.timeout \?\? Duration\.seconds\((\d+)\)", text)[1], same["timeout"])
        self.assertEqual(re.search(r"props\.watchSchedule \?\? '(.*)'", text)[1], same["watch_schedule"])
        self.assertEqual(re.search(r"props\.namePrefix \?\? '(\w+)'", text)[1], same["name_prefix"])
        self.assertEqual(re.search(r"props\.architecture \?\? lambda\.Architecture\.(\w+)", text)[1].lower(), same["architecture"])

    def test_the_same_command_attaches_a_secret(self):
        template, _ = TEMPLATE["Outputs"]["PostgresAttachCommand"]["Value"]["Fn::Sub"]
        terraform = unquoted(Terraform().block("output", "attach_command")["value"])
        cdk = "".join(re.findall(r"[`'](.*?)[`']", Cdk().part("value:\n        `aws", "new CfnOutput(this, 'AlarmTopicArn'")))
        commands = [re.sub(r"\$\{.*?\}", "…", it).strip() for it in (template, terraform, cdk)]
        self.assertEqual(commands, commands[:1] * 3)
        for page in PAGES:
            text = (ROOT / page).read_text(encoding="utf-8")
            shown, = re.findall(r"(?m)^(aws secretsmanager rotate-secret .*\\\n.*)$", text)
            shown = re.sub(r" \\\n +", " ", shown).replace("eu-central-1", "…").replace("FUNCTION-ARN", "…")
            self.assertEqual(shown, commands[0], page)

    def test_lambda_s_log_level_is_that_of_the_template(self):
        level = TEMPLATE["Globals"]["Function"]["LoggingConfig"]["ApplicationLogLevel"]
        self.assertEqual(re.findall(r'application_log_level\s*= "(\w+)"', Terraform().text), [level])
        self.assertEqual(re.findall(r"ApplicationLogLevel\.(\w+)", Cdk().text), [level])

    def test_the_longest_prefix_makes_no_name_too_long_in_any_region(self):
        name, = re.findall(r"(?s)resource \"aws_iam_role\".*?name\s*= \"(.*?)\"", Terraform().text)
        self.assertEqual(name, "${local.name}-${local.region}")
        first, more = re.search(r"\^(\[A-Za-z\])\[[^]]+\]\{0,(\d+)\}\$", Terraform().text).groups()
        session = boto3.Session()
        partitions = session.get_available_partitions()
        regions = [it for partition in partitions for it in session.get_available_regions("lambda", partition)]
        self.assertGreater(len(regions), 30)
        longest = max(map(len, regions)) + len("-") + max(len(f"-{kind}") for kind in KINDS) + 1 + int(more)
        # The maximum length of a role name in IAM.
        self.assertLessEqual(longest, 64)

    def test_service_events_are_those_of_the_template(self):
        names = DEPLOYMENT.resources["FailureRule"]["Properties"]["EventPattern"]["detail"]["eventName"]
        for text in (Terraform().text, Cdk().text):
            found, = re.findall(r"eventName\s*[:=] \[(.*?)\]", text)
            self.assertEqual(re.findall(r"\w+", found), names)

    def test_terraform_s_references_lead_somewhere_and_every_variable_is_used(self):
        terraform = Terraform()
        declared, referred = set(terraform.declared()), set(terraform.referred())
        self.assertEqual(referred - declared, set())
        self.assertEqual({it for it in declared if it.startswith(("var.", "local."))} - referred, set())

    def test_versions_of_packages_are_exact(self):
        manifest = json.loads((ROOT / "examples/cdk/package.json").read_text(encoding="utf-8"))
        for name, version in (manifest["dependencies"] | manifest["devDependencies"]).items():
            self.assertRegex(version, r"^\d+\.\d+\.\d+$", name)


if __name__ == "__main__":
    unittest.main()
