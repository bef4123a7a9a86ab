"""Options of an import: what is refused before an octet is read."""

import pytest

from smsd.core.contacts.events import MEANINGS, ImportRefused, Options, Reason
from smsd.core.contacts.reader import check, read


@pytest.mark.parametrize(
    ("options", "field"),
    [
        (Options(region="us"), "region"),
        (Options(region="XX"), "region"),
        (Options(region="001"), "region"),
        (Options(encoding="klingon"), "encoding"),
        (Options(delimiter="::"), "delimiter"),
    ],
)
def test_an_option_that_cannot_be_followed_is_refused_by_its_name(
    options: Options, field: str
) -> None:
    with pytest.raises(ImportRefused) as refused:
        check(options)
    assert refused.value.field == field
    with pytest.raises(ImportRefused):
        next(read([], options))


def test_options_that_can_be_followed_pass() -> None:
    check(Options())
    check(Options("json", "tel", "US", "cp1252", "tab"))


def test_every_reason_has_a_meaning() -> None:
    assert set(MEANINGS) == set(Reason)
