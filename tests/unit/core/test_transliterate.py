"""What is replaced, and what is not."""

import unicodedata

import pytest

from smsd.core import segment
from smsd.core.segment import DEFAULT_ALPHABET, EXTENSION_TABLE
from smsd.core.transliterate import REPLACEMENTS, replaced, transliterate


@pytest.mark.parametrize(
    ("written", "sent"),
    [
        ("\u201cHi\u201d \u2013 it\u2019s on\u2026", '"Hi" - it\'s on...'),
        ("\xab\xa0Bonjour\u202f\xbb", '" Bonjour "'),
        ("O\ufb03ce \ufb02oor, c\u0153ur", "Office floor, coeur"),
        ("a\tb\u200bc\ufeff\xadd", "a bcd"),
        ("`x`", "'x'"),
        ("5\u202210\u22122", "5-10-2"),
        ("cafe\u0301, A\u030angstrom, \u212b, \u2126", "caf\xe9, \xc5ngstrom, \xc5, \u03a9"),
    ],
)
def test_typographic_characters_are_replaced(written: str, sent: str) -> None:
    assert transliterate(written) == sent
    assert segment.count(sent).encoding == "gsm7"


@pytest.mark.parametrize(
    "kept",
    [
        "plain {text} \n",
        "\xe9\xe8\xf1\xdf\u20ac",  # GSM-7 has them
        "\u0160\u0142\xe7\xf4",  # letters that GSM-7 has not
        "2\xbd \u2122 \xa9",
        "\U0001f469\u200d\U0001f680 \u2764\ufe0f",  # joined
        "o\u0302 e\u0301\u0323",  # accents that GSM-7 has no letter for
        "\u043f\u0440\u0438\u0432\u0435\u0442",
    ],
)
def test_what_is_meant_as_it_is_stays(kept: str) -> None:
    assert transliterate(kept) == kept
    assert replaced(kept) == []


def test_what_is_replaced_is_not_in_gsm7_and_what_replaces_it_is() -> None:
    gsm7 = set(DEFAULT_ALPHABET + EXTENSION_TABLE)
    for written, sent in REPLACEMENTS.items():
        assert not gsm7.issuperset(written), written
        assert gsm7.issuperset(sent), written
        assert replaced(f"x{written}y") == [written]


def test_every_blank_of_unicode_is_replaced() -> None:
    # U+1680 has a mark of its own, and separates words of Ogham alone.
    spaces = {one for one in map(chr, range(0x10000)) if unicodedata.category(one) == "Zs"}
    assert {one for one in spaces if transliterate(one) != " "} == {"\u1680"}


def test_each_place_is_reported() -> None:
    assert replaced("\u201ca\u201d \u2026 \u2026") == ["\u201c", "\u201d", "\u2026", "\u2026"]


def test_once_is_enough() -> None:
    text = "".join(REPLACEMENTS)
    assert transliterate(transliterate(text)) == transliterate(text)
