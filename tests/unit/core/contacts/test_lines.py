"""Physical lines: where they end, how long they may be, and reading some again."""

import pytest

from smsd.core.contacts.lines import LONGEST_ROW, REREAD, Lines, RowTooLong


@pytest.mark.parametrize(
    ("pieces", "expected"),
    [
        (["a\nb\r\nc\rd"], ["a\n", "b\r\n", "c\r", "d"]),
        (["a\r", "\nb"], ["a\r\n", "b"]),
        (["a\r", "b\r"], ["a\r", "b\r"]),
        (["a", "b", "\n", "", "c"], ["ab\n", "c"]),
        (["\r", "\r", "\n", "\n"], ["\r", "\r\n", "\n"]),
        (["a\x0bb\x0cc\x1cd\x85e\u2028f\n"], ["a\x0bb\x0cc\x1cd\x85e\u2028f\n"]),
        ([], []),
        ([""], []),
    ],
)
def test_a_line_ends_where_csv_has_it_end(pieces: list[str], expected: list[str]) -> None:
    assert list(Lines(iter(pieces))) == expected


def test_a_line_without_end_is_not_held() -> None:
    lines = Lines(iter(["x" * 100_000] * 50 + ["\nafter\n"]))
    lines.begin()
    with pytest.raises(RowTooLong):
        next(lines)
    assert lines.length == LONGEST_ROW + 1  # however much of it was held
    assert len(lines.row[0]) < 4 * LONGEST_ROW
    lines.begin()
    assert next(lines) == "after\n"
    assert lines.number == 2


def test_a_row_of_many_lines_is_not_held_either() -> None:
    lines = Lines(iter(["line\n" * 20_000]))
    lines.begin()
    with pytest.raises(RowTooLong):
        list(lines)
    assert lines.length <= LONGEST_ROW + 5


def test_peeking_takes_nothing() -> None:
    lines = Lines(iter(["a\nb\nc\n"]))
    assert lines.peek(2) == ["a\n", "b\n"]
    assert lines.peek(9) == ["a\n", "b\n", "c\n"]
    assert (lines.number, list(lines)) == (0, ["a\n", "b\n", "c\n"])


def test_the_lines_behind_the_first_of_a_row_can_be_read_again() -> None:
    lines = Lines(iter(["a\nb\nc\nd\n"]))
    lines.begin()
    assert [next(lines), next(lines), next(lines)] == ["a\n", "b\n", "c\n"]
    assert lines.reread()
    assert lines.number == 1
    lines.begin()
    assert list(lines) == ["b\n", "c\n", "d\n"]


def test_reading_again_is_no_work_without_bound() -> None:
    lines = Lines(iter(["0123456\n" * 100_000]))
    handed_out = 0
    for _ in range(200):  # a row as long as may be, of which one line is used
        lines.begin()
        with pytest.raises(RowTooLong):
            list(lines)
        handed_out += len(lines.row)
        if not lines.reread():
            break
    else:
        pytest.fail("it reads again for ever")
    assert handed_out * 8 < 2 * (REREAD + 8 * 100_000)


def test_whether_the_file_ended_within_a_row_is_known() -> None:
    lines = Lines(iter(["a\nb"]))
    lines.begin()
    next(lines)
    ended = [lines.ended_in_row]
    assert list(lines) == ["b"]
    ended.append(lines.ended_in_row)
    lines.begin()
    assert list(lines) == []
    assert [*ended, lines.ended_in_row] == [False, True, False]
