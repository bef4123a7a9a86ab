"""The daemon as commands call it. Rule: one way to find it, one line when it does not answer.

Where it is: --url, or $SMSD_URL with $SMSD_TOKEN, or what config.toml says of [http].
"""

import asyncio
import os
import re
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import click
import orjson
from aiohttp import ClientError, ClientResponse, ClientSession, ClientTimeout

from smsd.cli.console import EX_CONFIG, EX_FAILED, EX_USAGE, config_option, fail
from smsd.config import ConfigError, Settings, load

T = TypeVar("T")
Command = TypeVar("Command", bound=Callable[..., Any])

# An import has none as a whole; its answer comes soon after its last octet.
TIMEOUT = ClientTimeout(total=None, sock_connect=10, sock_read=300)
BAD_REQUEST = 400
_URL = re.compile(r"https?://([A-Za-z0-9._-]+|\[[0-9a-fA-F:.]+\])(:[0-9]{1,5})?(/[!-~]*)?")
ANY_ADDRESS = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - listened at, and not called


class Place(NamedTuple):
    """Where the daemon listens, and what it wants to see."""

    url: str
    token: str


def daemon_options(command: Command) -> Command:
    """The options by which the daemon is found."""
    url = click.option(
        "--url",
        envvar="SMSD_URL",
        help="Of the daemon, as http://127.0.0.1:8080; or $SMSD_URL, with $SMSD_TOKEN where it"
        " asks for one. Else config.toml says where it listens.",
    )
    return config_option(url(command))


class RefusedError(Exception):
    """What the daemon answered is no success; the message is its own."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class Api:
    """Its calls."""

    def __init__(self, session: ClientSession) -> None:
        self._session = session

    async def call(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        body: AsyncIterable[bytes] | None = None,
    ) -> Any:
        """The JSON of an answer. Raises `RefusedError`, and what aiohttp raises."""
        async with self.open(method, path, query=query, headers=headers, body=body) as answer:
            return orjson.loads(await answer.read())

    async def send(
        self,
        method: str,
        path: str,
        content: Mapping[str, object],
        *,
        query: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Any:
        """The JSON of the answer to a request with JSON. Raises as `call` does."""
        asked = self._session.request(
            method,
            path,
            params=query,
            headers={"Content-Type": "application/json", **(headers or {})},
            data=orjson.dumps(content),
        )
        async with asked as answer:
            if not answer.ok:
                raise RefusedError(answer.status, _message(answer, await answer.read()))
            return orjson.loads(await answer.read())

    @asynccontextmanager
    async def open(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        body: AsyncIterable[bytes] | None = None,
    ) -> AsyncIterator[ClientResponse]:
        """An answer that is still to be read."""
        asked = self._session.request(
            method,
            path,
            params=query,
            headers=headers,
            data=body,
            expect100=body is not None,  # so that what is refused need not be sent
        )
        async with asked as answer:
            if not answer.ok:
                raise RefusedError(answer.status, _message(answer, await answer.read()))
            yield answer


def with_daemon(config_path: Path, url: str | None, work: Callable[[Api], Awaitable[T]]) -> T:
    """Do `work` with the daemon that the options name; a failure is printed in one line."""
    place = _place(config_path, url)
    try:
        return asyncio.run(_work(place, work))
    except RefusedError as error:
        fail(str(error), EX_USAGE if error.status == BAD_REQUEST else EX_FAILED)
    except BrokenPipeError:
        raise  # nobody reads our output any more; click knows what to do
    except (ClientError, TimeoutError, OSError) as error:
        fail(f"{place.url} does not answer: {str(error) or type(error).__name__}", EX_FAILED)


async def _work(place: Place, work: Callable[[Api], Awaitable[T]]) -> T:
    headers = {"Authorization": f"Bearer {place.token}"} if place.token else {}
    async with ClientSession(place.url, headers=headers, timeout=TIMEOUT) as session:
        return await work(Api(session))


def _place(config_path: Path, url: str | None) -> Place:
    token = os.environ.get("SMSD_TOKEN", "")
    if url is not None:
        if not _URL.fullmatch(url):
            fail(f"{url} is no URL of a daemon, as http://127.0.0.1:8080", EX_USAGE)
        return Place(url.rstrip("/") + "/", token)
    try:
        settings = load(config_path)
    except ConfigError as error:
        fail(str(error), EX_CONFIG)
    return Place(_url(settings), token or _token(settings))


def _url(settings: Settings) -> str:
    host, port = settings.http.host, settings.http.port
    if not port:
        fail("[http] port is 0: name the daemon's URL with --url", EX_USAGE)
    host = ANY_ADDRESS.get(host, host)
    return f"http://[{host}]:{port}/" if ":" in host else f"http://{host}:{port}/"


def _token(settings: Settings) -> str:
    return next((token.get_secret_value() for token in settings.http.tokens), "")


def _message(answer: ClientResponse, octets: bytes) -> str:
    try:
        error = orjson.loads(octets)["error"]
        return str(error["message"])
    except (orjson.JSONDecodeError, KeyError, TypeError):  # it is something else that listens there
        return f"{answer.url.origin()} answers {answer.status} {answer.reason}"
