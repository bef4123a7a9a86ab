"""Any gateway, by configuration. Rule: the rules judge an answer; failing them, its status.

    [provider.http]
    url     = "https://gateway.example/send"
    body    = "form"      # or "json", "query", "raw" (the text alone; the fields go in the query)
    fields  = {to = "{to_no_plus}", from = "{from_no_plus}", text = "{text}", ref = "{id}"}
    encodings = {gsm7 = "0", ucs2 = "2"}                  # what {encoding} says; Kannel's here
    headers = {Authorization = "Bearer ${TOKEN}"}         # from [provider.http.secrets]
    id      = "json:messages.0.id"                        # or "re:id=([0-9]+)", "header:X-Id"
    rules   = [                                           # the first that matches decides
        {body = "re:^BUSY", outcome = "throttled"},
        {json = "code", in = [1007], outcome = "halted"},
        {status = 200, body = "re:^OK", outcome = "accepted"},
    ]

Where no rule matches, a 2xx is a success, unless some rule says what a success looks like or the
`id` is not where it should be: then it is in doubt. Other answers go by their status. A redirect
is not followed: 301, 307 and 308 hold all texts until the `url` is mended, others are in doubt.

In `in`, 7 stands for the answer's 7, 7.0 or "7", and true for true alone. An `id` is a text or a
number: an answer that says `false` there holds none. With a `base_url`, each `url` is a path.

`look_up` says how the gateway is asked about a text in doubt: see `lookup.py`. Without it nobody
is asked, and the policy decides at once.
"""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, ClassVar, Literal, Self
from urllib.parse import quote

import orjson
from pydantic import Field, SecretStr, ValidationInfo, model_validator
from pydantic_core import PydanticCustomError
from yarl import URL

from smsd.core.message import Message
from smsd.core.outcome import Accepted, InDoubt, Outcome
from smsd.provider.base import (
    KEEP_ALIVE_S,
    FindSettled,
    ProviderSecret,
    ProviderSettings,
    ProxyFor,
    default_sender,
    direct,
)
from smsd.provider.generic import fields
from smsd.provider.generic.fields import Placeholders, Template, Tree
from smsd.provider.generic.lookup import LONGEST_ID, LookUp, LookUpSettings
from smsd.provider.generic.rules import ExtractField, Rule, picked
from smsd.provider.wire import rulings as codes
from smsd.provider.wire.gateway import Gateway, HttpSettings, below, http_url
from smsd.provider.wire.transport import Answer, Link, Request, basic

Body = Literal["form", "json", "query", "raw"]

_TYPES: dict[Body, str] = {
    "form": "application/x-www-form-urlencoded",
    "json": "application/json",
    "raw": "text/plain; charset=utf-8",
}
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110 §5.6.2
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")


class Encodings(ProviderSettings):
    """What the gateway calls the two encodings."""

    gsm7: str = "gsm7"
    ucs2: str = "ucs2"


class GenericSettings(HttpSettings):
    """`[provider.http]`."""

    base_url: str = ""  # goes before each `url`, for all that share a file but not a host
    url: str
    method: Literal["POST", "GET", "PUT"] = "POST"
    body: Body | None = None  # None: "query" for GET, else "form"
    headers: dict[str, str] = Field(default_factory=dict)
    fields: dict[str, Any]
    encodings: Encodings = Encodings()
    secrets: dict[str, ProviderSecret] = Field(
        default_factory=dict
    )  # in any case, like environments
    user: str = ""  # for Basic authentication
    password: ProviderSecret = SecretStr("")
    id: ExtractField | None = None
    segments: ExtractField | None = None
    reason: ExtractField | None = None  # a refusal's words; without it only codes are kept
    rules: tuple[Rule, ...] = ()
    look_up: LookUpSettings | None = None

    @model_validator(mode="after")
    def _readable(self, info: ValidationInfo) -> Self:
        form = Form(self)
        _look_up(self)
        if form.names & {"from", "from_no_plus"} and default_sender(info) == "":
            # Else messages that name no sender would leave with an empty one.
            raise PydanticCustomError(
                "incomplete",
                "fields: {from} is empty where a message names no sender;"
                " set [message] default_from",
            )
        return self


class Form:
    """The settings, read once: what a message is filled into. Raises `ValueError`."""

    def __init__(self, settings: GenericSettings) -> None:
        secrets = _secrets(settings)
        self._method = settings.method
        self._body: Body = settings.body or ("query" if settings.method == "GET" else "form")
        if settings.method == "GET" and self._body != "query":
            raise ValueError('body: a GET has none; it must be "query"')
        self._url = _url(settings.base_url, settings.url, secrets)
        self._headers = _headers(settings, settings.headers, _TYPES.get(self._body), secrets)
        known = fields.with_encodings(settings.encodings.model_dump())
        self._fields = {
            name: _field(name, value, secrets, known, nested=self._body == "json")
            for name, value in settings.fields.items()
        }
        self.names = fields.names(dict(self._fields))
        _complete(self.names | ({"text"} if self._body == "raw" else set()))

    def fill(self, message: Message) -> Request:
        """The request for one message."""
        filled = {name: fields.fill(tree, message) for name, tree in self._fields.items()}
        url, body = self._url, b""
        match self._body:
            case "form":
                body = fields.urlencoded(filled).encode()
            case "json":
                body = orjson.dumps(filled)
            case "query":
                url = _with_query(url, filled)
            case "raw":
                url, body = _with_query(url, filled), message.content.text.encode()
        headers = {name: value.fill(message) for name, value in self._headers.items()}
        return Request(self._method, URL(url, encoded=True), headers, body)


@contextmanager
def _at(place: str) -> Iterator[None]:
    """Say where a fault of the configuration is."""
    try:
        yield
    except ValueError as error:
        raise ValueError(f"{place}: {error}") from None


def _secrets(settings: GenericSettings) -> dict[str, str]:
    return {name.lower(): each.get_secret_value() for name, each in settings.secrets.items()}


def _look_up(settings: GenericSettings) -> LookUp | None:
    if (asking := settings.look_up) is None:
        return None
    secrets = _secrets(settings)
    with _at("look_up"):
        written = settings.headers if asking.headers is None else asking.headers
        headers = _headers(settings, written, None, secrets)
        return LookUp(asking, settings.base_url, headers, secrets, settings.rules)


def _url(base_url: str, url: str, secrets: dict[str, str]) -> str:
    quoted = {name: quote(secret, safe="") for name, secret in secrets.items()}
    with _at("url"):
        text = below(base_url, url)
        return str(URL(http_url(Template(text, quoted, fields.only()).fixed())))


def _with_query(url: str, filled: dict[str, fields.Filled]) -> str:
    query = fields.urlencoded(filled)
    return f"{url}{'&' if '?' in url else '?'}{query}" if query else url


def _headers(
    settings: GenericSettings,
    headers: Mapping[str, str],
    content_type: str | None,
    secrets: dict[str, str],
) -> dict[str, Template]:
    written = {name.lower(): value for name, value in headers.items()}
    if content_type is not None:
        written.setdefault("content-type", content_type)
    if settings.user:
        written["authorization"] = basic(settings.user, settings.password.get_secret_value())
    return {name: _header(name, value, secrets) for name, value in written.items()}


def _header(name: str, value: str, secrets: dict[str, str]) -> Template:
    with _at(f"headers.{name}"):
        if not _HEADER_NAME.fullmatch(name):
            raise ValueError("is no name for a header")
        template = Template(value, secrets, fields.IN_HEADERS)
        if _CONTROL.search(template.fixed()):
            raise ValueError("holds a control character, perhaps a line end after a secret")
        return template


def _field(
    name: str, value: object, secrets: dict[str, str], known: Placeholders, *, nested: bool
) -> Tree:
    with _at(f"fields.{name}"):
        if not nested and not fields.is_flat(value):
            raise ValueError("only a JSON body holds tables")
        return fields.read(value, secrets, known)


def _complete(names: set[str]) -> None:
    # Else every text would leave empty, or to nobody, and count as sent.
    if "text" not in names:
        raise ValueError("fields: must hold {text} somewhere")
    if not names & {"to", "to_no_plus"}:
        raise ValueError("fields: must hold {to} or {to_no_plus} somewhere")


class Http(Gateway):
    """A gateway that `[provider.http]` describes."""

    Settings: ClassVar[type[ProviderSettings]] = GenericSettings

    def __init__(self, settings: GenericSettings, link: Link) -> None:
        super().__init__(link)
        self._settings = settings
        self._form = Form(settings)
        self._success_is_ruled = any(rule.outcome.kind == "accepted" for rule in settings.rules)
        self._hidden = (
            *(each.get_secret_value() for each in (*settings.secrets.values(), settings.password)),
            basic(settings.user, settings.password.get_secret_value()).removeprefix("Basic ")
            if settings.user
            else "",
        )

    @classmethod
    def build(
        cls,
        settings: GenericSettings,
        *,
        timeout_s: float,
        max_in_flight: int,
        keep_alive_s: float = KEEP_ALIVE_S,
        proxy_for: ProxyFor = direct,
    ) -> "Http":
        """A provider ready to `start`; one that can be asked where `look_up` says how."""
        link = Link(
            timeout_s=timeout_s,
            max_in_flight=max_in_flight,
            keep_alive_s=keep_alive_s,
            proxy_for=proxy_for,
            ca_file=settings.ca_file,
        )
        asking = _look_up(settings)
        return cls(settings, link) if asking is None else AskableHttp(settings, link, asking)

    def request(self, message: Message) -> Request:
        """How the gateway is asked."""
        return self._form.fill(message)

    def judge(self, answer: Answer, message: Message) -> Outcome:
        """What its answer means."""
        for rule in self._settings.rules:
            code = rule.match(answer)
            if code is None:
                continue
            if rule.outcome.kind == "accepted":
                return self._accepted(answer)
            reason = self._reason(answer, code, message)
            return codes.apply(rule.outcome, answer, code or str(answer.status), reason)
        if answer.good:
            return self._unruled_success(answer)
        return codes.by_status(answer, str(answer.status), self._reason(answer, "", message))

    def _unruled_success(self, answer: Answer) -> Outcome:
        if self._success_is_ruled:
            return InDoubt(f"HTTP {answer.status}, but no rule knows this answer")
        accepted = self._accepted(answer)
        if self._settings.id is not None and not accepted.provider_id:
            return InDoubt(f"HTTP {answer.status}, but no id where one should be")
        return accepted

    def _accepted(self, answer: Answer) -> Accepted:
        provider_id = picked(self._settings.id, answer)[:LONGEST_ID]
        return Accepted(provider_id, codes.segment_count(picked(self._settings.segments, answer)))

    def _reason(self, answer: Answer, code: str, message: Message) -> str:
        hidden = (message.content.text, message.recipient, *self._hidden)
        words = codes.words(picked(self._settings.reason, answer), hidden)
        return codes.reason(answer.status, code, words or answer.unread)


class AskableHttp(Http):
    """A gateway that can be asked about a text in doubt."""

    def __init__(self, settings: GenericSettings, link: Link, asking: LookUp) -> None:
        super().__init__(settings, link)
        self._asking = asking
        self.answers_after_restart = not asking.tells_absence

    async def look_up(
        self, message: Message, started_ms: int, find_settled: FindSettled
    ) -> Outcome | None:
        """What became of a message."""
        if (request := self._asking.request(message)) is None:
            return None
        answer = await self.ask(request)
        return InDoubt("asked: no answer") if answer is None else self._asking.judge(answer)
