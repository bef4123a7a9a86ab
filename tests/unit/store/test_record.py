"""What was known of the data, over a restart. Rule: it may be missing, or of another Redis."""

from pathlib import Path

import pytest

from smsd.store.identity import Data
from smsd.store.record import NAME, Record

URL = "redis://user:secret@localhost:6379/2"


def test_what_was_written_is_read_by_the_next_and_tells_no_login(tmp_path: Path) -> None:
    directory = tmp_path / "var"
    assert Record(directory, URL, "smsd:").read() is None
    Record(directory, URL, "smsd:").write(Data("a", 7))
    Record(directory, URL, "smsd:").write(Data("a", 9))
    assert Record(directory, "redis://other@localhost:6379/2", "smsd:").read() == Data("a", 9)
    assert [file.name for file in directory.iterdir()] == [NAME]
    assert (directory / NAME).stat().st_mode & 0o777 == 0o600
    assert "secret" not in (directory / NAME).read_text()


@pytest.mark.parametrize(
    ("url", "prefix"),
    [("redis://localhost:6379/3", "smsd:"), (URL, "other:"), ("embedded", "smsd:")],
)
def test_what_was_known_of_another_redis_is_not(tmp_path: Path, url: str, prefix: str) -> None:
    Record(tmp_path, URL, "smsd:").write(Data("a", 7))
    assert Record(tmp_path, url, prefix).read() is None


@pytest.mark.parametrize("content", ["", "{", "[]", "null", '{"redis": 1}', "\xff"])
def test_a_file_that_cannot_be_read_is_as_none(tmp_path: Path, content: str) -> None:
    (tmp_path / NAME).write_text(content)
    assert Record(tmp_path, URL, "smsd:").read() is None
