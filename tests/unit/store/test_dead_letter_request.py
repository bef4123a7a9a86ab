"""Which dead letters are meant. Rule: a slip that would choose none is refused, and told why."""

import re
from pathlib import Path

import pytest

import smsd
from smsd.core.fields import FieldError
from smsd.core.life import DeadReason
from smsd.store.dead_letter_request import Choice, read_choice, read_order
from tests.support.contract import contract

# A reason as it is given where a text is buried: by a verdict, by hand, and by a script.
GIVEN = re.compile(r"""\bDeadReason\.([A-Z_]+)|\breason = '(\w+)'""")


def test_the_reasons_are_those_for_which_a_text_is_buried_somewhere() -> None:
    root = Path(smsd.__file__).parent
    sources = [file.read_text() for file in root.rglob("*") if file.suffix in (".py", ".lua")]
    given = {"".join(found).lower() for source in sources for found in GIVEN.findall(source)}
    assert given == set(DeadReason)


def test_the_contract_lists_the_same_reasons() -> None:
    assert contract()["components"]["schemas"]["DeadReason"]["enum"] == list(DeadReason)


def test_every_reason_chooses() -> None:
    assert [read_choice({"reason": one}) for one in DeadReason] == [
        Choice(reason=one) for one in DeadReason
    ]


@pytest.mark.parametrize("reason", ["bogus", "Invalid", "invalid ", "in-doubt"])
def test_a_reason_that_nothing_dies_of_is_refused_with_those_there_are(reason: str) -> None:
    for read in (
        read_choice,
        lambda fields: read_order(fields, replay=True),
        lambda fields: read_order(fields, replay=False),
    ):
        with pytest.raises(FieldError, match="one of invalid, rejected, exhausted, in_doubt") as e:
            read({"reason": reason})
        assert e.value.field == "reason"
