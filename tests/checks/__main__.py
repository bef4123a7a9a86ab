"""Run every check of this folder: `make check` does. Rule: each fault is one that can be mended."""

import sys

from tests.checks import fields, journey, paths, sizes, words


def main() -> int:
    """Print the faults of all; 1 if there is one."""
    faults = [fault for check in (words, sizes, paths, journey, fields) for fault in check.faults()]
    for fault in faults:
        print(fault)
    print(
        f"{len(faults)} faults" if faults else "words, sizes, paths, pictures and fields are right"
    )
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
