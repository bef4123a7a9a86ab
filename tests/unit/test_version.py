"""The version. Rule: the package, the command and the metrics name the same one."""

import tomllib
from importlib.resources import files
from pathlib import Path

from click.testing import CliRunner

from smsd import __version__
from smsd.cli import main
from smsd.metrics import Metrics

PROJECT = Path(__file__).parents[2] / "pyproject.toml"


def test_the_package_is_of_the_version_that_the_project_states() -> None:
    assert __version__ == tomllib.loads(PROJECT.read_text())["project"]["version"]


def test_the_command_names_it() -> None:
    assert CliRunner().invoke(main, ["--version"]).output == f"smsd, version {__version__}\n"


def test_the_metrics_name_it() -> None:
    assert f'smsd_build_info{{version="{__version__}"}} 1.0' in Metrics().render().decode()


def test_type_information_is_shipped() -> None:
    assert files("smsd").joinpath("py.typed").is_file()
