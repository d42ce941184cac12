"""Runs the stages of `.ci/run`: side by side where none waits for another, each with a log and a time limit of its own.

The first stage that fails ends the others. A signal does the same.
"""

import os
import pathlib
import signal
import subprocess
import sys
import time
from typing import NamedTuple

# What a stage that was told to end may still take to clean up.
GRACE_SECONDS = 15
# How much of a failed stage's log is printed. The log itself stays.
SHOWN_LINES = 200
POLL_SECONDS = 0.1


class Stage(NamedTuple):
    """One line of the table."""

    name: str
    # The names of the stages that have to pass before this one starts.
    needs: tuple
    limit_minutes: float
    # Whether its output is printed while it runs. The others' is printed if they fail.
    live: bool

    @classmethod
    def parse(cls, line):
        name, needs, limit, output = (field.strip() for field in line.split("|"))
        return cls(name, tuple(needs.split()), float(limit), output == "live")


class Running:
    """A stage's process. It leads a process group, so that what it started can be ended with it."""

    def __init__(self, stage, command, log):
        self.stage, self.log, self.began = stage, log, time.monotonic()
        self.tee = None
        with open(log, "wb") as file:
            output = file
            if stage.live:
                self.tee = subprocess.Popen(["tee", str(log)], stdin=subprocess.PIPE, process_group=0)
                output = self.tee.stdin
            self.process = subprocess.Popen(
                [*command, stage.name], stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, process_group=0
            )
        if self.tee:
            self.tee.stdin.close()

    def seconds(self):
        return time.monotonic() - self.began

    def is_late(self):
        return self.seconds() > self.stage.limit_minutes * 60

    def has_ended(self):
        return os.waitid(os.P_PID, self.process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None

    def ended(self):
        """The exit code and the CPU seconds of the stage with all its children, or `None` while it runs."""
        pid, status, usage = os.wait4(self.process.pid, os.WNOHANG)
        if pid == 0:
            return None
        # The object must not wait for the process once more.
        self.process.returncode = os.waitstatus_to_exitcode(status)
        if self.tee:
            self.drain()
        return self.process.returncode, usage.ru_utime + usage.ru_stime

    def drain(self):
        """Waits for the last lines, unless a process that the stage left behind keeps its output open."""
        try:
            self.tee.wait(GRACE_SECONDS)
        except subprocess.TimeoutExpired:
            self.tee.kill()

    def signal(self, number):
        try:
            os.killpg(self.process.pid, number)
        except ProcessLookupError:
            pass


class Run:
    """All stages of one run."""

    def __init__(self, stages, command, logs):
        self.waiting, self.running, self.rows = list(stages), [], []
        self.command, self.logs, self.began = command, pathlib.Path(logs), time.monotonic()
        self.passed, self.interrupted = set(), False
        self.check()
        self.logs.mkdir(parents=True, exist_ok=True)

    def check(self):
        known = set()
        for stage in self.waiting:
            missing = set(stage.needs) - known
            if missing:
                sys.exit(f"{stage.name} waits for {', '.join(sorted(missing))}, which no line before it names")
            known.add(stage.name)

    def start_ready(self):
        for stage in [stage for stage in self.waiting if self.passed.issuperset(stage.needs)]:
            self.waiting.remove(stage)
            say(f"{stage.name}: started")
            self.running.append(Running(stage, self.command, self.logs / f"{stage.name}.log"))

    def settle(self, running, code, cpu):
        """Notes how a stage ended, and returns the exit code of the whole run if it failed."""
        self.running.remove(running)
        self.row(running, "ok" if code == 0 else "FAILED", cpu)
        if code == 0:
            self.passed.add(running.stage.name)
            say(f"{running.stage.name}: ok, {running.seconds():.0f} s, {cpu:.0f} s of CPU")
            return None
        if not running.stage.live:
            show_end(running.log)
        say(f"{running.stage.name}: FAILED with exit code {code} after {running.seconds():.0f} s; its log is {running.log}")
        return code if code > 0 else 1

    def row(self, running, outcome, cpu):
        self.rows.append((running.stage.name, outcome, running.seconds(), cpu))

    def all(self):
        """Runs everything, and returns the exit code."""
        try:
            return self.loop()
        finally:
            self.end_the_rest()
            self.print_table()

    def interrupt(self, _number, _frame):
        self.interrupted = True

    def loop(self):
        while self.waiting or self.running:
            if self.interrupted:
                say("interrupted")
                return 130
            self.start_ready()
            for running in list(self.running):
                ended = running.ended()
                if ended is None and running.is_late():
                    say(f"{running.stage.name}: not done after {running.stage.limit_minutes:g} minutes")
                    ended = end(running)
                if ended and (failure := self.settle(running, *ended)):
                    return failure
            time.sleep(POLL_SECONDS)
        return 0

    def end_the_rest(self):
        for running in self.running:
            running.signal(signal.SIGTERM)
        for running in self.running:
            _, cpu = end(running)
            self.row(running, "ended", cpu)
        self.running = []

    def print_table(self):
        print(f"\n{'stage':<16}{'outcome':<10}{'wall clock':>12}{'CPU':>12}")
        for name, outcome, wall, cpu in self.rows:
            print(f"{name:<16}{outcome:<10}{wall:>10.0f} s{cpu:>10.0f} s")
        for stage in self.waiting:
            print(f"{stage.name:<16}not run")
        wall, cpu = time.monotonic() - self.began, sum(row[3] for row in self.rows)
        print(f"{f'all, on {os.cpu_count()} cores':<26}{wall:>10.0f} s{cpu:>10.0f} s", flush=True)


def end(running):
    """Has a stage end, by force if it does not go by itself."""
    running.signal(signal.SIGTERM)
    limit = time.monotonic() + GRACE_SECONDS
    while not running.has_ended() and time.monotonic() < limit:
        time.sleep(POLL_SECONDS)
    # Before the stage's own process is waited for, as its number may be another's afterwards.
    running.signal(signal.SIGKILL)
    while (ended := running.ended()) is None:
        time.sleep(POLL_SECONDS)
    code, cpu = ended
    return code or 1, cpu


def show_end(log):
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    if len(lines) > SHOWN_LINES:
        print(f"… {len(lines) - SHOWN_LINES} lines before these are in {log}")
    print("\n".join(lines[-SHOWN_LINES:]), flush=True)


def say(text):
    print(f"==> {text}", flush=True)


def main():
    logs, *command = sys.argv[1:]
    stages = [Stage.parse(line) for line in sys.stdin if line.strip() and not line.startswith("#")]
    run = Run(stages, command, logs)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, run.interrupt)
    sys.exit(run.all())


if __name__ == "__main__":
    main()
