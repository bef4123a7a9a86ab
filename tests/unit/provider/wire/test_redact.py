"""A text that repeats a request. Rule: no form of the message, number or secret gets through."""

import html
import json
import re
import time
from collections.abc import Callable
from urllib.parse import quote, quote_plus

import pytest

from smsd.provider.wire.redact import LONGEST_KEPT, MOST_READ, redact

TEXT = "Your \"code\" is 4711 & it's <nobody's> business / é\n"
NUMBER = "+12025550123"
SECRET = "päss/w0rd+&<x>"

Form = Callable[[str], str]

FORMS: dict[str, Form] = {
    "literally": str,
    "in capitals": str.upper,
    "in a form": quote_plus,
    "in a form, its hexes small": lambda text: re.sub(
        "%..", lambda hexes: hexes[0].lower(), quote_plus(text)
    ),
    "in a URL": lambda text: quote(text, safe=""),
    "in HTML": html.escape,
    "in HTML, by numbers": lambda text: html.escape(text).replace("&#x27;", "&#39;"),
    "in HTML, with quotes": lambda text: html.escape(text, quote=False),
    "in JSON": lambda text: json.dumps(text)[1:-1],
    "in JSON, its hexes large": lambda text: re.sub(
        r"(?<=\\u)....", lambda hexes: hexes[0].upper(), json.dumps(text)[1:-1]
    ),
    "in JSON, not ASCII": lambda text: json.dumps(text, ensure_ascii=False)[1:-1],
    "in JSON, its slashes escaped": lambda text: json.dumps(text)[1:-1].replace("/", r"\/"),
}
every_form = pytest.mark.parametrize("form", FORMS.values(), ids=FORMS.keys())


def redacted(said: str, *hidden: str) -> str:
    return redact(said, hidden or (TEXT, NUMBER, SECRET))


@every_form
@pytest.mark.parametrize("hidden", [TEXT, SECRET, "Да! &", "4711", "\u0130Σ/ΟΔΟΣ"])
def test_what_is_hidden_is_hidden_in_every_form(form: Form, hidden: str) -> None:
    assert redacted(f"bad request: x={form(hidden)}&y=1", hidden) == "bad request: x=…&y=1"


@every_form
def test_every_occurrence_is_hidden(form: Form) -> None:
    said = f"{form(SECRET)}, {form(TEXT)}, {form(NUMBER)}; {form(TEXT)}"
    assert redacted(said) == "…, …, …; …"


@every_form
@pytest.mark.parametrize("cut", [20, 30, 45])
def test_a_repeated_text_that_is_cut_short_drops_the_whole(form: Form, cut: int) -> None:
    assert redacted(f"bad request: {form(TEXT)[:cut]}") == ""


@pytest.mark.parametrize("outer", FORMS.values(), ids=FORMS.keys())
@every_form
def test_a_form_within_a_form_is_hidden_or_drops_the_whole(form: Form, outer: Form) -> None:
    told = redacted(f"bad request: {outer(form(TEXT))}").lower()
    assert told in ("", "bad request: …")


@pytest.mark.parametrize(
    "said",
    [
        "is 4711 & it's",
        "is%204711 &AMP; it's",
        r"\x59our\x20code\x20is\x204711",
        "&#89;our&#32;&quot;code&quot;&#32;is 4711",
        "YOUR  CODE  IS  4711",
    ],
)
def test_a_run_of_the_text_in_any_other_form_drops_the_whole(said: str) -> None:
    assert redacted(f"no: {said}.", "Your code is 4711 & it's nobody's business") == ""


def test_a_part_of_a_secret_drops_the_whole() -> None:
    assert redacted("token provider-secr is bad", "provider-secret-Quagga") == ""


def test_a_number_among_blanks_and_escapes_is_hidden() -> None:
    assert redacted("to %2B1%20202%20555%200123") == ""
    assert redacted("to %2b12025550123") == "to …"


OTP = "Your code: 123456. Or é4711, 24-81 36; it costs 3000"


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ('Body "123456" contains forbidden word', 'Body "…" contains forbidden word'),
        ("no 123456, no 4711, no 1234", "no …, no …, no …"),
        ("no 24-81 nor 81 36", "no … nor …"),
        ("no 2481", "no 2481"),  # not so in the text
        ("to 0123 is barred", "to … is barred"),
        ("error 30007, 63038, HTTP 400", "error 30007, 63038, HTTP 400"),
        ("error 3000", "error …"),
        ("123 456 0", "… 0"),
        ("no%204711", ""),
        ("no %C3%A94711", ""),
        (r"no \u00e94711", ""),
        ("no &#233;4711", "no &#233;…"),
        ("no %2531%2532%2533%2534", ""),
    ],
)
def test_a_one_time_code_is_hidden(said: str, told: str) -> None:
    assert redacted(said, OTP, NUMBER) == told


def test_a_code_is_hidden_where_the_text_was_cut() -> None:
    said = f"{'-' * (MOST_READ - 5)}12345"
    assert "1234" not in redacted(f"{said}6", OTP)


def test_a_text_that_repeats_nothing_is_kept() -> None:
    said = "No such code is known: 100%25 of it & more"
    assert redacted(said) == said


def test_a_long_echo_is_dropped_where_it_was_cut() -> None:
    assert redacted(f"{TEXT * 40}{TEXT[:5]}") == ""
    assert redacted("x" * 5_000) == "x" * (LONGEST_KEPT - 1) + "…"


@pytest.mark.parametrize("character", ["a", "%", "&", "\\", "é", "%25", "&amp;", "\\\\", "1 "])
def test_the_time_it_takes_is_bounded(character: str) -> None:
    text = (character * 2_550)[:2_550]
    began = time.process_time()
    for said in (text, text[:-1] + "z", (character * 65_536)[:65_536]):
        redact(said, (text, NUMBER, SECRET))
    assert time.process_time() - began < 0.1
