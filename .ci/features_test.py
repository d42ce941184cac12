"""Every function needs the same features of a dependency. Else `sam build` compiles the dependency once for each set of features,
and everything that depends on it: the AWS SDK as well, in most cases."""

import pathlib
import subprocess
import unittest

FUNCTIONS = pathlib.Path(__file__).parent.parent / "functions"
TREE = ["cargo", "tree", "--locked", "--edges", "normal,build", "--prefix", "none", "--format", "{p}\t{f}"]
ADVICE = "Add the feature in [workspace.dependencies], or the dependency to shared/Cargo.toml, where its comment says why."


def features(function):
    """The features of each package as this function's build has them. A package may be there twice: for build scripts, too."""
    tree = subprocess.run(TREE, cwd=function, check=True, capture_output=True, text=True).stdout
    found = {}
    for line in tree.splitlines():
        package, _, names = line.removesuffix(" (*)").partition("\t")
        found.setdefault(package, set()).add(names)
    return found


def differences(builds):
    """Each package whose features are not the same in all builds that have it."""
    packages = sorted({package for build in builds.values() for package in build})
    for package in packages:
        sets = {name: build[package] for name, build in builds.items() if package in build}
        if len({frozenset(found) for found in sets.values()}) > 1:
            yield f"{package}: {sets}"


class Features(unittest.TestCase):
    def test_every_function_has_the_same_features_of_a_dependency(self):
        builds = {folder.name: features(folder) for folder in sorted(FUNCTIONS.iterdir())}
        self.assertGreater(len(builds), 1)
        self.assertGreater(min(map(len, builds.values())), 50)
        self.assertEqual(list(differences(builds)), [], ADVICE)

    def test_a_difference_is_found(self):
        builds = {"a": {"log v0.4.0": {""}, "x v1.0.0": {"std"}}, "b": {"log v0.4.0": {"std"}}}
        (difference,) = differences(builds)
        self.assertIn("log v0.4.0", difference)


if __name__ == "__main__":
    unittest.main()
