"""Measures cold starts under AWS's Lambda Runtime Interface Emulator: python3 .ci/cold_start.py [--times N] PROGRAM...

Each PROGRAM is a function's binary, as `.ci/build-for` makes it. They are started in turn, so that what else the machine does
meets all of them alike. The emulator starts the function when the first event comes. The event is one that the function refuses
without a call to AWS. Printed are the minimum and the median of the time from the event to the answer, in milliseconds, and of the
function's peak resident memory, in MB (10^6 bytes). The emulator is the one that `cargo lab obtain` fetches."""

import argparse
import json
import os
import pathlib
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request

EMULATOR = pathlib.Path(__file__).parent.parent / "target/lab/aws-lambda-rie/aws-lambda-rie"
START_LIMIT_SECONDS = 10


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def wait_for(port):
    """Waits until the emulator listens."""
    end = time.monotonic() + START_LIMIT_SECONDS
    while True:
        try:
            return socket.create_connection(("127.0.0.1", port)).close()
        except OSError:
            if time.monotonic() > end:
                raise
            time.sleep(0.01)


def post(port, event):
    url = f"http://127.0.0.1:{port}/2015-03-31/functions/function/invocations"
    with urllib.request.urlopen(url, json.dumps(event).encode(), timeout=START_LIMIT_SECONDS) as answer:
        return answer.read()


def peak_memory(emulator, program):
    """The peak resident memory of the function, which is a child of the emulator."""
    for status in pathlib.Path("/proc").glob("[0-9]*/status"):
        try:
            fields = dict(line.split(":", 1) for line in status.read_text().splitlines())
            mine = int(fields["PPid"]) == emulator.pid and os.path.samefile(status.parent / "exe", program)
        except OSError:
            continue
        if mine:
            return int(fields["VmHWM"].split()[0]) * 1024 / 1e6
    raise RuntimeError(f"{program} does not run")


def start(program):
    """Milliseconds and megabytes of one cold start."""
    port, api = free_port(), free_port()
    environment = {"AWS_REGION": "us-east-1", "AWS_ACCESS_KEY_ID": "any", "AWS_SECRET_ACCESS_KEY": "any"}
    options = ["--runtime-interface-emulator-address", f"127.0.0.1:{port}", "--runtime-api-address", f"127.0.0.1:{api}"]
    with tempfile.TemporaryFile("w+") as log:
        emulator = subprocess.Popen([EMULATOR, *options, program], env=environment, stdout=log, stderr=log)
        try:
            wait_for(port)
            began = time.perf_counter()
            answer = post(port, {"Step": "none"})
            milliseconds = (time.perf_counter() - began) * 1000
            memory = peak_memory(emulator, program)
        finally:
            emulator.send_signal(signal.SIGTERM)
            emulator.wait()
        log.seek(0)
        if b"errorType" not in answer:
            raise RuntimeError(f"{program} did not start as expected:\n{log.read()}")
    return milliseconds, memory


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--times", type=int, default=20)
    parser.add_argument("program", nargs="+", type=pathlib.Path)
    options = parser.parse_args()
    if not EMULATOR.exists():
        sys.exit(f"{EMULATOR} is not there: run `cargo lab obtain`")
    programs = [program.resolve(strict=True) for program in options.program]
    found = {program: [] for program in programs}
    for _ in range(options.times):
        for program in programs:
            found[program].append(start(program))
    for program, starts in found.items():
        times, memory = zip(*starts)
        print(
            f"{program}: {min(times):.1f} ms (median {statistics.median(times):.1f}), "
            f"{min(memory):.1f} MB (median {statistics.median(memory):.1f})"
        )


if __name__ == "__main__":
    main()
