"""What a provider repeats of a request. Rule: nothing hidden is told on, however it is escaped.

Gateways like to repeat what they refuse: as a form, in JSON, in HTML, cut short. Forms that are
known are blotted out, and digits too that may be a code for one person; a part that is recognised
all the same spoils the words it stands in.
"""

import json
import re
from collections.abc import Collection, Iterable, Iterator
from html import escape, unescape
from urllib.parse import quote, quote_plus, unquote_plus

SHORTEST_SECRET = 4  # a text of less tells nothing, and would blot out half of the words
TELLING = 8  # letters and digits in a row that give a text away
DEPTH = 3  # escapes within escapes

# A one-time code, or a part of a number: in a row, or in two groups.
_CODES = (re.compile(r"\d{4,}"), re.compile(r"(?<!\d)\d{2,4}[ -]\d{2,4}(?!\d)"))
_BACKSLASHED = re.compile(r"\\(?:u([0-9a-fA-F]{4})|x([0-9a-fA-F]{2})|([bfnrt])|(.))")
# Else lower case of these is longer, or depends on what follows: places would not be the same.
_ODD_CASES = str.maketrans("\u0130\u03a3", "i\u03c3")


def without(words: str, hidden: Iterable[str]) -> str:
    """The words with an ellipsis for each form of what is `hidden`, in any case."""
    for secret in hidden:
        if len(secret) >= SHORTEST_SECRET:
            for form in _forms(secret):
                words = _blotted(words, form)
    return words


def repeats(words: str, hidden: Collection[str]) -> bool:
    """Whether the words still hold a part of what is `hidden`."""
    told = set(_runs(words))
    return any(run in told for secret in hidden for run in _runs(secret))


def without_codes(words: str, hidden: Collection[str]) -> str:
    """The words with an ellipsis for digits that are hidden too; "" if more are behind escapes."""
    for code in _CODES:
        words = code.sub(lambda found: "…" if _among(found[0], hidden) else found[0], words)
    meant = _unescaped(words)
    codes = (found[0] for code in _CODES for found in code.finditer(meant))
    return "" if any(_among(found, hidden) for found in codes) else words


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


def _blotted(words: str, form: str) -> str:
    lowered, sought = _lower(words), _lower(form)
    kept, at = [], 0
    while (found := lowered.find(sought, at)) >= 0:
        kept.append(words[at:found])
        at = found + len(sought)
    return "…".join([*kept, words[at:]])


def _lower(text: str) -> str:
    """Lower case, letter for letter."""
    return text.translate(_ODD_CASES).lower()


def _runs(text: str) -> Iterator[str]:
    """What gives a text away: its letters and digits, all escapes undone."""
    plain = "".join(c for c in _unescaped(text).casefold() if c.isalnum())
    return (plain[n : n + TELLING] for n in range(len(plain) - TELLING + 1))


def _unescaped(text: str) -> str:
    for _ in range(DEPTH):
        text = _BACKSLASHED.sub(_meant, unescape(unquote_plus(text)))
    return text


def _meant(escaped: re.Match[str]) -> str:
    if digits := escaped[1] or escaped[2]:
        return chr(int(digits, 16))
    return escaped[4] or " "
