#!/usr/bin/env python3
"""Prints the newest glibc version that each program requires, and fails if Lambda's provided.al2023 has an older one.

    glibc.py PROGRAM..."""

import re
import sys

from elftools.elf.elffile import ELFFile
from elftools.elf.gnuversions import GNUVerNeedSection

# Amazon Linux 2023 has glibc 2.34. <https://docs.aws.amazon.com/linux/al2023/ug/compare-with-al2.html>
NEWEST = (2, 34)


def versions(program):
    """The glibc versions that a program requires, as pairs of numbers."""
    with open(program, "rb") as file:
        for section in ELFFile(file).iter_sections():
            if isinstance(section, GNUVerNeedSection):
                for _, needed in section.iter_versions():
                    for version in needed:
                        if found := re.fullmatch(r"GLIBC_(\d+)\.(\d+)(\.\d+)?", version.name):
                            yield int(found[1]), int(found[2])


def main(programs):
    for program in programs:
        newest = max(versions(program), default=None)
        if newest is None:
            return f"{program} requires no version of glibc: it is not linked dynamically"
        print(f"{program}: glibc {newest[0]}.{newest[1]}")
        if newest > NEWEST:
            return f"{program} needs glibc {newest[0]}.{newest[1]}, and Lambda has {NEWEST[0]}.{NEWEST[1]}"
    return None if programs else __doc__


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
