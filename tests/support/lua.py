"""What a Lua script says of itself at its top, and what it does. Rule: both are read from its text.

A script opens with its name and these lines, in this order; a line that begins with `--   ` goes on
with the one before it.

    -- begin: write the in-flight record of an entry, if this daemon may send it.
    -- include: entries, fields          parts of other files (smsd/store/lua/_entries.lua)
    -- takes: name, mark, recipient?     fields of its request; `?`: not in every one
    -- keys: status*, idempotency?       those of the request; `*`: any number
    -- answers: begun | gone             words, or {a table}
    -- changes: inflight                 names of smsd/store/keys.py, `status` and `idempotency`
"""

import re
from collections.abc import Iterator, Mapping
from functools import cache
from importlib import resources
from typing import NamedTuple

LINES = ("include", "takes", "keys", "answers", "changes")


class Header(NamedTuple):
    """What a script says of itself."""

    name: str
    includes: list[str]
    takes: list[str]
    optional: list[str]
    keys: list[str]
    answers: str
    changes: list[str]

    def fits(self, kinds: list[str]) -> bool:
        """Whether a request with these keys is one that it takes."""
        patterns = []
        for key in self.keys:
            name, times = re.fullmatch(r"(\w+)([?*]?)", key).groups()  # type: ignore[union-attr]
            kind = r"\S+" if name == "any" else name
            patterns.append(f"(?:{kind} ){times}")
        return re.fullmatch("".join(patterns), "".join(f"{kind} " for kind in kinds)) is not None

    def answers_so(self, reply: object) -> bool:
        """Whether a reply is one that it may give, as far as the header says it exactly."""
        kinds = self.answers.split(" | ")
        words = [one for one in kinds if re.fullmatch(r"\w+", one)]
        tables = [one for one in kinds if one.startswith("{")]
        if len(words) + len(tables) < len(kinds):  # in words, such as `its state`
            return True
        return tables != [] if isinstance(reply, list) else text_of(reply) in words


class Function(NamedTuple):
    """A function of a file; `name` is "" for what stands outside of all."""

    file: str
    name: str
    body: str


@cache
def text(name: str) -> str:
    """A file of smsd/store/lua."""
    return resources.files("smsd.store").joinpath("lua", f"{name}.lua").read_text()


def files() -> list[str]:
    """Names of all files; those of parts begin with `_`."""
    folder = resources.files("smsd.store").joinpath("lua")
    return sorted(path.name.removesuffix(".lua") for path in folder.iterdir())


@cache
def header(script: str) -> Header:
    """The top of a script. Raises where it is not in this form."""
    lines = dict[str, str]()
    last = script
    for line in text(script).split("\n"):
        if found := re.fullmatch(r"-- (\w+): (.+)", line):
            last = found[1]
            lines[last] = found[2]
        elif found := re.fullmatch(r"--   (\S.*)", line):
            lines[last] += f" {found[1]}"
        else:
            break
    expected = [script, *(one for one in LINES if one in lines or one != "include")]
    assert list(lines) == expected, f"{script}.lua opens with {list(lines)}, not with {expected}"
    said = {one: _listed(lines.get(one, "none")) for one in LINES}
    return Header(
        name=script,
        includes=said["include"],
        takes=[field.rstrip("?") for field in said["takes"]],
        optional=[field.rstrip("?") for field in said["takes"] if field.endswith("?")],
        keys=said["keys"],
        answers=lines["answers"],
        changes=said["changes"],
    )


def _listed(line: str) -> list[str]:
    return [] if line == "none" else line.split(", ")


def included(name: str) -> list[str]:
    """Files that one includes itself."""
    found = re.search(r"^-- include: (.+)$", text(name), re.MULTILINE)
    return [f"_{part}" for part in found[1].split(", ")] if found else []


@cache
def all_included(name: str) -> list[str]:
    """Files that one includes by itself or by others, with those around it."""
    found = dict.fromkeys(included(name))
    for part in list(found):
        found |= dict.fromkeys(all_included(part))
    return list(found)


def code(source: str) -> str:
    """Without comments."""
    return re.sub(r"--.*", "", source)


@cache
def functions(name: str) -> Mapping[str, Function]:
    """The functions of a file, and what stands outside of them."""
    bodies: dict[str, list[str]] = {"": []}
    current = ""
    for line in code(text(name)).split("\n"):
        if found := re.match(r"local function (\w+)\(", line):
            current = found[1]
        bodies.setdefault(current, []).append(line)
        if line == "end" or (found and line.rstrip().endswith(" end")):
            current = ""
    return {one: Function(name, one, "\n".join(lines)) for one, lines in bodies.items()}


def defined(name: str) -> set[str]:
    """What a file defines for those that include it."""
    found = set(functions(name)) - {""}
    for names in re.findall(r"^local ([A-Za-z_, ]+?)(?: =|$)", code(text(name)), re.MULTILINE):
        if not names.startswith("function"):
            found |= set(names.split(", "))
    return found


def words(source: str) -> set[str]:
    """Names that are used, but for those of fields and in strings."""
    return set(re.findall(r"(?<![.\w])[A-Za-z_]\w*", re.sub(r"'[^']*'", "''", code(source))))


def _reached(script: str, *, request: bool = False) -> Iterator[Function]:
    """Functions that run; with `request` those alone that are handed the script's request."""
    known = {
        name: function
        for file in [*all_included(script), script]
        for name, function in functions(file).items()
        if name
    }
    outside = functions(script)[""]
    waiting, seen = [known["run"], outside], {"run"}
    while waiting:
        function = waiting.pop()
        yield function
        for name in words(function.body) & known.keys() - seen:
            calls = re.findall(rf"\b{name}(?:\(|, )([^()]*(?:\([^()]*\)[^()]*)*)", function.body)
            if request and not any(re.search(r"\brequest\b(?!\.)", one) for one in calls):
                continue
            seen.add(name)
            waiting.append(known[name])


def fields_used(script: str) -> set[str]:
    """Fields of its request that a script reads."""
    return {
        field
        for function in _reached(script, request=True)
        for field in re.findall(r"\brequest\.(\w+)", function.body)
    }


def keys_used(script: str) -> int:
    """The highest place of a request's key that a script names."""
    places = re.findall(r"\bkeys\[(\d+)\]", code(text(script)))
    return max(map(int, places), default=0)


def text_of(reply: object) -> str:
    """A reply of one word."""
    return reply.decode() if isinstance(reply, bytes) else str(reply)
