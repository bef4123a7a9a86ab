"""What `smsd fsck` promises."""

from dataclasses import replace
from typing import Literal

import pytest

from smsd.cli.fsck import _line, _promise
from smsd.store.fsck import Fault

MENDABLE = Fault("mark", "n1-0", "is marked in flight", "unmarked")
BEYOND = Fault("status", "s1", "is of another type")


@pytest.mark.parametrize(
    ("found", "promise"),
    [
        ([MENDABLE] * 2, "smsd fsck --repair mends them"),
        ([MENDABLE, BEYOND, BEYOND], "smsd fsck --repair mends 1 of them"),
        ([BEYOND], "a repair can mend none of them"),
    ],
)
def test_a_repair_is_promised_only_for_what_it_can_mend(found: list[Fault], promise: str) -> None:
    assert _promise(found) == promise


def test_a_line_says_what_a_repair_does_or_did() -> None:
    done = replace(MENDABLE, mended=True)
    assert _line(MENDABLE) == "entry n1-0 is marked in flight (--repair: unmarked)"
    assert _line(done) == "entry n1-0 is marked in flight -> unmarked"
    assert _line(BEYOND) == "message s1 is of another type"


@pytest.mark.parametrize("kind", ["audience", "campaign"])
def test_a_line_names_what_is_at_fault(kind: Literal["audience", "campaign"]) -> None:
    assert _line(Fault(kind, "spring", "is spoilt")) == f"{kind} spring is spoilt"
