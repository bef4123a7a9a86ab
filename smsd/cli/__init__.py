"""The `smsd` command. Rule: a command is a few lines over a lower floor."""

from pathlib import Path

import click

from smsd import __version__, daemon
from smsd.cli.audience import audience
from smsd.cli.campaign import campaign
from smsd.cli.console import EX_CONFIG, config_option, fail
from smsd.cli.dead_letters import dead_letters
from smsd.cli.fsck import fsck
from smsd.cli.hold import hold, release
from smsd.cli.send import send
from smsd.cli.status import status
from smsd.cli.watch import watch
from smsd.config import ConfigError, load


@click.group()
@click.version_option(__version__, prog_name="smsd")
def main() -> None:
    """Text messages in over HTTP or Redis Streams, out at exactly the bought rate."""


@main.command()
@config_option
def run(config_path: Path) -> None:
    """Run the daemon until it is asked to stop (SIGTERM, Ctrl-C)."""
    try:
        daemon.serve(config_path)
    except ConfigError as error:
        fail(str(error), EX_CONFIG)
    except (daemon.StartError, daemon.EmbeddedError) as error:
        fail(str(error), 1)


@main.command("check-config")
@config_option
def check_config(config_path: Path) -> None:
    """Check the settings, and print what is wrong with them."""
    try:
        daemon.build_provider(load(config_path), config_path)
    except ConfigError as error:
        fail(str(error), EX_CONFIG)
    click.echo(f"{config_path}: fine")


for command in (status, send, audience, campaign, dead_letters, hold, release, watch, fsck):
    main.add_command(command)
