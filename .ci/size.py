"""Compares the size of each function's zip with the recorded one: python .ci/size.py PROGRAMS [--update]

PROGRAMS is the folder that `.ci/build-for` fills. A zip may grow by 5 % before it has to be recorded anew. `--update` writes
the sizes into .ci/sizes.json; the commit then says why they changed."""

import json
import pathlib
import platform
import sys
import zlib

RECORD = pathlib.Path(__file__).with_name("sizes.json")
GROWTH = 1.05


def zipped(program: bytes) -> int:
    """Bytes of a zip that holds the program: deflated as zip tools do by default, plus about 250 bytes of headers."""
    return len(zlib.compress(program, 6)) + 250


def too_large(sizes: dict[str, int], recorded: dict[str, int]) -> list[str]:
    """What a person has to look at: a zip without a record, and one that has grown."""
    problems = []
    for name, size in sorted(sizes.items()):
        if name not in recorded:
            problems.append(f"{name}: {size:,} bytes, and no size is recorded")
        elif size > recorded[name] * GROWTH:
            growth = (size / recorded[name] - 1) * 100
            problems.append(f"{name}: {size:,} bytes are {growth:.1f} % more than the recorded {recorded[name]:,}")
    return problems


def main(programs: str, *options: str) -> int:
    sizes = {path.name: zipped(path.read_bytes()) for path in sorted(pathlib.Path(programs).glob("lockstep-*"))}
    if not sizes:
        print(f"no program lockstep-* in {programs}", file=sys.stderr)
        return 2
    architecture = {"aarch64": "arm64"}.get(platform.machine(), platform.machine())
    records = json.loads(RECORD.read_text()) if RECORD.exists() else {}
    if "--update" in options:
        RECORD.write_text(json.dumps({**records, architecture: sizes}, indent=2) + "\n")
        return 0
    for name, size in sizes.items():
        print(f"{name}: {size / 1e6:.2f} MB zipped")
    problems = too_large(sizes, records.get(architecture, {}))
    for problem in problems:
        print(problem, file=sys.stderr)
    if problems:
        print("If that is meant, record it: python .ci/size.py PROGRAMS --update", file=sys.stderr)
    return min(len(problems), 1)


if __name__ == "__main__":
    if len(sys.argv) < 2:
        print(__doc__, file=sys.stderr)
        sys.exit(2)
    sys.exit(main(*sys.argv[1:]))
