"""What a provider's code means. Rule: a ruling is written the same in tables and configuration.

It is a string such as `"throttled"`, `"halted:sender"` or `"rejected:recipient:opted_out"`;
`RULINGS` has them all. `"rejected:recipient:opted_out"` also makes the number opted out, so that
nothing is sent to it any more.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Literal, assert_never

from pydantic import PlainValidator

from smsd.core.outcome import (
    Accepted,
    Halted,
    InDoubt,
    Outcome,
    Rejected,
    Scope,
    Throttled,
    Unavailable,
)
from smsd.provider.wire.answer import Answer

Kind = Literal["accepted", "rejected", "throttled", "unavailable", "in_doubt", "halted"]


@dataclass(frozen=True, slots=True)
class Ruling:
    """The meaning of one code, or of one configured rule."""

    kind: Kind
    scope: Scope = "message"
    opted_out: bool = False

    def outcome(self, answer: Answer, code: str, reason: str) -> Outcome:
        """The outcome of a submission that was answered so."""
        match self.kind:
            case "accepted":
                return Accepted()
            case "rejected":
                return Rejected(code, reason, self.scope, self.opted_out)
            case "throttled":
                return Throttled(answer.retry_after(), reason)
            case "unavailable":
                return Unavailable(reason)
            case "in_doubt":
                return InDoubt(reason)
            case "halted":
                return Halted(code, reason, self.scope)
            case _:
                assert_never(self.kind)

    def outcome_of_record(self, code: str, reason: str) -> Rejected | Unavailable:
        """The outcome of a submission that the provider has recorded as refused.

        One that was throttled or halted was not taken either: it is tried again, and then its own
        answer decides.
        """
        if self.kind == "rejected":
            return Rejected(code, reason, self.scope, self.opted_out)
        return Unavailable(reason)


RULINGS: Mapping[str, Ruling] = {
    "accepted": Ruling("accepted"),
    "rejected": Ruling("rejected"),
    "rejected:message": Ruling("rejected"),
    "rejected:recipient": Ruling("rejected", "recipient"),
    "rejected:recipient:opted_out": Ruling("rejected", "recipient", opted_out=True),
    "rejected:sender": Ruling("rejected", "sender"),
    "rejected:account": Ruling("rejected", "account"),
    "throttled": Ruling("throttled"),
    "unavailable": Ruling("unavailable"),
    "in_doubt": Ruling("in_doubt"),
    "halted": Ruling("halted", "account"),
    "halted:sender": Ruling("halted", "sender"),
    "halted:account": Ruling("halted", "account"),
}


def read_ruling(value: object) -> Ruling:
    """Read the written form. Raises `ValueError`."""
    if not isinstance(value, str) or value not in RULINGS:
        raise ValueError(f"must be one of {', '.join(RULINGS)}")
    return RULINGS[value]


RulingField = Annotated[Ruling, PlainValidator(read_ruling)]
