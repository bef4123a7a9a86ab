"""`smsd audience`. Rule: files are streamed to the daemon and from it, and no bad row is silent."""

import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import quote

import click
import orjson
from aiohttp import ClientError

from smsd.cli.console import EX_FAILED, EX_USAGE, fail, print_line
from smsd.cli.http import Api, RefusedError, daemon_options, with_daemon
from smsd.cli.save import CSV, NotWrittenError, save

EX_REJECTED = 3  # it is imported, but for some rows
PIECE = 65_536  # octets
STDIN = "-"
MEDIA_TYPES = {"csv": CSV, "ndjson": "application/x-ndjson", "json": "application/json"}
SUFFIXES = {".json": "json", ".ndjson": "ndjson", ".jsonl": "ndjson"}
SHOWN = 5  # rejected rows


@click.group()
def audience() -> None:
    """Named sets of contacts: import them, look at them, remove them."""


@audience.command("import")
@daemon_options
@click.argument("file")
@click.option("--name", required=True, help="Of the audience; it is made if there is none.")
@click.option("--add", is_flag=True, help="Add to the audience; else the file replaces it.")
@click.option("--region", help="The country, as US, whose national numbers are read too.")
@click.option("--column", help="The column of the numbers, where its name does not tell.")
@click.option("--encoding", help="Of the file, where it is not found out.")
@click.option("--delimiter", help='Between columns: ",", ";", "|" or "tab".')
@click.option(
    "--format",
    "format_",
    type=click.Choice(list(MEDIA_TYPES)),
    help="Of the file; else its suffix says.",
)
@click.option(
    "--rejects",
    type=click.Path(path_type=Path, dir_okay=False),
    default=Path("rejects.csv"),
    show_default=True,
    help="Where rows that cannot be taken are written, if there are any.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the daemon's answer as it is.")
def import_(
    config_path: Path,
    url: str | None,
    file: str,
    *,
    name: str,
    add: bool,
    format_: str | None,
    rejects: Path,
    as_json: bool,
    **options: str | None,
) -> None:
    """Import a file of contacts: CSV, NDJSON or JSON; - reads standard input.

    Exits with 3 if rows were rejected: they are in rejects.csv, and the others in the audience.
    """
    _check_rejects(file, rejects)
    query = {option: value for option, value in options.items() if value is not None}
    media_type = MEDIA_TYPES[format_ or SUFFIXES.get(Path(file).suffix.lower(), "csv")]
    with _opened(file) as (octets, size), _progress(size) as advance:

        async def work(api: Api) -> tuple[Any, str]:
            fault = ""
            answer = await api.call(
                "POST" if add else "PUT",
                _path(name),
                query=query,
                headers={"Content-Type": media_type},
                body=_pieces(octets, advance),
            )
            if answer["rejected"]["count"]:
                fault = await _save_rejects(api, f"{_path(name)}/rejects", rejects)
            return answer, fault

        answer, fault = with_daemon(config_path, url, work)
    if as_json:
        print_line(orjson.dumps(answer).decode())
    else:
        _report(answer, None if fault else rejects)
    if fault:
        fail(f"the rejected rows could not be saved: {fault}", EX_REJECTED)
    if answer["rejected"]["count"]:
        raise SystemExit(EX_REJECTED)


@audience.command()
@daemon_options
@click.argument("name")
@click.option("--output", type=click.Path(path_type=Path, dir_okay=False), help="Else stdout.")
@click.option("--excel", is_flag=True, help="So that Excel changes no number and runs no formula.")
def export(
    config_path: Path, url: str | None, name: str, *, output: Path | None, excel: bool
) -> None:
    """Write all contacts of an audience as CSV."""
    query = {"excel": "true"} if excel else {}
    path = f"{_path(name)}/contacts"
    try:
        with_daemon(config_path, url, lambda api: save(api, path, output, query=query))
    except NotWrittenError as error:
        fail(str(error), EX_FAILED)


@audience.command("list")
@daemon_options
@click.option("--json", "as_json", is_flag=True, help="One JSON object an audience.")
def list_(config_path: Path, url: str | None, *, as_json: bool) -> None:
    """Show all audiences."""
    answer = with_daemon(config_path, url, lambda api: api.call("GET", "audiences"))
    for shown in answer["audiences"]:
        line = f"{shown['name']:<24}  {shown['contacts']:>12,}  {_fields(shown)}"
        print_line(orjson.dumps(shown).decode() if as_json else line.rstrip())


@audience.command()
@daemon_options
@click.argument("name")
@click.option("--number", help="Only the contact of this number.")
@click.option("--json", "as_json", is_flag=True, help="As one JSON object.")
def show(
    config_path: Path, url: str | None, name: str, *, number: str | None, as_json: bool
) -> None:
    """Show what an audience holds, or one of its contacts."""
    path = _path(name, number)
    shown = with_daemon(config_path, url, lambda api: api.call("GET", path))
    if as_json:
        print_line(orjson.dumps(shown).decode())
        return
    for line in _contact(shown) if number else _audience(shown):
        print_line(line)


@audience.command()
@daemon_options
@click.argument("name")
@click.option("--number", help="Only the contact of this number.")
def remove(config_path: Path, url: str | None, name: str, *, number: str | None) -> None:
    """Remove an audience, or one of its contacts."""
    path = _path(name, number)
    with_daemon(config_path, url, lambda api: api.call("DELETE", path))
    print_line(f"{number or name} removed")


def _path(name: str, number: str | None = None) -> str:
    path = f"audiences/{quote(name, safe='')}"
    return f"{path}/contacts/{quote(number, safe='')}" if number else path


# -- files ----------------------------------------------------------------------------------------


def _check_rejects(file: str, rejects: Path) -> None:
    """Refuse to write over what is read: rejects.csv, mended, is imported again."""
    if file != STDIN and rejects.exists() and Path(file).exists() and rejects.samefile(file):
        fail(f"--rejects must name another file than {file}, which is read", EX_USAGE)


@contextmanager
def _opened(file: str) -> Iterator[tuple[BinaryIO, int | None]]:
    """A file and its size, which is None where that is not known."""
    if file == STDIN:
        yield sys.stdin.buffer, None
        return
    try:
        octets = Path(file).open("rb")  # noqa: SIM115 - it is closed below
    except OSError as error:
        fail(f"{file}: {error.strerror}", EX_FAILED)
    with octets:
        size = Path(file).stat().st_size
        yield octets, size or None  # that of a pipe is 0


@contextmanager
def _progress(size: int | None) -> Iterator[Callable[[int], None]]:
    """What to call with each number of octets that went; a bar shows it on a terminal."""
    if size is None or sys.stderr is None or not sys.stderr.isatty():
        yield lambda _: None
        return
    with click.progressbar(length=size, label="importing", file=sys.stderr) as bar:
        yield bar.update


async def _pieces(octets: BinaryIO, advance: Callable[[int], None]) -> AsyncIterator[bytes]:
    while piece := octets.read(PIECE):
        yield piece
        advance(len(piece))


async def _save_rejects(api: Api, path: str, output: Path) -> str:
    """Why they could not be saved; "" if they were. The import took place all the same."""
    try:
        await save(api, path, output)
    except (NotWrittenError, RefusedError, ClientError, TimeoutError, OSError) as error:
        return str(error) or type(error).__name__
    return ""


# -- what is printed ------------------------------------------------------------------------------


def _report(answer: Any, rejects: Path | None) -> None:
    name, contacts = answer["name"], answer["contacts"]
    if answer["unchanged"]:
        print_line(
            f"{name}: unchanged: this file was imported before; {_counted(contacts, 'contact')}"
        )
    else:
        counts = ", ".join(
            f"{what} {answer[what]:,}" for what in ("added", "updated", "duplicates")
        )
        fields = _fields(answer) or "none"
        print_line(f"{name}: {_counted(contacts, 'contact')} ({counts}); fields: {fields}")
    for notice in answer["notices"]:
        print_line(f"note: {notice}")
    rejected = answer["rejected"]
    if not rejected["count"]:
        return
    where = f", also in {rejects}" if rejects else ""
    print_line(f"{_counted(rejected['count'], 'row')} rejected{where}:")
    for reason, count in sorted(rejected["reasons"].items(), key=lambda item: -item[1]):
        print_line(f"  {count:>9,}  {reason}")
    for row in rejected["first"][:SHOWN]:
        column = f", column {row['column']}" if row["column"] else ""
        print_line(f"  line {row['line']}{column}: {row['message']}: {row['value']}")


def _counted(count: int, what: str) -> str:
    return f"{count:,} {what}{'' if count == 1 else 's'}"


def _fields(shown: Any) -> str:
    return ", ".join(shown["fields"])


def _audience(shown: Any) -> Iterator[str]:
    contacts = _counted(shown["contacts"], "contact")
    yield f"{shown['name']}: {contacts}; fields: {_fields(shown) or 'none'}"
    if shown["source"] == "config":
        yield "it stands in [audiences] of the settings"
        return
    yield f"created {shown['created']}, changed {shown['updated']} by {shown['by']}"
    for one in shown["imports"]:
        counts = f"{one['added']:,} added, {one['rejected']:,} rejected"
        yield f"imported {one['at']}: {counts}, SHA-256 {one['sha256'][:12]}…"


def _contact(shown: Any) -> Iterator[str]:
    yield shown["number"]
    for name, value in shown["fields"].items():
        yield f"{name}: {value}"
