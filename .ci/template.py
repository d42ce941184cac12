"""Reads CloudFormation templates and evaluates them for given parameters: conditions, remaining resources and references."""

import copy
import itertools
import re
from pathlib import Path

from samcli.yamlhelper import yaml_parse
from samtranslator.translator.transform import transform

ROOT = Path(__file__).resolve().parent.parent
NO_VALUE = {"Ref": "AWS::NoValue"}
PLACEHOLDER = re.compile(r"\$\{([^!}][^}]*)\}")


def load(path):
    """The template, with intrinsic functions in their long form, such as {"Fn::Sub": ...}."""
    return yaml_parse(Path(path).read_text(encoding="utf-8"))


def walk(node):
    """The node and everything below it."""
    yield node
    below = node.values() if isinstance(node, dict) else node if isinstance(node, list) else ()
    for child in below:
        yield from walk(child)


def sub_parts(argument):
    """The text of Fn::Sub and its own variables."""
    return (argument, {}) if isinstance(argument, str) else (argument[0], argument[1])


def references(node):
    """The names of parameters, resources and pseudo parameters that a part of a template refers to."""
    for part in walk(node):
        if not isinstance(part, dict):
            continue
        if isinstance(part.get("Ref"), str):
            yield part["Ref"]
        if "Fn::GetAtt" in part:
            target = part["Fn::GetAtt"]
            yield target.split(".")[0] if isinstance(target, str) else target[0]
        if "Fn::Sub" in part:
            text, own = sub_parts(part["Fn::Sub"])
            yield from (name.split(".")[0] for name in PLACEHOLDER.findall(text) if name not in own)


def conditions_used(node):
    """The conditions that a part of a template refers to."""
    for part in walk(node):
        if isinstance(part, dict):
            if isinstance(part.get("Fn::If"), list):
                yield part["Fn::If"][0]
            if isinstance(part.get("Condition"), str):
                yield part["Condition"]


def sam_transform(template):
    """The CloudFormation template that SAM makes of a SAM template. CodeUri is a file in a bucket, as after `sam deploy` has packaged it."""
    template = copy.deepcopy(template)
    for resource in template["Resources"].values():
        if resource["Type"] == "AWS::Serverless::Function":
            resource["Properties"]["CodeUri"] = "s3://artifacts/function.zip"
    return translated(template)


def translated(template):
    """The same for a template that is packaged."""
    return transform(template, {}, NoManagedPolicies())


class NoManagedPolicies:
    """The translator looks up AWS managed policies by name. No role here has one."""

    def load(self):
        return {}


class Deployment:
    """A template with its parameters. Conditions are evaluated, and resources and outputs whose condition is false are removed."""

    def __init__(self, template, **parameters):
        self.declared, self.mappings = template.get("Parameters", {}), template.get("Mappings", {})
        declared = self.declared
        unknown = set(parameters) - set(declared)
        if unknown:
            raise ValueError(f"no such parameters: {sorted(unknown)}")
        self.parameters = {name: parameters.get(name, it.get("Default")) for name, it in declared.items()}
        self._conditions = template.get("Conditions", {})
        self.resources = self._left(template.get("Resources", {}))
        self.outputs = self._left(template.get("Outputs", {}))

    def _left(self, section):
        return {name: self.decide(it) for name, it in section.items() if "Condition" not in it or self.holds(it["Condition"])}

    def holds(self, condition):
        return self._truth(self._conditions[condition])

    def _truth(self, node):
        (function, argument), = node.items()
        match function:
            case "Condition":
                return self.holds(argument)
            case "Fn::Not":
                return not self._truth(argument[0])
            case "Fn::And":
                return all(self._truth(it) for it in argument)
            case "Fn::Or":
                return any(self._truth(it) for it in argument)
            case "Fn::Equals":
                left, right = (self._value(it) for it in argument)
                return left == right
        raise ValueError(f"{function} is not supported in a condition")

    def _value(self, node):
        if isinstance(node, str):
            return node
        if "Ref" in node:
            return str(self.parameters[node["Ref"]])
        if "Fn::Join" in node:
            delimiter, items = node["Fn::Join"]
            # The value of a list parameter is text with commas.
            return delimiter.join(self._value(items).split(","))
        raise ValueError(f"{node} is not supported in a condition")

    def decide(self, node):
        """A part of the template in which each Fn::If is replaced by the branch that applies."""
        if isinstance(node, dict):
            if "Fn::If" in node:
                condition, yes, no = node["Fn::If"]
                return self.decide(yes if self.holds(condition) else no)
            return {key: value for key, value in ((k, self.decide(v)) for k, v in node.items()) if value != NO_VALUE}
        if isinstance(node, list):
            return [it for it in map(self.decide, node) if it != NO_VALUE]
        return node

    def dangling(self):
        """Names that resources and outputs refer to but that do not exist."""
        known = set(self.parameters) | set(self.resources)
        used = set(references([self.resources, self.outputs]))
        return sorted(name for name in used - known if not name.startswith("AWS::"))

    def missing_dependencies(self):
        """Names in DependsOn that do not exist."""
        named = itertools.chain.from_iterable(
            [it["DependsOn"]] if isinstance(it["DependsOn"], str) else it["DependsOn"]
            for it in self.resources.values() if "DependsOn" in it
        )
        return sorted(set(named) - set(self.resources))
