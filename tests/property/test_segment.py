"""What holds of every text, and agreement with a reference that is slow and plain."""

from hypothesis import given, settings
from hypothesis import strategies as st

from smsd.core.segment import Segments, count, culprit, split

# TS 23.038 §6.2.1 as code points, written apart from the module's own table.
ALPHABET = frozenset(
    bytes.fromhex("0A 0D 5F A1 A3 A4 A5 A7 BF C4 C5 C6 C7 C9 D1 D6 D8 DC DF E0")
    + bytes.fromhex("E4 E5 E6 E8 E9 EC F1 F2 F6 F8 F9 FC")
    + bytes(range(0x20, 0x5B))  # ASCII without [ \ ] ^ _ `
    + bytes(range(0x61, 0x7B))  # and without { | } ~
) | {0x393, 0x394, 0x398, 0x39B, 0x39E, 0x3A0, 0x3A3, 0x3A6, 0x3A8, 0x3A9}
# §6.2.1.1: the code that follows the escape.
EXTENSION = {
    0x0C: 0x0A,
    0x5E: 0x14,
    0x7B: 0x28,
    0x7D: 0x29,
    0x5C: 0x2F,
    0x5B: 0x3C,
    0x7E: 0x3D,
    0x5D: 0x3E,
    0x7C: 0x40,
    0x20AC: 0x65,
}
ESCAPE = 0x1B

quick = settings(deadline=None, max_examples=150)

# Few characters in long runs: that is where boundaries fall inside pairs.
runs = st.tuples(
    st.sampled_from("aaa@\n\r[€\\\u00e9\u044f\u0301\u200d\U0001f600\U0001f468"),
    st.integers(1, 160),
)
gsm7_runs = st.tuples(st.sampled_from("aé\n[€\f"), st.integers(1, 160))
texts = st.one_of(
    st.text(),
    st.text(st.sampled_from("a[€é"), max_size=400),
    st.lists(runs, max_size=8).map(lambda runs: "".join(c * n for c, n in runs)),
    st.lists(gsm7_runs, max_size=8).map(lambda runs: "".join(c * n for c, n in runs)),
)


def encode(text: str, encoding: str) -> list[int]:
    """Septets or 16-bit code units; the GSM codes of the alphabet are left as code points."""
    units: list[int] = []
    for code in map(ord, text):
        if encoding == "gsm7" and code in EXTENSION:
            units += [ESCAPE, EXTENSION[code]]
        elif code > 0xFFFF:
            high, low = divmod(code - 0x10000, 0x400)
            units += [0xD800 + high, 0xDC00 + low]
        else:
            units.append(code)
    return units


def reference(text: str) -> tuple[Segments, list[str]]:
    """Character by character: one that does not fit opens the next part."""
    fits = all(ord(character) in ALPHABET or ord(character) in EXTENSION for character in text)
    encoding, whole, room = ("gsm7", 160, 153) if fits else ("ucs2", 70, 67)
    costs = [len(encode(character, encoding)) for character in text]
    total = sum(costs)
    parts, left = [""], whole if total <= whole else room
    for character, cost in zip(text, costs, strict=True):
        if cost > left:
            parts.append("")
            left = room
        parts[-1] += character
        left -= cost
    return Segments("gsm7" if fits else "ucs2", total, len(parts)), parts


def test_the_reference_knows_the_whole_alphabet() -> None:
    assert len(ALPHABET) == 127
    assert len(EXTENSION) == 10


@given(texts)
@quick
def test_count_and_split_agree_with_the_reference(text: str) -> None:
    assert (count(text), split(text)) == reference(text)


@given(texts)
@quick
def test_the_parts_join_to_the_text(text: str) -> None:
    parts = split(text)
    assert "".join(parts) == text
    assert len(parts) == count(text).segments


@given(texts)
@quick
def test_every_part_fits_its_segment_and_only_the_last_has_room_for_a_pair(text: str) -> None:
    encoding = count(text).encoding
    whole, room = (160, 153) if encoding == "gsm7" else (70, 67)
    lengths = [len(encode(part, encoding)) for part in split(text)]
    if len(lengths) == 1:
        assert lengths[0] <= whole
    else:
        assert all(room - 1 <= length <= room for length in lengths[:-1])
        assert 0 < lengths[-1] <= room


@given(texts)
@quick
def test_no_part_ends_in_half_a_pair(text: str) -> None:
    counted = count(text)
    encoded = [encode(part, counted.encoding) for part in split(text)]
    assert [unit for units in encoded for unit in units] == encode(text, counted.encoding)
    assert sum(map(len, encoded)) == counted.units
    for units in encoded[:-1]:
        assert not 0xD800 <= units[-1] < 0xDC00
        assert counted.encoding == "ucs2" or units[-1] != ESCAPE


@given(texts, texts)
@quick
def test_appending_never_lowers_the_count(text: str, more: str) -> None:
    assert count(text + more).segments >= count(text).segments


@given(texts)
@quick
def test_the_culprit_is_what_stands_between_a_text_and_gsm7(text: str) -> None:
    found = culprit(text)
    if found is None:
        assert count(text).encoding == "gsm7"
    else:
        index, character = found
        assert text[index] == character
        assert count(text[:index]).encoding == "gsm7"
        assert count(character).encoding == count(text).encoding == "ucs2"
