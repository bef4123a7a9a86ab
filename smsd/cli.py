"""The `smsd` command. Rule: a command is a few lines over a lower floor."""

from pathlib import Path

import click

from smsd import daemon
from smsd.config import ConfigError, load

EX_CONFIG = 78  # sysexits.h; the unit does not restart on it

config_option = click.option(
    "--config",
    "config_path",
    type=click.Path(path_type=Path),
    default=Path("config.toml"),
    show_default=True,
    help="Settings; each can also be set as SMSD_TABLE__KEY.",
)


@click.group()
@click.version_option(package_name="smsd")
def main() -> None:
    """Text messages in over HTTP or Redis Streams, out at exactly the bought rate."""


@main.command()
@config_option
def run(config_path: Path) -> None:
    """Run the daemon until it is told to stop."""
    try:
        daemon.serve(config_path)
    except ConfigError as error:
        _fail(str(error), EX_CONFIG)
    except (daemon.StartError, daemon.EmbeddedError) as error:
        _fail(str(error), 1)


@main.command("check-config")
@config_option
def check_config(config_path: Path) -> None:
    """Say what is wrong with the settings, or that nothing is."""
    try:
        daemon.build_provider(load(config_path), config_path)
    except ConfigError as error:
        _fail(str(error), EX_CONFIG)
    click.echo(f"{config_path}: fine")


def _fail(message: str, code: int) -> None:
    click.echo(message, err=True)
    raise SystemExit(code)
