"""Templates of request fields. Rule: a value is encoded for its place, never spliced in.

A template is a string with `{placeholders}` of the message and `${SECRETS}`; `{{` and `}}` are
braces. Secrets are inserted when it is read, and what they contain is not read again.
"""

import re
from collections.abc import Callable, Mapping
from operator import attrgetter
from urllib.parse import urlencode

from smsd.core.fields import FIELDS, Field
from smsd.core.message import Message
from smsd.core.user_data import octets

Placeholders = Mapping[str, Callable[[Message], str]]


def _value_of(field: Field) -> Callable[[Message], str]:
    """What reads a field of a message, as it is written; "" where the message has none."""
    value_of, write = attrgetter(field.attribute), field.kind.write

    def read(message: Message) -> str:
        value = value_of(message)
        return "" if value is None else write(value)

    return read


PLACEHOLDERS: Placeholders = {
    **{field.placeholder: _value_of(field) for field in FIELDS if field.placeholder},
    "to_no_plus": lambda message: message.recipient.removeprefix("+"),
    "from_no_plus": lambda message: message.content.sender.removeprefix("+"),
    # For gateways that take octets: GSM 7-bit codes, or UTF-16BE, as hexadecimal digits.
    "text_hex": lambda message: octets(
        message.content.text, message.content.segments.encoding
    ).hex(),
}


def only(*names: str) -> Placeholders:
    """The placeholders of these names, where only they are allowed."""
    return {name: PLACEHOLDERS[name] for name in names}


IN_HEADERS = only(*(field.placeholder for field in FIELDS if field.in_headers))


def with_encodings(encodings: Mapping[str, str]) -> Placeholders:
    """All placeholders, with the gateway's own names for `gsm7` and `ucs2`."""
    return {
        **PLACEHOLDERS,
        "encoding": lambda message: encodings[message.content.segments.encoding],
    }


LEAST, MOST = -(2**63), 2**63 - 1  # of the numbers that every JSON parser reads

_TOKEN = re.compile(r"\$\{(?P<secret>\w+)\}|\{(?P<name>\w+)\}|(?P<brace>\{\{|\}\})|(?P<stray>[{}])")

Scalar = str | int | float | bool | None
Filled = Scalar | list["Filled"] | dict[str, "Filled"]


class Template:
    """One string with placeholders, read."""

    __slots__ = ("_parts", "names")

    def __init__(
        self, template: str, secrets: Mapping[str, str], allowed: Placeholders = PLACEHOLDERS
    ) -> None:
        """Raise `ValueError` for an unknown name; `secrets` are keyed in lower case."""
        self._parts: list[str | Callable[[Message], str]] = []
        self.names = {name for token in _TOKEN.finditer(template) if (name := token["name"])}
        at = 0
        for token in _TOKEN.finditer(template):
            self._parts += [template[at : token.start()], _part(token, secrets, allowed)]
            at = token.end()
        self._parts.append(template[at:])

    def fill(self, message: Message, encode: Callable[[str], str] = str) -> str:
        """The string for one message, with each of its values encoded."""
        return "".join(
            part if isinstance(part, str) else encode(part(message)) for part in self._parts
        )

    def is_empty(self, message: Message) -> bool:
        """Whether it has placeholders, and the message has a value for none of them."""
        values = [part for part in self._parts if not isinstance(part, str)]
        return bool(values) and not any(value(message) for value in values)

    def fixed(self) -> str:
        """The string without its placeholders."""
        return "".join(part for part in self._parts if isinstance(part, str))


def _part(
    token: re.Match[str], secrets: Mapping[str, str], allowed: Placeholders
) -> str | Callable[[Message], str]:
    if (secret := token["secret"]) is not None:
        if secret.lower() not in secrets:
            raise ValueError(f"${{{secret}}} is not among the secrets")
        return secrets[secret.lower()]
    if (name := token["name"]) is not None:
        if name not in allowed:
            known = ", ".join(f"{{{each}}}" for each in allowed) or "none"
            raise ValueError(f"{{{name}}} is not a placeholder; known here: {known}")
        return allowed[name]
    if token["stray"]:
        raise ValueError("holds a single brace; write {{ or }} for one")
    return token["brace"][0]


Tree = Template | Scalar | list["Tree"] | dict[str, "Tree"]


def read(value: object, secrets: Mapping[str, str], allowed: Placeholders = PLACEHOLDERS) -> Tree:
    """A configured value with every string in it read. Raises `ValueError`."""
    match value:
        case str():
            return Template(value, secrets, allowed)
        case None | bool():
            return value
        case int() | float():
            if not LEAST <= value <= MOST:  # so written, NaN is refused too
                raise ValueError("holds a number that JSON cannot; write it as a string")
            return value
        case list():
            return [read(each, secrets, allowed) for each in value]
        case dict():
            return {str(key): read(each, secrets, allowed) for key, each in value.items()}
        case _:
            raise ValueError(f"holds a {type(value).__name__}; write it as a string")


def fill(tree: Tree, message: Message) -> Filled:
    """The values for one message."""
    match tree:
        case Template():
            return tree.fill(message)
        case list():
            return [fill(each, message) for each in tree]
        case dict():
            return {key: fill(each, message) for key, each in tree.items()}
        case _:
            return tree


def fill_headers(headers: Mapping[str, Template], message: Message) -> dict[str, str]:
    """The headers for one message, without those whose placeholders are all empty for it."""
    return {
        name: template.fill(message)
        for name, template in headers.items()
        if not template.is_empty(message)
    }


def names(tree: Tree) -> set[str]:
    """The placeholders in it."""
    match tree:
        case Template():
            return tree.names
        case list():
            return set().union(*map(names, tree))
        case dict():
            return set().union(*map(names, tree.values()))
        case _:
            return set()


def is_flat(value: object) -> bool:
    """Whether a form or a query can hold `value`: one value, or a list of them."""
    return not any(
        isinstance(each, list | dict) for each in (value if isinstance(value, list) else [value])
    )


def urlencoded(filled: Mapping[str, Filled]) -> str:
    """Flat values as a form or a query; a list repeats its key."""
    return urlencode(
        [
            (key, _plain(each))
            for key, value in filled.items()
            for each in (value if isinstance(value, list) else [value])
        ]
    )


def _plain(value: Filled) -> str:
    match value:
        case None:
            return ""
        case bool():
            return str(value).lower()
        case _:
            return str(value)
