"""Runs the functions in containers, as `sam local` does, against the lab: python3 .ci/sam.py [--page]

It types the commands of docs/sam-local.md, and then, without --page, sends each file of events/ to each function. Everything is real: `sam build`, the
containers, the lab with its servers.

It takes the container engine of this machine: DOCKER_HOST, or Docker's usual socket. Without one, and as root, it starts Podman for
itself, with images and containers under target/ci/sam. If the image of Lambda's runtime can neither be found nor pulled, it makes one of
Debian's packages, with debootstrap. Exit code 3: no container engine, and what to install.
"""

import json
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TOOLS = ROOT / "target/ci"
OWN = TOOLS / "sam"
PAGE = ROOT / "docs/sam-local.md"
DOCKER_SOCKET = Path("/var/run/docker.sock")
ARCHITECTURE = "arm64" if os.uname().machine == "aarch64" else "x86_64"
# The SAM CLI looks for this one, and adds AWS's emulator to it.
IMAGE = f"public.ecr.aws/lambda/provided:al2023-{ARCHITECTURE}"
START_LAMBDA = ("127.0.0.1", 3001)
# Limits are only lowered, which a container may do wherever this runs itself.
CONTAINERS_CONF = """\
[containers]
default_ulimits = ["nofile=1024:1024", "nproc=1000:1000"]
[engine]
runtime = "runc"
no_pivot_root = true
"""
# What each function answers to each event, in this order: first those that change nothing, then the rotation, and then what is left.
ANSWERS = [
    ("watch", "served"),
    ("status", "served"),
    ("report", "served"),
    # A rotation of the secret has begun.
    ("rotateNow", "rotate-now-refused"),
    ("retire", "retire-refused"),
    ("endSessions", "retire-refused"),
    ("createSecret-with-RotationToken", "service-denied"),
    ("createSecret", "proposed"),
    ("setSecret", "changed"),
    ("testSecret", "verified"),
    ("finishSecret", "promoted"),
    ("diagnose", "healthy"),
    ("history", "versions"),
    ("recover", "nothing-to-do"),
    ("create_secret", "already-current"),
    ("set_secret", "already-current"),
    ("test_secret", "already-current"),
    ("finish_secret", "already-current"),
]
# The same for the fleet's functions, which have no secret with a key and none of a webhook here. A word that is no code is a field of the answer.
FLEET_ANSWERS = [
    ("plan", "FleetPageFunction", "items"),
    ("runs", "FleetPageFunction", "runs"),
    ("spread", "FleetPageFunction", "schedules"),
    ("fingerprints", "FleetFunction", "configuration-invalid"),
    ("gitleaks", "LeaksFunction", "configuration-invalid"),
    ("health", "LeaksFunction", "configuration-invalid"),
    ("guardduty", "LeaksFunction", "configuration-invalid"),
    ("webhook-unsigned", "LeaksFunction", "statusCode"),
]
KINDS = [("postgres", "PostgresFunction"), ("mysql", "MySqlFunction"), ("api-key", "ApiKeyFunction")]


def say(text):
    print(f"==> {text}", flush=True)


def refuse(text, code=1):
    print(text, file=sys.stderr)
    sys.exit(code)


class Background:
    """A program that stays up until it gets Ctrl-C. Its output goes to a file."""

    def __init__(self, command, name, environment):
        self.command, self.log = command, OWN / f"{name}.log"
        with self.log.open("w") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL, cwd=ROOT, env=environment,
                                            start_new_session=True)

    def said(self):
        return self.log.read_text(encoding="utf-8", errors="replace")

    def wait(self, until, what, seconds):
        end = time.monotonic() + seconds
        while not until():
            if self.process.poll() is not None or time.monotonic() > end:
                refuse(f"{shlex.join(self.command)}: {what} has not come.\n{self.said()}")
            time.sleep(0.2)

    def end(self):
        # To the whole session: `cargo lab` is a child of cargo, as if at a terminal.
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGINT)
        try:
            return self.process.wait(60)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            refuse(f"{shlex.join(self.command)} does not end.\n{self.said()}")


class Engine:
    """The container engine, and the program that speaks to it."""

    def __init__(self):
        self.service = None
        if os.environ.get("DOCKER_HOST") or DOCKER_SOCKET.exists():
            self.program = [shutil.which("docker") or shutil.which("podman") or ""]
            if not self.program[0]:
                refuse("An engine is there, and neither the program docker nor podman: install docker-cli or podman.", 3)
            if Path(self.program[0]).name == "podman":
                self.program += ["--remote"]
            return
        if os.geteuid() != 0 or not shutil.which("podman") or not shutil.which("runc"):
            refuse("No container engine: start Docker or set DOCKER_HOST, or run this as root after "
                   "`apt-get install podman runc conmon netavark aardvark-dns iptables debootstrap`.", 3)
        OWN.mkdir(parents=True, exist_ok=True)
        configuration = OWN / "containers.conf"
        configuration.write_text(CONTAINERS_CONF)
        os.environ["CONTAINERS_CONF"] = str(configuration)
        self.program = ["podman", f"--root={OWN}/root", f"--runroot={OWN}/run", f"--storage-driver={storage_driver()}"]
        # A Unix socket's path has at most 107 bytes.
        address = f"unix:///tmp/lockstep-sam-{os.getpid()}.sock"
        self.service = Background([*self.program, "system", "service", "--time=0", address], "podman", os.environ)
        self.socket = Path(address.removeprefix("unix://"))
        self.service.wait(self.socket.exists, "its socket", 30)
        os.environ["DOCKER_HOST"] = address

    def run(self, *arguments, **options):
        return subprocess.run([*self.program, *arguments], check=False, capture_output=True, text=True, **options)

    def prepare(self):
        """Sees to it that the image of Lambda's runtime is there."""
        if self.run("image", "inspect", IMAGE).returncode == 0:
            return
        say(f"pulling {IMAGE}")
        try:
            if self.run("pull", IMAGE, timeout=600).returncode == 0:
                return
        except subprocess.TimeoutExpired:
            pass
        if os.geteuid() != 0 or not shutil.which("debootstrap"):
            refuse(f"{IMAGE} cannot be pulled: run this as root after `apt-get install debootstrap`, which makes another one.", 3)
        say("it cannot be pulled: making one of Debian 12's packages instead, whose glibc is 2.36 where Amazon Linux 2023 has 2.34")
        files = OWN / "rootfs"
        shutil.rmtree(files, ignore_errors=True)
        made = subprocess.run(["debootstrap", "--variant=minbase", "--include=ca-certificates", "bookworm", files, mirror()],
                              check=False, capture_output=True, text=True)
        if made.returncode != 0:
            refuse(made.stdout + made.stderr)
        with subprocess.Popen(["tar", "-C", files, "-cf", "-", "."], stdout=subprocess.PIPE) as tar:
            imported = self.run("import", "-", IMAGE, stdin=tar.stdout)
        if imported.returncode != 0:
            refuse(imported.stderr)
        shutil.rmtree(files)

    def end(self):
        if self.service:
            self.service.end()
            self.socket.unlink(missing_ok=True)


def storage_driver():
    """Overlay where the kernel has it. Without it each container begins with a copy of its image."""
    return "overlay" if "overlay" in Path("/proc/filesystems").read_text() else "vfs"


def mirror():
    """The mirror that this machine uses. The one for security updates lacks most packages."""
    targets = subprocess.run(["apt-get", "indextargets", "--format", "$(REPO_URI)", "Created-By: Packages"], check=False,
                             capture_output=True, text=True).stdout.split()
    return next((it for it in targets if "security" not in it), "http://deb.debian.org/debian")


class Terminal:
    """Types commands, as a person with several terminals does."""

    def __init__(self):
        self.environment = dict(os.environ, SAM_CLI_TELEMETRY="0", SAM_SKIP_PULL_IMAGE="true", NO_COLOR="1")
        paths = [TOOLS / "venv/bin", ROOT / "target/lab/python/bin"]
        self.environment["PATH"] = os.pathsep.join([*map(str, paths), os.environ["PATH"]])
        for name in [it for it in self.environment if it.startswith("AWS_")]:
            del self.environment[name]
        self.serve = self.lambdas = None
        self.begun = 0

    def type(self, line):
        command, _, expected = (part.strip() for part in line.partition(" # "))
        say(line.strip())
        words = shlex.split(command)
        match words:
            case ["export", *settings]:
                self.environment.update(it.split("=", 1) for it in settings)
            case ["cargo", "lab", "serve", *_]:
                self.end()
                self.serve = Background(words, "serve", self.environment)
                # It may have to compile.
                self.serve.wait(lambda: "Ctrl-C" in self.serve.said(), "Ctrl-C", 900)
            case ["sam", "local", "start-lambda", *_]:
                self.lambdas = Background(words, "start-lambda", self.environment)
                self.lambdas.wait(answers, "an open port", 60)
            case ["aws", "secretsmanager", "rotate-secret", *_]:
                self.run(words)
                self.begun += 1
                done = lambda: len(re.findall(r"✓ finishSecret .* promoted", self.serve.said())) >= self.begun
                self.serve.wait(lambda: done() or "✗" in self.serve.said(), "the end of the rotation", 300)
                if not done():
                    refuse(self.serve.said() + self.lambdas.said())
            case ["sam", "local", "invoke", *_]:
                answer = self.invoke(words)
                if outcome(answer) != expected:
                    refuse(f"The answer is {answer}, and not {expected}.")
            case _:
                self.run(words)

    def run(self, words):
        result = subprocess.run(words, check=False, capture_output=True, text=True, cwd=ROOT, env=self.environment)
        if result.returncode != 0:
            refuse(f"{shlex.join(words)} ends with {result.returncode}.\n{result.stdout}{result.stderr}")
        return result

    def invoke(self, words):
        """What the function answers: the last line of JSON on stdout."""
        result = self.run(words)
        objects = [json.loads(line) for line in result.stdout.splitlines() if line.startswith("{")]
        answers = [it for it in objects if "timestamp" not in it and "_aws" not in it]
        if len(answers) != 1:
            refuse(f"{shlex.join(words)} has {len(answers)} answers.\n{result.stdout}{result.stderr}")
        return answers[0]

    def end(self):
        for program in (self.lambdas, self.serve):
            if program:
                code = program.end()
                # `cargo` passes on the code of its command.
                if program is self.serve and code != 130:
                    refuse(f"cargo lab serve has ended with {code}.\n{program.said()}")
        self.serve = self.lambdas = None
        self.begun = 0


def answers():
    with socket.socket() as probe:
        return probe.connect_ex(START_LAMBDA) == 0


def outcome(answer):
    """The word of an answer that says how it went."""
    for key in ("errorType", "outcome", "finding"):
        if answer.get(key):
            return answer[key]
    return next((it for it in ("served", "versions", "items", "schedules", "statusCode") if it in answer), None)


def commands():
    """The lines of the page's shell blocks."""
    blocks = re.findall(r"^```sh\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    return [line for block in blocks for line in block.splitlines() if line.strip()]


def malformed():
    """The malformed events, and the code that events/README.md names for each."""
    page = (ROOT / "events/README.md").read_text(encoding="utf-8").split("## Malformed")[1]
    return re.findall(r"^\| `([a-z-]+)\.json` \| `([a-z-]+)` \|", page, re.MULTILINE)


def send_all(terminal):
    known = {name for name, _ in ANSWERS}
    files = {it.stem for it in (ROOT / "events").glob("*.json")}
    if known != files or {name for name, _ in malformed()} != {it.stem for it in (ROOT / "events/malformed").glob("*.json")}:
        refuse("This does not know each file of events/.")
    if {name for name, _, _ in FLEET_ANSWERS} != {it.stem for it in (ROOT / "events/fleet").glob("*.json")}:
        refuse("This does not know each file of events/fleet/.")
    sent = 0
    for kind, function in KINDS:
        terminal.type(f"cargo lab serve --for-containers --with {kind}")
        events = ANSWERS + [(f"malformed/{name}", code) for name, code in malformed()]
        for name, expected in events:
            if kind == "api-key" and name == "setSecret":
                # The issuer has made the key in createSecret.
                expected = "already-in-effect"
            terminal.type(f"sam local invoke {function} --config-file target/lab/sam.toml --event events/{name}.json # {expected}")
            sent += 1
        for name, asked, expected in FLEET_ANSWERS if kind == "postgres" else []:
            terminal.type(f"sam local invoke {asked} --config-file target/lab/sam.toml --event events/fleet/{name}.json # {expected}")
            sent += 1
        for line in ("sam local start-lambda --config-file target/lab/sam.toml",
                     f"aws secretsmanager rotate-secret --secret-id lab/{kind}", f"cargo lab diagnose lab/{kind}"):
            terminal.type(line)
    return sent


def main():
    only_the_page = sys.argv[1:] == ["--page"]
    if sys.argv[1:] and not only_the_page:
        refuse(__doc__, 2)
    begun = time.monotonic()
    if not (TOOLS / "venv/bin/sam").exists():
        subprocess.run(["bash", ".ci/run", "--stage", "tools"], check=True, cwd=ROOT)
    if not (ROOT / "target/lab/python/bin/aws").exists() and not shutil.which("aws"):
        subprocess.run(["cargo", "lab", "obtain"], check=True, cwd=ROOT)
    OWN.mkdir(parents=True, exist_ok=True)
    engine = Engine()
    terminal = Terminal()
    try:
        engine.prepare()
        typed = commands()
        for line in typed:
            terminal.type(line)
        sent = 0 if only_the_page else send_all(terminal)
        terminal.end()
    finally:
        for program in (terminal.lambdas, terminal.serve):
            if program and program.process.poll() is None:
                os.killpg(program.process.pid, signal.SIGINT)
                program.process.wait(60)
        engine.end()
    say(f"{len(typed)} commands of the page, {sent} further events: {time.monotonic() - begun:.0f} s")


if __name__ == "__main__":
    main()
