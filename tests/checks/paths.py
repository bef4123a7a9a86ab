"""Paths in documents. Rule: every file that a document names exists."""

import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
DOCUMENTS = ("README.md", "CONTRIBUTING.md", "SECURITY.md", "tests/README.md", "docs/*.md")
_PATH = re.compile(r"(?<![\w./…*-])((?:smsd|tests|docs|systemd|\.ci|\.github)/[\w./*-]*[\w/*])")
_LINK = re.compile(r"\]\(([^)#:]+)[^):]*\)")
_NAME = re.compile(r"`(?:([A-Z]\w+)\.)?(\w+)` in\s`(smsd/[\w/]+\.py)`")


def faults() -> list[str]:
    """A line for each path, link and `Class.method` of a document that is not there."""
    return [
        f"{path.relative_to(ROOT)}: {missing} does not exist"
        for pattern in DOCUMENTS
        for path in sorted(ROOT.glob(pattern))
        for missing in _missing(path)
    ]


def _missing(document: Path) -> Iterator[str]:
    text = document.read_text("utf-8")
    for name in dict.fromkeys(_PATH.findall(text)):
        if not any(ROOT.glob(name.rstrip("/"))):
            yield name
    for link in dict.fromkeys(_LINK.findall(text)):
        if not (document.parent / link).exists():
            yield link
    for owner, member, path in _NAME.findall(text):
        if not _defines(ROOT / path, owner, member):
            yield f"{owner}{owner and '.'}{member} in {path}"


def _defines(path: Path, owner: str, member: str) -> bool:
    source = path.read_text("utf-8") if path.exists() else ""
    definition = rf"^(?: *(?:async )?(?:def|class) {member}\b|{member}\b.*=)"
    has_member = re.search(definition, source, re.MULTILINE)
    return has_member is not None and (not owner or f"class {owner}" in source)
