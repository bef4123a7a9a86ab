"""Fields in the documents. Rule: docs/sending.md names each field that may be set, and no other."""

import re
from pathlib import Path

from smsd.core.fields import PRODUCER_FIELDS, SEND_FIELDS

DOCUMENT = Path(__file__).parents[2] / "docs/sending.md"
# Where it names those of a request, and what an entry may carry beside them.
_LISTS = (
    (r"^`POST /send` takes JSON:(.*?)\n\n", SEND_FIELDS),
    (r"^An entry may carry (.*?):", PRODUCER_FIELDS - SEND_FIELDS),
)
_NAME = re.compile(r"`([a-z_]+)`")


def faults() -> list[str]:
    """A line for each list that is not that of `core/fields.py`."""
    document = DOCUMENT.read_text("utf-8")
    lines = []
    for pattern, fields in _LISTS:
        found = re.search(pattern, document, re.MULTILINE | re.DOTALL)
        named = set(_NAME.findall(found[1])) if found else set()
        if named != fields:
            wrong = ", ".join(sorted(named ^ fields))
            lines.append(f"docs/sending.md: differs from core/fields.py in {wrong}")
    return lines
