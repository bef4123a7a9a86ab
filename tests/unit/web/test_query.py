"""Parameters of a query. Rule: each is known, given once, and refused by its name."""

import pytest
from aiohttp.test_utils import make_mocked_request

from smsd.core.fields import LONGEST_NAME, FieldError
from smsd.web.query import read_count, read_flag, read_query


def test_parameters_are_read_by_name() -> None:
    made = make_mocked_request("GET", "/things?count=3&after=a%20b")
    assert read_query(made, ("count", "after")) == {"count": "3", "after": "a b"}


@pytest.mark.parametrize(
    ("query", "field", "message"),
    [
        ("colour=red", "colour", "is no known parameter; known are count, after"),
        ("count=1&count=2", "count", "is given twice"),
        (
            f"{'x' * 1000}=1",
            "x" * LONGEST_NAME + "…",
            "is no known parameter; known are count, after",
        ),
    ],
)
def test_what_is_unknown_or_given_twice_is_refused(query: str, field: str, message: str) -> None:
    with pytest.raises(FieldError, match=message) as error:
        read_query(make_mocked_request("GET", f"/things?{query}"), ("count", "after"))
    assert error.value.field == field


def test_a_count_has_bounds_and_a_default() -> None:
    assert read_count({}, most=10, default=5) == 5
    assert read_count({"count": "10"}, most=10, default=5) == 10
    for raw in ("0", "11", "-1", "1.5", "", "1" * 20, "²"):
        with pytest.raises(FieldError, match="must be 1 to 10"):
            read_count({"count": raw}, most=10, default=5)


def test_a_flag_is_true_or_false() -> None:
    assert [read_flag({"a": raw}, "a") for raw in ("true", "1", "false", "0")] == [1, 1, 0, 0]
    assert not read_flag({}, "a")
    with pytest.raises(FieldError, match="must be true or false"):
        read_flag({"a": "yes"}, "a")
