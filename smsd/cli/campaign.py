"""`smsd campaign`. Rule: what HTTP does is done by it, and an answer reads like a sentence."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote

import click
import orjson

from smsd.cli.campaign_shown import lines_of, plan_lines, row_of
from smsd.cli.console import EX_FAILED, EX_USAGE, fail, print_line, read_text
from smsd.cli.http import Api, daemon_options, with_daemon
from smsd.cli.save import NotWrittenError, save
from smsd.core.campaign_request import OF_MESSAGES
from smsd.core.fields import FIELDS, FieldError

Command = TypeVar("Command", bound=Callable[..., Any])

FAULTS = ("missing", "unusable", "too_long")
EX_FAULTY = 3  # the plan: some recipients would get no message


@click.group()
def campaign() -> None:
    """One message to many recipients: plan it, start it, watch it, stop it."""


def _request_options(command: Command) -> Command:
    """The options that describe a campaign."""
    for field in reversed(FIELDS):
        if field.name in OF_MESSAGES:
            option = f"--{field.name.replace('_', '-')}"
            command = click.option(option, field.name, help=field.description)(command)
    options = (
        click.option("--name", help="Of small letters, digits, - and _; else its id."),
        click.option("--audience", help="Its recipients; see smsd audience."),
        click.option("--to", multiple=True, help="A number, beside the audience; repeatable."),
        click.option(
            "--message",
            required=True,
            help='The text; in it {{ field }}, {{ field | default: "x" }}; - reads standard input.',
        ),
        click.option("--kind", type=click.Choice(["marketing", "service"])),
        click.option("--weight", type=int, help="Its share beside other campaigns; 1 by default."),
        click.option(
            "--transliterate",
            is_flag=True,
            help="Replace what the GSM alphabet lacks, as curly quotes.",
        ),
        click.option("--json", "as_json", is_flag=True, help="Print the daemon's answer as it is."),
    )
    for described in reversed(options):
        command = described(command)
    return daemon_options(command)


@campaign.command()
@_request_options
def plan(config_path: Path, url: str | None, *, as_json: bool, **options: Any) -> None:
    """Show what a campaign would be and cost; nothing is started.

    Exits with 3 if some recipients would get no message.
    """
    request = _request(options)
    query = {"dry_run": "true"}
    answer = with_daemon(
        config_path, url, lambda api: api.send("POST", "campaigns", request, query=query)
    )
    _print(answer, plan_lines, as_json=as_json)
    if any(answer[fault]["recipients"] for fault in FAULTS):
        raise SystemExit(EX_FAULTY)


@campaign.command()
@_request_options
@click.option("--key", help="A repetition with the same key starts it once (Idempotency-Key).")
def start(
    config_path: Path, url: str | None, *, as_json: bool, key: str | None, **options: Any
) -> None:
    """Start a campaign."""
    request = _request(options)
    headers = {"Idempotency-Key": key} if key else {}
    answer = with_daemon(
        config_path, url, lambda api: api.send("POST", "campaigns", request, headers=headers)
    )
    _print(answer, _started, as_json=as_json)


@campaign.command("list")
@daemon_options
@click.option("--json", "as_json", is_flag=True, help="One JSON object a campaign.")
def list_(config_path: Path, url: str | None, *, as_json: bool) -> None:
    """Show all campaigns, the latest first."""

    async def work(api: Api) -> None:
        after, more = "", True
        while more:
            query = {"after": after} if after else {}
            page = await api.call("GET", "campaigns", query=query)
            for one in page["campaigns"]:
                print_line(orjson.dumps(one).decode() if as_json else row_of(one))
            after, more = page.get("after", ""), page["more"]

    with_daemon(config_path, url, work)


@campaign.command()
@daemon_options
@click.argument("name")
@click.option("--json", "as_json", is_flag=True, help="As one JSON object.")
def show(config_path: Path, url: str | None, name: str, *, as_json: bool) -> None:
    """Show how far a campaign is."""
    path = _path(name)
    answer = with_daemon(config_path, url, lambda api: api.call("GET", path))
    _print(answer, lines_of, as_json=as_json)


@campaign.command()
@daemon_options
@click.argument("name")
@click.option("--state", help="Only those in this state, as dead or sent.")
@click.option("--output", type=click.Path(path_type=Path, dir_okay=False), help="Else stdout.")
@click.option("--excel", is_flag=True, help="So that Excel changes no number.")
def recipients(
    config_path: Path,
    url: str | None,
    name: str,
    *,
    state: str | None,
    output: Path | None,
    excel: bool,
) -> None:
    """Write what became of the message to each recipient, as CSV."""
    query = {"excel": "true"} if excel else {}
    query |= {"state": state} if state else {}
    path = f"{_path(name)}/recipients"
    try:
        with_daemon(config_path, url, lambda api: save(api, path, output, query=query))
    except NotWrittenError as error:
        fail(str(error), EX_FAILED)


def _verb_options(command: Command) -> Command:
    expect = click.option(
        "--expect", type=int, help="How many messages it has to concern; else nothing is done."
    )
    reason = click.option("--reason", help="Why; it is kept and shown.")
    as_json = click.option("--json", "as_json", is_flag=True, help="As one JSON object.")
    return daemon_options(click.argument("name")(reason(expect(as_json(command)))))


@campaign.command()
@_verb_options
def pause(config_path: Path, url: str | None, *, as_json: bool, name: str, **asked: Any) -> None:
    """Let nothing of a campaign start, until it is resumed."""
    _turn(config_path, url, f"{_path(name)}/pause", asked, as_json=as_json)


@campaign.command()
@_verb_options
def resume(config_path: Path, url: str | None, *, as_json: bool, name: str, **asked: Any) -> None:
    """Let a paused campaign go on."""
    _turn(config_path, url, f"{_path(name)}/resume", asked, as_json=as_json)


@campaign.command()
@_verb_options
def cancel(config_path: Path, url: str | None, *, as_json: bool, name: str, **asked: Any) -> None:
    """Let nothing of a campaign start any more."""
    _turn(config_path, url, f"{_path(name)}/cancel", asked, as_json=as_json)


@campaign.command("retry-failed")
@_verb_options
@click.option("--in-doubt", is_flag=True, help="Also those that may have been sent: then twice.")
def retry_failed(
    config_path: Path,
    url: str | None,
    *,
    as_json: bool,
    name: str,
    in_doubt: bool,
    **asked: Any,
) -> None:
    """Send the dead letters of a campaign again, each once."""
    request = _given(asked) | ({"in_doubt": True} if in_doubt else {})

    async def work(api: Api) -> dict[str, int]:
        total, place, more = {"replayed": 0, "skipped": 0}, dict[str, object](), True
        while more:
            answer = await api.send("POST", f"{_path(name)}/retry-failed", request | place)
            for what in total:
                total[what] += answer[what]
            more = answer["more"]
            place = {where: answer[where] for where in ("after", "until") if more}
        return total

    total = with_daemon(config_path, url, work)
    if as_json:
        print_line(orjson.dumps(total).decode())
        return
    print_line(f"{total['replayed']} replayed")
    if total["skipped"]:
        skipped = f"{total['skipped']} skipped: they may have been sent"
        print_line(f"{skipped}; --in-doubt replays these too")


@campaign.command()
@daemon_options
@click.argument("name")
@click.option("--weight", type=int, help="Its share beside other campaigns.")
@click.option("--expires-at", help="Not after this time (RFC 3339).")
@click.option("--json", "as_json", is_flag=True, help="As one JSON object.")
def edit(config_path: Path, url: str | None, *, as_json: bool, name: str, **asked: Any) -> None:
    """Change the weight or the expiry of a campaign while it runs."""
    path, request = _path(name), _given(asked)
    answer = with_daemon(config_path, url, lambda api: api.send("PATCH", path, request))
    _print(answer, lines_of, as_json=as_json)


@campaign.command()
@daemon_options
@click.argument("name")
def remove(config_path: Path, url: str | None, name: str) -> None:
    """Forget a campaign that has ended, and its recipients."""
    with_daemon(config_path, url, lambda api: api.call("DELETE", _path(name)))
    print_line(f"{name} removed")


# -- requests and answers -------------------------------------------------------------------------


def _path(name: str) -> str:
    return f"campaigns/{quote(name, safe='')}"


def _given(options: dict[str, Any]) -> dict[str, object]:
    return {name: value for name, value in options.items() if value is not None}


def _request(options: dict[str, Any]) -> dict[str, object]:
    """The body of a request, of what was given."""
    request = _given(options)
    if not request["to"]:
        del request["to"]
    if not request["transliterate"]:
        del request["transliterate"]
    try:
        request["message"] = read_text(options["message"])
    except FieldError as error:
        fail(f"message {error}", EX_USAGE)
    return request


def _turn(
    config_path: Path, url: str | None, path: str, asked: dict[str, Any], *, as_json: bool
) -> None:
    request = _given(asked)
    answer = with_daemon(config_path, url, lambda api: api.send("POST", path, request))
    _print(answer, lines_of, as_json=as_json)


def _print(answer: Any, lines: Callable[[Any], Iterable[str]], *, as_json: bool) -> None:
    if as_json:
        print_line(orjson.dumps(answer).decode())
        return
    for line in lines(answer):
        print_line(line)


def _started(answer: Any) -> Iterable[str]:
    return [row_of(answer)]
