"""Presets. Rule: a user gives the address and the login, and the file gives all the rest."""

from pathlib import Path

import pytest

from smsd.config import ConfigError, load
from smsd.daemon import build_provider
from smsd.provider import load as load_provider
from smsd.provider import names
from smsd.provider.generic import preset
from smsd.provider.generic.http import Http

GIVEN = 'url = "http://gw.example:13013/send"\nusername = "shop"\npassword = "hush-hush"\n'
SENDER = '[message]\ndefault_from = "Acme"\n'

every_preset = pytest.mark.parametrize("name", preset.names())

pytestmark = pytest.mark.usefixtures("clean_environment")


def fault(directory: Path, text: str) -> str:
    (file := directory / "config.toml").write_text(text, "utf-8")
    with pytest.raises(ConfigError) as caught:
        build_provider(load(file), file)
    return str(caught.value)


def test_presets_are_listed_with_the_built_in_providers() -> None:
    assert {"kannel", "jasmin", "http", "sandbox", "twilio"} <= set(names())


@every_preset
def test_a_preset_is_complete_with_what_a_user_gives(name: str, tmp_path: Path) -> None:
    text = f'{SENDER}[provider]\nname = "{name}"\n[provider.{name}]\n{GIVEN}'
    (file := tmp_path / "config.toml").write_text(text, "utf-8")
    assert isinstance(build_provider(load(file), file), Http)


@every_preset
@pytest.mark.parametrize("key", ["url", "username", "password"])
def test_a_key_that_is_missing_is_named(name: str, key: str, tmp_path: Path) -> None:
    given = "".join(line for line in GIVEN.splitlines(keepends=True) if not line.startswith(key))
    said = fault(tmp_path, f'{SENDER}[provider]\nname = "{name}"\n[provider.{name}]\n{given}')
    assert f"[provider.{name}] {key}: is required, and not set" in said


@every_preset
def test_a_key_that_is_unknown_or_wrong_is_named_without_the_secret(
    name: str, tmp_path: Path
) -> None:
    given = GIVEN.replace("http://", "ftp://") + 'passwort = "x"\n'
    said = fault(tmp_path, f'{SENDER}[provider]\nname = "{name}"\n[provider.{name}]\n{given}')
    assert f"[provider.{name}] url: must be a URL" in said
    assert f"[provider.{name}] passwort: unknown key; did you mean password?" in said
    assert "hush" not in said


@every_preset
def test_where_a_message_may_name_no_sender_a_default_is_needed(name: str, tmp_path: Path) -> None:
    said = fault(tmp_path, f'[provider]\nname = "{name}"\n[provider.{name}]\n{GIVEN}')
    assert f"[provider.{name}]: needs [message] default_from" in said


@every_preset
def test_a_secret_is_neither_in_the_settings_nor_in_what_is_built_of_them(name: str) -> None:
    settings = load_provider(name).Settings.model_validate(
        {"url": "http://gw.example/send", "username": "shop", "password": "hush-hush"}
    )
    assert isinstance(settings, preset.PresetSettings)
    assert "hush" not in f"{settings!r} {settings.gateway()!r}"
