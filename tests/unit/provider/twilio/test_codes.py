"""Twilio's table of codes. Rule: every row is a code with a ruling that is not success."""

from smsd.provider.twilio.codes import CODES
from smsd.provider.wire.rulings import RULINGS


def test_every_code_in_the_table_has_a_ruling_that_is_not_success() -> None:
    assert all(
        code.isdecimal() and RULINGS[text].kind != "accepted" for code, text in CODES.items()
    )
