#!/usr/bin/env python3
"""Makes a zip of each function, a template that deploys these zips, and an archive of all that a deployment needs.

    package.py ARCHITECTURE PROGRAMS_DIR OUTPUT_DIR

PROGRAMS_DIR has a program for each function of the template, such as lockstep-postgres. The template names the zips by their file names, so
`aws cloudformation package` and `sam deploy` have to find them beside it. The archive holds the zips, the template, the example
alternating.yaml and the licence. The same program always makes the same files, so a rebuild can be compared with a release."""

import gzip
import io
import re
import sys
import tarfile
import zipfile
from pathlib import Path

import make_template
from elftools.elf.elffile import ELFFile

ROTATION = tuple(it["name"] for it in make_template.functions())
# The fleet's program is three functions of the template.
FUNCTIONS = (*ROTATION, "fleet")
USES = dict.fromkeys(ROTATION, 1) | {"fleet": len(make_template.FLEET_NAMES)}
MACHINES = {"x86_64": "EM_X86_64", "arm64": "EM_AARCH64"}
EXAMPLE = make_template.ROOT / "examples/deploy/alternating.yaml"
# The earliest date that a zip can have.
DATE = (1980, 1, 1, 0, 0, 0)
DESCRIPTION = "Processor architecture of the functions. The zips beside this template were built for it."


def zip_name(function, architecture):
    return f"lockstep-{function}-{architecture}.zip"


def check_machine(program, architecture):
    """Fails for a program that was built for another architecture: Lambda would take its zip, and it would not start."""
    with open(program, "rb") as file:
        machine = ELFFile(file)["e_machine"]
    if machine != MACHINES[architecture]:
        raise ValueError(f"{program} is for {machine}, not for {architecture}")


def write_zip(program, path):
    """A zip as Lambda expects it for provided.al2023: the program, executable, under the name bootstrap."""
    entry = zipfile.ZipInfo("bootstrap", DATE)
    entry.create_system = 3  # Unix: only then do the permissions count.
    entry.external_attr = 0o100755 << 16
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(entry, Path(program).read_bytes(), zipfile.ZIP_DEFLATED, 9)


def packaged(template, architecture):
    """The text of the template, with the zips in place of the sources."""
    for function in FUNCTIONS:
        template = replaced(template, rf"CodeUri: functions/{function}\n", f"CodeUri: {zip_name(function, architecture)}\n", USES[function])
    # There is nothing to build.
    build = r"    Metadata:\n      BuildMethod: rust-cargolambda\n      BuildProperties:\n        Binary: [a-z-]+\n"
    template = replaced(template, build, "", sum(USES.values()))
    template = replaced(template, r"(?m)^ +# CodeUri is (.*\n +# )*.*\n", "", len(ROTATION))
    template = replaced(template, r"\A# Made by .*\n", "", 1)
    template = replaced(template, "Build with `sam build`, deploy with", "Deploy with", 1)
    template = replaced(template, "  Lockstep: ", f"  Lockstep {version(template)}: ", 1)
    # The README and the licence that this names are not among the files of a release.
    template = replaced(template, r"(?m)^ +# For the Serverless Application Repository\..*\n  AWS::ServerlessRepo::Application:\n( {4}.*\n)+", "", 1)
    parameter = r"  Architecture:\n    Type: String\n    Default: x86_64\n    AllowedValues: \[x86_64, arm64\]\n    Description: >-\n( {6}.*\n)+"
    only = f"  Architecture:\n    Type: String\n    Default: {architecture}\n    AllowedValues: [{architecture}]\n    Description: {DESCRIPTION}\n"
    return replaced(template, parameter, only, 1)


def example(architecture):
    """The text of the example, which deploys the template beside it."""
    return replaced(EXAMPLE.read_text(encoding="utf-8"), r"TemplateURL: \.\./\.\./template\.yaml\n", f"TemplateURL: template-{architecture}.yaml\n", 1)


def write_archive(path, files):
    """The files in a folder of the archive's name. Neither dates nor the names of people are in it."""
    with open(path, "wb") as raw, gzip.GzipFile("", "wb", 9, raw, mtime=0) as packed, tarfile.open(fileobj=packed, mode="w") as archive:
        for name, content in sorted(files.items()):
            entry = tarfile.TarInfo(f"{path.name.removesuffix('.tar.gz')}/{name}")
            entry.size, entry.mode = len(content), 0o644
            archive.addfile(entry, io.BytesIO(content))


def version(template):
    return re.search(r"(?m)^ +SemanticVersion: (.*)$", template)[1]


def replaced(text, pattern, replacement, times):
    text, found = re.subn(pattern, lambda _: replacement, text)
    if found != times:
        raise ValueError(f"the template has {found} instead of {times} places like {pattern!r}")
    return text


def main(architecture, programs, output):
    for function in FUNCTIONS:
        program = Path(programs, f"lockstep-{function}")
        check_machine(program, architecture)
        write_zip(program, Path(output, zip_name(function, architecture)))
    template = make_template.TEMPLATE.read_text(encoding="utf-8")
    name = f"template-{architecture}.yaml"
    Path(output, name).write_text(packaged(template, architecture), encoding="utf-8")
    files = {it: Path(output, it).read_bytes() for it in (name, *(zip_name(it, architecture) for it in FUNCTIONS))}
    files |= {EXAMPLE.name: example(architecture).encode(), "LICENSE": (make_template.ROOT / "LICENSE").read_bytes()}
    write_archive(Path(output, f"lockstep-{architecture}.tar.gz"), files)


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    main(*sys.argv[1:])
