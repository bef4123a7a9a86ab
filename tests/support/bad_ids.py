"""Ids of messages that are none. Rule: whoever asks by one is answered that it is unknown."""

BAD_IDS = (
    "",
    "h",
    "nonsense",
    "1",
    "1-",
    "-1",
    "1-1-1",
    "n1-1",
    "1-1",
    "h1-1",
    "99999999999999999999-0",
    "18446744073709551615-18446744073709551616",
    "h" + "9" * 5000 + "-0",
    "\u0661-1",
    "a b",
    "\0",
    "-",
    "+",
)
