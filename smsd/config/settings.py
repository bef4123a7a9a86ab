"""Every key, its default and its bounds. Rule: a value that passes here cannot stop a part later.

Defaults stand nowhere else in the code. `config.toml` shows them, and a test compares the two.
Types are strict: `port = "8080"` is a fault.
"""

import ipaddress
import os
import re
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    Secret,
    SecretStr,
    Strict,
    ValidationInfo,
    field_validator,
)
from pydantic_core import PydanticCustomError
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from smsd.core import message, number, proxy, secret
from smsd.core.outcome import InDoubtHighPolicy, InDoubtPolicy, RetryPolicy
from smsd.redis import endpoint

SHORTEST_TOKEN = 16  # characters: a shorter one could be guessed over a network
LONGEST_PREFIX = 64  # characters: it is part of every key's name
HOUR = 3600  # seconds: no time-out is sensibly longer
MONTH = 30 * 24 * HOUR
TEN_YEARS = 3650 * 24 * HOUR  # in ms still far from what Redis can count to
MOST_ENTRIES = 1_000_000_000  # in one stream
ENVIRONMENT = "environment"  # the proxy that $HTTPS_PROXY, $HTTP_PROXY and $NO_PROXY name
REDIS_SCHEMES = tuple(f"{scheme}://" for scheme in endpoint.SCHEMES)


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach `host`; of names, only localhost counts as such."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _is_visible(text: str) -> bool:
    return text.isascii() and text.isprintable() and " " not in text


def _secret(raw: SecretStr) -> SecretStr:
    return SecretStr(secret.read(raw.get_secret_value()))


def _token(token: SecretStr) -> SecretStr:
    # An Authorization header can carry nothing else.
    if len(token) < SHORTEST_TOKEN or not _is_visible(token.get_secret_value()):
        raise ValueError(f"expected at least {SHORTEST_TOKEN} visible ASCII characters")
    return token


def _host(name: str) -> str:
    if re.fullmatch("[A-Za-z0-9._-]+", name) is None:
        try:
            ipaddress.ip_address(name)
        except ValueError:
            raise ValueError("expected a name or an address, without a port") from None
    return name


# TOML and JSON have lists, a frozen model has tuples: the one exception from strict types.
Token = Annotated[SecretStr, AfterValidator(_secret), AfterValidator(_token)]
Tokens = Annotated[tuple[Token, ...], Strict(strict=False)]
Host = Annotated[str, AfterValidator(_host)]
Hosts = Annotated[tuple[Host, ...], Strict(strict=False)]
Number = Annotated[str, AfterValidator(number.parse)]
Numbers = Annotated[tuple[Number, ...], Strict(strict=False)]
Directory = Annotated[Path, Strict(strict=False)]


class Table(BaseModel):
    """One table of config.toml."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, strict=True, allow_inf_nan=False, hide_input_in_errors=True
    )


class Http(Table):
    """`[http]`: where intake listens, and what it takes."""

    host: str = Field("127.0.0.1", min_length=1)
    port: int = Field(8080, ge=0, le=65_535)  # 0: any free port
    tokens: Tokens = Field((), validate_default=True)
    hosts: Hosts = ()  # without tokens: names that callers may use, beside loopback's
    max_body: int = Field(1_048_576, ge=1, le=16_777_216)  # bytes; more holds up the loop
    max_recipients: int = Field(1000, ge=1, le=10_000)  # numbers in one request
    max_connections: int = Field(1000, ge=1, le=100_000)
    header_timeout: float = Field(10.0, gt=0, le=HOUR)  # seconds
    body_timeout: float = Field(10.0, gt=0, le=HOUR)  # seconds

    @field_validator("tokens")
    @classmethod
    def _guarded(cls, tokens: Tokens, info: ValidationInfo) -> Tokens:
        host = info.data.get("host", "localhost")  # absent if it has a fault itself
        if not tokens and not is_loopback(host):
            raise ValueError(f"expected at least one token, since host {host} is not loopback")
        return tokens


class Upload(Table):
    """`[upload]`: files of contacts, which are read as they come and never held as a whole."""

    max_octets: int = Field(2_000_000_000, ge=1, le=1_000_000_000_000)
    timeout: float = Field(60.0, gt=0, le=HOUR)  # seconds without an octet
    max_at_once: int = Field(2, ge=1, le=16)  # each has a process of its own


class Redis(Table):
    """`[redis]`: where the durable state lives."""

    url: Annotated[SecretStr, AfterValidator(_secret)] = SecretStr("embedded")  # with a password
    prefix: str = "smsd:"
    data_dir: Directory = Path("var")  # of the embedded server
    replicas_ack: int = Field(0, ge=0, le=100)
    lease: float = Field(10.0, ge=1, le=HOUR)  # seconds

    @field_validator("url")
    @classmethod
    def _reachable(cls, url: SecretStr) -> SecretStr:
        if (value := url.get_secret_value()) == "embedded":
            return url
        if not value.startswith(REDIS_SCHEMES):
            raise ValueError(f'expected "embedded", or a URL with {", ".join(REDIS_SCHEMES)}')
        for option, path in endpoint.parse(value).files.items():
            if not os.access(path, os.R_OK):
                raise ValueError(f"expected {option} to name a file that can be read")
        return url

    @field_validator("replicas_ack")
    @classmethod
    def _replicated(cls, replicas_ack: int, info: ValidationInfo) -> int:
        url = info.data.get("url")  # absent if it has a fault itself
        if replicas_ack and url and url.get_secret_value() == "embedded":
            raise ValueError("expected 0, since the embedded server has no replicas")
        return replicas_ack

    @field_validator("prefix")
    @classmethod
    def _nameable(cls, prefix: str) -> str:
        if not 0 < len(prefix) <= LONGEST_PREFIX or not _is_visible(prefix):
            raise ValueError(f"expected 1 to {LONGEST_PREFIX} visible ASCII characters")
        return prefix


class Queue(Table):
    """`[queue]`: how much is kept, and how long."""

    # Messages that may wait; above it intake answers 429.
    max_length: int = Field(5_000_000, ge=1, le=MOST_ENTRIES)
    max_events: int = Field(100_000, ge=1, le=MOST_ENTRIES)  # entries of the event stream
    # Seconds that a finished message can be looked up, and that an Idempotency-Key is remembered.
    keep_status: int = Field(86_400, ge=1, le=TEN_YEARS)
    keep_idempotency: int = Field(86_400, ge=1, le=TEN_YEARS)


class Rate(Table):
    """`[rate]`: what was bought."""

    segments_per_second: float = Field(45.0, ge=0.001, le=100_000)
    ceiling: Literal["segment", "message"] = "segment"


def _proxy(url: SecretStr) -> SecretStr:
    if (text := url.get_secret_value()) not in ("", ENVIRONMENT):
        try:
            proxy.parse(text)
        except ValueError as error:
            raise ValueError(f'{error}; or "{ENVIRONMENT}", or ""') from None
    return url


class Provider(Table):
    """`[provider]`: where messages are sent. Each provider checks its own table itself."""

    model_config = ConfigDict(extra="allow")
    # A plugin's table is a secret as a whole: only the plugin knows which of its keys are.
    __pydantic_extra__: dict[str, Secret[dict[str, Any]]]

    name: str = Field("sandbox", min_length=1)
    timeout: float = Field(10.0, gt=0, le=HOUR)  # seconds, from the slot to the whole answer
    max_in_flight: int = Field(256, ge=1, le=10_000)  # requests
    # Seconds that an idle connection is used again, unless the provider names a time; 0: none is.
    keep_alive: float = Field(1.5, ge=0, le=20)
    # The proxy: a URL, which may hold a password, or "environment"; "": none.
    proxy: Annotated[SecretStr, AfterValidator(_secret), AfterValidator(_proxy)] = SecretStr("")

    @property
    def tables(self) -> tuple[str, ...]:
        """The names of all tables `[provider.<name>]`."""
        return tuple(self.__pydantic_extra__)

    def options(self, name: str) -> dict[str, Any]:
        """The table `[provider.<name>]`, unchecked; empty when there is none."""
        table = self.__pydantic_extra__.get(name)
        return {} if table is None else table.get_secret_value()


class Retry(Table):
    """`[retry]`: what happens to a message that the provider did not take."""

    max_attempts: int = Field(6, ge=1, le=1_000_000)
    initial_delay: float = Field(1.0, gt=0, le=MONTH)  # seconds
    max_delay: float = Field(900.0, gt=0, le=MONTH)  # seconds
    in_doubt: InDoubtPolicy = "dead-letter"
    in_doubt_high: InDoubtHighPolicy = ""  # "": as in_doubt

    @field_validator("max_delay")
    @classmethod
    def _ordered(cls, max_delay: float, info: ValidationInfo) -> float:
        if max_delay < (initial := info.data.get("initial_delay", 0)):
            raise ValueError(f"expected at least initial_delay ({initial:g})")
        return max_delay

    @property
    def policy(self) -> RetryPolicy:
        """The same, as the core takes it."""
        return RetryPolicy(
            self.max_attempts,
            self.initial_delay,
            self.max_delay,
            self.in_doubt,
            self.in_doubt_high,
        )


class Message(Table):
    """`[message]`: bounds and defaults of a message."""

    max_segments: int = Field(10, ge=1, le=255)  # 255: the parts a join header can number
    default_from: Annotated[str, AfterValidator(message.configured_sender)] = (
        ""  # "": the provider's own
    )


def _currency(name: str) -> str:
    if re.fullmatch("([A-Z]{3})?", name) is None:
        raise ValueError('expected a code of three capitals, like "USD", or ""')
    return name


class Campaign(Table):
    """`[campaign]`: many recipients."""

    default_audience: str = "demo"  # "": a message without `to` is refused
    price_per_segment: float = Field(0.0, ge=0, le=1_000_000)  # 0: no cost is shown
    currency: Annotated[str, AfterValidator(_currency)] = ""
    pause_on_failures: int = Field(20, ge=0, le=50)  # of its last 50 messages; 0: never
    keep_days: float = Field(30.0, gt=0, le=3650)  # after it has ended


class Log(Table):
    """`[log]`: what is written to stderr."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["auto", "text", "json"] = "auto"  # auto: text
    full_numbers: bool = False


class Settings(BaseSettings):
    """The whole of config.toml, made by `load`; `Settings()` has the defaults and nothing else."""

    model_config = SettingsConfigDict(
        extra="forbid",
        frozen=True,
        strict=True,
        hide_input_in_errors=True,
        case_sensitive=True,
        env_prefix="SMSD_",
        env_nested_delimiter="__",
    )

    http: Http = Http()
    upload: Upload = Upload()
    redis: Redis = Redis()
    queue: Queue = Queue()
    rate: Rate = Rate()
    provider: Provider = Provider()
    retry: Retry = Retry()
    message: Message = Message()
    campaign: Campaign = Campaign()
    audiences: dict[str, Numbers] = {"demo": ("+12025550101", "+12025550102")}
    log: Log = Log()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        *_: PydanticBaseSettingsSource,
        **__: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Use no source that `load` does not name: `Settings()` must not read the environment."""
        return (init_settings,)

    @field_validator("audiences")
    @classmethod
    def _default_among_them(
        cls, audiences: dict[str, Numbers], info: ValidationInfo
    ) -> dict[str, Numbers]:
        campaign = info.data.get("campaign")  # absent if it has a fault itself
        name = campaign.default_audience if campaign else ""
        if name and name not in audiences:
            raise PydanticCustomError(
                "unknown_audience",
                'expected "" or a name under [audiences] (there: {known}), got "{name}"',
                {
                    "known": ", ".join(sorted(audiences)) or "none",
                    "name": name,
                    "at": ("campaign", "default_audience"),
                },
            )
        if name and not audiences[name]:
            raise PydanticCustomError(
                "unknown_audience",
                'expected "" or a name with numbers under [audiences], but {name} has none',
                {"name": name, "at": ("campaign", "default_audience")},
            )
        return audiences
