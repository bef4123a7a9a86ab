"""Twilio's table of codes. Rule: every row is a code of a refusal, and none is of a receipt.

What a code ends as: `test_provider.py` (an answer) and `test_lookup.py` (a listed record).
"""

from smsd.provider.twilio.codes import CODES
from smsd.provider.wire.rulings import RULINGS

OF_RECEIPTS = {str(code) for code in range(30003, 30009)}


def test_every_code_in_the_table_has_a_ruling_that_is_not_success() -> None:
    assert all(
        code.isdecimal() and RULINGS[text].kind != "accepted" for code, text in CODES.items()
    )


def test_no_code_in_the_table_is_that_of_a_receipt_for_a_message_that_was_taken() -> None:
    """A listed message with such a code would be sent again or become a dead letter."""
    assert not OF_RECEIPTS & CODES.keys()
