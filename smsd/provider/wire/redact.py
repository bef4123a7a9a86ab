"""A provider's own text, made fit for a log. Rule: no secret, message or number gets through.

Gateways often repeat the request that they refuse: as a form, in JSON, in HTML, cut short. Each
known form of what is hidden is replaced by an ellipsis, and so are digits that may be a one-time
code. If a part of what is hidden is still recognised then, the whole text is dropped.
"""

import json
import re
from collections.abc import Collection, Iterable, Iterator
from html import escape, unescape
from urllib.parse import quote, quote_plus, unquote_plus

MOST_READ = 1000  # characters of the provider's text that are looked at
LONGEST_KEPT = 200  # characters of it that are kept
SHORTEST_SECRET = 4  # a shorter one reveals nothing, and its removal would leave little
REVEALING = 8  # alphanumerics in a row that reveal what is hidden
DEPTH = 3  # escapes within escapes

_NUMBER = re.compile(r"\+?[0-9](?:[ ().-]{0,3}[0-9]){6,}")  # seven digits, as short as E.164 gets
# A one-time code, or a part of a number: in a row, or in two groups.
_CODES = (re.compile(r"\d{4,}"), re.compile(r"(?<!\d)\d{2,4}[ -]\d{2,4}(?!\d)"))
_BACKSLASHED = re.compile(r"\\(?:u([0-9a-fA-F]{4})|x([0-9a-fA-F]{2})|([bfnrt])|(.))")
# The lower case of these is longer, or depends on what follows, which would move all positions.
_ODD_CASES = str.maketrans("\u0130\u03a3", "i\u03c3")


def redact(text: str, hidden: Collection[str]) -> str:
    """One short line of `text` without what is `hidden`, and without phone numbers.

    "" if it still repeats a part of what is hidden, or may do so where it was cut.
    """
    read = text[:MOST_READ]
    kept = _without(read, hidden)
    cut_within_hidden = kept != read and len(text) > len(read)
    kept = _NUMBER.sub(lambda found: "…" + found[0][-2:], kept)
    if cut_within_hidden or _repeats(kept, hidden):
        return ""
    kept = _without_codes(kept, hidden)
    kept = "".join(c if c.isprintable() else " " for c in kept)
    return kept if len(kept) <= LONGEST_KEPT else kept[: LONGEST_KEPT - 1] + "…"


def _without(text: str, hidden: Iterable[str]) -> str:
    """The text with an ellipsis for each form of what is `hidden`, in any case."""
    for secret in hidden:
        if len(secret) >= SHORTEST_SECRET:
            for form in _forms(secret):
                text = _replaced(text, form)
    return text


def _repeats(text: str, hidden: Collection[str]) -> bool:
    """Whether the text still holds a part of what is `hidden`."""
    runs = set(_runs(text))
    return any(run in runs for secret in hidden for run in _runs(secret))


def _without_codes(text: str, hidden: Collection[str]) -> str:
    """The text with an ellipsis for digits that are hidden too; "" if more are behind escapes."""
    for code in _CODES:
        text = code.sub(lambda found: "…" if _among(found[0], hidden) else found[0], text)
    plain = _unescaped(text)
    codes = (found[0] for code in _CODES for found in code.finditer(plain))
    return "" if any(_among(found, hidden) for found in codes) else text


def _among(code: str, hidden: Collection[str]) -> bool:
    digits = re.sub("[ -]", "", code)
    return any(code in secret or digits in secret for secret in hidden)


def _forms(secret: str) -> list[str]:
    """How forms, URLs, HTML and JSON write it; the longest first, as one may begin another."""
    html = escape(secret)
    forms = {
        secret,
        quote_plus(secret, errors="replace"),
        quote(secret, safe="", errors="replace"),
        html,
        html.replace("&#x27;", "&#39;"),
        escape(secret, quote=False),
        json.dumps(secret)[1:-1],
        json.dumps(secret, ensure_ascii=False)[1:-1],
        json.dumps(secret)[1:-1].replace("/", r"\/"),
    }
    return sorted(forms, key=len, reverse=True)


def _replaced(text: str, form: str) -> str:
    lowered, sought = _lower(text), _lower(form)
    kept, at = [], 0
    while (found := lowered.find(sought, at)) >= 0:
        kept.append(text[at:found])
        at = found + len(sought)
    return "…".join([*kept, text[at:]])


def _lower(text: str) -> str:
    """Lower case of the same length."""
    return text.translate(_ODD_CASES).lower()


def _runs(text: str) -> Iterator[str]:
    """What reveals `text`: runs of its alphanumerics, all escapes undone."""
    plain = "".join(c for c in _unescaped(text).casefold() if c.isalnum())
    return (plain[n : n + REVEALING] for n in range(len(plain) - REVEALING + 1))


def _unescaped(text: str) -> str:
    for _ in range(DEPTH):
        text = _BACKSLASHED.sub(_character, unescape(unquote_plus(text)))
    return text


def _character(escaped: re.Match[str]) -> str:
    if digits := escaped[1] or escaped[2]:
        return chr(int(digits, 16))
    return escaped[4] or " "
