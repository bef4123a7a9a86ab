"""What `make check` looks at. Rule: each check finds what it is for."""

from pathlib import Path

import pytest

from smsd.core.life import Event
from tests.checks import fields, journey, paths, words

LETTER = next(rule for rule in words.RULES if rule.word == "letter")


def found(root: Path, rule: words.Rule, source: str, name: str = "a.py") -> list[int]:
    (root / "smsd").mkdir()
    (root / "smsd" / name).write_text(source)
    return [use.line for use in words.uses(rule, root)]


def test_a_word_is_found_in_names_comments_and_sentences(tmp_path: Path) -> None:
    source = (
        '"""A letter."""\n'
        "class LetterBox: ...\n"
        "open_letters = 1  # dead letters\n"
        'x = "a letter for you"\n'
        "y = f'{x} letter'\n"
        "# a letter\n"
    )

    assert found(tmp_path, LETTER, source) == [1, 2, 3, 4, 5, 6]


def test_a_word_is_not_found_in_the_right_one_in_another_word_or_in_a_key(tmp_path: Path) -> None:
    source = "dead_letters = DeadLetters  # a dead letter\nnewsletter = {'letter': 1}\n"

    assert found(tmp_path, LETTER, source) == []


def test_a_word_is_found_in_lua(tmp_path: Path) -> None:
    source = "local letter = 1\n-- a letter\nerror('no letter')\nfield('letter')\n"

    assert found(tmp_path, LETTER, source, "a.lua") == [1, 2, 3]


def test_a_made_part_of_the_journey_is_made_anew() -> None:
    stale = "<!-- made: takeover -->\nanything\n<!-- end -->\nkept\n"

    made = journey.made(stale)

    assert "anything" not in made
    assert made.endswith("<!-- end -->\nkept\n")
    assert journey.made(made) == made


def test_the_journeys_of_the_document_are_those_of_the_table() -> None:
    assert journey.faults() == []


def test_a_journey_that_the_table_does_not_have_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    steps = (journey.APPENDED, journey.Step(Event.REPLAY, "nobody", "nothing"))
    monkeypatch.setitem(journey.JOURNEYS, "takeover", steps)

    with pytest.raises(KeyError):
        journey.made("<!-- made: takeover -->\n<!-- end -->")


def test_what_a_document_names_and_is_not_there_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(paths, "ROOT", tmp_path)
    (tmp_path / "smsd").mkdir()
    (tmp_path / "smsd/a.py").write_text("class Here:\n    def run(self): ...\n")
    (tmp_path / "README.md").write_text(
        "`smsd/a.py` `smsd/b.py` [x](gone.md) `Here.run` in `smsd/a.py` `Here.stop` in `smsd/a.py`"
    )

    assert paths.faults() == [
        "README.md: smsd/b.py does not exist",
        "README.md: gone.md does not exist",
        "README.md: Here.stop in smsd/a.py does not exist",
    ]


@pytest.mark.parametrize(
    ("written", "instead", "wrong"),
    [("`from`, ", "", "from"), ("`ref`", "`ref`, `lane`", "lane"), ("carry `key`", "carry", "key")],
)
def test_a_document_that_names_other_fields_than_there_are_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, written: str, instead: str, wrong: str
) -> None:
    document = fields.DOCUMENT.read_text("utf-8")
    assert fields.faults() == []
    monkeypatch.setattr(fields, "DOCUMENT", tmp_path / "sending.md")
    fields.DOCUMENT.write_text(document.replace(written, instead, 1))

    assert fields.faults() == [f"docs/sending.md: differs from core/fields.py in {wrong}"]
