"""The models of dead letters: the contract names each field that a dead letter is shown with."""

from typing import Any

from smsd.core.fields import DEAD_LETTER
from smsd.store.dead_letters import DeadLetter as Stored
from smsd.web.dead_letter_models import DeadLetter


def test_every_field_that_a_dead_letter_shows_is_described() -> None:
    described: dict[str, dict[str, Any]] = DeadLetter.model_json_schema()["properties"]
    for field in DEAD_LETTER:
        assert described[field.name]["description"] == field.description
    assert set(described) == {field.name for field in DEAD_LETTER} | {"letter", "id", "message"}


def test_a_dead_letter_shows_what_is_described_and_nothing_else() -> None:
    described = DeadLetter.model_json_schema()["properties"]
    stored = Stored("1-0", {"id": "m", "lane": "n", "key": "k", **dict.fromkeys(described, "7")})
    assert set(stored.shown(with_text=True)) == set(described)
