"""docs/settings.md has every setting of each tool, and what the tools have in common is the same on their pages and in China."""

import json
import re
import shutil
import unittest
from unittest import mock

import cdk_test
import deployed
import terraform_test
from cases import EVERYTHING, FLEET_ROWS, OF_THE_FLEET, OTHERWISE, PARAMETERS, PROPERTY, ROOT, ROWS, VARIABLE, of_sam, of_template


class Table(unittest.TestCase):
    """docs/settings.md has every setting of each tool once."""

    def test_every_parameter_has_a_row(self):
        self.once([it for parameters, *_ in ROWS + FLEET_ROWS for it in parameters], PARAMETERS)

    def test_every_property_has_a_row(self):
        text = (ROOT / "examples/cdk/src/props.ts").read_text(encoding="utf-8")
        body = text[text.index("export interface RotationFunctionProps"):]
        properties = re.findall(r"(?m)^  readonly (\w+)\??:", body)
        self.assertGreater(len(properties), 40)
        self.once([it for it in dict.fromkeys(name.split(".")[0] for _, those, *_ in ROWS for name in those)], properties)
        documented = re.findall(r"(?s)/\*\*(?:(?!\*/).)*\*/\s+readonly (\w+)\??:", body)
        self.assertEqual(documented, properties)

    def test_every_variable_has_a_row(self):
        self.once([it for _, _, variables, _ in ROWS for it in variables], terraform_test.variables_of_the_module())

    def test_every_setting_of_the_fleet_has_a_row(self):
        text = (ROOT / "examples/cdk/src/fleet-props.ts").read_text(encoding="utf-8")
        shared, own = text.split("export interface FleetProps")
        self.once([it for _, those, *_ in FLEET_ROWS for it in those], re.findall(r"(?m)^  readonly (\w+)\??:", own))
        self.assertEqual(len(re.findall(r"/\*\*.*\*/\s+readonly (\w+)\??:", own)), len(re.findall(r"readonly \w", own)))
        above = {it.split(".")[0] for _, those, *_ in ROWS for it in those}
        self.assertLessEqual(set(re.findall(r"\| '(\w+)'", shared)), above)
        variables = set(terraform_test.variables_of_the_module("examples/terraform/fleet"))
        self.assertEqual({it for *_, those, _ in FLEET_ROWS for it in those} - variables, set())
        self.assertLessEqual(variables, {it for *_, those, _ in ROWS + FLEET_ROWS for it in those})

    def test_what_a_tool_lacks_has_a_reason(self):
        for parameters, properties, variables, differs in ROWS + FLEET_ROWS:
            if not (parameters and properties and variables):
                self.assertGreater(len(differs), 10, (parameters, properties, variables))

    def test_every_parameter_is_compared(self):
        self.assertEqual(set(EVERYTHING), set(PARAMETERS) - OTHERWISE - OF_THE_FLEET)
        self.assertEqual(set(PROPERTY), set(EVERYTHING))
        self.assertEqual(set(VARIABLE), set(EVERYTHING))
        for name in EVERYTHING:
            self.assertNotEqual(EVERYTHING[name], str(PARAMETERS[name]["Default"]), name)

    def once(self, found, expected):
        self.assertEqual(sorted(found), sorted(expected))


class Pages(unittest.TestCase):
    def test_they_show_the_command_that_attaches_a_secret(self):
        command = of_sam()["postgres-plain"].attach.strip().replace("arn:aws:lambda:eu-central-1:123456789012:function:lockstep-postgres", "FUNCTION-ARN")
        for page in (ROOT / "docs/cdk.md", ROOT / "docs/terraform.md"):
            shown, = re.findall(r"(?m)^(aws secretsmanager rotate-secret .*\\\n.*)$", page.read_text(encoding="utf-8"))
            self.assertEqual(re.sub(r" \\\n +", " ", shown), command, page)


class China(unittest.TestCase):
    def test_the_key_may_be_used_through_both_names_of_the_service(self):
        expected = {"secretsmanager.cn-north-1.amazonaws.com", "secretsmanager.cn-north-1.amazonaws.com.cn"}
        values = {"KmsKeyArns": "arn:aws-cn:kms:cn-north-1:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab"}
        plan = terraform_test.planned(terraform_test.call("a", "postgres", values), region="cn-north-1", partition="aws-cn", suffix="amazonaws.com.cn")["a"]
        policies = [json.loads(it["policy"])["Statement"] for kind, it in plan if kind == "aws_iam_role_policy"]
        with mock.patch.dict(deployed.PSEUDO, {"AWS::Region": "cn-north-1", "AWS::Partition": "aws-cn", "AWS::URLSuffix": "amazonaws.com.cn"}):
            sam = of_template("postgres", values)
            policies.append(as_written(sam.role_statements))
        app = cdk_test.installed()
        shutil.copy(ROOT / ".ci/cdk/compare.ts", app)
        (app / "china.json").write_text(json.dumps({"china": {"kind": "postgres", "encryptionKeys": values["KmsKeyArns"]}}), encoding="utf-8")
        role, = cdk_test.of_type(cdk_test.synthesized(app, "compare.ts", "china.json")["china"], "AWS::IAM::Role")
        names = json.dumps(role["Properties"]["Policies"])
        self.assertEqual(len(policies), 2)
        for statements in policies:
            found = [it["Condition"]["StringEquals"]["kms:ViaService"] for it in statements if it.get("Sid") == "KeysOfTheSecrets"]
            self.assertEqual([set(it) for it in found], [expected])
        # The CDK leaves the suffix to CloudFormation.
        self.assertRegex(names, r'"kms:ViaService": \["secretsmanager.eu-central-1.amazonaws.com", .*?"AWS::URLSuffix"')


def as_written(statements):
    """Statements of `deployed` as in a document, as far as the test above reads them."""
    for sid, _, _, _, _, conditions in statements:
        written = {}
        for test, key, values in conditions:
            written.setdefault(test, {})[key] = values
        yield {"Sid": sid, "Condition": written}


if __name__ == "__main__":
    unittest.main()
