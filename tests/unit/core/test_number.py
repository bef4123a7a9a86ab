"""Phone numbers: what is read, what is refused, and what a log may show."""

import pytest

from smsd.core import number


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ("+12025550123", "+12025550123"),
        ("+1 (202) 555-0123", "+12025550123"),
        ("+1.202.555.0123", "+12025550123"),
        ("+447911123456", "+447911123456"),
        ("+44 (0)7911 123456", "+447911123456"),  # the trunk zero goes
        ("+39 06 698 1234", "+39066981234"),  # the Italian zero stays
        ("+7 (912) 345-67-89", "+79123456789"),
        ("+54 9 11 2345 6789", "+5491123456789"),
        ("+80012345678", "+80012345678"),  # a code without a country
        ("+2905123", "+2905123"),  # Saint Helena: among the shortest there are
        ("+491111111111111", "+491111111111111"),  # 15 digits, the most there may be
    ],
)
def test_an_international_number_is_read_as_e164(raw: str, expected: str) -> None:
    assert number.parse(raw) == expected
    assert number.parse(expected) == expected


@pytest.mark.parametrize(
    "raw",
    [
        "\u202d+1\u00a0(202)\u00a0555-0123\u202c",  # as an address book copies it
        "\u202a+12025550123\u202c",
        "\u2066+12025550123\u2069",
        "+1202\u200b5550123",
        "\ufeff+12025550123",
        "+1\u2011202\u2011555\u20110123",
        "+1\u202f202\u2007555\u20090123",
        " +12025550123",
        "+12025550123 ",
        "\u00a0+12025550123\u00a0",
    ],
)
def test_marks_that_nobody_sees_and_blanks_around_it_change_no_number(raw: str) -> None:
    assert number.parse(raw) == "+12025550123"


NO_PLUS = r"must start with \+ and the country code"
CHARACTERS = "may hold only digits"


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        ("", NO_PLUS),
        ("2025550123", NO_PLUS),
        ("0012025550123", NO_PLUS),
        ("12345", NO_PLUS),  # a short code
        ("\t+12025550123", NO_PLUS),
        ("tel:+12025550123", NO_PLUS),
        ("<script>+447911123456", NO_PLUS),
        ("\uff0b12025550123", NO_PLUS),  # a full-width plus
        ("+", CHARACTERS),
        ("++12025550123", CHARACTERS),
        ("+1800FLOWERS", CHARACTERS),
        ("+12025550123 ext. 5", CHARACTERS),
        ("+12025550123;ext=5", CHARACTERS),
        ("+12025550123/4", CHARACTERS),
        ("+1202\u202e5550123", CHARACTERS + r".*, not U\+202E RIGHT-TO-LEFT OVERRIDE$"),
        ("+1202\u20125550123", CHARACTERS + r".*, not U\+2012 FIGURE DASH$"),
        ("+12025550123\n", CHARACTERS + r".*, not U\+000A$"),
        ("+1202\n5550123", CHARACTERS),
        ("+1202\0005550123", CHARACTERS),
        ("+\uff11\uff12025550123", CHARACTERS),  # full-width digits
        ("+\u0661\u0662025550123", CHARACTERS),  # Arabic digits
        ("+1202\ud83d550123", CHARACTERS),
        ("+" + "1" * 40, "is too long"),
        ("+1" + " " * 100_000 + "2025550123", "is too long"),
        ("+1", "is not a phone number"),
        ("+" + "1" * 30, "is not a phone number"),
        ("+02025550123", "no known country code"),
        ("+999123456", "no known country code"),
        ("+12345", r"is not a possible number for \+1$"),
        ("+1202555012", r"is not a possible number for \+1$"),
        ("+1 555 0123", r"is not a possible number for \+1$"),  # local: no area code
        ("+4479111234567890", r"is not a possible number for \+44$"),
        ("+49" + "1" * 14, "more than the 15 digits"),  # "possible", says phonenumbers
        ("+49" + "1" * 15, "more than the 15 digits"),
    ],
)
def test_anything_else_is_refused_with_a_reason(raw: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        number.parse(raw)


def test_a_refusal_repeats_nothing_of_what_was_given() -> None:
    for raw in ("+1202SECRET", "SECRET", "+1" + "SECRET" * 20):
        with pytest.raises(ValueError) as refused:  # noqa: PT011 - the text is what is tested
            number.parse(raw)
        assert "SECRET" not in str(refused.value)
        assert refused.value.__cause__ is None


def test_memory_for_numbers_already_read_is_bounded() -> None:
    assert number.parse.cache_info().maxsize == 4096


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ("+12025550123", "+1202*****23"),
        ("+491111111111111", "+4911*********11"),
        ("+447911123456", "+4479******56"),
        ("+2905123", "+2****23"),
        ("+683400", "+****00"),
        ("+68340", "*****"),
        ("", "*****"),
        ("12345", "*****"),
        ("not a number", "*****"),
        ("+12025550123\n", "*****"),
        ("+1 202 555 0123", "*****"),
        ("+1202\x1b[2J50123", "*****"),
        ("+\u0661\u0662025550123", "*****"),
        ("\ud83d", "*****"),
        ("+" + "1" * 10_000, "*****"),
    ],
)
def test_a_log_shows_the_ends_of_a_number_and_nothing_of_other_strings(
    raw: str, expected: str
) -> None:
    assert number.mask(raw) == expected
