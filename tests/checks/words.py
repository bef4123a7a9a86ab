"""Words that a reader would stop at. Rule: none of them is used again.

    python -m tests.checks.words              # how often each is used
    python -m tests.checks.words --where door # every place
    python -m tests.checks.words --in DIR     # of another clone

A rule looks at names (`open_the_door` and `OpenTheDoor` alike) and at prose: comments, docstrings
and strings that are sentences. `but` lists the files in which the word is the right one.
"""

import argparse
import ast
import io
import re
import tokenize
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]


class Rule(NamedTuple):
    """A word to leave behind, and the one to write in its place."""

    word: str
    instead: str
    names: str = ""  # a pattern for a part of a name, in snake_case
    prose: str = ""  # a pattern for a word of a sentence
    but: tuple[str, ...] = ()  # patterns of files in which it is right


class Use(NamedTuple):
    """One place in which a word stands."""

    path: str
    line: int
    text: str


PACING = ("smsd/core/pacer.py", "smsd/dispatch/pace.py", "smsd/metrics.py")
ALPHABET = (
    "smsd/core/segment.py",
    "smsd/core/transliterate.py",
    "smsd/core/number.py",
    "smsd/core/fields.py",
)
ABOUT_BODIES = ("smsd/core/segment.py", "smsd/core/user_data.py", "*/smart_encoding.py")
# `letter` is the field of the contract, and of a status in Redis, that holds a dead letter's id.
LETTER_IS_A_FIELD = (
    "smsd/web/dead_letter_models.py",
    "smsd/store/dead_letter_request.py",
    "smsd/store/lua/*",
)
RULES = (
    Rule(
        "text",
        "message; text is its body",
        "texts",
        r"texts|(?:a|each|every|one|this|no) text",
        ABOUT_BODIES,
    ),
    Rule("told", "report, record, write", "tells?|told", r"told"),
    Rule("say", "the verb for what is done: log, report, answer", "says?|said"),
    Rule("word", "reason, code, name", "words?", ""),
    Rule("who", "what, which, owner", "who"),
    Rule("ended otherwise", "finished", "ended_otherwise|is_over", "ended otherwise"),
    Rule(
        "letter",
        "dead letter",
        "(?<!dead_)letters?",
        r"(?<!dead )(?<!dead-)(?<!small )(?<!11 )letters?",
        (*ALPHABET, *LETTER_IS_A_FIELD),
    ),
    Rule("window", "prefetch; window is a second of the pacer", "windows?", r"windows?", PACING),
    Rule("door", "lock, socket", "doors?", r"doors?"),
    Rule("tenure", "term", "tenures?", r"tenures?"),
    Rule("doubt", "in doubt", "(?<!in_)doubt", r"(?<!in )(?<!in-)(?<!in_)doubt"),
    Rule("witness", "lost writes", "witness", r"witness"),
    Rule("echo", "redact", "echo(?:es)?", r"echo(?:es)?", ("smsd/cli/*",)),  # click.echo
    Rule("lane", "stream", "lanes?", r"lanes?"),
    Rule("journal", "in-flight record", "journal", r"journal", ("smsd/log.py", "smsd/systemd.py")),
    Rule("optouts", "opt_outs", "optouts?", "", ("smsd/store/*",)),  # the key's name in Redis
    Rule("facts", "fields", "facts|brought|(?<!asked_)about"),
    Rule("riddle", "the condition or the effect", "at_last|stands_alone|can_be_asked_later"),
)

_LUA_STRING = r"'[^']*'"


def uses(rule: Rule, root: Path = ROOT) -> list[Use]:
    """Every place in `smsd/` where the word stands and is not the right one."""
    return [
        use
        for path in sorted((root / "smsd").rglob("*"))
        if path.suffix in (".py", ".lua")
        and not any(fnmatch(_name(path, root), pattern) for pattern in rule.but)
        for use in _uses_in(rule, _name(path, root), path.read_text("utf-8"))
    ]


def _name(path: Path, root: Path) -> str:
    return path.relative_to(root).as_posix()


def faults() -> list[str]:
    """A line for each word that is used."""
    lines = []
    for rule in RULES:
        if found := uses(rule):
            places = "".join(f"\n    {use.path}:{use.line}: {use.text}" for use in found)
            lines.append(f'"{rule.word}" is used {len(found)} times; write: {rule.instead}{places}')
    return lines


def _uses_in(rule: Rule, path: str, source: str) -> Iterator[Use]:
    names, prose = _pattern(rule.names, "[a-z]"), _pattern(rule.prose, r"\w")
    parts = _python(source) if path.endswith(".py") else _lua(source)
    for line, text, is_name in parts:
        pattern = names if is_name else prose
        if pattern is not None:
            plain = _snake(text) if is_name else " ".join(text.split())
            yield from (Use(path, line, _around(plain, one)) for one in pattern.finditer(plain))


def _pattern(words: str, part: str) -> re.Pattern[str] | None:
    return re.compile(f"(?<!{part})(?:{words})(?!{part})", re.IGNORECASE) if words else None


def _around(text: str, found: re.Match[str]) -> str:
    return text[max(0, found.start() - 30) : found.end() + 30]


def _snake(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()


def _python(source: str) -> Iterator[tuple[int, str, bool]]:
    """Each name and each piece of prose, with its line."""
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.NAME:
            yield token.start[0], token.string, True
        elif token.type == tokenize.COMMENT:
            yield token.start[0], token.string, False
        elif token.type == tokenize.STRING and " " in (text := _value(token.string)):
            yield token.start[0], text, False


def _value(literal: str) -> str:
    """What a literal holds; of an f-string, as it is written."""
    try:
        return str(ast.literal_eval(literal))
    except (ValueError, SyntaxError):
        return literal


def _lua(source: str) -> Iterator[tuple[int, str, bool]]:
    for number, line in enumerate(source.splitlines(), 1):
        code, _, comment = line.partition("--")
        strings = re.findall(_LUA_STRING, code)
        names = re.findall(r"[A-Za-z_]\w*", re.sub(_LUA_STRING, "''", code))
        yield from ((number, name, True) for name in names)
        yield from ((number, string, False) for string in strings if " " in string)
        if comment:
            yield number, comment, False


def main() -> None:
    """Print how often each word is used, or where one is."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--in", dest="root", type=Path, default=ROOT)
    parser.add_argument("--where", default="")
    asked = parser.parse_args()
    total = 0
    for rule in RULES:
        found = uses(rule, asked.root)
        total += len(found)
        if asked.where == rule.word:
            for use in found:
                print(f"{use.path}:{use.line}: {use.text}")
        elif not asked.where:
            print(f"{rule.word:16} {len(found):4}   write: {rule.instead}")
    if not asked.where:
        print(f"{'all':16} {total:4}")


if __name__ == "__main__":
    main()
