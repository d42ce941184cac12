"""A month of rotations in the lab, in a few minutes, for the pictures of the dashboards: real functions, a PostgreSQL and a MySQL server and
the lab's issuer, and trouble in between. Each rotation takes the time that it takes; the time between two rotations is stretched."""

import json
import os
import re
import shlex
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import boto3
from botocore.config import Config

ROOT = Path(__file__).resolve().parent.parent
FUNCTIONS = ("lockstep-postgres", "lockstep-mysql", "lockstep-api-key")
SECRETS = {"postgres": "lab/postgres", "mysql": "lab/mysql", "api-key": "lab/api-key"}
# The first day of the pictures, and how often a secret rotates.
FIRST, DAYS, EVERY = datetime(2026, 10, 1, 3, tzinfo=UTC), 28, 3
WAIT = 90


class Lab:
    """`cargo lab serve`, whose functions write into a file as well."""

    def __init__(self, directory, log):
        binaries = Path(os.environ.get("LOCKSTEP_FUNCTIONS", ROOT / "target/debug")).resolve()
        for name in FUNCTIONS:
            wrapper = directory / name
            # Lines are short, so that appends of two functions do not mix (POSIX, PIPE_BUF).
            wrapper.write_text(f"#!/bin/sh\nexport ALLOW_RECOVER=true\n{shlex.quote(str(binaries / name))} 2>&1 | tee -a {shlex.quote(str(log))}\n", encoding="utf-8")
            wrapper.chmod(0o755)
        lab = os.environ.get("LOCKSTEP_LAB", str(ROOT / "target/debug/lab"))
        command = [lab, "serve", "--with", "postgres,mysql,api-key", "--port", "0"]
        environment = os.environ | {"LOCKSTEP_FUNCTIONS": str(directory), "NO_COLOR": "1"}
        self.screen = directory / "screen"
        with self.screen.open("w", encoding="utf-8") as screen:
            self.process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=screen, stderr=screen)
        self.url = self.waited_for(r"AWS_ENDPOINT_URL=(\S+)")[1]
        self.waited_for("Ctrl-C")
        # A function is asked once, and as long as it takes.
        config = Config(read_timeout=120, retries={"total_max_attempts": 1})
        session = boto3.Session("lab", "lab", region_name="us-east-1")
        self.secrets, self.functions = (session.client(it, endpoint_url=self.url, config=config) for it in ("secretsmanager", "lambda"))

    def waited_for(self, pattern):
        for _ in range(600):
            found = re.search(pattern, self.screen.read_text(encoding="utf-8"))
            if found:
                return found
            if self.process.poll() is not None:
                break
            time.sleep(0.2)
        raise SystemExit(f"the lab does not start:\n{self.screen.read_text(encoding='utf-8')}")

    def labels(self, secret):
        versions = self.secrets.describe_secret(SecretId=secret)["VersionIdsToStages"]
        return {label: version for version, labels in versions.items() for label in labels}

    def rotate(self, secret):
        """Rotates, and waits until AWSCURRENT has moved or no step has come for a while."""
        before = self.labels(secret)["AWSCURRENT"]
        try:
            self.secrets.rotate_secret(SecretId=secret)
        except self.secrets.exceptions.InvalidRequestException:
            pass  # An unfinished rotation goes on, and the service says so with this error.
        for _ in range(40):
            time.sleep(0.1)
            if self.labels(secret)["AWSCURRENT"] != before:
                time.sleep(0.3)
                return True
        return False

    def give_up(self, secret):
        """What the pages say of a version that is not needed."""
        labels = self.labels(secret)
        if labels.get("AWSPENDING") not in (None, labels["AWSCURRENT"]):
            self.secrets.update_secret_version_stage(SecretId=secret, VersionStage="AWSPENDING", RemoveFromVersionId=labels["AWSPENDING"])

    def value(self, secret):
        return json.loads(self.secrets.get_secret_value(SecretId=secret)["SecretString"])

    def put(self, secret, value):
        self.secrets.put_secret_value(SecretId=secret, SecretString=json.dumps(value))

    def ask(self, function, step, secret=None):
        event = {"Step": step} | ({"SecretId": secret} if secret else {})
        self.functions.invoke(FunctionName=function, Payload=json.dumps(event))["Payload"].read()

    def sql(self, statement):
        """As PostgreSQL's superuser."""
        superuser = self.value("lab/postgres-superuser")
        ca = re.search(r"sslrootcert=([^'\"\s]+)", self.screen.read_text(encoding="utf-8"))[1]
        psql = os.environ.get("LOCKSTEP_PSQL") or next(iter(sorted((ROOT / "target/lab").glob("postgresql-*/**/bin/psql"))), "psql")
        to = f"host=localhost port={superuser['port']} user={superuser['username']} dbname=postgres sslmode=verify-full sslrootcert={ca}"
        subprocess.run([psql, "-q", to, "-c", statement], check=True, env=os.environ | {"PGPASSWORD": superuser["password"]})


class Calendar:
    """When each line of the log was written in the pictures."""

    def __init__(self):
        self.moments = []

    def at(self, when):
        self.moments.append((time.time(), when))

    def shift(self, seconds):
        """The seconds between the lab's time and the picture's."""
        began, when = next((it for it in reversed(self.moments) if it[0] <= seconds), self.moments[0])
        return when.timestamp() - began

    def moved(self, lines):
        """The lines with the picture's times. A credential is as old as it is in the picture."""
        born = {}
        for line in lines:
            try:
                event = json.loads(line)
            except ValueError:
                continue
            if not isinstance(event, dict) or not ("timestamp" in event or "_aws" in event):
                continue
            if "_aws" in event:
                seconds = event["_aws"]["Timestamp"] / 1000
                event["_aws"]["Timestamp"] = round((seconds + self.shift(seconds)) * 1000)
                if "CredentialAge" in event:
                    now = self.shift(seconds)
                    event["CredentialAge"] += round(now - born.get(event["secret"], self.moments[0][1].timestamp() - self.moments[0][0]))
                    born[event["secret"]] = now
            else:
                at = datetime.fromisoformat(event["timestamp"].replace("Z", "+00:00"))
                at += timedelta(seconds=self.shift(at.timestamp()))
                event["timestamp"] = at.isoformat().replace("+00:00", "Z")
            yield json.dumps(event)


def trouble(lab, day):
    """What goes wrong on a day, before its rotations, and what mends it afterwards."""
    postgres, mysql, key = SECRETS.values()
    if day == 6:
        lab.sql("ALTER ROLE app NOLOGIN")
        return lambda: lab.sql("ALTER ROLE app LOGIN")
    if day == 9:
        value = lab.value(mysql)
        lab.put(mysql, value | {"rotation": {"superuserRescu": True}})
        return lambda: lab.put(mysql, value)
    if day == 15:
        # A person moves a label to a password that is refused by now, and `recover` moves it back.
        labels = lab.labels(postgres)
        lab.secrets.update_secret_version_stage(
            SecretId=postgres, VersionStage="AWSCURRENT", MoveToVersionId=labels["AWSPREVIOUS"], RemoveFromVersionId=labels["AWSCURRENT"]
        )
        lab.ask(FUNCTIONS[0], "recover", postgres)
        return None
    if day == 18:
        value = lab.value("lab/issuer-admin")
        lab.put("lab/issuer-admin", value | {"token": "outdated"})
        return lambda: lab.put("lab/issuer-admin", value)
    if day == 21:
        lab.sql("ALTER ROLE app CONNECTION LIMIT 0")
        return lambda: lab.sql("ALTER ROLE app CONNECTION LIMIT -1")
    return None


def rotate_for_a_month(path):
    """Returns the file with the log."""
    path.parent.mkdir(exist_ok=True)
    calendar = Calendar()
    with tempfile.TemporaryDirectory() as directory:
        raw = Path(directory) / "functions.log"
        raw.touch()
        lab = Lab(Path(directory), raw)
        try:
            for day in range(DAYS):
                when = FIRST + timedelta(days=day)
                calendar.at(when)
                for function in FUNCTIONS:
                    lab.ask(function, "watch")
                if day % EVERY:
                    continue
                mend = trouble(lab, day)
                failed = []
                for hour, secret in enumerate(SECRETS.values(), 1):
                    calendar.at(when + timedelta(hours=hour))
                    if not lab.rotate(secret):
                        failed.append(secret)
                        # The service tries again within the window of the rotation.
                        calendar.at(when + timedelta(hours=hour, minutes=30))
                        lab.rotate(secret)
                if mend:
                    calendar.at(when + timedelta(hours=5))
                    mend()
                    for secret in failed:
                        lab.rotate(secret) or (lab.give_up(secret), lab.rotate(secret))
                sys.stderr.write(f"{when:%d %b}: {', '.join(failed) + ' failed' if failed else 'rotated'}\n")
                if day == 12:
                    # Somebody asks for a rotation of a credential that may have leaked.
                    calendar.at(when + timedelta(hours=9))
                    lab.rotate(SECRETS["postgres"])
            time.sleep(1)
            lines = raw.read_text(encoding="utf-8").splitlines()
        finally:
            lab.process.terminate()
            lab.process.wait(WAIT)
    path.write_text("\n".join(calendar.moved(lines)) + "\n", encoding="utf-8")
    return path
