"""Runs `cargo test`. Tests that fail are tried once more, alone: at most three, and each has to pass then.

Six tests share two processors, each with servers and processes of its own, and some measure time. A test that fails only beside
others is named at the end, so that somebody looks at it. It does not fail the run, because its cause is seldom the change.

    tests.py [COMMAND …]    the command in place of `cargo test --no-fail-fast`; arguments are appended to tell it what to try again
"""

import re
import subprocess
import sys

MOST = 3
FAILED = re.compile(r"^test (\S.*?)(?: - should panic)? \.\.\. FAILED$")
PASSED = re.compile(r"^test (\S.*?)(?: - should panic)? \.\.\. ok$")
# Cargo's own words: error: 1 target failed:\n    `-p lab --test lab`
TARGET = re.compile(r"^    `(-p .*)`$")


def run(command):
    """The exit code and the lines of the output, which is printed as it comes."""
    lines = []
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace") as process:
        for line in process.stdout:
            sys.stdout.write(line)
            sys.stdout.flush()
            lines.append(line.rstrip("\n"))
    return process.returncode, lines


def named(pattern, lines):
    return [match[1] for line in lines if (match := pattern.match(line))]


def main(command):
    code, lines = run(command)
    failed, targets = named(FAILED, lines), named(TARGET, lines)
    if code == 0 or not failed or not targets or len(failed) > MOST:
        return code
    passed = set()
    for target in targets:
        print(f"==> tried again, alone: {', '.join(failed)} ({target})", flush=True)
        again, output = run([*command, *target.split(), "--", "--test-threads", "1", "--exact", *failed])
        if again != 0:
            return again
        passed.update(named(PASSED, output))
    if missing := set(failed) - passed:
        print(f"==> not tried again: {', '.join(sorted(missing))}")
        return code
    for name in failed:
        print(f"==> {name} failed beside other tests and passed alone: look at its first output above")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:] or ["cargo", "test", "--no-fail-fast"]))
