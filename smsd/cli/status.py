"""`smsd status`. Rule: which daemon sends, where messages are, what could be lost, at a glance."""

import socket
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import click
import orjson

from smsd.cli.console import config_option, print_line
from smsd.cli.store import with_store
from smsd.config import Settings
from smsd.redis import owner
from smsd.redis.damage import among
from smsd.redis.durability import Persistence, persistence
from smsd.redis.errors import Away, OutOfMemory, Refused
from smsd.store import Store
from smsd.store.census import Census
from smsd.store.examine import look
from smsd.store.lease import ReportedHold, lease_holder, reported_hold
from smsd.store.operator_hold import HeldBy


@dataclass(frozen=True, slots=True)
class Holder:
    """The daemon that may dispatch, as its name describes it (see redis/owner.py)."""

    name: str
    host: str
    process: str
    died: bool

    @classmethod
    def read(cls, name: str) -> "Holder":
        """What a name holds; of one that smsd did not make, nothing but itself is known."""
        host, *rest = name.rsplit(":", 4)
        process = rest[1] if len(rest) == 4 else "?"  # noqa: PLR2004 - place, pid, start, chance
        return cls(name, host, process, owner.is_dead(name))

    @property
    def is_here(self) -> bool:
        """Whether it runs on this host."""
        return self.host == socket.gethostname()


@dataclass(frozen=True, slots=True)
class Report:
    """All that is shown."""

    intake_fault: str  # why Redis takes no messages in, or empty
    damage: Mapping[str, str]  # what is wrong with keys of ours, by key
    damage_of_dispatch: str  # what of it keeps messages from being sent, or empty
    holder: Holder | None
    held: ReportedHold | None
    operator: HeldBy | None
    census: Census
    redis: Persistence
    rate: float

    @property
    def dispatch_fault(self) -> str:
        """Why nothing is sent, or empty."""
        if self.holder is None:
            return "nobody holds the lease"
        if self.holder.died:
            return "the daemon that holds the lease has died"
        if self.damage_of_dispatch:
            return self.damage_of_dispatch
        if self.operator is not None:
            return f"held by {self.operator.by}: {self.operator.reason}"
        return self.held.reason if self.held else ""

    @property
    def seconds(self) -> float:
        """How long the queue takes at the least: if every message is one segment."""
        return self.census.queued / self.rate

    @property
    def drains(self) -> bool:
        """Whether nothing keeps the queue from being sent."""
        return not (self.held or self.operator)


@click.command()
@config_option
@click.option("--json", "as_json", is_flag=True, help="All of it as one JSON object.")
def status(config_path: Path, *, as_json: bool) -> None:
    """Show which daemon sends, where every message is and what Redis may lose."""
    report = with_store(config_path, _look)
    if as_json:
        print_line(orjson.dumps(_as_json(report)).decode())
        return
    for name, value in _lines(report):
        print_line(f"{name:<12}{value}")


async def _look(store: Store, settings: Settings) -> Report:
    keys = store.client.keys
    damage = {fault.key: fault.reason for fault in await look(store.client)}
    name = await lease_holder(store.client)
    holder = Holder.read(name) if name else None
    return Report(
        await _intake_fault(store) or among(damage, keys.for_intake),
        damage,
        among(damage, keys.for_dispatch),
        holder,
        await _held(store, holder.name) if holder and not holder.died else None,
        await store.operator_hold.look(),
        await store.census(),
        await store.client.read(persistence),
        settings.rate.segments_per_second,
    )


async def _held(store: Store, holder: str) -> ReportedHold | None:
    with suppress(Refused):  # it is shown as what is wrong
        return await reported_hold(store.client, holder)
    return None


async def _intake_fault(store: Store) -> str:
    try:
        await store.client.try_to_write()
    except OutOfMemory:
        return "Redis is out of memory"
    except Away as error:
        return f"Redis: {error}"
    return ""


def _places(census: Census) -> dict[str, int]:
    return {
        "queued": census.queued - census.in_flight,
        "in_flight": census.in_flight,
        "deferred": census.deferred,
        "dead": census.dead,
        **census.finished,
        "adjusted": census.adjusted,
    }


def _as_json(report: Report) -> dict[str, object]:
    holder, held, census = report.holder, report.held, report.census
    operator = report.operator
    return {
        "intake": {"ready": not report.intake_fault, "reason": report.intake_fault},
        "dispatch": {"ready": not report.dispatch_fault, "reason": report.dispatch_fault},
        "lease": holder
        and {
            "holder": holder.name,
            "host": holder.host,
            "process": holder.process,
            "this_host": holder.is_here,
            "died": holder.died,
        },
        "held": held and {"reason": held.reason, "seconds": held.seconds},
        "held_by": operator
        and {"reason": operator.reason, "by": operator.by, "since": operator.since_ms},
        "damage": report.damage,
        "redis": {"version": report.redis.version, "warnings": report.redis.warnings},
        "accepted": census.accepted,
        "texts": _places(census),
        "difference": census.difference,
        "drains_in_at_least_seconds": round(report.seconds, 1) if report.drains else None,
    }


def _lines(report: Report) -> list[tuple[str, str]]:
    census = report.census
    lines = [
        ("intake", _ready(report.intake_fault)),
        ("sending", _ready(report.dispatch_fault)),
        ("dispatch", _dispatcher(report.holder)),
    ]
    if operator := report.operator:
        lines.append(("held", _held_by(operator)))
    if held := report.held:
        lines.append(("held", f"for {_duration(held.seconds)}: {held.reason}"))
    lines.append(("redis", report.redis.version))
    lines += [("damage", f"{key} {reason}: see smsd fsck") for key, reason in report.damage.items()]
    lines += [("warning", warning) for warning in report.redis.warnings]
    lines.append(("accepted", f"{census.accepted:,}"))
    for place, messages in _places(census).items():
        if messages or place != "adjusted":
            lines.append((place.replace("_", " "), f"{messages:,}"))
    lines.append(("difference", f"{census.difference:,}"))
    if census.difference:
        lines.append(("", "messages are unaccounted for: smsd fsck looks for them"))
    if census.queued and report.drains:
        at_least = f"at least {_duration(report.seconds)} at {report.rate:g} segments/s"
        lines.append(("drains in", at_least))
    return lines


def _ready(fault: str) -> str:
    return f"not ready: {fault}" if fault else "ready"


def _dispatcher(holder: Holder | None) -> str:
    if holder is None:
        return "by nobody: no daemon holds the lease"
    where = "this host" if holder.is_here else f"host {holder.host}"
    name = f"by process {holder.process} on {where}, which holds the lease"
    return f"{name} and has died: any other daemon may take over" if holder.died else name


def _held_by(operator: HeldBy) -> str:
    since = datetime.fromtimestamp(operator.since_ms / 1000, UTC)
    when = f" since {since.isoformat(timespec='seconds')}" if operator.since_ms else ""
    return f"by {operator.by}{when}: {operator.reason}; smsd release ends it"


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}"
