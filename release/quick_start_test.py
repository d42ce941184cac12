"""The README's quick start, typed word for word in an empty folder with the AWS CLI alone, against a stand-in for CloudFormation."""

import json
import os
import re
import shlex
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

import no_credentials  # noqa: F401
import boto3
import make_template
import package
import stand_in
from package_test import elf_machine

README = make_template.ROOT / "README.md"
PAGE = make_template.ROOT / "docs/deploy.md"
MOST_LINES, MOST_PARAMETERS = 10, 5
# Stands in for curl: takes the files of the release from a folder.
CURL = """#!/bin/sh
[ "$1" = -fsSLO ] && [ "${2%%/download/*}" = https://github.com/lockstep-rotation/lockstep/releases/latest ] || exit 22
for name in $(echo "${2##*/download/}" | tr -d '{}' | tr , ' '); do cp "$RELEASE/$name" . || exit 22; done
"""


def quick_start():
    """The lines of the quick start."""
    block, = re.findall(r"<!-- quick start -->\n```sh\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    return block.splitlines()


def typed_parameters():
    words = shlex.split("\n".join(quick_start()))
    return dict(it.split("=", 1) for it in words[words.index("--parameter-overrides") + 1:] if re.match(r"[A-Z][A-Za-z]+=", it))


class Typing:
    """A release of programs that do nothing, an empty folder, and a shell that has little more than the AWS CLI and the stand-in's address."""

    def __init__(self, architecture):
        self.architecture = architecture

    def __enter__(self):
        self._directory = tempfile.TemporaryDirectory()
        programs, self.release, self._empty, self._tools = (Path(self._directory.name, it) for it in ("programs", "release", "empty", "tools"))
        for it in (programs, self.release, self._empty, self._tools):
            it.mkdir()
        for function in package.FUNCTIONS:
            Path(programs, f"lockstep-{function}").write_bytes(elf_machine("EM_X86_64") + function.encode())
        package.main(self.architecture, programs, self.release)
        subprocess.run("sha256sum -- * >SHA256SUMS", shell=True, check=True, cwd=self.release)
        (self._tools / "curl").write_text(CURL, encoding="utf-8")
        (self._tools / "curl").chmod(0o755)
        (self._tools / "aws").symlink_to(Path(sys.executable).parent / "aws")
        self._server = stand_in.Server()
        self.url = self._server.__enter__().url
        return self

    def __exit__(self, *why):
        self._server.__exit__(*why)
        self._directory.cleanup()

    def type(self, lines):
        """What the lines print."""
        environment = {name: value for name, value in os.environ.items() if name.startswith("AWS_")}
        environment |= {"PATH": f"{self._tools}:/usr/bin:/bin", "HOME": str(self._empty), "RELEASE": str(self.release), "AWS_ENDPOINT_URL": self.url}
        done = subprocess.run(["bash", "-ec", lines], cwd=self._empty, env=environment, capture_output=True, text=True, timeout=300)
        if done.returncode:
            raise AssertionError(f"exit code {done.returncode}\n{done.stdout}{done.stderr}")
        return done.stdout


class QuickStart(unittest.TestCase):
    def test_it_is_short(self):
        self.assertLessEqual(len(quick_start()), MOST_LINES)
        self.assertLessEqual(len(typed_parameters()), MOST_PARAMETERS)
        self.assertGreater(len(typed_parameters()), 3)

    def test_it_acknowledges_what_cloudformation_asks_for(self):
        # moto asks for nothing. The template makes roles, and a nested stack with a transform.
        self.assertIn("--capabilities CAPABILITY_IAM CAPABILITY_AUTO_EXPAND ", "\n".join(quick_start()))

    def test_it_uses_the_aws_cli_and_what_every_system_has(self):
        commands = re.findall(r"(?:^|&& )([a-z0-9]+) ", re.sub(r"\\\n *", "", "\n".join(quick_start())), re.MULTILINE)
        self.assertLessEqual(set(commands), {"curl", "sha256sum", "tar", "cd", "aws"})

    def test_typed_in_an_empty_folder_it_deploys(self):
        with Typing("x86_64") as typing:
            self.make_what_exists(typing.url)
            self.check_what_was_made(typing.url, typing.release, typing.type("\n".join(quick_start())))
            # Up to the invocation: the programs of this release do nothing.
            block, = re.findall(r"<!-- first rotation -->\n```sh\n(.*?)sleep 60\n", README.read_text(encoding="utf-8"), re.DOTALL)
            secret, = boto3.client("secretsmanager", endpoint_url=typing.url).list_secrets()["SecretList"]
            self.assertEqual(typing.type(f'{block}echo "$secret"'), secret["ARN"] + "\n")

    def test_the_commands_of_the_deploy_page_deploy_another_function(self):
        block, = re.findall(r"<!-- from a release -->\n```sh\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
        with Typing("x86_64") as typing:
            typing.type("\n".join([*quick_start()[:3], block]))
            names = [it["FunctionName"] for it in boto3.client("lambda", endpoint_url=typing.url).list_functions()["Functions"]]
            self.assertEqual(names, ["lockstep-mysql"])

    def test_the_deploy_page_s_command_shows_whether_a_trail_logs_management_events(self):
        block, = re.findall(r"```sh\n(for trail in .*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
        with Typing("x86_64") as typing:
            boto3.client("s3", endpoint_url=typing.url).create_bucket(
                Bucket="trails", CreateBucketConfiguration={"LocationConstraint": "eu-central-1"}
            )
            trails = boto3.client("cloudtrail", endpoint_url=typing.url)
            shown = lambda: re.sub(r"\s+", "", typing.type(block))  # noqa: E731
            self.assertEqual(shown(), "")
            trails.create_trail(Name="mine", S3BucketName="trails")
            trails.put_event_selectors(TrailName="mine", EventSelectors=[{"ReadWriteType": "WriteOnly", "IncludeManagementEvents": True}])
            self.assertEqual(shown(), 'false[[[true,"WriteOnly"]],[]]')
            trails.start_logging(Name="mine")
            selector = {"Field": "eventCategory", "Equals": ["Management"]}
            trails.put_event_selectors(TrailName="mine", AdvancedEventSelectors=[{"Name": "all", "FieldSelectors": [selector]}])
            self.assertRegex(shown(), r'^true\[.*"Field":"eventCategory","Equals":\["Management"\]')

    def make_what_exists(self, url):
        """The database and the network, as the README presupposes them."""
        boto3.client("rds", endpoint_url=url).create_db_instance(
            DBInstanceIdentifier=typed_parameters()["Database"], DBInstanceClass="db.t4g.micro", Engine="postgres", DBName="orders",
            MasterUsername="postgres", MasterUserPassword="not-read-by-anyone", AllocatedStorage=20,
        )

    def check_what_was_made(self, url, release, printed):
        typed = typed_parameters()
        function = boto3.client("lambda", endpoint_url=url).get_function(FunctionName="lockstep-postgres")["Configuration"]
        variables = function["Environment"]["Variables"]
        self.assertEqual(variables["SUPERUSER_SECRET_ARNS"], typed["SuperuserSecretArn"])
        self.assertEqual(function["Architectures"], ["x86_64"])
        self.assertEqual(function["VpcConfig"]["SubnetIds"], typed["SubnetIds"].split(","))
        self.assertEqual(function["VpcConfig"]["SecurityGroupIds"], typed["SecurityGroupIds"].split(","))
        # The function's code is the zip of the release.
        s3 = boto3.client("s3", endpoint_url=url)
        bucket, = (it["Name"] for it in s3.list_buckets()["Buckets"])
        bodies = [s3.get_object(Bucket=bucket, Key=it["Key"])["Body"].read() for it in s3.list_objects_v2(Bucket=bucket)["Contents"]]
        for name in package.FUNCTIONS:
            self.assertIn((release / package.zip_name(name, "x86_64")).read_bytes(), bodies)
        manager = boto3.client("secretsmanager", endpoint_url=url)
        secret, = manager.list_secrets()["SecretList"]
        value = json.loads(manager.get_secret_value(SecretId=secret["ARN"])["SecretString"])
        self.assertEqual(len(value.pop("password")), 32)
        self.assertRegex(value.pop("host"), rf"^{typed['Database']}\.")
        self.assertEqual(value, {
            "engine": "postgres", "port": 5432, "dbname": "orders", "dbInstanceIdentifier": typed["Database"], "username": "app",
            "masterarn": typed["SuperuserSecretArn"],
        })
        tags = {it["Key"]: it["Value"] for it in secret["Tags"]}
        self.assertEqual(tags["rotated-by"], function["FunctionArn"])
        self.assertIn(secret["ARN"], printed)


if __name__ == "__main__":
    unittest.main()
