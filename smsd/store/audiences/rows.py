"""The rows of an import, as the scripts take them. Rule: a value's place never changes.

An audience's fields have an order, and a contact's values are packed in it. An import that adds to
an audience may bring other fields, in another order: those that are new come after the others.
"""

from collections.abc import Iterable, Sequence

from smsd.store.audiences.record import SEPARATOR

PAIR = 2  # what a packed contact is: its number and its values


class Rows:
    """Packs rows for an audience, which had the fields `known` before."""

    def __init__(self, known: Sequence[str] = ()) -> None:
        self._known = tuple(known)
        self.fields = self._known
        self._given: tuple[str, ...] = ()
        self._places: list[int] | None = None  # in a row; None: they are those of the fields

    def set_fields(self, given: Sequence[str]) -> None:
        """From now on a row is a number and the values of these fields, in this order."""
        self._given = tuple(given)
        self.fields += tuple(field for field in self._given if field not in self.fields)
        places = {field: place for place, field in enumerate(self._given, start=1)}
        in_order = self.fields[: len(self._given)] == self._given
        # A place behind the end of every row is that of a field which is not given.
        absent = len(self._given) + 1
        self._places = None if in_order else [places.get(field, absent) for field in self.fields]

    @property
    def kept(self) -> list[int]:
        """Places, from 1, of the fields that the rows do not give: they stay as they were."""
        return [n for n, field in enumerate(self._known, start=1) if field not in self._given]

    def pack(self, rows: Iterable[Sequence[str]]) -> list[str]:
        """Of each row the number without its plus sign, and its values in one string.

        Empty values at the end are left out.
        """
        packed: list[str] = []
        for row in rows:
            number, *values = row
            if self._places is not None:
                padded = [*row, *[""] * (len(self._given) + 2 - len(row))]
                values = [padded[place] for place in self._places]
            packed += (number.removeprefix("+"), SEPARATOR.join(values).rstrip(SEPARATOR))
        return packed
