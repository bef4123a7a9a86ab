"""`smsd fsck`. Rule: one line a fault: what it means, what was done; exit 0 if none is left."""

from collections.abc import Sequence
from pathlib import Path

import click

from smsd.cli.console import EX_FAILED, config_option, print_line
from smsd.cli.store import with_store
from smsd.config import Settings
from smsd.store import Store
from smsd.store.fsck import Fault, Fsck

SUBJECTS = {"entry": "entry", "mark": "entry", "audience": "audience", "campaign": "campaign"}


@click.command()
@config_option
@click.option("--repair", is_flag=True, help="Mend what is found.")
def fsck(config_path: Path, *, repair: bool) -> None:
    """Look for messages that are lost or stuck; also while the daemon runs."""

    async def look(store: Store, _: Settings) -> list[Fault]:
        found = []
        async for fault in Fsck(store.client, repair=repair).faults():
            print_line(_line(fault))
            found.append(fault)
        return found

    found = with_store(config_path, look)
    if not found:
        print_line("fine: every accepted message is where it should be")
        return
    mended = sum(fault.mended for fault in found)
    print_line(f"{len(found)} found, {mended} mended")
    if not repair:
        print_line(_promise(found))
    if mended < len(found):
        raise SystemExit(EX_FAILED)


def _promise(found: Sequence[Fault]) -> str:
    can = sum(fault.remedy != "" for fault in found)
    if can == len(found):
        return "smsd fsck --repair mends them"
    return f"smsd fsck --repair mends {can} of them" if can else "a repair can mend none of them"


def _line(fault: Fault) -> str:
    named = fault.kind in ("counters", "key")
    line = f"{fault.name} {fault.why}" if named else _subject(fault)
    if not fault.remedy:
        return line
    return f"{line} -> {fault.remedy}" if fault.mended else f"{line} (--repair: {fault.remedy})"


def _subject(fault: Fault) -> str:
    return f"{SUBJECTS.get(fault.kind, 'message')} {fault.name} {fault.why}"
