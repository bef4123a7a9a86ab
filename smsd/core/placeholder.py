"""From a body to its placeholders. Rule: Liquid would read each as it is read here; no other is.

    {{ name }}   {{ name | default: "there" | truncate: 20 }}   {{ "{as it is}" }}

A field's name is compared as a column's is: `{{ First_Name }}` is the column `First Name`. Blanks
around a placeholder are kept, and `{{-`, which would remove them, is refused.
"""

import re
import unicodedata
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple, NoReturn

from smsd.core.contacts.columns import identifier
from smsd.core.contacts.value import LONGEST
from smsd.core.fields import FieldError, shortened

SHORTEST_TRUNCATED = 4  # one character and three dots: Liquid itself makes nothing of less
MOST = 50  # placeholders of a body: what is filled in for a recipient is bounded
FIELD = "message"  # what is at fault

Filter = Callable[[str], str]


@dataclass(frozen=True, slots=True)
class Placeholder:
    """Where a field's value goes, and what it goes through."""

    name: str
    filters: tuple[Filter, ...]
    has_default: bool

    def fill(self, value: str) -> str:
        """What is put there."""
        for one in self.filters:
            value = one(value)
        return value


class Literal(NamedTuple):
    """What is the same in all messages."""

    text: str
    at: int
    is_quoted: bool = False  # as `{{ "[name]" }}`: meant as it is, whatever it looks like


Piece = Literal | Placeholder


class _Token(NamedTuple):
    kind: str | None  # "name", "string", "number"; None for what is none of these
    text: str
    at: int


# A name as Liquid has it, in any script; `?` at its end is left out.
_TOKEN = re.compile(
    r"""\s*(?:(?P<string>"[^"]*"|'[^']*')|(?P<number>-?[0-9][0-9.]*)(?![^\s|}:.])"""
    r"""|(?P<name>[^\W\d][^\s|{}"':.,()\[\]<>%$#*&!?=/\\;@+~^`\u2018-\u201f\xab\xbb]*)"""
    r"""|(?P<close>-?\}\})|(?P<sign>\S))"""
)
_OPEN = re.compile(r"\{\{|\{%")
_NAMES = re.compile(r"[^\W\d_][\w-]*")
# What Liquid reads as a value, and its keywords: in small letters alone.
_VALUES = frozenset(("true", "false", "nil", "null", "empty", "blank"))
_KEYWORDS = frozenset(("and", "or", "not", "contains", "in", "if", "else", "with", "as", "for"))


def pieces(body: str) -> Iterator[Piece]:
    """Literals and placeholders, in their order. Raises `FieldError`."""
    at = many = 0
    while opening := _OPEN.search(body, at):
        if opening.start() > at:
            yield Literal(body[at : opening.start()], at)
        if opening[0] == "{%":
            at = opening.start()
            why = "is a tag: there are only placeholders"
            refuse(at, _excerpt(body, at), why, _meant(body, opening))
        many += 1
        if many > MOST:
            raise FieldError(FIELD, f"has more than {MOST} placeholders")
        piece, at = _Reader(body, opening.start()).read()
        yield piece
    if at < len(body):
        yield Literal(body[at:], at)


def refuse(at: int, shown: str, why: str, meant: str = "", more: str = "") -> NoReturn:
    """Raise `FieldError` with the place and, where it can be guessed, what was meant."""
    visible = shown if shown.isprintable() else ascii(shown)[1:-1]
    guess = f". Did you mean {{{{ {meant} }}}}?" if meant else ""
    raise FieldError(FIELD, f"has {visible} at character {at + 1}, which {why}{guess}{more}")


def _excerpt(body: str, at: int) -> str:
    """Some of the body, from a brace on: up to the end of its placeholder, where that is near."""
    shown = re.match(r"\{[^}]{0,40}\}{0,2}", body[at : at + 50])
    return " ".join(shown[0].split()) if shown else body[at : at + 2]


def _meant(body: str, opening: re.Match[str]) -> str:
    """The name of the field that was probably meant; "" for none."""
    inside = re.match(r"[^{}|]*", body[opening.end() :][:200])
    names = _NAMES.findall(inside[0]) if inside else []
    return identifier(names[0]) if len(names) == 1 else ""


class _Reader:
    """Reads one placeholder."""

    def __init__(self, body: str, start: int) -> None:
        self._body = body
        self._start = start
        self._at = start + 2

    def read(self) -> tuple[Piece, int]:
        """The placeholder, and where it ends."""
        if self._body.startswith("-", self._at):
            self._refuse("would remove the blanks before it: put none there instead", self._guess())
        first = self._next()
        if first.kind == "string":
            if self._next().kind != "close":
                self._refuse("has more than a string in quotes")
            return Literal(self._string(first), first.at, is_quoted=True), self._at
        if first.kind == "close":
            self._refuse("names no field")
        name = self._name(first)
        filters, has_default = self._filters()
        return Placeholder(name, filters, has_default), self._at

    def _next(self) -> _Token:
        found = _TOKEN.match(self._body, self._at)
        if found is None:
            self._refuse("is not closed by }}", self._guess())
        self._at = found.end()
        if found["close"] and found["close"].startswith("-"):
            self._refuse("would remove the blanks behind it: put none there instead", self._guess())
        return _Token(found.lastgroup, found[found.lastgroup or 0], found.start())

    def _name(self, first: _Token) -> str:
        following = _TOKEN.match(self._body, self._at)
        if first.kind != "name" or following is None or following[0].strip() not in ("|", "}}"):
            self._refuse_name()
        if first.text.endswith("-"):
            self._refuse("would remove the blanks behind it: put none there instead", self._guess())
        if first.text in _VALUES | _KEYWORDS:
            self._refuse(f'is no field: "{first.text}" is a word of Liquid\'s own')
        name = identifier(first.text)
        if not name or not all(map(_may_be_in_name, first.text)):
            self._refuse_name()
        return name

    def _filters(self) -> tuple[tuple[Filter, ...], bool]:
        filters: list[Filter] = []
        has_default = False
        while (token := self._next()).kind != "close":
            if token.text != "|":
                self._refuse("is not understood behind its filter")
            name = self._next()
            if name.text not in _FILTERS:
                unknown = f" called {shortened(name.text)}" if name.kind == "name" else ""
                known = ", ".join(sorted(_FILTERS))
                self._refuse(f"has no known filter{unknown}; known are {known}")
            filters.append(_FILTERS[name.text](self))
            has_default = has_default or name.text == "default"
        return tuple(filters), has_default

    def argument(self, kind: str, expected: str) -> str:
        """What follows a filter's colon."""
        if self._next().text != ":" or (found := self._next()).kind != kind:
            self._refuse(f"needs {expected}")
        return self._string(found) if kind == "string" else found.text

    def truncate(self) -> Filter:
        """Cut a value that is longer, with three dots at the end, which count."""
        expected = f"a number from {SHORTEST_TRUNCATED} to {LONGEST}, as truncate: 20"
        written = self.argument("number", expected)
        if not written.isdecimal() or not SHORTEST_TRUNCATED <= int(written[:9]) <= LONGEST:
            self._refuse(f"needs {expected}")
        most = int(written[:9])
        return lambda value: value if len(value) <= most else value[: most - 3] + "..."

    def default(self) -> Filter:
        """What stands for an empty value."""
        instead = self.argument("string", 'a string in straight quotes, as default: "there"')
        return lambda value: value or instead

    def _string(self, token: _Token) -> str:
        text = token.text[1:-1]
        if "}}" in text or "%}" in text:  # where Liquid would end the placeholder
            self._refuse("has braces in quotes that would end it")
        if len(text) > LONGEST or not text.replace("\u200d", "").isprintable():
            self._refuse(f"must have at most {LONGEST} printable characters in quotes")
        return text

    def _refuse_name(self) -> NoReturn:
        end = re.compile(r"[|}]|$").search(self._body, self._start + 2)
        written = self._body[self._start + 2 : end.start() if end else None].strip()
        if "." in written or "[" in written:
            names = _NAMES.findall(written)
            meant = identifier(names[-1]) if names else ""
            self._refuse("must be the name of a field, without dots and brackets", meant)
        meant = identifier(written[:200])
        self._refuse("must be the name of a field", meant)

    def _guess(self) -> str:
        found = re.match(r"[-\s]*([^\W\d][\w-]*)", self._body[self._start + 2 :][:200])
        return identifier(found[1]) if found else ""

    def _refuse(self, why: str, meant: str = "") -> NoReturn:
        refuse(self._start, _excerpt(self._body, self._start), why, meant)


def _may_be_in_name(character: str) -> bool:
    # Marks are the vowels of some scripts.
    is_mark = unicodedata.category(character)[0] == "M"
    return character.isalnum() or character in "-_" or is_mark


_FILTERS: dict[str, Callable[[_Reader], Filter]] = {
    "capitalize": lambda _: str.capitalize,
    "default": _Reader.default,
    "truncate": _Reader.truncate,
    "upcase": lambda _: str.upper,
}
