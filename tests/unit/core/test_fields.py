"""The table of fields: each row is taken in by both intakes, written, shown and described."""

from collections.abc import Callable
from operator import attrgetter

import pytest

from smsd.core.fields import (
    DEAD_LETTER,
    ENTRY_FIELDS,
    ENTRY_IN_LOOK_UP,
    FIELDS,
    ID,
    INSTANT,
    LABEL,
    LOOK_UP,
    NOT_DEFERRED,
    NOT_REPLAYED,
    PRODUCER_FIELDS,
    RECIPIENT,
    SEND_FIELDS,
    TEXT,
    VISIBLE,
    Field,
    FieldError,
    Kind,
    of_content,
)
from smsd.core.message import (
    Content,
    Limits,
    Message,
    from_fields,
    look_up_fields,
    parse,
    to_fields,
)

NOW = 1_793_620_800_000  # 2026-11-02T12:00:00Z
LIMITS = Limits()
TO = "+12025550123"


def named(rows: list[Field]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("field", rows, ids=lambda field: field.name)


GIVEN = [field for field in FIELDS if not field.by_smsd]
BY_PRODUCERS_ONLY = [field for field in GIVEN if not field.in_send]
IN_CONTENT = [field for field in GIVEN if field.attribute.startswith("content.")]


def value(field: Field, message: Message) -> object:
    return attrgetter(field.attribute)(message)


def entry(**fields: object) -> list[bytes]:
    flat = {"to": TO, "message": "Hi", **fields}
    return [str(part).encode() for pair in flat.items() for part in pair]


# -- the table itself -----------------------------------------------------------------------------


def test_no_name_stands_twice() -> None:
    names = [field.name for field in FIELDS]
    assert sorted(set(names)) == sorted(names)


def test_every_attribute_of_a_content_is_that_of_a_row() -> None:
    named = {attribute.partition(".")[0] for _, attribute, _ in of_content(lambda _: True)}
    assert named == set(Content._fields)


@named([field for field in FIELDS if field.attribute])
def test_an_attribute_is_there_to_be_read(field: Field) -> None:
    value(field, Message("1-0", TO, parse({"message": "Hi"}, LIMITS, NOW)))


@named(GIVEN)
def test_what_may_be_given_is_described(field: Field) -> None:
    assert field.description.endswith(".")
    assert field.kind.schema
    assert field.kind.read(field.name, field.example) is not None
    assert field.attribute, "a value that nothing keeps"


def test_what_may_be_given_needs_an_example() -> None:
    with pytest.raises(ValueError, match="x: needs an example"):
        Field("x", LABEL, "X.", "content.ref")


@named(list(FIELDS))
def test_a_row_contradicts_itself_nowhere(field: Field) -> None:
    assert not (field.by_smsd and field.in_send)
    assert field.in_entry or not field.in_send, "an entry is all that is kept of a request"
    assert field.in_entry or not field.dropped_on_deferral


@pytest.mark.parametrize("kind", [VISIBLE, ID])
def test_headers_may_hold_visible_ascii(kind: Kind) -> None:
    assert Field("x", kind, "X.", by_smsd=True, placeholder="x", in_headers=True).in_headers
    with pytest.raises(ValueError, match="x: in_headers needs a placeholder"):
        Field("x", kind, "X.", by_smsd=True, in_headers=True)


PATTERNS = ("^[ -~]{1,9}$", "^[!-é]{1,9}$", "^[^a]{1,9}$", r"^[\s]{1,9}$", "[a-z]{1,9}", "^.{1,9}$")


@pytest.mark.parametrize(
    "kind", [RECIPIENT, TEXT, LABEL, INSTANT, *(Kind({"pattern": pattern}) for pattern in PATTERNS)]
)
def test_headers_may_hold_nothing_else(kind: Kind) -> None:
    with pytest.raises(ValueError, match="x: in_headers needs a placeholder, and a kind like"):
        Field("x", kind, "X.", by_smsd=True, placeholder="x", in_headers=True)


def test_who_knows_which_is_as_it_is_promised() -> None:
    """Spelled out once more: a flag that is changed by mistake shows here."""
    given = {"to", "message", "from", "priority", "send_at", "expires_at", "campaign", "ref"}
    assert given == SEND_FIELDS
    assert given | {"key"} == PRODUCER_FIELDS
    assert given | {"key", "id", "attempts", "fault"} == ENTRY_FIELDS
    shown = {"to", "from", "expires_at", "campaign", "ref", "attempts"}
    assert shown == set(ENTRY_IN_LOOK_UP)
    of_status = {"segments", "encoding", "provider_id", "due", "reason", "code", "detail"}
    assert shown | of_status == {field.name for field in LOOK_UP}
    of_death = {"reason", "code", "detail", "failed_at", "priority", "send_at"}
    assert shown | of_death == {field.name for field in DEAD_LETTER}
    assert set(NOT_DEFERRED) == {"id", "attempts", "priority", "send_at"}
    assert set(NOT_REPLAYED) == {
        "id", "attempts", "reason", "code", "detail", "failed_at", "lane",
    }  # fmt: skip


# -- both intakes ---------------------------------------------------------------------------------


@named([field for field in IN_CONTENT if field.in_send and field.name != "message"])
def test_a_body_and_an_entry_say_the_same_with_it(field: Field) -> None:
    content = parse({"message": "Hi", field.name: field.example}, LIMITS, NOW)
    message = from_fields(entry(**{field.name: field.example}), "1-0", LIMITS, NOW)
    assert message == Message("1-0", TO, content)
    assert value(field, message) == field.kind.read(field.name, field.example)


@named(BY_PRODUCERS_ONLY)
def test_what_only_producers_may_set_is_refused_in_a_body(field: Field) -> None:
    with pytest.raises(FieldError, match="is no known field"):
        parse({"message": "Hi", field.name: field.example}, LIMITS, NOW)
    message = from_fields(entry(**{field.name: field.example}), "1-0", LIMITS, NOW)
    assert value(field, message) == field.example


@named([field for field in FIELDS if field.by_smsd])
@pytest.mark.parametrize("read", ["body", "entry"])
def test_what_smsd_sets_is_refused_from_anybody_else(field: Field, read: str) -> None:
    intakes: dict[str, Callable[[], object]] = {
        "body": lambda: parse({"message": "Hi", field.name: "1"}, LIMITS, NOW),
        "entry": lambda: from_fields(entry(**{field.name: "1"}), "1-0", LIMITS, NOW),
    }
    with pytest.raises(FieldError, match="is no known field") as refused:
        intakes[read]()
    assert refused.value.field == field.name


@named([field for field in GIVEN if not field.required])
def test_an_optional_one_is_left_out_by_null_and_by_nothing(field: Field) -> None:
    bare = Message("1-0", TO, parse({"message": "Hi"}, LIMITS, NOW))
    assert from_fields(entry(**{field.name: ""}), "1-0", LIMITS, NOW) == bare
    if field.in_send:
        assert parse({"message": "Hi", field.name: None}, LIMITS, NOW) == bare.content


# -- what is written ------------------------------------------------------------------------------


@named([field for field in IN_CONTENT if field.name != "message"])
def test_an_entry_of_smsd_and_a_look_up_have_it_as_it_was_given(field: Field) -> None:
    content = parse({"message": "Hi", field.name: field.example}, LIMITS, NOW)
    written = field.kind.write(field.kind.read(field.name, field.example))
    flat = to_fields(content, with_priority=True)
    kept = dict(zip(flat[::2], flat[1::2], strict=True))
    # (One that waits for its time stands under that time.)
    assert kept.get(field.name) == (None if field.name == "send_at" else written)
    shown = look_up_fields(content)
    assert ((field.name, written) == shown[:2]) is field.in_look_up


@named([field for field in GIVEN if field.in_look_up])
def test_a_look_up_shows_what_was_written(field: Field) -> None:
    written = field.kind.write(field.kind.read(field.name, field.example))
    shown = field.kind.show(written)
    assert field.kind.read(field.name, shown) == field.kind.read(field.name, field.example)
    assert field.kind.show("") is None
