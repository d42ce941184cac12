"""Prepares a template for moto's CloudFormation, which does not create every type of resource, and takes no text for a policy."""

import json
import re

from deployed import Resolver
from template import PLACEHOLDER, sub_parts, walk

# Resource types that moto's CloudFormation does not create (version 5.2.1). It has to create all others.
NOT_IN_MOTO = {
    "AWS::ApiGatewayV2::Api",
    "AWS::ApiGatewayV2::Integration",
    "AWS::ApiGatewayV2::Route",
    "AWS::ApiGatewayV2::Stage",
    "AWS::CloudWatch::Alarm",
    "AWS::Logs::MetricFilter",
    "AWS::SNS::Subscription",
    "AWS::SNS::TopicPolicy",
    "AWS::SecretsManager::RotationSchedule",
    "AWS::SecretsManager::Secret",
    "AWS::SecretsManager::SecretTargetAttachment",
}


def for_moto(deployment, lacking=NOT_IN_MOTO):
    """The template of a deployment, without the types that moto lacks. Conditions are evaluated already, because moto looks for the resources
    of both branches. A text stands in place of each reference to a resource that is left out, and a dictionary in place of a policy that is
    text."""
    body = {
        "Parameters": deployment.declared,
        "Mappings": deployment.mappings,
        "Resources": {name: it for name, it in deployment.resources.items() if it["Type"] not in lacking},
        "Outputs": deployment.outputs,
    }
    for part in ("Resources", "Outputs"):
        body[part] = {name: {key: it[key] for key in it if key != "Condition"} for name, it in body[part].items()}
    unknown = set(deployment.resources) - set(body["Resources"])
    return with_texts(body, unknown, deployment.parameters)


def with_texts(body, unknown, parameters):
    body = json.loads(json.dumps(body))
    for part in walk(body):
        if not isinstance(part, dict):
            continue
        if part.get("Ref") in unknown:
            part["Fn::Sub"] = f"ref-of-{part.pop('Ref')}"
        if isinstance(part.get("Fn::Sub"), str):
            for name in unknown:
                part["Fn::Sub"] = re.sub(rf"\$\{{{name}\.\w+\}}", f"arn-of-{name}", part["Fn::Sub"]).replace(f"${{{name}}}", f"ref-of-{name}")
        if "Fn::Sub" in part.get("PolicyDocument", {}):
            text, own = sub_parts(part["PolicyDocument"]["Fn::Sub"])
            part["PolicyDocument"] = json.loads(filled_in(text, parameters | with_lists(body, parameters, own)))
    return body


def with_lists(body, parameters, own):
    """The values of a Fn::Sub's own variables. They refer to parameters alone, and a parameter may be a list."""
    is_list = {name for name, it in body["Parameters"].items() if it["Type"] == "CommaDelimitedList"}
    given = {name: [it for it in value.split(",") if it] if name in is_list else value for name, value in parameters.items()}
    return Resolver(body["Resources"], given)(own)


def filled_in(text, parameters):
    """The result of Fn::Sub for a text that refers only to parameters and its own variables."""
    pseudo = {"AWS::Partition": "aws", "AWS::Region": "eu-central-1", "AWS::AccountId": "123456789012"}
    return PLACEHOLDER.sub(lambda name: (parameters | pseudo)[name[1]], text)
