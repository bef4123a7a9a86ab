"""Which column is what. Rule: names are compared without case, accents, blanks and signs.

The column of the number is the one asked for, or the first that this list knows. The others become
fields; `First Name` is `first_name`.
"""

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

from smsd.core.contacts.events import ImportRefused

MOST_FIELDS = 50
MOST_COLUMNS = 200
LONGEST_NAME = 64
EXPORT_COLUMN = "number"  # the first column of an export
REJECT_COLUMNS = ("line", "column", "reason")  # of a list of rejected rows, before their own

# Columns of numbers, the likeliest first: of two, the mobile one takes messages.
NUMBER_COLUMNS = (
    "mobile mobilephone mobilenumber mobileno mobilephonenumber mobilephone1 cell cellphone "
    "cellnumber cellphonenumber cellular mobil mobiltelefon mobilnummer mobiltelefonnummer handy "
    "handynummer movil telefonomovil celular portable telefoneportable telephoneportable "
    "telephonemobile cellulare telefonino gsm phonemobile telmobile sms smsnumber smsphonenumber "
    "msisdn whatsapp phonenumber phone "
    "phoneno phone1 phone1value primaryphone telephone telephonenumber telephone1 tel telno telnr "
    "telefon telefonnummer telefono telefone numero numerodetelephone rufnummer recipient to "
    "number contactnumber billingphone customerphone defaultaddressphone"
)
RANK = {name: rank for rank, name in enumerate(NUMBER_COLUMNS.split())}


def folded(name: str) -> str:
    """A name as it is compared: `E-Mail ` and `e_mail` are both `email`."""
    return "".join(c for c in _plain(name) if c.isalnum())


def identifier(name: str) -> str:
    """A name as a field has it, which a template can use; "" if nothing of it is left."""
    plain = _plain(name)
    if not plain.isascii():  # other scripts keep their marks
        plain = unicodedata.normalize("NFC", name.casefold())
    parts = "".join(c if _is_kept(c) else " " for c in plain).split()
    found = "_".join(parts)[:LONGEST_NAME].rstrip("_")
    return f"column_{found}" if found[:1].isdigit() else found


def _is_kept(character: str) -> bool:
    return character.isalnum() or unicodedata.category(character)[0] == "M"


def _plain(name: str) -> str:
    """Without case and accents; what is invisible is gone."""
    decomposed = unicodedata.normalize("NFKD", name.casefold())
    return "".join(c for c in decomposed if unicodedata.category(c) not in ("Mn", "Cf"))


@dataclass(frozen=True, slots=True)
class Columns:
    """What to take of a row."""

    header: tuple[str, ...]  # as it is written; of a file without one, names made up
    number: int
    fields: tuple[tuple[int, str], ...]  # place and name
    unnamed: tuple[int, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """Of the fields, in their order."""
        return tuple(name for _, name in self.fields)


def of_header(header: Sequence[str], asked: str, notices: list[str]) -> Columns:
    """The columns of a header. Raises `ImportRefused`."""
    shown = tuple(name.strip() for name in header)
    number = find(shown, asked, notices)
    fields: list[tuple[int, str]] = []
    unnamed: list[int] = []
    left_out: list[str] = []
    # A list of rejected rows that was mended: what we put before each row is none of its values.
    ours = len(REJECT_COLUMNS) if shown[: len(REJECT_COLUMNS)] == REJECT_COLUMNS else 0
    for place, name in enumerate(shown):
        if place == number or place < ours:
            continue
        if not (field := identifier(name)):
            unnamed.append(place)
        elif len(fields) == MOST_FIELDS:
            left_out.append(name)
        else:
            fields.append((place, free(field, [name for _, name in fields])))
    if left_out:
        notices.append(f"only {MOST_FIELDS} fields are kept; left out are {listed(left_out)}")
    return Columns(shown, number, tuple(fields), tuple(unnamed))


def without_header(width: int, likely: int, asked: str) -> Columns:
    """The columns of a file that begins with a contact. Raises `ImportRefused`."""
    names = tuple(f"column_{place + 1}" for place in range(width))
    number = find(names, asked, []) if asked else likely
    fields = tuple((place, name) for place, name in enumerate(names) if place != number)
    return Columns(names, number, fields[:MOST_FIELDS], ())


def free(field: str, taken: Sequence[str]) -> str:
    """`field`, or `field_2` … if there is one of that name already."""
    name, count = field, 1
    while name in taken:
        count += 1
        name = f"{field}_{count}"
    return name


def is_header(names: Sequence[str], asked: str) -> bool:
    """Whether these are names of columns, as one of them is that of the number."""
    return any((name := folded(cell)) in RANK or name == folded(asked) != "" for cell in names)


def find(header: Sequence[str], asked: str, notices: list[str]) -> int:
    """The place of the number's column. Raises `ImportRefused`."""
    names = [folded(name) for name in header]
    if asked:
        return _asked(names, header, asked)
    known = sorted((RANK[name], place) for place, name in enumerate(names) if name in RANK)
    if not known:
        raise ImportRefused(
            "no_number_column",
            "has no column that is known to hold numbers, as phone or mobile; name it with column=."
            f" It has {listed(header)}",
            "column",
        )
    place = known[0][1]
    if len(known) > 1:
        others = listed([header[other] for _, other in known[1:]])
        notices.append(
            f"numbers are read from the column {header[place]!r}, not from {others}"
            " (column= chooses)"
        )
    return place


def _asked(names: Sequence[str], header: Sequence[str], asked: str) -> int:
    name = folded(asked)
    if name in names:
        return names.index(name)
    if asked.isascii() and asked.isdigit() and len(asked) < 4 and 0 < int(asked) <= len(names):  # noqa: PLR2004
        return int(asked) - 1
    raise ImportRefused(
        "no_such_column", f"is no column of the file. It has {listed(header)}", "column"
    )


def listed(names: Sequence[str]) -> str:
    """Some names, for a person to read."""
    shown = [repr(name[:LONGEST_NAME]) for name in names if name][:10]
    more = sum(bool(name) for name in names) - len(shown)
    return ", ".join(shown or ["none"]) + (f" and {more} more" if more > 0 else "")
