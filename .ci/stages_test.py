"""What `stages.py` promises: order, an exit code, a table, readable failures, and an end of everything that it started."""

import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import time
import unittest

PROGRAM = pathlib.Path(__file__).with_name("stages.py")


class StagesTest(unittest.TestCase):
    def setUp(self):
        self.directory = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))

    def start(self, table, script):
        """Runs the table. A stage's name is the first argument of the script."""
        command = [sys.executable, "-B", str(PROGRAM), str(self.directory / "logs"), "bash", "-c", script, "stage"]
        run = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=self.directory
        )
        run.stdin.write(table)
        run.stdin.close()
        return run

    def finish(self, run):
        with run:
            output = run.stdout.read()
        return run.returncode, output

    def test_a_stage_starts_after_those_that_it_needs_and_beside_the_others(self):
        table = "a | | 1 | log\nb | | 1 | log\nc | a b | 1 | log\n"
        # a and b pass only if they run at the same time.
        script = """
        touch began-$1
        case $1 in
            a) until [ -e began-b ]; do sleep 0.05; done; echo text of a;;
            b) until [ -e began-a ]; do sleep 0.05; done; touch done-b;;
            c) [ -e done-b ];;
        esac"""
        code, output = self.finish(self.start(table, script))
        self.assertEqual(code, 0, output)
        for name in "abc":
            self.assertRegex(output, rf"\n{name} +ok +\d+ s +\d+ s\n")
        self.assertRegex(output, r"\nall, on \d+ cores +\d+ s +\d+ s\n$")
        self.assertNotIn("text of a", output)
        self.assertEqual((self.directory / "logs/a.log").read_text(), "text of a\n")

    def test_the_output_of_a_live_stage_is_printed_and_kept(self):
        code, output = self.finish(self.start("a | | 1 | live\n", "echo to stdout; echo to stderr >&2"))
        self.assertEqual((code, output.count("to stdout\nto stderr\n")), (0, 1), output)
        self.assertEqual((self.directory / "logs/a.log").read_text(), "to stdout\nto stderr\n")

    def test_a_failure_is_named_and_shown_and_ends_the_others(self):
        table = "slow | | 1 | log\nbroken | | 1 | log\nlater | broken | 1 | log\n"
        script = """
        case $1 in
            slow) sleep 60 & echo $! >pid; wait;;
            broken) until [ -s pid ]; do sleep 0.05; done; echo why; exit 7;;
        esac"""
        began = time.monotonic()
        code, output = self.finish(self.start(table, script))
        self.assertEqual(code, 7, output)
        self.assertIn("why\n==> broken: FAILED with exit code 7", output)
        self.assertRegex(output, r"\nbroken +FAILED ")
        self.assertRegex(output, r"\nslow +ended ")
        self.assertRegex(output, r"\nlater +not run\n")
        self.assertLess(time.monotonic() - began, 30)
        self.assert_gone()

    def test_a_signal_ends_everything(self):
        # The stage outlives its own end, so that what it started can clean up.
        script = "trap 'wait; exit 143' TERM; (trap 'touch cleaned-up; exit' TERM; sleep 60 & echo $! >pid; wait) & wait"
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            with self.subTest(number.name):
                run = self.start("a | | 1 | log\n", script)
                while not (self.directory / "pid").is_file() or not (self.directory / "pid").read_text():
                    time.sleep(0.05)
                run.send_signal(number)
                code, output = self.finish(run)
                self.assertEqual(code, 130, output)
                self.assertIn("==> interrupted\n", output)
                self.assertTrue((self.directory / "cleaned-up").exists())
                self.assert_gone()
                for name in ("pid", "cleaned-up"):
                    (self.directory / name).unlink()

    def test_a_stage_that_takes_too_long_fails(self):
        code, output = self.finish(self.start("a | | 0.03 | log\n", "echo $$ >pid; exec sleep 60"))
        self.assertNotEqual(code, 0, output)
        self.assertIn("==> a: not done after 0.03 minutes\n", output)
        self.assertRegex(output, r"\na +FAILED ")
        self.assert_gone()

    def test_a_need_that_no_stage_before_meets_is_told(self):
        code, output = self.finish(self.start("a | b | 1 | log\nb | | 1 | log\n", "true"))
        self.assertEqual((code, output), (1, "a waits for b, which no line before it names\n"))

    def assert_gone(self):
        pid = int((self.directory / "pid").read_text())
        limit = time.monotonic() + 10
        while time.monotonic() < limit:
            # A process that nobody waits for stays as a zombie where no init runs.
            state = pathlib.Path(f"/proc/{pid}/stat")
            if not state.exists() or state.read_text().rpartition(")")[2].split()[0] == "Z":
                return
            time.sleep(0.05)
        os.kill(pid, signal.SIGKILL)
        self.fail(f"{pid} is still there")


if __name__ == "__main__":
    unittest.main()
