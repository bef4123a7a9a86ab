"""The Lua scripts by their text. Rule: what a script says of itself at its top is what it does."""

import re

import pytest

from smsd.core.life import EFFECTS
from smsd.store.client import SCRIPTS
from tests.support import lua

FILES = lua.files()
NAMES = [name for name in FILES if not name.startswith("_")]
AROUND = {"_common", "_run"}


@pytest.mark.parametrize("script", NAMES)
def test_a_script_takes_the_fields_of_its_request_that_it_says(script: str) -> None:
    assert lua.fields_used(script) == set(lua.header(script).takes)


@pytest.mark.parametrize("script", NAMES)
def test_a_script_names_as_many_keys_as_it_says(script: str) -> None:
    keys = lua.header(script).keys
    assert any(key.endswith("*") for key in keys) or lua.keys_used(script) <= len(keys)


@pytest.mark.parametrize("name", FILES)
def test_a_file_includes_what_it_uses_and_nothing_else(name: str) -> None:
    parts = {file: lua.defined(file) for file in FILES if file.startswith("_")}
    own, used = lua.defined(name), lua.words(lua.text(name))
    needed = {
        part
        for part, names in parts.items()
        if part not in AROUND | {name} and (names - own) & used
    }
    assert lua.included(name) == sorted(needed)


@pytest.mark.parametrize("script", NAMES)
def test_no_name_stands_for_two_things_in_one_script(script: str) -> None:
    shared = {name for part in lua.all_included(script) for name in lua.functions(part) if name}
    for file in [*lua.all_included(script), script]:
        for line in lua.code(lua.text(file)).split("\n"):
            if found := re.match(r"\s+local ([\w, ]+)", line):
                assert not shared & set(found[1].split(", ")), (file, line)


@pytest.mark.parametrize("script", NAMES)
def test_each_part_stands_once_behind_what_it_includes(script: str) -> None:
    source = SCRIPTS.source(script)
    files = ["_common", *lua.all_included(script), script, "_run"]
    places = {file: source.index(lua.text(file)) for file in dict.fromkeys(files)}
    for file, at in places.items():
        assert source.count(lua.text(file)) == 1
        assert file == "_run" or all(places[part] < at for part in lua.included(file))


@pytest.mark.parametrize("name", FILES)
def test_a_file_begins_with_its_name_and_its_lines_are_not_too_long(name: str) -> None:
    lines = lua.text(name).split("\n")
    assert lines[0].startswith(f"-- {name}: ")
    assert max(map(len, lines)) <= 130


def test_the_scripts_that_the_table_of_transitions_names_are_there() -> None:
    assert {script for effect in EFFECTS.values() for script in effect.scripts} <= set(NAMES)
