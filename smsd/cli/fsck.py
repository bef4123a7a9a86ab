"""`smsd fsck`. Rule: one line a fault, what it means and what was done; exit 0 if none is left."""

from pathlib import Path

import click

from smsd.cli.store import EX_FAILED, Store, config_option, say, with_store
from smsd.store.fsck import Fault, Fsck


@click.command()
@config_option
@click.option("--repair", is_flag=True, help="Mend what is found.")
def fsck(config_path: Path, *, repair: bool) -> None:
    """Look for texts that are lost or stuck; also while the daemon runs."""

    async def look(store: Store) -> tuple[int, int]:
        found = mended = 0
        async for fault in Fsck(store.server, store.status, repair=repair).faults():
            say(_line(fault))
            found += 1
            mended += fault.remedy != ""
        return found, mended

    found, mended = with_store(config_path, look)
    if not found:
        say("fine: every accepted text is where it should be")
        return
    say(f"{found} found, {mended} mended")
    if not repair:
        say("smsd fsck --repair mends them")
    if mended < found:
        raise SystemExit(EX_FAILED)


def _line(fault: Fault) -> str:
    line = f"{fault.name} {fault.why}" if fault.kind == "counters" else _about(fault)
    return f"{line} -> {fault.remedy}" if fault.remedy else line


def _about(fault: Fault) -> str:
    what = "entry" if fault.kind in ("entry", "mark") else "text"
    return f"{what} {fault.name} {fault.why}"
