"""The settler. Rule: the entry's stream gives the priority only where the message has none."""

import pytest

from smsd.core.fields import Priority
from smsd.core.message import Content, Message
from smsd.core.segment import Segments
from smsd.dispatch.settler import is_high
from smsd.store.entry import Entry


@pytest.mark.parametrize(
    ("name", "priority", "high"),
    [
        ("n1-0", None, False),
        ("h1-0", None, True),
        ("n1-0", "high", True),
        ("h1-0", "normal", False),
    ],
)
def test_priority_is_that_of_the_text_or_else_of_its_stream(
    name: str, priority: Priority | None, *, high: bool
) -> None:
    content = Content("Hi", Segments("gsm7", 2, 1), priority=priority)
    message = Message("m1", "+12025550123", content)
    assert is_high(Entry(name, None, 0), message) is high
