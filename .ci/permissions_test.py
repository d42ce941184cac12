"""permissions.py finds each kind of difference."""

import copy
import json
import tempfile
import unittest
from pathlib import Path

import make_template
import permissions
from template import ROOT, load

TEMPLATE = load(ROOT / "template.yaml")
# One program, and a role for each of its functions.
FLEET = ("lockstep-fleet", "lockstep-fleet-page", "lockstep-fleet-leaks")


def perfect_calls():
    """Calls for which there is no difference."""
    allows = permissions.allowed(TEMPLATE)
    hidden = tuple(permissions.NOT_CALLED)
    return {function: {it for it in actions if not it.startswith(hidden)} for function, actions in allows.items()}


def policy_of(template, role):
    return template["Resources"][role]["Properties"]["Policies"][0]["PolicyDocument"]


class Permissions(unittest.TestCase):
    def test_every_function_is_compared(self):
        allows = permissions.allowed(TEMPLATE)
        self.assertEqual(sorted(allows), sorted([*FLEET, *(f"lockstep-{it['name']}" for it in make_template.functions())]))
        for function, actions in allows.items():
            self.assertEqual("secretsmanager:PutSecretValue" in actions, function not in FLEET)
            self.assertEqual("states:StartExecution" in actions, function in ("lockstep-fleet-page", "lockstep-fleet-leaks"))
            self.assertEqual("secretsmanager:RotateSecret" in actions and function in FLEET, function == "lockstep-fleet")
            self.assertIn("secretsmanager:ListSecrets", actions, f"{function}: CommonPolicy")
            self.assertEqual("ssm:GetParameter" in actions, function in ("lockstep-api-key", "lockstep-signing-key", "lockstep-fleet", "lockstep-fleet-page"))
            self.assertEqual("ssm:PutParameter" in actions, function in ("lockstep-signing-key", "lockstep-fleet-page"))
            self.assertEqual("rds:DescribeDBInstances" in actions, function in ("lockstep-postgres", "lockstep-mysql"))

    def test_no_difference_is_not_reported(self):
        self.assertEqual(permissions.differences(permissions.allowed(TEMPLATE), perfect_calls()), [])

    def test_an_added_action_is_reported_as_unused(self):
        template = copy.deepcopy(TEMPLATE)
        policy_of(template, "MySqlRole")["Statement"][0]["Action"].append("secretsmanager:DeleteSecret")
        found = permissions.differences(permissions.allowed(template), perfect_calls())
        self.assertEqual(found, ["lockstep-mysql may call secretsmanager:DeleteSecret, but no test called it"])

    def test_an_action_in_a_branch_of_a_condition_is_compared(self):
        template = copy.deepcopy(TEMPLATE)
        branch = {"Fn::If": ["InVpc", {"Effect": "Allow", "Action": "iam:PassRole", "Resource": "*"}, {"Ref": "AWS::NoValue"}]}
        policy_of(template, "ApiKeyRole")["Statement"].append(branch)
        found = permissions.differences(permissions.allowed(template), perfect_calls())
        self.assertEqual(found, ["lockstep-api-key may call iam:PassRole, but no test called it"])

    def test_a_removed_action_is_reported_as_not_allowed(self):
        template = copy.deepcopy(TEMPLATE)
        policy_of(template, "PostgresRole")["Statement"][0]["Action"].remove("secretsmanager:PutSecretValue")
        found = permissions.differences(permissions.allowed(template), perfect_calls())
        self.assertEqual(found, ["lockstep-postgres calls secretsmanager:PutSecretValue, which its role does not allow"])

    def test_a_statement_removed_from_the_common_policy_is_reported_for_every_function(self):
        template = copy.deepcopy(TEMPLATE)
        template["Resources"]["CommonPolicy"]["Properties"]["PolicyDocument"]["Statement"].pop(0)
        found = permissions.differences(permissions.allowed(template), perfect_calls())
        self.assertEqual(len(found), len(make_template.functions()) + len(FLEET))
        self.assertTrue(all("secretsmanager:ListSecrets" in it for it in found), found)

    def test_each_function_is_compared_with_its_own_calls(self):
        calls = perfect_calls()
        calls["lockstep-mysql"].discard("secretsmanager:UpdateSecretVersionStage LockstepRefused")
        calls["lockstep-postgres"].add("ssm:GetParameter")
        found = permissions.differences(permissions.allowed(TEMPLATE), calls)
        self.assertEqual(found, [
            "lockstep-mysql may call secretsmanager:UpdateSecretVersionStage LockstepRefused, but no test called it",
            "lockstep-postgres calls ssm:GetParameter, which its role does not allow",
        ])

    def test_an_event_of_the_common_crate_has_to_be_tried_with_one_function(self):
        calls = perfect_calls()
        for called in calls.values():
            called.discard("secretsmanager:RotateSecret")
        found = permissions.differences(permissions.allowed(TEMPLATE), calls)
        self.assertEqual(found, [f"{it} may call secretsmanager:RotateSecret, but no test called it" for it in sorted(calls) if it not in ("lockstep-fleet-leaks", "lockstep-fleet-page")])
        calls["lockstep-postgres"].add("secretsmanager:RotateSecret")
        self.assertEqual(permissions.differences(permissions.allowed(TEMPLATE), calls), [])

    def test_only_actions_of_the_template_are_past_the_lab(self):
        allows = permissions.allowed(TEMPLATE)
        for function, actions in permissions.PAST_THE_LAB.items():
            self.assertEqual(set(actions) - allows[function], set(), function)

    def test_a_label_that_the_role_may_not_move_is_reported(self):
        calls = perfect_calls()
        calls["lockstep-api-key"].add("secretsmanager:UpdateSecretVersionStage AWSPREVIOUS")
        found = permissions.differences(permissions.allowed(TEMPLATE), calls)
        self.assertEqual(found, [
            "lockstep-api-key calls secretsmanager:UpdateSecretVersionStage AWSPREVIOUS, which its role does not allow",
        ])

    def test_a_role_that_may_move_any_label_is_reported(self):
        template = copy.deepcopy(TEMPLATE)
        moves = next(it for it in policy_of(template, "ApiKeyRole")["Statement"] if it.get("Sid") == "LabelsOfARotation")
        del moves["Condition"]["ForAnyValue:StringEquals"]
        found = permissions.differences(permissions.allowed(template), perfect_calls())
        self.assertIn("lockstep-api-key may call secretsmanager:UpdateSecretVersionStage any label, but no test called it", found)

    def test_a_deny_statement_allows_nothing(self):
        template = copy.deepcopy(TEMPLATE)
        policy_of(template, "PostgresRole")["Statement"].append({"Effect": "Deny", "Action": "sqs:SendMessage", "Resource": "*"})
        self.assertNotIn("sqs:SendMessage", permissions.allowed(template)["lockstep-postgres"])

    def test_a_policy_outside_the_template_is_an_error(self):
        template = copy.deepcopy(TEMPLATE)
        arn = "arn:aws:iam::aws:policy/SecretsManagerReadWrite"
        template["Resources"]["PostgresRole"]["Properties"]["ManagedPolicyArns"].append(arn)
        with self.assertRaises(ValueError):
            permissions.allowed(template)

    def test_recorded_calls_are_read_line_by_line(self):
        with tempfile.TemporaryDirectory() as directory:
            self.assertIn("no recorded calls", permissions.main(ROOT / "template.yaml", directory))
            for index, (function, actions) in enumerate(perfect_calls().items()):
                named = [[*action.split(" "), None][:2] for action in actions]
                lines = [json.dumps({"function": function, "action": action, "label": label}) for action, label in named]
                Path(directory, f"{index}.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
            script = {"function": "scripted-function", "action": "secretsmanager:GetRandomPassword", "label": None}
            Path(directory, "script.jsonl").write_text(json.dumps(script) + "\n", encoding="utf-8")
            self.assertIsNone(permissions.main(ROOT / "template.yaml", directory))
            stranger = {"function": "lockstep-redis", "action": "secretsmanager:GetSecretValue", "label": None}
            Path(directory, "stranger.jsonl").write_text(json.dumps(stranger) + "\n", encoding="utf-8")
            self.assertIn("no such function", permissions.main(ROOT / "template.yaml", directory))
            Path(directory, "stranger.jsonl").unlink()
            Path(directory, "0.jsonl").unlink()
            self.assertIn("but no test called it", permissions.main(ROOT / "template.yaml", directory))


if __name__ == "__main__":
    unittest.main()
