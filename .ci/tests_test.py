"""What `tests.py` promises: a test that fails beside others is tried again alone, and one that fails alone fails the run."""

import contextlib
import io
import pathlib
import sys
import tempfile
import unittest

import tests

# Stands for cargo: the first run has the failures; what follows `--exact` decides how the second one ends.
CARGO = r"""
import sys
fails_first, fails_again = ([name for name in part.split(",") if name] for part in sys.argv[1:3])
rest = sys.argv[3:]
if "--exact" not in rest:
    print("test fine ... ok")
    for name in fails_first:
        print(f"test {name} ... FAILED")
    if fails_first:
        print("error: 1 target failed:\n    `-p lab --test lab`")
    sys.exit(101 if fails_first else 0)
assert rest[:3] == ["-p", "lab", "--test"], rest
names = rest[rest.index("--exact") + 1:]
for name in names:
    print(f"test {name} ... {'FAILED' if name in fails_again else 'ok'}")
sys.exit(101 if set(names) & set(fails_again) else 0)
"""


class TestsTest(unittest.TestCase):
    def outcome(self, first, again):
        with tempfile.TemporaryDirectory() as directory:
            cargo = pathlib.Path(directory) / "cargo.py"
            cargo.write_text(CARGO, encoding="utf-8")
            output = io.StringIO()
            with contextlib.redirect_stdout(output):
                code = tests.main([sys.executable, "-B", str(cargo), first, again])
            return code, output.getvalue()

    def test_all_pass(self):
        code, output = self.outcome("", "")
        self.assertEqual(code, 0)
        self.assertNotIn("==>", output)

    def test_a_test_that_passes_alone_is_named(self):
        code, output = self.outcome("a::b,c", "")
        self.assertEqual(code, 0)
        for name in ["a::b", "c"]:
            self.assertIn(f"==> {name} failed beside other tests and passed alone", output)

    def test_a_test_that_fails_alone_fails_the_run(self):
        self.assertEqual(self.outcome("a,c", "c")[0], 101)

    def test_many_failures_are_not_tried_again(self):
        code, output = self.outcome("a,b,c,d", "")
        self.assertEqual(code, 101)
        self.assertNotIn("==>", output)


if __name__ == "__main__":
    unittest.main()
