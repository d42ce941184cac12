#!/usr/bin/env python3
"""Makes template.yaml from release/template/: make_template.py [--check]

Each file of release/template/ is a part of the template, written with Jinja where it differs between functions. Each file of
release/template/functions/ describes a function. README.md beside this file says how to add one. With --check, nothing is written, and the
exit code is 1 if template.yaml is not up to date."""

import re
import sys
from pathlib import Path

import jinja2
import yaml

ROOT = Path(__file__).resolve().parent.parent
SOURCES = ROOT / "release/template"
# The fleet is no rotation function: its parts are in release/template/fleet/.
FLEET = ("fleet/function.yaml", "fleet/machine.yaml", "fleet/page.yaml", "fleet/leaks.yaml", "fleet/on-call.yaml", "fleet/alarms.yaml")
FLEET_NAMES = ("fleet", "fleet-page", "fleet-leaks")
DEFINITION = ROOT / "functions/fleet/state-machine.asl.json"
TEMPLATE = ROOT / "template.yaml"
# The groups of parameters in the console, in this order.
GROUPS = (
    "Functions to deploy", "Secrets", "Network", "Alarms and logs", "New passwords", "Databases", "API key issuers",
    "Certificates", "Fleet", "Function and role settings",
)
# "Function name": Lambda API, CreateFunction.
LONGEST_FUNCTION_NAME = 64
KEYS = {
    "name": str, "id": str, "title": str, "graph": str, "what": str, "rotates": str, "default": bool, "superusers": bool,
    "older_versions": bool, "journal": bool, "certificates": bool, "makes_first_value": bool, "labels": list, "environment": str, "statements": str, "conditions": str, "parameters": str,
}
OPTIONAL = {"superusers", "older_versions", "journal", "certificates", "makes_first_value", "environment", "statements", "conditions", "parameters"}
DEPLOY = """Deploy{id}:
  Group: Functions to deploy
  Label: {title}
  Type: String
  Default: "{default}"
  AllowedValues: ["true", "false"]
  Description: Deploy the function that rotates {what}.
"""


class Mistake(Exception):
    """A source cannot be read. The text says which, and why."""


def read_function(path):
    """A function as its file describes it. Keys that the file leaves out are false or empty."""
    given = yaml.safe_load(path.read_text(encoding="utf-8"))
    for key in given:
        if key not in KEYS:
            raise Mistake(f"{path.name}: there is no key {key}; the keys are {', '.join(KEYS)}")
    for key, kind in KEYS.items():
        if key not in given and key not in OPTIONAL:
            raise Mistake(f"{path.name}: {key} is missing")
        if not isinstance(given.setdefault(key, kind()), kind):
            raise Mistake(f"{path.name}: {key} has to be a {kind.__name__}")
    # An id of a metric has small letters and digits only.
    return given | {"metric": given["id"].lower()}


def functions(directory=SOURCES / "functions"):
    return [read_function(it) for it in sorted(directory.glob("*.yaml"))]


def parameters(text):
    """The parameters of a text, in its order: name, group, label, and the lines that CloudFormation reads."""
    found = []
    for name, body in re.findall(r"(?m)^(\w+):\n((?:  .*\n)+)", text):
        group, label = (re.search(rf"(?m)^  {key}: (.*)\n", body) for key in ("Group", "Label"))
        if not group or not label:
            raise Mistake(f"parameter {name}: Group or Label is missing")
        if group[1] not in GROUPS:
            raise Mistake(f"parameter {name}: there is no group {group[1]}")
        body = body.replace(group[0], "").replace(label[0], "")
        found.append({"name": name, "group": group[1], "label": label[1], "body": re.sub(r"(?m)^", "  ", body.rstrip("\n"))})
    return sorted(found, key=lambda it: GROUPS.index(it["group"]))


class Sources:
    """Renders the files of release/template/."""

    def __init__(self, described):
        self.functions = described
        self.environment = jinja2.Environment(
            loader=jinja2.FileSystemLoader(SOURCES), undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True,
            keep_trailing_newline=True,
        )

    def render(self, file, **more):
        return self.rendered(self.environment.get_template(file), **more)

    def function(self, function):
        """A function whose texts are rendered, too."""
        texts = {key: self.rendered(self.environment.from_string(function[key])) for key in ("environment", "statements", "conditions")}
        return function | texts

    def rendered(self, template, **more):
        return template.render(
            secrets=self.environment.get_template("secrets.yaml").module,
            functions=self.functions, each=self.each, listed=self.listed,
            longest_prefix=LONGEST_FUNCTION_NAME - max(len(f"-{it}") for it in (*(it["name"] for it in self.functions), *FLEET_NAMES)),
            fleet_names=FLEET_NAMES, definition=DEFINITION.read_text(encoding="utf-8").strip(), **more,
        )

    def each(self, pattern, between=", "):
        """The pattern once for each function, with {name}, {id} and {metric} filled in."""
        return between.join(self.filled_in(pattern, it) for it in self.functions)

    def listed(self, pattern):
        """Like each, as a list in a sentence: a, b and c."""
        *first, last = (self.filled_in(pattern, it) for it in self.functions)
        return f"{', '.join(first)} and {last}" if first else last

    @staticmethod
    def filled_in(pattern, function):
        return re.sub(r"\{(name|id|metric)\}", lambda key: function[key[1]], pattern)


def made(described=None):
    """The text of template.yaml."""
    described = functions() if described is None else described
    sources = Sources(described)
    sources.functions = described = [sources.function(it) for it in described]
    deploy = "".join(DEPLOY.format_map(it | {"default": str(it["default"]).lower()}) for it in described)
    declared = parameters(deploy + sources.render("fleet/parameters.yaml") + sources.render("parameters.yaml") + "".join(it["parameters"] for it in described))
    groups = [{"label": it, "parameters": [p["name"] for p in declared if p["group"] == it]} for it in GROUPS]
    parts = [
        sources.render("head.yaml", parameters=declared, groups=groups),
        sources.render("conditions.yaml"),
        sources.render("globals.yaml"),
        *(sources.render("function.yaml", f=it) for it in described),
        *(sources.render(it) for it in FLEET),
        *(sources.render(it) for it in ("policies.yaml", "on-call.yaml", "topic.yaml", "alarms.yaml", "watch.yaml", "dashboard.yaml", "dashboard-owner.yaml",
                                            "dashboard-debug.yaml", "outputs.yaml")),
    ]
    text = "\n".join(part.strip("\n") + "\n" for part in parts)
    return re.sub(r"\n{3,}", "\n\n", text)


def main(arguments):
    if arguments not in ([], ["--check"]):
        return __doc__
    text = made()
    if not arguments:
        TEMPLATE.write_text(text, encoding="utf-8")
    elif TEMPLATE.read_text(encoding="utf-8") != text:
        return "template.yaml is not up to date: run release/make_template.py"
    return None


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
