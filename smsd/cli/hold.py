"""`smsd hold` and `smsd release`. Rule: a person stops and resumes dispatch, on record."""

import getpass
import socket
from pathlib import Path

import click

from smsd.cli.console import config_option, print_line
from smsd.cli.store import with_store


@click.command()
@config_option
@click.option("--reason", required=True, help="Why; shown by status and kept in the log.")
def hold(config_path: Path, reason: str) -> None:
    """Send nothing, from within a second until `smsd release`; also through restarts."""
    with_store(config_path, lambda store, _: store.operator_hold.hold(reason, _operator()))
    print_line("dispatch is held; smsd release ends it")


@click.command()
@config_option
def release(config_path: Path) -> None:
    """End every hold, also one for the provider's sake, once its cause is mended."""
    with_store(config_path, lambda store, _: store.operator_hold.release(_operator()))
    print_line("released")


def _operator() -> str:
    return f"{getpass.getuser()}@{socket.gethostname()}"
