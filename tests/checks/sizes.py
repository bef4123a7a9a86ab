"""How long files and functions may be. Rule: what does not fit is split by topic."""

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
LONGEST_SOURCE = 400  # lines of a file in smsd/
LONGEST_TEST = 600  # lines of a file in tests/
LONGEST_FUNCTION = 60  # lines of a function in smsd/


def faults() -> list[str]:
    """A line for each file and each function that is too long."""
    return [f"{name} has {length} lines" for name, length in _too_long()]


def _too_long() -> Iterator[tuple[str, int]]:
    for folder, longest in (("smsd", LONGEST_SOURCE), ("tests", LONGEST_TEST)):
        for path in sorted((ROOT / folder).rglob("*.py")):
            source, name = path.read_text("utf-8"), path.relative_to(ROOT).as_posix()
            if (length := source.count("\n")) > longest:
                yield name, length
            if folder == "smsd":
                yield from _long_functions(name, source)


def _long_functions(name: str, source: str) -> Iterator[tuple[str, int]]:
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = (node.end_lineno or node.lineno) - node.lineno + 1
            if length > LONGEST_FUNCTION:
                yield f"{name}:{node.name}", length
