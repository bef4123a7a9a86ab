"""Segments by the standard: 3GPP TS 23.038 (alphabets) and 23.040 (parts), cited at each row."""

import pytest

from smsd.core.segment import (
    DEFAULT_ALPHABET,
    EXTENSION_TABLE,
    Segments,
    count,
    culprit,
    split,
)

YA = "\u044f"  # a Cyrillic letter: one code unit
EMOJI = "\U0001f600"  # a surrogate pair: two code units
ZWJ = "\u200d"
MAN, WOMAN, GIRL, BOY = "\U0001f468", "\U0001f469", "\U0001f467", "\U0001f466"
FAMILY = ZWJ.join((MAN, WOMAN, GIRL, BOY))  # one glyph, 11 code units


def gsm7(units: int, segments: int) -> Segments:
    return Segments("gsm7", units, segments)


def ucs2(units: int, segments: int) -> Segments:
    return Segments("ucs2", units, segments)


COUNTS = [
    # 23.038 §6.2.1, §6.2.3: 140 octets are 160 septets or 70 code units
    ("160 septets fit one segment", "a" * 160, gsm7(160, 1)),
    ("70 code units fit one segment", YA * 70, ucs2(70, 1)),
    # 23.038 §6.2.1: the default alphabet
    ("capital c cedilla is in the alphabet", "\u00c7", gsm7(1, 1)),
    ("small c cedilla is not", "\u00e7", ucs2(1, 1)),
    ("the accented capitals it has", "ÄÅÆÇÉÑÖØÜ", gsm7(9, 1)),
    ("an accented capital it has not", "\u00c1", ucs2(1, 1)),
    ("the capital Greek it has", "ΔΦΓΛΩΠΨΣΘΞ", gsm7(10, 1)),
    ("capital alpha is not a Latin A", "\u0391", ucs2(1, 1)),
    ("small Greek it has not", "\u03b4", ucs2(1, 1)),
    ("the section sign, which smpplib lacks", "§", gsm7(1, 1)),
    ("the grave accent, which smpplib has", "`", ucs2(1, 1)),
    ("the escape is no character, though smsutil says so", "\x1b", ucs2(1, 1)),
    ("NUL", "\0", ucs2(1, 1)),
    ("TAB", "\t", ucs2(1, 1)),
    ("no-break space", "\u00a0", ucs2(1, 1)),
    ("zero-width space", "\u200b", ucs2(1, 1)),
    ("byte-order mark", "\ufeff", ucs2(1, 1)),
    ("a curly apostrophe", "It\u2019s", ucs2(4, 1)),
    # 23.038 §6.2.1.1: an escape sequence is two septets, also alone
    ("a lone backslash", "\\", gsm7(2, 1)),
    ("a lone form feed", "\f", gsm7(2, 1)),
    ("80 euro signs fill one segment", "€" * 80, gsm7(160, 1)),
    ("81 do not", "€" * 81, gsm7(162, 2)),
    # 23.038 §6.2.3: in UCS-2 everything is a code unit, brackets too
    ("an extension character in UCS-2 is one unit", "[" * 69 + YA, ucs2(70, 1)),
    ("one foreign character makes all of it UCS-2", "a" * 70 + YA, ucs2(71, 2)),
    # 23.040 §9.2.3.24.1: six octets of header leave 153 septets or 67 code units
    ("161 septets", "a" * 161, gsm7(161, 2)),
    ("two full segments", "a" * 306, gsm7(306, 2)),
    ("and one septet", "a" * 307, gsm7(307, 3)),
    ("71 code units", YA * 71, ucs2(71, 2)),
    ("two full segments of UCS-2", YA * 134, ucs2(134, 2)),
    ("and one code unit", YA * 135, ucs2(135, 3)),
    # 23.040 §9.2.3.24.1: an escape sequence is not split, so rounding up is one too few
    ("153 brackets are three segments", "[" * 153, gsm7(306, 3)),
    ("a bracket astride the boundary", "a" * 152 + "[" + "a" * 152, gsm7(306, 3)),
    ("a bracket before the boundary", "a" * 151 + "[" + "a" * 153, gsm7(306, 2)),
    ("a bracket behind the boundary", "a" * 153 + "[" + "a" * 151, gsm7(306, 2)),
    # the same for surrogate pairs, by the practice of careful senders
    ("35 emoji fill one segment", EMOJI * 35, ucs2(70, 1)),
    ("33 emoji a part, not 33.5", EMOJI * 67, ucs2(134, 3)),
    ("an emoji astride the boundary", YA * 66 + EMOJI + YA * 66, ucs2(134, 3)),
    ("a lone emoji is two units, though sms-counter says one", EMOJI, ucs2(2, 1)),
    # the boundary of a part does not matter to a text that needs none
    ("a bracket astride 153 of 160", "a" * 152 + "[" + "a" * 6, gsm7(160, 1)),
    ("an emoji astride 67 of 70", YA * 66 + EMOJI + YA * 2, ucs2(70, 1)),
    # 23.040 §9.2.3.24.1: the parts are numbered in one octet
    ("255 segments", "a" * 39_015, gsm7(39_015, 255)),
    ("255 segments of UCS-2", YA * 17_085, ucs2(17_085, 255)),
    ("255 segments of brackets", "[" * (76 * 255), gsm7(2 * 76 * 255, 255)),
    ("255 segments of emoji", EMOJI * (33 * 255), ucs2(2 * 33 * 255, 255)),
    # read off live Twilio bills (its calculator's issue 66)
    ("CR LF is two septets", "a" * 80 + "\r\n" + "a" * 79, gsm7(161, 2)),
    ("70 times e and a combining accent", "e\u0301" * 70, ucs2(140, 3)),
    # nothing is normalised: OHM SIGN is not the omega of the alphabet
    ("the ohm sign", "\u2126", ucs2(1, 1)),
    # grapheme clusters have no standing
    ("a family astride the boundary", YA * 60 + FAMILY, ucs2(71, 2)),
    # 23.038 §6.1.2: padding with CR is for broadcasts
    ("seven spare bits need no CR", "a" * 159, gsm7(159, 1)),
    # a TP-UD of length 0 is one message
    ("the empty text", "", gsm7(0, 1)),
    # 23.038 Annex A: national tables are not used
    ("Turkish", "\u011f\u015f", ucs2(2, 1)),
]


@pytest.mark.parametrize(("text", "expected"), [pytest.param(t, e, id=n) for n, t, e in COUNTS])
def test_a_text_costs_what_the_standard_says(text: str, expected: Segments) -> None:
    assert count(text) == expected


@pytest.mark.parametrize("text", [pytest.param(t, id=n) for n, t, _ in COUNTS])
def test_a_text_is_split_into_as_many_parts_as_are_counted(text: str) -> None:
    parts = split(text)
    assert "".join(parts) == text
    assert len(parts) == count(text).segments


def test_the_alphabet_stands_in_the_order_of_its_codes() -> None:
    codes = DEFAULT_ALPHABET[:0x1B] + "\x1b" + DEFAULT_ALPHABET[0x1B:]
    assert len(codes) == len(set(codes)) == 128
    landmarks = {0x00: "@", 0x02: "$", 0x0A: "\n", 0x0D: "\r", 0x11: "_", 0x1F: "É", 0x24: "¤"}
    landmarks |= {0x20: " ", 0x30: "0", 0x40: "¡", 0x41: "A", 0x5F: "§", 0x60: "¿", 0x7F: "à"}
    assert {code: codes[code] for code in landmarks} == landmarks


@pytest.mark.parametrize("character", DEFAULT_ALPHABET)
def test_a_character_of_the_alphabet_is_one_septet(character: str) -> None:
    assert count(character) == gsm7(1, 1)


@pytest.mark.parametrize("character", "\f^{}\\[~]|€")
def test_a_character_of_the_extension_table_is_two_septets(character: str) -> None:
    assert count(character) == gsm7(2, 1)


def test_the_extension_table_has_ten_characters_none_of_them_in_the_alphabet() -> None:
    assert len(set(EXTENSION_TABLE)) == 10
    assert not set(EXTENSION_TABLE) & set(DEFAULT_ALPHABET)


def test_a_text_that_fits_stays_whole() -> None:
    assert split("a" * 160) == ["a" * 160]
    assert split("") == [""]


def test_an_escape_pair_is_never_cut() -> None:
    assert split("[" * 153) == ["[" * 76, "[" * 76, "["]
    assert split("a" * 152 + "€" + "a" * 8) == ["a" * 152, "€" + "a" * 8]


def test_a_surrogate_pair_is_never_cut() -> None:
    assert split(YA * 66 + EMOJI + YA * 3) == [YA * 66, EMOJI + YA * 3]


def test_a_grapheme_cluster_is_cut_between_code_points() -> None:
    assert split(YA * 60 + FAMILY) == [YA * 60 + MAN + ZWJ + WOMAN + ZWJ, GIRL + ZWJ + BOY]
    assert split(YA * 66 + "e\u0301" + YA * 3) == [YA * 66 + "e", "\u0301" + YA * 3]


def test_a_line_end_may_be_cut() -> None:
    assert split("a" * 152 + "\r\n" + "a" * 7) == ["a" * 152 + "\r", "\n" + "a" * 7]


@pytest.mark.parametrize(
    "text", ["a" * 39_016, YA * 17_086, "[" * (76 * 255 + 1), EMOJI * (33 * 255 + 1)]
)
def test_more_than_255_segments_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="longer than 255 segments"):
        count(text)
    with pytest.raises(ValueError, match="longer than 255 segments"):
        split(text)


@pytest.mark.parametrize("half", [chr(0xD83D), chr(0xDE00)])
def test_half_a_surrogate_pair_is_refused(half: str) -> None:
    with pytest.raises(ValueError, match="half a surrogate pair at character 4"):
        count(f"abc{half}")
    with pytest.raises(ValueError, match="half a surrogate pair at character 4"):
        split(f"abc{half}")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", None),
        ("plain [text] for 5 €\n", None),
        ("\t", (0, "\t")),
        ("It\u2019s [\u00e7a]", (2, "\u2019")),
        ("a" * 200 + EMOJI + YA, (200, EMOJI)),
        ("\x1b", (0, "\x1b")),
    ],
)
def test_the_culprit_is_the_first_character_outside_both_tables(
    text: str, expected: tuple[int, str] | None
) -> None:
    assert culprit(text) == expected
