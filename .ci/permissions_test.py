"""The comparison of permissions with calls notices what it is there for."""

import copy
import json
import tempfile
import unittest
from pathlib import Path

import permissions
from template import ROOT, load

TEMPLATE = load(ROOT / "template.yaml")


def perfect_calls():
    """Calls that agree with the template."""
    allows = permissions.allowed(TEMPLATE)
    hidden = tuple(permissions.NOT_CALLED)
    return {function: {it for it in actions if not it.startswith(hidden)} for function, actions in allows.items()}


def policy_of(template, role):
    return template["Resources"][role]["Properties"]["Policies"][0]["PolicyDocument"]


class Permissions(unittest.TestCase):
    def test_every_function_is_looked_at(self):
        allows = permissions.allowed(TEMPLATE)
        self.assertEqual(sorted(allows), ["lockstep-api-key", "lockstep-mysql", "lockstep-postgres"])
        for function, actions in allows.items():
            self.assertIn("secretsmanager:PutSecretValue", actions, function)
            self.assertIn("secretsmanager:ListSecrets", actions, f"{function}: from the common policy")
            self.assertEqual("ssm:GetParameter" in actions, function == "lockstep-api-key")
            self.assertEqual("rds:DescribeDBInstances" in actions, function != "lockstep-api-key")

    def test_what_agrees_is_not_reported(self):
        self.assertEqual(permissions.differences(permissions.allowed(TEMPLATE), perfect_calls()), [])

    def test_an_action_that_is_added_to_the_template_is_one_too_many(self):
        template = copy.deepcopy(TEMPLATE)
        policy_of(template, "MySqlRole")["Statement"][0]["Action"].append("secretsmanager:DeleteSecret")
        found = permissions.differences(permissions.allowed(template), perfect_calls())
        self.assertEqual(found, ["lockstep-mysql may do secretsmanager:DeleteSecret, and no test made it"])

    def test_an_action_in_a_branch_of_a_condition_counts(self):
        template = copy.deepcopy(TEMPLATE)
        branch = {"Fn::If": ["InVpc", {"Effect": "Allow", "Action": "iam:PassRole", "Resource": "*"}, {"Ref": "AWS::NoValue"}]}
        policy_of(template, "ApiKeyRole")["Statement"].append(branch)
        found = permissions.differences(permissions.allowed(template), perfect_calls())
        self.assertEqual(found, ["lockstep-api-key may do iam:PassRole, and no test made it"])

    def test_an_action_that_is_taken_from_the_template_is_missed(self):
        template = copy.deepcopy(TEMPLATE)
        policy_of(template, "PostgresRole")["Statement"][0]["Action"].remove("secretsmanager:PutSecretValue")
        found = permissions.differences(permissions.allowed(template), perfect_calls())
        self.assertEqual(found, ["lockstep-postgres calls secretsmanager:PutSecretValue, which its role does not allow"])

    def test_a_statement_that_is_taken_from_the_common_policy_is_missed_by_all(self):
        template = copy.deepcopy(TEMPLATE)
        template["Resources"]["CommonPolicy"]["Properties"]["PolicyDocument"]["Statement"].pop(0)
        found = permissions.differences(permissions.allowed(template), perfect_calls())
        self.assertEqual(len(found), 3)
        self.assertTrue(all("secretsmanager:ListSecrets" in it for it in found), found)

    def test_functions_do_not_answer_for_each_other(self):
        calls = perfect_calls()
        calls["lockstep-mysql"].discard("secretsmanager:UpdateSecretVersionStage")
        calls["lockstep-postgres"].add("ssm:GetParameter")
        found = permissions.differences(permissions.allowed(TEMPLATE), calls)
        self.assertEqual(found, [
            "lockstep-mysql may do secretsmanager:UpdateSecretVersionStage, and no test made it",
            "lockstep-postgres calls ssm:GetParameter, which its role does not allow",
        ])

    def test_a_denial_allows_nothing(self):
        template = copy.deepcopy(TEMPLATE)
        policy_of(template, "PostgresRole")["Statement"].append({"Effect": "Deny", "Action": "sqs:SendMessage", "Resource": "*"})
        self.assertNotIn("sqs:SendMessage", permissions.allowed(template)["lockstep-postgres"])

    def test_a_policy_that_is_not_in_the_template_is_refused(self):
        template = copy.deepcopy(TEMPLATE)
        arn = "arn:aws:iam::aws:policy/SecretsManagerReadWrite"
        template["Resources"]["PostgresRole"]["Properties"]["ManagedPolicyArns"].append(arn)
        with self.assertRaises(ValueError):
            permissions.allowed(template)

    def test_files_are_read_line_by_line(self):
        with tempfile.TemporaryDirectory() as directory:
            self.assertIn("no recorded calls", permissions.main(ROOT / "template.yaml", directory))
            for index, (function, actions) in enumerate(perfect_calls().items()):
                lines = [json.dumps({"function": function, "action": action}) for action in actions]
                Path(directory, f"{index}.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
            script = {"function": "scripted-function", "action": "secretsmanager:GetRandomPassword"}
            Path(directory, "script.jsonl").write_text(json.dumps(script) + "\n", encoding="utf-8")
            self.assertIsNone(permissions.main(ROOT / "template.yaml", directory))
            stranger = {"function": "lockstep-redis", "action": "secretsmanager:GetSecretValue"}
            Path(directory, "stranger.jsonl").write_text(json.dumps(stranger) + "\n", encoding="utf-8")
            self.assertIn("no such function", permissions.main(ROOT / "template.yaml", directory))
            Path(directory, "stranger.jsonl").unlink()
            Path(directory, "0.jsonl").unlink()
            self.assertIn("and no test made it", permissions.main(ROOT / "template.yaml", directory))


if __name__ == "__main__":
    unittest.main()
