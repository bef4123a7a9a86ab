"""Entries to messages. Rule: a message's priority is its own; its stream only where it has none."""

import pytest

from smsd.core.message import Limits
from smsd.dispatch.claimer import parse_entry
from smsd.store.entry import Entry

FIELDS = [b"to", b"+12025550123", b"message", b"Hi"]


@pytest.mark.parametrize(
    ("name", "given", "priority"),
    [
        ("n1-0", [], "normal"),
        ("h1-0", [], "high"),  # as who adds to that stream means it
        ("n1-0", [b"priority", b"high"], "high"),
        ("h1-0", [b"priority", b"normal"], "normal"),  # a retry
        ("h1-0", [b"priority", b""], "high"),  # left out
    ],
)
def test_priority_is_that_of_the_message_or_else_of_its_stream(
    name: str, given: list[bytes], priority: str
) -> None:
    message = parse_entry(Entry(name, [*FIELDS, *given], 0), Limits(), 0)
    assert message.content.priority == priority
