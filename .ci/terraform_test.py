"""The Terraform module deploys what the template does. Terraform plans it, with a stand-in for its AWS provider."""

import contextlib
import functools
import json
import os
import re
import shutil
import subprocess
import tempfile
import unittest
import zipfile
from pathlib import Path

import boto3
import hcl2
from cases import CASES, FUNCTIONS, ROOT, VARIABLE, WORKSPACE, Same, named, zips_of_a_release
from deployed import of_plan
from modules import module
from terraform_stand_in import serving

PAGE = ROOT / "docs/terraform.md"


def terraform():
    """The program, or a reason to skip: no package registry has it, so a new machine may lack it."""
    found = shutil.which("terraform") or shutil.which("tofu")
    if not found:
        raise unittest.SkipTest("NOT CHECKED: the Terraform module, because neither terraform nor tofu is installed")
    return found


@contextlib.contextmanager
def configuration(**place):
    """A directory with the module, as of a release. Yields what plans a configuration there: it returns the plan, or what Terraform printed
    if it should fail."""
    program = terraform()
    with tempfile.TemporaryDirectory() as directory, serving(directory, **place) as attached:
        with zipfile.ZipFile(module(list(zips_of_a_release(directory)), directory, "0")) as archive:
            archive.extractall(Path(directory, "lockstep"))
        variables = {"PATH": os.environ["PATH"], "HOME": directory, "CHECKPOINT_DISABLE": "1"} | attached
        called = set()

        def run(*command, fails=False):
            done = subprocess.run([program, *command], cwd=directory, env=variables, capture_output=True, text=True, check=False)
            if (done.returncode != 0) != fails:
                raise RuntimeError(f"{command}: {done.stdout[-4000:]}{done.stderr[-4000:]}")
            return done.stdout + done.stderr if fails else done.stdout

        def plan(text, fails=False):
            Path(directory, "main.tf").write_text(text, encoding="utf-8")
            calls = set(re.findall(r'(?m)^module "(.*)"', text))
            if not calls <= called:
                run("init", "-no-color", "-input=false")
                called.update(calls)
            printed = run("plan", "-no-color", "-input=false", "-out=plan", fails=fails)
            return printed if fails else json.loads(run("show", "-json", "plan"))

        yield plan


# The commands that attach a secret, by the names of outputs that `call` writes.
COMMANDS = {}


def planned(text, **place):
    """The planned resources of each module that the configuration calls."""
    with configuration(**place) as run:
        return of_modules(run(text))


def of_modules(plan):
    modules = plan["planned_values"]["root_module"]["child_modules"]
    COMMANDS.update((name, it["value"]) for name, it in plan["planned_values"].get("outputs", {}).items())
    return {it["address"].removeprefix("module."): [(r["type"], r["values"]) for r in it["resources"]] for it in modules}


def call(name, kind, values):
    """A call of the module. A value is as the parameter of the template has it."""
    types = {labels: unquoted(body["type"]) for labels, body in variables_of_the_module().items()}

    def written(variable, value):
        listed = types[variable].startswith("${list(") or types[variable].startswith("list(")
        return json.dumps([it for it in value.split(",") if it] if listed else value).replace("${", "$${")

    arguments = "".join(f"  {VARIABLE[parameter]} = {written(VARIABLE[parameter], value)}\n" for parameter, value in values.items())
    output = f'output "{name}" {{\n  value = module.{name}.attach_command\n}}\n'
    return f'module "{name}" {{\n  source = "./lockstep"\n  kind = "{kind}"\n{arguments}}}\n{output}'


@functools.cache
def variables_of_the_module(directory="examples/terraform"):
    found = {}
    for file in sorted((ROOT / directory).glob("*.tf")):
        for block in hcl2.loads(file.read_text(encoding="utf-8")).get("variable", []):
            (name, body), = block.items()
            found[unquoted(name)] = body
    return found


def unquoted(text):
    return str(text).strip('"')


@functools.cache
def of_terraform():
    plans = planned("".join(call(case, kind, values) for case, (kind, values) in CASES.items()))
    found = {case: of_plan(plans[case], kind, *named(kind, values)) for case, (kind, values) in CASES.items()}
    for case, it in found.items():
        it.attach = COMMANDS[case]
    return found


# The tags of everything, a topic of somebody else, a zip in a bucket, and an attached secret.
SETTLED = """
module "rotation" {
  source          = "./lockstep"
  kind            = "postgres"
  s3_bucket       = "zips"
  s3_key          = "0.1.0/lockstep-postgres-x86_64.zip"
  alarm_topic_arn = "arn:aws:sns:eu-central-1:123456789012:on-call"
  alarm_email     = "someone@example.com"
  tags            = { team = "orders" }
  secrets = {
    orders = { arn = "arn:aws:secretsmanager:eu-central-1:123456789012:secret:orders-AbCdEf", window = "2h" }
  }
}
"""
TAGGABLE = {
    "aws_lambda_function", "aws_cloudwatch_log_group", "aws_iam_role", "aws_sns_topic", "aws_kms_key", "aws_cloudwatch_event_rule",
    "aws_cloudwatch_metric_alarm",
}


class Terraform(Same):
    def test_it_deploys_what_the_template_does(self):
        self.check(of_terraform())

    def test_it_is_formatted(self):
        done = subprocess.run([terraform(), "fmt", "-check", "-diff", "-recursive", str(ROOT / "examples/terraform")], capture_output=True, text=True, check=False)
        self.assertEqual((done.returncode, done.stdout), (0, ""))

    def test_the_configuration_of_the_page_can_be_planned(self):
        block, = re.findall(r"(?ms)^```hcl\n(.*?)^```$", PAGE.read_text(encoding="utf-8"))
        source = re.search(r'source += "(https://\S+/releases/download/\S+)"', block)[1]
        self.assertTrue(source.endswith(f"/v{WORKSPACE['version']}/lockstep-terraform-{WORKSPACE['version']}.zip"), source)
        plan = planned(block.replace(source, "./lockstep"))["rotation"]
        schedule, = [it for kind, it in plan if kind == "aws_secretsmanager_secret_rotation"]
        self.assertEqual(schedule["rotate_immediately"], False)

    def test_the_settings_that_only_it_has(self):
        plan = planned(SETTLED)["rotation"]
        of = lambda kind: [it for its, it in plan if its == kind]  # noqa: E731
        function, = of("aws_lambda_function")
        self.assertEqual((function["s3_bucket"], function["s3_key"]), ("zips", "0.1.0/lockstep-postgres-x86_64.zip"))
        self.assertEqual((function["filename"], function["source_code_hash"]), (None, None))
        self.assertEqual(of("aws_sns_topic") + of("aws_sns_topic_policy") + of("aws_kms_key"), [])
        topic = "arn:aws:sns:eu-central-1:123456789012:on-call"
        self.assertEqual({it["topic_arn"] for it in of("aws_sns_topic_subscription")}, {topic})
        self.assertEqual({tuple(it["alarm_actions"]) for it in of("aws_cloudwatch_metric_alarm")}, {(topic,)})
        schedule, = of("aws_secretsmanager_secret_rotation")
        self.assertEqual(schedule["rotation_rules"][0]["schedule_expression"], "rate(30 days)")
        self.assertEqual(schedule["rotation_lambda_arn"], function["arn"])
        untagged = [kind for kind, it in plan if kind in TAGGABLE and it["tags"] != {"team": "orders"}]
        self.assertEqual(untagged, [])
        own = planned(SETTLED.replace("alarm_topic_arn", "# alarm_topic_arn"))["rotation"]
        self.assertEqual({kind for kind, _ in own} & TAGGABLE, TAGGABLE)
        self.assertEqual([kind for kind, it in own if kind in TAGGABLE and it["tags"] != {"team": "orders"}], [])

    def test_the_zip_is_that_of_the_kind_and_the_processor(self):
        plans = planned(call("a", "mysql", {}) + call("b", "api-key", {"Architecture": "arm64"}))
        packages = [it["filename"].split("/")[-1] for name in "ab" for kind, it in plans[name] if kind == "aws_lambda_function"]
        self.assertEqual(packages, ["lockstep-mysql-x86_64.zip", "lockstep-api-key-arm64.zip"])

    def test_the_archive_of_a_release_is_always_the_same(self):
        with tempfile.TemporaryDirectory() as directory:
            zips = list(zips_of_a_release(directory))
            first = module(zips, directory, "1").read_bytes()
            # Dates and the order of files do not count.
            os.utime(zips[0], (0, 0))
            archive = module(reversed(zips), directory, "2")
            self.assertEqual(archive.read_bytes(), first)
            with zipfile.ZipFile(archive) as found:
                self.assertLessEqual({"LICENSE", "main.tf", "functions/lockstep-mysql-arm64.zip"}, set(found.namelist()))

    def test_a_mistake_is_an_error_that_says_what_is_wrong(self):
        with configuration() as plan:
            self.mistakes(plan)

    def mistakes(self, plan):
        for (kind, arguments), words in {
            ("mysql", "allow_md5 = true"): "of the kind mysql does not read ALLOW_MD5",
            ("postgres", 'admin_secret_arns = ["arn:aws:secretsmanager:eu-central-1:123456789012:secret:a-AbCdEf"]'): "does not read ADMIN_SECRET_ARNS",
            ("postgres", 'hosted_zone_arns = ["arn:aws:route53:::hostedzone/Z1D633PJN98FT9"]'): "does not read hosted_zone_arns",
            ("postgres", 's3_bucket = "zips"'): "either in `package`, or in `s3_bucket`",
            ("postgres", 'secret_tag_value = "orders"'): "secret_tag_value needs secret_tag_key",
            ("postgres", "timeout = 5"): "15 to 900 seconds",
            ("postgres", f'name_prefix = "{"a" * 36}"'): "at most 34 letters",
            ("postgres", 'watch_schedule = "daily"'): "The schedule is never",
            ("postgres", "look_missing_hours = 169"): "2 to 168 hours",
            ("redis", ""): "The kind is",
        }.items():
            with self.subTest(words):
                found = plan(f'module "a" {{\n  source = "./lockstep"\n  kind = "{kind}"\n  {arguments}\n}}\n', fails=True)
                self.assertIn(words, re.sub(r"\s*\n[│ ]*", " ", found))

    def test_the_longest_prefix_makes_no_name_too_long_in_any_region(self):
        pattern = str(variables_of_the_module()["name_prefix"]["validation"])
        first, more = re.search(r"\^(\[A-Za-z\])\[[^]]+\]\{0,(\d+)\}\$", pattern).groups()
        session = boto3.Session()
        regions = [it for partition in session.get_available_partitions() for it in session.get_available_regions("lambda", partition)]
        self.assertGreater(len(regions), 30)
        longest = max(map(len, regions)) + len("-") + max(len(f"-{kind}") for kind in FUNCTIONS) + 1 + int(more)
        # The maximum length of a role name in IAM.
        self.assertLessEqual(longest, 64)


if __name__ == "__main__":
    unittest.main()
