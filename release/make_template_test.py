"""template.yaml is what its sources make, and another function costs few lines."""

import tempfile
import unittest
from pathlib import Path

import make_template
import no_credentials  # noqa: F401
from samcli.yamlhelper import yaml_parse

# A function with nothing but what is required, as its author would write it.
SMALLEST = """name: redis
id: Redis
title: Redis
graph: Redis
what: Redis users
rotates: the passwords of Redis users
default: false
labels: [AWSCURRENT]
parameters: |
  RedisTimeout:
    Group: Databases
    Label: Time limit of Redis
    Type: Number
    Default: 5
    Description: Seconds to wait for Redis.
environment: |
  REDIS_TIMEOUT: !Ref RedisTimeout
"""


def read(text):
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory, "40-redis.yaml")
        path.write_text(text, encoding="utf-8")
        return make_template.read_function(path)


class Made(unittest.TestCase):
    def test_the_template_is_up_to_date(self):
        self.assertEqual(make_template.TEMPLATE.read_text(encoding="utf-8"), make_template.made(), "run release/make_template.py")

    def test_each_function_is_described_in_few_lines(self):
        for path in (make_template.SOURCES / "functions").glob("*.yaml"):
            self.assertLess(len(path.read_text(encoding="utf-8").splitlines()), 200, path.name)

    def test_a_further_function_has_everything_that_the_others_have(self):
        described = make_template.functions()
        before = yaml_parse(make_template.made(described))
        after = yaml_parse(make_template.made([*described, read(SMALLEST)]))
        added = {name: it for name, it in after["Resources"].items() if name not in before["Resources"]}
        # What a function has by itself, seen at the one that has nothing of its own but its code.
        mysql = {name.removeprefix("MySql") for name in before["Resources"] if name.startswith("MySql")}
        self.assertEqual({name.removeprefix("Redis") for name in added}, mysql)
        outputs = {name.removeprefix("MySql") for name in before["Outputs"] if name.startswith("MySql")}
        self.assertEqual({it.removeprefix("Redis") for it in set(after["Outputs"]) - set(before["Outputs"])}, outputs)
        self.assertEqual(set(after["Parameters"]) - set(before["Parameters"]), {"DeployRedis", "RedisTimeout"})
        variables = lambda name: after["Resources"][f"{name}Function"]["Properties"]["Environment"]["Variables"]  # noqa: E731
        own = {name: value for name, value in variables("Redis").items() if name not in variables("MySql")}
        self.assertEqual(own, {"REDIS_TIMEOUT": {"Ref": "RedisTimeout"}})
        self.assertEqual(len(after["Resources"]["WatchRule"]["Properties"]["Targets"]), len(described) + 1)
        self.assertIn("${NamePrefix}-redis", str(after["Resources"]["Dashboard"]))
        self.assertIn("${NamePrefix}-redis", str(after["Resources"]["TagPolicy"]))
        for name, resource in before["Resources"].items():
            if name.startswith(tuple(it["id"] for it in described)):
                self.assertEqual(after["Resources"][name], resource)

    def test_the_longest_prefix_fits_the_longest_name(self):
        text = make_template.made([*make_template.functions(), read(SMALLEST.replace("redis\n", "a-rather-long-name\n", 1))])
        pattern = yaml_parse(text)["Parameters"]["NamePrefix"]["AllowedPattern"]
        self.assertIn("{0,%d}" % (64 - len("-a-rather-long-name") - 1), pattern)

    def test_mistakes_are_named(self):
        for wrong, said in (
            (SMALLEST.replace("title: Redis\n", ""), "title is missing"),
            (SMALLEST + "tittle: Redis\n", "there is no key tittle"),
            (SMALLEST.replace("default: false", "default: no thanks"), "default has to be a bool"),
        ):
            with self.assertRaisesRegex(make_template.Mistake, said):
                read(wrong)
        for wrong, said in (("Group: Databases", "there is no group Redises"), ("    Label: Time limit of Redis\n", "Label is missing")):
            broken = SMALLEST.replace(wrong, "Group: Redises" if "Group" in wrong else "")
            with self.assertRaisesRegex(make_template.Mistake, said):
                make_template.made([read(broken)])


if __name__ == "__main__":
    unittest.main()
