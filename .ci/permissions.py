#!/usr/bin/env python3
"""Compares the actions that each function's role allows with the calls that the function made while the tests ran.

    permissions.py TEMPLATE RECORDED_DIR

Each line of RECORDED_DIR/*.jsonl is a call that a function made:
{"function": "lockstep-postgres", "action": "secretsmanager:UpdateSecretVersionStage", "label": "AWSCURRENT"}.
An allowed action that no test used is an error, and so is a call that the role does not allow, because AWS would refuse it. The same goes
for the labels that a role may move (secretsmanager:VersionStage). Resources are not compared: the recorded calls do not name them."""

import json
import sys
from pathlib import Path

from template import load, walk

# Actions that AWS services use with the role. The function does not call them, so they are never recorded.
NOT_CALLED = {
    "logs:": "Lambda writes the function's standard output to the log",
    "ec2:": "Lambda attaches the function to subnets; a Deny statement excludes the function's code",
    "xray:": "Lambda sends the traces",
    "lambda:": "Secrets Manager wants it of whoever asks for a rotation by the function",
    "kms:": "Secrets Manager decrypts and encrypts on behalf of the caller (kms:ViaService); tests look at keys in moto's KMS",
}

# Actions whose calls go past the lab, which records none of them.
PAST_THE_LAB = {
    "lockstep-signing-key": {
        "s3:GetObject": "tests publish in moto's S3",
        "s3:PutObject": "tests publish in moto's S3",
        "s3:ListBucket": "no call: S3 says by it that an object is not there",
        "ssm:GetParameter": "tests publish in moto's Systems Manager",
        "ssm:PutParameter": "tests publish in moto's Systems Manager",
        "cloudfront:GetKeyGroup": "the lab's CloudFront has a port of its own",
        "cloudfront:UpdateKeyGroup": "as above",
        "cloudfront:ListPublicKeys": "as above",
        "cloudfront:GetPublicKey": "as above",
        "cloudfront:CreatePublicKey": "as above",
        "cloudfront:DeletePublicKey": "as above",
    },
    "lockstep-tls": {
        "route53:ChangeResourceRecordSets": "the lab's Route 53 has a port of its own, and moto another",
        "route53:GetChange": "as above",
        "route53:ListHostedZonesByName": "as above",
        "route53:ListResourceRecordSets": "as above",
        "acm:ImportCertificate": "tests import into an ACM of their own",
        "acm:GetCertificate": "as above",
        "acm:ListTagsForCertificate": "as above",
        "acm:AddTagsToCertificate": "as above",
        "s3:GetObject": "tests write to an S3 of their own",
        "s3:PutObject": "tests write to an S3 of their own",
    },
}

# Actions that only the common crate calls, for an event that each function answers alike: the call of one function is enough.
COMMON = {"secretsmanager:ListSecretVersionIds": "the event history", "secretsmanager:RotateSecret": "the event rotateNow"}

MOVES = "secretsmanager:UpdateSecretVersionStage"

# What tests run that is no function of the template.
SCRIPTS = {"scripted-function", "mine"}


def policies(role, resources):
    """The policy documents of a role: its inline policies and the managed policies of this template."""
    properties = role["Properties"]
    for part in walk(properties.get("Policies", [])):
        if isinstance(part, dict) and "PolicyDocument" in part:
            yield part["PolicyDocument"]
    for part in walk(properties.get("ManagedPolicyArns", [])):
        if isinstance(part, str) and part.startswith("arn:"):
            raise ValueError(f"the template does not contain the policy {part}")
        if isinstance(part, dict) and part.get("Ref") in resources:
            yield resources[part["Ref"]]["Properties"]["PolicyDocument"]


def statements(document):
    """The statements of a policy, including those in every branch of a condition. A document under Fn::Sub is JSON text."""
    if isinstance(document, dict) and "Fn::Sub" in document:
        text = document["Fn::Sub"]
        document = json.loads(text if isinstance(text, str) else text[0])
    return [part for part in walk(document) if isinstance(part, dict) and "Effect" in part]


def as_list(value):
    return value if isinstance(value, list) else [value]


def granted_by(statement):
    """The actions of a statement. The move of a label is an action of its own for each label."""
    for action in as_list(statement["Action"]):
        if action == MOVES:
            labels = statement.get("Condition", {}).get("ForAnyValue:StringEquals", {}).get("secretsmanager:VersionStage", "any label")
            yield from (f"{action} {label}" for label in as_list(labels))
        else:
            yield action


def allowed(template):
    """For each function, by its default name, every action that its role allows with any parameters."""
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
        result.setdefault(name, set()).update(action for statement in granted for action in granted_by(statement))
    return result


def recorded(directory):
    """For each function, the actions that it called."""
    result = {}
    for file in sorted(Path(directory).glob("*.jsonl")):
        for line in file.read_text(encoding="utf-8").splitlines():
            call = json.loads(line)
            if call["function"] not in SCRIPTS:
                action = f"{MOVES} {call['label']}" if call["action"] == MOVES else call["action"]
                result.setdefault(call["function"], set()).add(action)
    return result


def differences(allows, calls):
    """One sentence for each difference."""
    found = []
    common = {it for called in calls.values() for it in called if it in COMMON}
    for function, actions in sorted(allows.items()):
        called = calls.get(function, set())
        visible = {action for action in actions if not action.startswith(tuple(NOT_CALLED))}
        visible -= set(PAST_THE_LAB.get(function, {}))
        found += [f"{function} may call {it}, but no test called it" for it in sorted(visible - called - common)]
        found += [f"{function} calls {it}, which its role does not allow" for it in sorted(called - actions)]
    found += [f"{it} made calls, but the template has no such function" for it in sorted(set(calls) - set(allows))]
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
