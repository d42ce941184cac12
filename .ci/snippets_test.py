"""The pages for Terraform and CDK quote files of examples/, and those files give a function the permissions and alarms of the template.
With UPDATE_DOCS=1 the quotations are written anew."""

import json
import os
import re
import unittest

import hcl2
from template import ROOT, Deployment, load, walk

PAGES = {"docs/terraform.md": "examples/terraform", "docs/cdk.md": "examples/cdk"}
# Files that people write. What npm and Terraform put beside them is nobody's.
WRITTEN, LOCK = {".tf", ".ts", ".json"}, "package-lock.json"
LINKING_PAGES = [*PAGES, "docs/migration.md"]
QUOTATION = re.compile(r"<!-- file: (?P<file>[^ ]+) -->\n```(?P<language>\w*)\n(?P<text>.*?)^```$", re.DOTALL | re.MULTILINE)
KINDS = {"postgres": "Postgres", "mysql": "MySql", "api-key": "ApiKey"}
ARN = "arn:aws:secretsmanager:eu-central-1:123456789012:secret:some-AbCdEf"
# All that the examples offer.
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
DEPLOYMENT = Deployment(load(ROOT / "template.yaml"), **OFFERED)


def as_list(value):
    return value if isinstance(value, list) else [value]


def statement(sid, effect, actions, conditions):
    """What is compared of a statement: everything but resources and values, which each tool puts together in its own way."""
    return sid, effect, frozenset(actions), frozenset(conditions)


def of_template(kind):
    """The statements of a function's role."""
    role = DEPLOYMENT.resources[f"{KINDS[kind]}Role"]["Properties"]
    managed = [DEPLOYMENT.resources[it["Ref"]]["Properties"] for it in role["ManagedPolicyArns"]]
    documents = [it["PolicyDocument"] for it in role["Policies"] + managed]
    return {
        statement(it["Sid"], it["Effect"], as_list(it["Action"]),
                  ((test, key) for test, keys in it.get("Condition", {}).items() for key in keys))
        for document in documents for it in document["Statement"]
    }


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

    def policy(self, kind):
        (_, document), = ((labels, body) for labels, body in self.blocks("data") if labels == ["aws_iam_policy_document", "rotation"])
        return {self.statement(it) for it in self.statements(document, kind)}

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
        """Everything that an expression can refer to."""
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
    """The stack in examples/cdk, as text: a statement is what stands between `sid` and the parenthesis that closes it."""

    def __init__(self):
        self.text = (ROOT / "examples/cdk/lockstep.ts").read_text(encoding="utf-8")

    def policy(self):
        body = self.text[self.text.index("private permissions("):self.text.index("private watchServiceEvents(")]
        shared, = re.findall(r"const actions = \[(.*?)\]", body, re.DOTALL)
        for sid, rest in re.findall(r"sid: '(\w+)'(.*?)\}\)[,;]", body, re.DOTALL):
            own = re.search(r"\bactions: \[(.*?)\]", rest, re.DOTALL)
            actions = re.findall(r"'([^']+)'", own[1] if own else shared)
            effect = "Deny" if "Effect.DENY" in rest else "Allow"
            conditions = re.findall(r"(\w+): \{ '([^']+)':", rest)
            yield statement(sid, effect, actions, conditions)


def unquoted(text):
    return text.strip('"')


def anchors(page):
    """The anchors of a page's headings, as hosts of repositories make them."""
    headings = re.findall(r"(?m)^#+ (.*)$", re.sub(r"(?s)^```.*?^```$", "", page, flags=re.MULTILINE))
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


class Quotations(unittest.TestCase):
    def test_pages_quote_every_file_of_their_example_as_it_is(self):
        for page, directory in PAGES.items():
            path = ROOT / page
            text = path.read_text(encoding="utf-8")
            quoted = [match["file"] for match in QUOTATION.finditer(text)]
            files = {str(it.relative_to(ROOT)) for it in (ROOT / directory).iterdir() if it.suffix in WRITTEN and it.name != LOCK}
            self.assertEqual(sorted(quoted), sorted(files), page)
            current = QUOTATION.sub(self.quotation, text)
            if os.environ.get("UPDATE_DOCS"):
                path.write_text(current, encoding="utf-8")
            else:
                self.assertEqual(text, current, f"{page} quotes another state: UPDATE_DOCS=1 writes it anew")

    @staticmethod
    def quotation(match):
        text = (ROOT / match["file"]).read_text(encoding="utf-8")
        return f"<!-- file: {match['file']} -->\n```{match['language']}\n{text}```"

    def test_links_lead_somewhere(self):
        for page in LINKING_PAGES:
            path = ROOT / page
            for link in re.findall(r"\]\(([^)\s]+)\)", path.read_text(encoding="utf-8")):
                if "://" in link:
                    continue
                file, _, anchor = link.partition("#")
                target = (path.parent / file).resolve() if file else path
                with self.subTest(page=page, link=link):
                    self.assertTrue(target.exists())
                    if anchor:
                        self.assertIn(anchor, anchors(target.read_text(encoding="utf-8")))


class Examples(unittest.TestCase):
    def test_roles_have_the_template_s_permissions(self):
        terraform, cdk = Terraform(), set(Cdk().policy())
        for kind in KINDS:
            with self.subTest(kind=kind):
                self.assertEqual(terraform.policy(kind), of_template(kind))
        # The stack decides while it runs which of them it needs.
        self.assertEqual(cdk, set().union(*map(of_template, KINDS)))

    def test_alarms_are_those_of_the_template_s_metrics(self):
        alarms = [it["Properties"] for it in DEPLOYMENT.resources.values() if it["Type"] == "AWS::CloudWatch::Alarm"]
        metrics = {part["MetricName"] for part in walk(alarms) if isinstance(part, dict) and "MetricName" in part}
        self.assertGreater(len(metrics), 5)
        for text in (Terraform().text, Cdk().text):
            found = set(re.findall(r"""metric(?:_name)?\s*=\s*"(\w+)\"""", text))
            found |= set(re.findall(r"(?:worst\(|metric\('[\w/]+', )'(\w+)'", text))
            self.assertEqual(found, metrics)

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
