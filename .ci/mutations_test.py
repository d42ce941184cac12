"""Tests of mutations.py."""

import pathlib
import tempfile
import unittest
from unittest import mock

import mutations


class Mutations(unittest.TestCase):
    def test_every_mutation_fits_its_file(self):
        """The mistakes themselves are only tried with `.ci/run --all`. This fails as soon as one of them would not fit."""
        for mutation in mutations.MUTATIONS:
            text = (mutations.ROOT / mutation.file).read_text()
            self.assertNotEqual(mutations.edited(text, mutation), text)

    def test_a_text_that_is_gone_is_an_error_that_says_so(self):
        mutation = mutations.MUTATIONS[0]
        with self.assertRaisesRegex(LookupError, f"{mutation.name}.*0 times in {mutation.file}"):
            mutations.edited("", mutation)
        with self.assertRaisesRegex(LookupError, "2 times"):
            mutations.edited(2 * mutation.text, mutation)

    def test_names_are_unique(self):
        names = [mutation.name for mutation in mutations.MUTATIONS]
        self.assertEqual(len(names), len(set(names)))

    def test_a_mistake_that_is_not_found_is_told_and_undone(self):
        mutation = mutations.MUTATIONS[0]
        with tempfile.TemporaryDirectory() as folder, mock.patch.object(mutations, "PLACE", pathlib.Path(folder)):
            place = pathlib.Path(folder) / "tree" / mutation.file
            place.parent.mkdir(parents=True)
            place.write_text(mutation.text)
            for code, found, caught in [
                (1, {mutation.violation: "a history"}, True),
                (1, {"another": "a history"}, False),
                (0, {}, False),
            ]:
                with (
                    mock.patch.object(mutations, "build", lambda place=place: self.assertEqual(place.read_text(), mutation.by)),
                    mock.patch.object(mutations, "violations", lambda *_, said=(code, found): said),
                    mock.patch("builtins.print"),
                ):
                    self.assertEqual(mutations.tried(mutation), caught)
                self.assertEqual(place.read_text(), mutation.text)


if __name__ == "__main__":
    unittest.main()
