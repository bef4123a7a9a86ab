"""The short way to read a canonical number answers what the whole way answers, or not at all."""

import random

import phonenumbers
from hypothesis import example, given
from hypothesis import strategies as st

from smsd.core import number

CODES = sorted(phonenumbers.COUNTRY_CODE_TO_REGION_CODE)


def read(raw: str) -> str:
    """What the whole way makes of it, or why it makes nothing."""
    try:
        return number._read(raw)
    except ValueError as error:
        return f"refused: {error}"


def read_dialled(raw: str, region: str) -> str:
    """The same, of a number as it is written in a region."""
    try:
        return number._read(raw, region)
    except ValueError as error:
        return f"refused: {error}"


def parsed(raw: str) -> str:
    try:
        return number.parse(raw)
    except ValueError as error:
        return f"refused: {error}"


@given(
    st.one_of(
        st.builds("+{}{}".format, st.sampled_from(CODES), st.from_regex(r"\A[0-9]{1,14}\Z")),
        st.from_regex(r"\A\+[0-9]{0,17}\Z"),
        st.text(),
    )
)
@example("+5491123456789")  # a trunk prefix that may be nothing at all
@example("+541115123456789")  # one that is replaced
@example("+79123456789")
@example("+788123456789")
@example("+390000000")
@example("+000000")
def test_both_ways_answer_alike(raw: str) -> None:
    assert parsed(raw) == read(raw)


def test_both_ways_answer_alike_for_every_country_code_and_length() -> None:
    digits = random.Random(8)
    for code in CODES:
        for length in range(3, 16 - len(str(code))):
            for _ in range(3):
                raw = f"+{code}" + "".join(digits.choices("0123456789", k=length))
                assert parsed(raw) == read(raw)


def test_the_short_way_is_taken_by_what_people_send_most() -> None:
    regions = ("US", "CA", "GB", "DE", "FR", "IT", "ES", "BR", "IN", "AU", "AR", "MX", "JP", "ZA")
    for region in regions:
        found = phonenumbers.example_number_for_type(region, phonenumbers.PhoneNumberType.MOBILE)
        assert found is not None
        raw = phonenumbers.format_number(found, phonenumbers.PhoneNumberFormat.E164)
        assert number.is_canonical(raw), region


@given(
    st.builds("+{}{}".format, st.sampled_from(CODES), st.from_regex(r"\A[0-9 ().\-]{1,20}\Z")),
)
def test_both_ways_answer_alike_with_signs_in_a_number(raw: str) -> None:
    assert parsed(raw) == read(raw)


@given(
    st.sampled_from(sorted(phonenumbers.SUPPORTED_REGIONS)),
    st.from_regex(r"\A[0-9(][0-9 ().\-]{1,20}\Z"),
)
def test_both_ways_answer_alike_for_numbers_as_they_are_dialled(region: str, raw: str) -> None:
    assert number._dialled_plainly(raw, region) in ("", read_dialled(raw, region))


def test_both_ways_answer_alike_for_every_region_and_length() -> None:
    digits = random.Random(9)
    taken = 0
    for region in sorted(phonenumbers.SUPPORTED_REGIONS):
        code = str(phonenumbers.country_code_for_region(region))
        for length in range(5, 13):
            for prefix in ("", "0", "1", "00" + code, code):
                raw = prefix + "".join(digits.choices("0123456789", k=length))
                plainly = number._dialled_plainly(raw, region)
                assert plainly in ("", read_dialled(raw, region)), (region, raw)
                taken += plainly != ""
    assert taken > 1000
