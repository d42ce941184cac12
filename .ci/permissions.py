#!/usr/bin/env python3
"""Compares what each function's role allows with what the function called while the tests ran.

    permissions.py TEMPLATE RECORDED_DIR

Each line of RECORDED_DIR/*.jsonl is a call that a function made: {"function": "lockstep-postgres", "action": "secretsmanager:GetSecretValue"}.
An action that the template allows and nothing called is one too many, and a call that it does not allow would be refused on AWS. Both
are errors. What it cannot see: on which resource an action was used."""

import json
import sys
from pathlib import Path

from template import load, walk

# Allowed for what Lambda and other services do with the role, so that no call of the function's own shows it.
NOT_CALLED = {
    "logs:": "Lambda writes the log, from the function's standard output",
    "ec2:": "Lambda attaches the function to subnets, and a Deny keeps the code from it",
    "xray:": "Lambda sends the traces",
    "kms:": "Secrets Manager decrypts and encrypts for the caller (kms:ViaService)",
}

# Not a function of ours: the scripts that the lab's own tests run in the place of one.
SCRIPTS = {"scripted-function"}


def policies(role, resources):
    """The policy documents of a role: its own, and those of this template that it names."""
    properties = role["Properties"]
    for part in walk(properties.get("Policies", [])):
        if isinstance(part, dict) and "PolicyDocument" in part:
            yield part["PolicyDocument"]
    for part in walk(properties.get("ManagedPolicyArns", [])):
        if isinstance(part, str) and part.startswith("arn:"):
            raise ValueError(f"what {part} allows is not in the template")
        if isinstance(part, dict) and part.get("Ref") in resources:
            yield resources[part["Ref"]]["Properties"]["PolicyDocument"]


def statements(document):
    """The statements of a policy, each branch of a condition included. A document that is text is JSON with ${placeholders}."""
    if isinstance(document, dict) and "Fn::Sub" in document:
        document = json.loads(document["Fn::Sub"])
    return [part for part in walk(document) if isinstance(part, dict) and "Effect" in part]


def as_list(value):
    return value if isinstance(value, list) else [value]


def allowed(template):
    """For each function, under the name that it has by default, the actions that its role allows whatever the parameters."""
    prefix = template["Parameters"]["NamePrefix"]["Default"]
    resources = template["Resources"]
    result = {}
    for resource in resources.values():
        if resource["Type"] != "AWS::Serverless::Function":
            continue
        properties = resource["Properties"]
        name = properties["FunctionName"]["Fn::Sub"].replace("${NamePrefix}", prefix)
        role = properties["Role"]["Fn::GetAtt"]
        role = resources[role.split(".")[0] if isinstance(role, str) else role[0]]
        granted = [it for document in policies(role, resources) for it in statements(document) if it["Effect"] == "Allow"]
        result[name] = {action for statement in granted for action in as_list(statement["Action"])}
    return result


def recorded(directory):
    """For each function the actions that it called."""
    result = {}
    for file in sorted(Path(directory).glob("*.jsonl")):
        for line in file.read_text(encoding="utf-8").splitlines():
            call = json.loads(line)
            if call["function"] not in SCRIPTS:
                result.setdefault(call["function"], set()).add(call["action"])
    return result


def differences(allows, calls):
    """What is wrong, one sentence each; nothing if the two agree."""
    found = []
    for function, actions in sorted(allows.items()):
        called = calls.get(function, set())
        visible = {action for action in actions if not action.startswith(tuple(NOT_CALLED))}
        found += [f"{function} may do {it}, and no test made it" for it in sorted(visible - called)]
        found += [f"{function} calls {it}, which its role does not allow" for it in sorted(called - actions)]
    found += [f"{it} made calls, and the template has no such function" for it in sorted(set(calls) - set(allows))]
    return found


def main(template, directory):
    calls = recorded(directory)
    if not calls:
        return f"no recorded calls in {directory}: were the tests run with LOCKSTEP_RECORD_CALLS?"
    for function, actions in sorted(calls.items()):
        print(f"{function}: {', '.join(sorted(actions))}")
    return "\n".join(differences(allowed(load(template)), calls)) or None


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    sys.exit(main(sys.argv[1], sys.argv[2]))
