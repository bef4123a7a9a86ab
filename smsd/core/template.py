"""Personalised bodies: a strict subset of Liquid. Rule: what is not understood is refused.

    {{ name }}   {{ name | default: "there" }}   {{ name | upcase }}   capitalize   truncate: 20

No tags, no dots, nothing to evaluate. A body is read once, and filled in for each recipient.
"""

import unicodedata
from collections.abc import Callable, Collection, Sequence

from smsd.core import lookalike, segment
from smsd.core.contacts.value import LONGEST
from smsd.core.fields import FieldError
from smsd.core.lookalike import Lookalike
from smsd.core.placeholder import Literal, Piece, Placeholder, pieces, refuse
from smsd.core.segment import Segments
from smsd.core.transliterate import transliterate

_UNUSABLE = {"Cc", "Cs", "Zl", "Zp"}  # controls, half a pair, ends of lines and paragraphs


class Template:
    """A body with placeholders.

    Raises `FieldError` (field `message`) where it cannot be read: with the place, and for `{name}`,
    `((name))`, `%name%`, `[name]` with "Did you mean {{ name }}?".
    """

    def __init__(self, body: str) -> None:
        self._pieces = list(pieces(body))
        self._refuse(lookalike.find)
        used: dict[str, bool] = {}  # field: whether each of its places has a default
        for piece in self._pieces:
            if isinstance(piece, Placeholder):
                used[piece.name] = used.get(piece.name, True) and piece.has_default
        self._used = used

    @property
    def columns(self) -> tuple[str, ...]:
        """The fields it uses, each once, in the order of their first use."""
        return tuple(self._used)

    @property
    def required(self) -> tuple[str, ...]:
        """Those of them without a default: no recipient may lack one."""
        return tuple(name for name, has_default in self._used.items() if not has_default)

    def refuse_columns(self, columns: Collection[str]) -> None:
        """Raise `FieldError` for `[city]` and the like where that is one of the columns."""
        self._refuse(lambda literal: lookalike.find_of(literal, columns))

    def bind(self, columns: Sequence[str], *, transliterating: bool = False) -> "BoundTemplate":
        """For rows with values in the order of `columns`. Raises `KeyError` for one missing.

        `transliterating`: whether what is sent is what `transliterate` makes of the text.
        """
        for name in self._used:
            if name not in columns:
                raise KeyError(name)
        return BoundTemplate(
            self._pieces, columns, self.required, is_transliterating=transliterating
        )

    def _refuse(self, find: Callable[[str], Lookalike | None]) -> None:
        for piece in self._pieces:
            if isinstance(piece, Literal) and not piece.is_quoted and (one := find(piece.text)):
                why = "is no placeholder" if one.name else "closes nothing"
                quotable = one.name and '"' not in one.shown and "}}" not in one.shown
                more = f' To send it as it is, write {{{{ "{one.shown}" }}}}' if quotable else ""
                refuse(piece.at + one.at, one.shown, why, one.name, more)


class BoundTemplate:
    """A body for rows of one form."""

    def __init__(
        self,
        pieces: Sequence[Piece],
        columns: Sequence[str],
        required: Sequence[str],
        *,
        is_transliterating: bool,
    ) -> None:
        self._is_transliterating = is_transliterating
        self._form: list[str] = []  # the text, with an empty piece in place of each placeholder
        self._gaps: list[int] = []  # where those are
        self._places: list[int] = []  # in a row, of the values that are put there
        self._filtered: list[tuple[int, Placeholder]] = []  # those that do not stay as they are
        for piece in pieces:
            if isinstance(piece, Literal):
                self._form.append(transliterate(piece.text) if is_transliterating else piece.text)
                continue
            if piece.filters:
                self._filtered.append((len(self._gaps), piece))
            self._gaps.append(len(self._form))
            self._form.append("")
            self._places.append(columns.index(piece.name))
        self._columns = columns
        self._required = [columns.index(name) for name in required]
        self._fixed = segment.Fixed("".join(self._form))

    def render(self, values: Sequence[str]) -> str:
        """The text for one recipient.

        Raises `FieldError` (the column) where a value is missing or cannot be sent.
        """
        return self._joined(self._filled(values))

    def segments(self, values: Sequence[str]) -> Segments:
        """What that text takes; the literals are counted once.

        Raises as `render` and `segment.count` do.
        """
        filled = self._filled(values)
        return self._fixed.count_with("".join(filled)) or segment.count(self._joined(filled))

    def _filled(self, values: Sequence[str]) -> list[str]:
        """What is put into the gaps."""
        filled = [values[place] for place in self._places]
        together = "".join(filled)
        if "" in filled or len(together) > LONGEST or not together.isprintable():
            self._check(values)
        for gap, placeholder in self._filtered:
            filled[gap] = placeholder.fill(filled[gap])
        if self._is_transliterating:
            return [transliterate(one) for one in filled]
        return filled

    def _check(self, values: Sequence[str]) -> None:
        """Refuse each value that is missing or cannot be sent."""
        for place in self._required:
            if not values[place]:
                raise FieldError(self._columns[place], "is empty, and has no default")
        for place in self._places:
            _check_value(self._columns[place], values[place])

    def _joined(self, filled: Sequence[str]) -> str:
        pieces = self._form.copy()
        for gap, one in zip(self._gaps, filled, strict=True):
            pieces[gap] = one
        return "".join(pieces)


def _check_value(name: str, value: str) -> None:
    if len(value) > LONGEST:
        raise FieldError(name, f"is longer than {LONGEST} characters")
    if value.isprintable():
        return
    for character in value:
        if unicodedata.category(character) in _UNUSABLE:
            raise FieldError(name, f"has the control character U+{ord(character):04X}")
