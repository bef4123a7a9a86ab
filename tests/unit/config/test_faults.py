"""Faults. Rule: one line each: where it stands, the key, what was expected; and no secret."""

from pathlib import Path
from typing import Any, Self

import pytest
from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, model_validator

from smsd.config import explain
from tests.support.config import HUSH, fault, faults

pytestmark = pytest.mark.usefixtures("clean_environment")


class Rule(BaseModel):
    model_config = ConfigDict(extra="forbid")

    status: int


class Plugin(BaseModel):
    model_config = ConfigDict(extra="forbid")

    auth_token: SecretStr
    sender: str = Field("", alias="from")
    weight: int = 1
    rules: tuple[Rule, ...] = ()

    @model_validator(mode="after")
    def _weighty(self) -> Self:
        if self.weight < 0:
            raise ValueError("needs a weight")
        return self


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("[rate]\nsegments_per_secnod = 45", "[rate] segments_per_secnod: unknown key; "
         "did you mean segments_per_second?"),
        ("[raet]\nx = 1", "[raet]: unknown key; did you mean rate?"),
        ("[provider]\nnaem = 1", "[provider] naem: unknown key; did you mean name?"),
        ("_env_file = 1", "[_env_file]: unknown key; known: http, upload, redis, "),
        ('"a\\nb\\u001b" = 1', "[a\\nb\\x1b]: unknown key; known: "),
    ],
)  # fmt: skip
def test_an_unknown_name_brings_the_nearest_known_one(file: Path, text: str, line: str) -> None:
    file.write_text(text, "utf-8")

    assert fault(file).startswith(f"{file}: {line}")


def test_all_faults_are_reported_at_once(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file.write_text('[http]\nport = "1"\n[rate]\nceiling = 2\n', "utf-8")
    monkeypatch.setenv("SMSD_RAET__X", "1")
    monkeypatch.setenv("SMSD_LOG__LEVEL", "loud")

    assert [line.split(": ")[0] for line in faults(file)] == [
        "SMSD_RAET__X",
        str(file),
        str(file),
        "SMSD_LOG__LEVEL",
    ]


@pytest.mark.parametrize(
    ("options", "lines"),
    [
        ({}, ["[provider.plugin] auth_token: is required, and not set"]),
        ({"auth_token": HUSH, "weight": -1}, ["[provider.plugin]: needs a weight"]),
        ({"auth_token": ["hush"]}, ["[provider.plugin] auth_token: expected a string"]),
        (
            {"auth_token": HUSH, "form": "hush", "weight": {"hush": 1}},
            [
                "[provider.plugin] weight: expected a whole number, got a table",
                "[provider.plugin] form: unknown key; did you mean from?",
            ],
        ),
        (
            {"auth_token": HUSH, "from": 3, "weight": "x" * 99},
            [
                "[provider.plugin] from: expected a string, got 3",
                f'[provider.plugin] weight: expected a whole number, got "{"x" * 59}…',
            ],
        ),
        (
            {"auth_token": HUSH, "rules": [{"status": 1}, {"status": "x", "stauts": HUSH}]},
            [
                '[provider.plugin] rules[1].status: expected a whole number, got "x"',
                "[provider.plugin] rules[1].stauts: unknown key; did you mean status?",
            ],
        ),
        (
            {"auth_token": HUSH, "weight": 1, "deep": {"hush": 1}},
            ["[provider.plugin] deep: unknown key; known: auth_token, from, weight, rules"],
        ),
    ],
)
def test_the_faults_of_a_providers_own_table_are_told_the_same_way(
    options: dict[str, Any], lines: list[str]
) -> None:
    with pytest.raises(ValidationError) as caught:
        Plugin.model_validate(options)

    error = explain(caught.value, Plugin, Path("c.toml"), ("provider", "plugin"))

    assert list(error.faults) == [f"c.toml: {line}" for line in lines]


def test_a_providers_fault_names_the_variable_it_came_from(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SMSD_PROVIDER__PLUGIN__WEIGHT", "many")
    with pytest.raises(ValidationError) as caught:
        Plugin.model_validate({"auth_token": HUSH, "weight": "many"})

    error = explain(caught.value, Plugin, Path("c.toml"), ("provider", "plugin"))

    line = "SMSD_PROVIDER__PLUGIN__WEIGHT: [provider.plugin] weight: expected a whole number"
    assert str(error) == f'{line}, got "many"'
