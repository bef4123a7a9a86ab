"""`config.toml` and the contract. Rule: what they show of the settings is true."""

import re
from pathlib import Path

import pytest
from pydantic import BaseModel

from smsd.config import Settings, load
from smsd.provider import load as load_provider
from smsd.provider.generic.http import Http
from smsd.provider.sandbox import Sandbox
from smsd.provider.twilio.provider import Twilio
from tests.support.contract import contract

CONFIG_TOML = Path(__file__).parents[3] / "config.toml"

pytestmark = pytest.mark.usefixtures("clean_environment")


@pytest.mark.parametrize(
    ("name", "model"),
    [
        ("sandbox", Sandbox.Settings),
        ("twilio", Twilio.Settings),
        ("http", Http.Settings),
        ("kannel", load_provider("kannel").Settings),
    ],
)
def test_the_examples_for_providers_in_config_toml_are_right(
    file: Path, name: str, model: type[BaseModel]
) -> None:
    text = CONFIG_TOML.read_text("utf-8")
    example = text[text.index(f"# [provider.{name}]") :].split("\n\n")[0]
    file.write_text(re.sub("^# ", "", example, flags=re.MULTILINE), "utf-8")

    model.model_validate(load(file).provider.options(name))


def test_openapi_says_how_long_a_key_is_remembered_by_default() -> None:
    [key] = contract()["paths"]["/send"]["post"]["parameters"]

    hours = Settings().queue.keep_idempotency // 3600
    assert f"keep_idempotency of [queue] says: {hours} hours by default" in key["description"]


def test_every_key_of_config_toml_has_a_comment_beside_it() -> None:
    keys = re.findall(r"^\w+ = .*$", CONFIG_TOML.read_text("utf-8"), re.MULTILINE)

    assert [line for line in keys if " # " not in line] == [
        'demo = ["+12025550101", "+12025550102"]'
    ]
