"""Tests of size.py."""

import os
import unittest

import size


class Sizes(unittest.TestCase):
    def test_growth_beyond_five_percent_is_told(self):
        recorded = {"lockstep-a": 1_000_000}
        self.assertEqual(size.too_large({"lockstep-a": 1_050_000}, recorded), [])
        self.assertEqual(size.too_large({"lockstep-a": 500_000}, recorded), [])
        (problem,) = size.too_large({"lockstep-a": 1_050_001}, recorded)
        self.assertIn("5.0 % more than the recorded 1,000,000", problem)

    def test_a_program_without_a_record_is_told(self):
        (problem,) = size.too_large({"lockstep-new": 1}, {})
        self.assertIn("no size is recorded", problem)

    def test_the_size_is_that_of_a_zip(self):
        self.assertLess(size.zipped(bytes(1_000_000)), 2_000)
        self.assertGreater(size.zipped(os.urandom(100_000)), 100_000)


if __name__ == "__main__":
    unittest.main()
