"""A fleet in several accounts: the role of examples/fleet-accounts, deployed into two accounts of moto, and the script that starts one after the other."""

import fnmatch
import json
import os
import subprocess
import sys
import tempfile
import unittest
import urllib.request
from pathlib import Path
from unittest import mock

import no_credentials  # noqa: F401
import boto3
import deployed
import stand_in
from fleet_test import DEFINITION, Functions, functions
from template import ROOT

EXAMPLE = ROOT / "examples/fleet-accounts"
PLACES = [("111111111111", "eu-central-1"), ("222222222222", "eu-west-1")]
OPERATOR = "arn:aws:iam::123456789012:role/rotation-operator"
ORDER = {"run": True, "name": "november", "why": "a test", "select": {"names": ["*"]}}


class Accounts(unittest.TestCase):
    def setUp(self):
        server = stand_in.Server()
        self.url = server.__enter__().url
        self.addCleanup(server.__exit__, None, None, None)
        self.interprets(True)
        self.addCleanup(self.interprets, False)
        for account, region in PLACES:
            self.client("cloudformation", account, region).create_stack(
                StackName="starter", TemplateBody=(EXAMPLE / "role.yaml").read_text(encoding="utf-8"), Capabilities=["CAPABILITY_NAMED_IAM"],
                Parameters=[{"ParameterKey": "OperatorArn", "ParameterValue": OPERATOR}],
            )
            function = f"arn:aws:lambda:{region}:{account}:function:lockstep-fleet"
            self.client("stepfunctions", account, region).create_state_machine(
                name="lockstep-fleet", roleArn=f"arn:aws:iam::{account}:role/fleet",
                definition=DEFINITION.read_text(encoding="utf-8").replace("${FleetFunctionArn}", function),
            )

    def interprets(self, yes):
        config = json.dumps({"stepfunctions": {"execute_state_machine": yes}}).encode()
        request = urllib.request.Request(f"{self.url}/moto-api/config", data=config, headers={"content-type": "application/json"})
        urllib.request.urlopen(request).close()

    def client(self, service, account, region):
        """As somebody of that account: moto takes the account from the session."""
        sts = boto3.session.Session().client("sts", endpoint_url=self.url, region_name=region)
        session = sts.assume_role(RoleArn=f"arn:aws:iam::{account}:role/deployer", RoleSessionName="test")["Credentials"]
        return boto3.session.Session().client(
            service, endpoint_url=self.url, region_name=region, aws_access_key_id=session["AccessKeyId"],
            aws_secret_access_key=session["SecretAccessKey"], aws_session_token=session["SessionToken"],
        )

    def executions(self):
        found = {}
        for account, region in PLACES:
            machine = f"arn:aws:states:{region}:{account}:stateMachine:lockstep-fleet"
            found[account] = [it["status"] for it in self.client("stepfunctions", account, region).list_executions(stateMachineArn=machine)["executions"]]
        return found

    def run_script(self, *arguments, order=ORDER, refused=None):
        with tempfile.TemporaryDirectory() as directory:
            Path(directory, "order.json").write_text(json.dumps(order), encoding="utf-8")
            tools = Path(sys.executable).parent
            if refused:
                # moto lets everybody assume every role.
                cli = Path(directory, "aws")
                cli.write_text(f'#!/bin/sh\ncase "$*" in *assume-role*::{refused}:*) echo AccessDenied >&2; exit 254 ;; esac\nexec {tools}/aws "$@"\n')
                cli.chmod(0o755)
            environment = {name: value for name, value in os.environ.items() if name.startswith("AWS_")}
            environment |= {"PATH": f"{directory}:{tools}:/usr/local/bin:/usr/bin:/bin", "HOME": directory, "AWS_ENDPOINT_URL": self.url, "POLL": "1"}
            places = "# a comment\n" + "".join(f"{account} {region}\n" for account, region in PLACES)
            return subprocess.run([EXAMPLE / "run-accounts", *arguments, "order.json"], cwd=directory, env=environment, input=places,
                                  capture_output=True, text=True, timeout=240, check=False)

    def test_one_account_after_another_each_by_its_own_role(self):
        with functions() as invoked:
            done = self.run_script()
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual([it.split()[:3] for it in done.stdout.splitlines()], [[*place, "SUCCEEDED"] for place in PLACES])
        self.assertEqual(self.executions(), {account: ["SUCCEEDED"] for account, _ in PLACES})
        accounts = [arn.split(":")[4] for arn, payload in invoked if payload.get("Do") == "begin"]
        self.assertEqual(accounts, [account for account, _ in PLACES])
        for account, region in PLACES:
            iam = self.client("iam", account, region)
            role = iam.get_role(RoleName="lockstep-fleet-starter")["Role"]
            trusted = role["AssumeRolePolicyDocument"]["Statement"][0]["Principal"]
            self.assertEqual(trusted, {"AWS": OPERATOR})
            document = iam.get_role_policy(RoleName="lockstep-fleet-starter", PolicyName="fleet")["PolicyDocument"]
            document = document if isinstance(document, dict) else json.loads(document.replace("'", '"'))
            resources = [pattern for it in document["Statement"] if "states:StartExecution" in it["Action"] for pattern in deployed.as_list(it["Resource"])]
            machine = f"arn:aws:states:{region}:{account}:stateMachine:lockstep-fleet"
            self.assertTrue(any(fnmatch.fnmatchcase(machine, it) for it in resources), resources)
            self.assertFalse(any(fnmatch.fnmatchcase(machine.replace("-fleet", "-other"), it) for it in resources), resources)

    def test_an_account_that_fails_keeps_the_next_from_beginning(self):
        with functions() as invoked, mock.patch.object(Functions, "outcome", "stopped-by-failures"):
            done = self.run_script()
        self.assertEqual(done.returncode, 1, done.stdout)
        self.assertIn("run november: stopped here", done.stderr)
        self.assertEqual(self.executions(), {PLACES[0][0]: ["FAILED"], PLACES[1][0]: []})
        self.assertEqual({arn.split(":")[4] for arn, payload in invoked if payload.get("Do")}, {PLACES[0][0]})

    def test_an_emergency_begins_in_all_accounts_at_once(self):
        with functions(), mock.patch.object(Functions, "outcome", "stopped-by-failures"):
            done = self.run_script("--at-once", order=ORDER | {"mode": "emergency"})
        self.assertEqual(done.returncode, 1)
        self.assertEqual(self.executions(), {account: ["FAILED"] for account, _ in PLACES})

    def test_an_emergency_does_not_wait_for_an_account_that_refuses(self):
        (first, region), (second, _) = PLACES
        with functions() as invoked:
            done = self.run_script("--at-once", order=ORDER | {"mode": "emergency"}, refused=first)
        self.assertEqual((done.returncode, done.stdout.splitlines()[0]), (1, f"{first} {region} NOT_STARTED"), done.stderr)
        self.assertEqual(self.executions(), {first: [], second: ["SUCCEEDED"]})
        # Nothing was called with the operator's own rights instead.
        self.assertEqual({arn.split(":")[4] for arn, payload in invoked if payload.get("Do")}, {second})

    def test_it_goes_on_where_the_runs_were(self):
        with functions() as invoked:
            done = self.run_script("--continue")
        self.assertEqual(done.returncode, 0, done.stderr)
        begun = [payload["Order"] for _, payload in invoked if payload.get("Do") == "begin"]
        self.assertEqual(begun, [ORDER | {"continue": True}] * 2)

    def test_what_could_not_go_on_does_not_begin(self):
        done = self.run_script(refused=PLACES[0][0])
        self.assertEqual(done.returncode, 1)
        self.assertIn("start it again with --continue", done.stderr)
        for order, said in ((ORDER | {"name": None}, "needs a name"), (ORDER | {"run": False}, "only make a plan")):
            done = self.run_script(order=order)
            self.assertEqual(done.returncode, 2)
            self.assertIn(said, done.stderr)
        self.assertEqual(self.executions(), {account: [] for account, _ in PLACES})


if __name__ == "__main__":
    unittest.main()
