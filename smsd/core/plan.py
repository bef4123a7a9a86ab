"""What a campaign would be and cost. Rule: exact for each recipient; what is kept is bounded.

A plan is made by adding one recipient after the other: a million of them leave the same few
counters and examples as a hundred.
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from smsd.core import segment
from smsd.core.fields import FieldError
from smsd.core.segment import DEFAULT_ALPHABET, EXTENSION_TABLE, Segments
from smsd.core.template import Template
from smsd.core.transliterate import replaced

MOST_EXAMPLES = 20  # numbers of recipients at fault, and reasons for UCS-2 that are shown
MOST_REASONS = 500  # for UCS-2 that are counted apart
BODY = ""  # the column of a character that stands in the body itself
_not_gsm7 = re.compile(f"[^{re.escape(DEFAULT_ALPHABET + EXTENSION_TABLE)}]")
_extended = re.compile(f"[{re.escape(EXTENSION_TABLE)}]")
_IN_GSM7 = "x"  # takes one septet


class Culprit(NamedTuple):
    """A character that makes messages UCS-2, and the column that it stands in; "": the body."""

    character: str
    column: str

    @property
    def name(self) -> str:
        """What Unicode calls it."""
        return unicodedata.name(self.character, f"U+{ord(self.character):04X}")


@dataclass
class Ucs2:
    """Messages in UCS-2."""

    messages: int = 0
    extra: int = 0  # segments that they take more than in GSM-7
    of: Counter[Culprit] = field(default_factory=Counter)
    extra_of: Counter[Culprit] = field(default_factory=Counter)

    def add(self, culprit: Culprit, extra: int) -> None:
        """Add a message, by the first character at fault."""
        self.messages += 1
        self.extra += extra
        if culprit in self.of or len(self.of) < MOST_REASONS:
            self.of[culprit] += 1
            self.extra_of[culprit] += extra


@dataclass
class Fault:
    """Recipients that can get no message."""

    recipients: int = 0
    first: list[tuple[str, str]] = field(default_factory=list)  # number, column
    by_column: Counter[str] = field(default_factory=Counter)

    def add(self, number: str, column: str) -> None:
        """Add one."""
        self.recipients += 1
        self.by_column[column] += 1
        if len(self.first) < MOST_EXAMPLES:
            self.first.append((number, column))


class Plan:
    """The counts of one campaign."""

    def __init__(
        self,
        template: Template,
        columns: Sequence[str],
        most_segments: int,
        billed: Callable[[str], str] | None = None,
        *,
        transliterating: bool = False,
    ) -> None:
        """`columns`: of the values of recipients. `billed`: see `Limits`."""
        self.recipients = 0
        self.opted_out = 0
        self.segments = 0
        self.by_segments: Counter[int] = Counter()
        self.ucs2 = Ucs2()
        self.missing = Fault()
        self.unusable = Fault()
        self.too_long = Fault()
        self.replaced: Counter[str] = Counter()  # messages in which it is, by what is replaced
        self._columns = columns
        self._bound = template.bind(columns, transliterating=transliterating)
        self._written = template.bind(columns) if transliterating else None
        self._used = [(columns.index(name), name) for name in template.columns]
        self._required = [(columns.index(name), name) for name in template.required]
        self._most = most_segments
        self._billed = billed

    @property
    def messages(self) -> int:
        """How many would be sent."""
        return self.by_segments.total()

    def add_opted_out(self) -> None:
        """Add a recipient who gets nothing."""
        self.recipients += 1
        self.opted_out += 1

    def add(self, number: str, values: Sequence[str]) -> None:
        """Add a recipient."""
        self.recipients += 1
        for place, column in self._required:
            if not values[place]:
                self.missing.add(number, column)
                return
        try:
            counted = self._count(values)
        except segment.TooLong:
            self.too_long.add(number, BODY)
            return
        except FieldError as fault:
            self.unusable.add(number, fault.field)
            return
        if counted.segments > self._most:
            self.too_long.add(number, BODY)
            return
        self.segments += counted.segments
        self.by_segments[counted.segments] += 1
        if counted.encoding == "ucs2":
            self._add_ucs2(counted.segments, values)
        if self._written is not None:
            self.replaced.update(set(replaced(self._written.render(values))))

    def _count(self, values: Sequence[str]) -> Segments:
        if self._billed is None:
            return self._bound.segments(values)
        return segment.count(self._billed(self._bound.render(values)))

    def _add_ucs2(self, segments: int, values: Sequence[str]) -> None:
        text = self._bound.render(values)
        if self._billed is not None:
            text = self._billed(text)
        found = _not_gsm7.search(text)
        if found is None:
            return
        character = found[0]
        column = next((name for place, name in self._used if character in values[place]), BODY)
        self.ucs2.add(Culprit(character, column), segments - _segments_in_gsm7(text))


def _segments_in_gsm7(text: str) -> int:
    """What it would take if it had other characters in place of those at fault."""
    if _extended.search(text):
        return segment.count(_not_gsm7.sub(_IN_GSM7, text)).segments
    return segment.count(_IN_GSM7 * len(text)).segments
