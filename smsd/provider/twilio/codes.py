"""Twilio's error codes. Rule: a new code is a new row here; its value is one of `wire/rulings.py`.

Twilio documents each code at https://www.twilio.com/docs/api/errors/<code>. Configuration goes
before this table: `[provider.twilio] codes = {"30034" = "rejected:sender"}`.

A row rules a submission's answer, and also the record that Twilio lists of a message in doubt
(`lookup.py`), whatever status it is listed with. So a code that a carrier answers after Twilio took
the message, like 30003 to 30008, must have no row: the message would be sent again, or become a
dead letter, though it was taken (`_record` in `lookup.py`: a row goes before the status).

What a code ends as is tested in tests/unit/provider/twilio: as the answer to a submission in
`test_provider.py` (`test_an_answer_has_one_outcome`), as a listed record in `test_lookup.py`. A row
with a ruling of its own gets a line in the former; `test_codes.py` looks at the table as a whole.
"""

import re
from collections.abc import Mapping

_CODE = re.compile(r"[0-9]{1,6}")

# What Twilio may answer to a submission. Three kinds of codes are left out on purpose:
# - those of delivery receipts, like 30003 to 30008, which come after Twilio took the message;
# - 20500 (internal error) and 20503 (unavailable, try again), which go by their HTTP status;
# - 21606 and 21659: From cannot send to this destination (a short code abroad), or to none at all.
#   As unknown refusals, one of them stops nothing, and many in a row hold dispatch, so that a wrong
#   From does not empty the queue.
CODES: Mapping[str, str] = {
    # The account: nothing will be taken.
    "10001": "halted:account",  # account not active
    "20003": "halted:account",  # permission denied: wrong credentials, or account suspended
    "20005": "halted:account",  # account not active
    "20006": "halted:account",  # access denied
    "20403": "halted:account",  # forbidden
    "20404": "halted:account",  # no such resource: the path holds nothing but the account's SID
    "30002": "halted:account",  # account suspended
    # The sender: nothing will be taken from it.
    "21212": "halted:sender",  # From is invalid
    "21267": "halted:sender",  # alphanumeric sender on a trial account
    "21601": "halted:sender",  # From is not a number of this account that can send SMS
    "21603": "halted:sender",  # From or MessagingServiceSid is missing
    "21660": "halted:sender",  # From belongs to another account
    "21661": "halted:sender",  # From cannot send SMS
    "21701": "halted:sender",  # no such Messaging Service
    "21703": "halted:sender",  # the Messaging Service has no sender that fits
    "21704": "halted:sender",  # the Messaging Service has no senders
    "21705": "halted:sender",  # MessagingServiceSid is malformed
    "30032": "halted:sender",  # toll-free number not verified
    "30034": "halted:sender",  # US long code not registered (A2P 10DLC)
    # The pace: not taken now, but later.
    "20429": "throttled",  # too many concurrent requests
    "21611": "throttled",  # the sender's queue at Twilio is full
    # The recipient.
    "21211": "rejected:recipient",  # To is invalid
    "21217": "rejected:recipient",  # To is not a phone number
    "21265": "rejected:recipient",  # To is a short code
    "21266": "rejected:recipient",  # To and From are the same
    "21268": "rejected:recipient",  # To is a premium-rate or information number
    # To's country is not enabled. A person has to act, but messages to other countries can be sent:
    # so this does not halt dispatch.
    "21408": "rejected:recipient",
    "21608": "rejected:recipient",  # To is not verified, which a trial account asks for
    "21610": "rejected:recipient:opted_out",  # replied STOP
    "21612": "rejected:recipient",  # cannot be reached from this sender
    "21614": "rejected:recipient",  # To is no mobile number
    "21635": "rejected:recipient",  # To is a landline
    # The message.
    "21602": "rejected:message",  # Body is missing
    "21617": "rejected:message",  # Body is longer than 1600 characters
    "21619": "rejected:message",  # neither Body nor MediaUrl
}


def is_code(value: str) -> bool:
    """Whether `value` can be one of Twilio's codes."""
    return _CODE.fullmatch(value) is not None


def code_in(answered: object) -> str:
    """The code in a field of Twilio's; "" if what is there is no code of Twilio's."""
    code = str(answered or "")
    return code if is_code(code) else ""
