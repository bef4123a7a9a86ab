"""Where Redis is, as a URL says it. Rule: all of a URL is understood, or it is a fault.

A fault quotes nothing of the URL: a password that was not percent-encoded may stand anywhere in it.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

SCHEMES = ("redis", "rediss", "unix", "redis+sentinel", "rediss+sentinel")
SENTINEL = "+sentinel"
PORT, SENTINEL_PORT = 6379, 26379
HIGHEST_PORT = 65_535
FILES = ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile")
YES, NO = ("1", "true", "yes", "on"), ("0", "false", "no", "off")

_LOGIN = ("username", "password")
_SENTINEL_LOGIN = ("sentinel_username", "sentinel_password")
_TLS = (*FILES, "ssl_ca_path", "ssl_password", "ssl_cert_reqs", "ssl_check_hostname", "ssl_ciphers")
_CERT_REQS = ("required", "optional", "none")
# RFC 3986, appendix B. `urlsplit` takes one host, and of late no list with an address in it.
_URL = re.compile(r"(?:([^:/?#]+):)?(?://([^/?#]*))?([^?#]*)(?:\?([^#]*))?(?:#(.*))?", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Login:
    """An ACL user. Empty words: the default user, no password."""

    username: str = field(default="", repr=False)
    password: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A server, or the sentinels that know it."""

    nodes: tuple[tuple[str, int], ...]  # host and port: one server, or every sentinel; or none
    path: str = ""  # of the unix socket
    service: str = ""  # what the sentinels call the master; "": there are none
    db: int = 0
    login: Login = Login()
    sentinel_login: Login = Login()
    # None: no TLS. redis-py's own names for its options.
    tls: Mapping[str, str | bool] | None = field(default=None, repr=False)

    @property
    def files(self) -> dict[str, str]:
        """What must be readable, by option."""
        return {name: str(self.tls[name]) for name in FILES if self.tls and name in self.tls}


def parse(url: str) -> Endpoint:
    """Read a URL of one of `SCHEMES`. Raises `ValueError` with what was expected."""
    found = _URL.fullmatch(url)
    assert found  # noqa: S101 - it takes anything apart
    scheme, *others = found.groups(default="")
    parts = SplitResult(scheme.lower(), *others)
    if parts.scheme not in SCHEMES:
        raise _fault(f"one of {', '.join(f'{scheme}://' for scheme in SCHEMES)}")
    if parts.fragment or "#" in url:
        raise _fault("no #")
    options = _options(parts)
    userinfo, _, hosts = parts.netloc.rpartition("@")
    name, _, password = userinfo.partition(":")
    return Endpoint(
        nodes=_nodes(parts.scheme, hosts),
        path=_socket(parts),
        service=_service(parts),
        db=_db(parts, options),
        login=Login(
            unquote(name) or options.get("username", ""),
            unquote(password) or options.get("password", ""),
        ),
        sentinel_login=Login(*(options.get(option, "") for option in _SENTINEL_LOGIN)),
        tls=_tls(options) if parts.scheme.startswith("rediss") else None,
    )


def _options(parts: SplitResult) -> dict[str, str]:
    known = ["db", *_LOGIN]
    if parts.scheme.endswith(SENTINEL):
        known += _SENTINEL_LOGIN
    if parts.scheme.startswith("rediss"):
        known += _TLS
    if not parts.query:
        return {}
    try:
        pairs = parse_qsl(parts.query, strict_parsing=True)
    except ValueError:
        raise _fault("options as ?name=value&name=value") from None
    options = dict(pairs)
    if len(options) < len(pairs) or not options.keys() <= set(known):
        raise _fault(f"no options but {', '.join(known)}, each once")
    return options


def _nodes(scheme: str, hosts: str) -> tuple[tuple[str, int], ...]:
    if scheme == "unix":
        if hosts:
            raise _fault("an absolute path after unix://")
        return ()
    several = scheme.endswith(SENTINEL)
    names = hosts.split(",") if several else [hosts]
    return tuple(_node(name, SENTINEL_PORT if several else PORT) for name in names)


def _node(name: str, usual_port: int) -> tuple[str, int]:
    try:
        parts = urlsplit(f"//{name}")
    except ValueError:
        raise _fault("a host, an IPv6 address in [brackets]") from None
    try:
        host, port = parts.hostname, parts.port
    except ValueError:
        raise _fault(f"a port of 1 to {HIGHEST_PORT}") from None
    if not host or port == 0 or not re.fullmatch(r"[\w.:%-]+", host) or name.endswith(":"):
        raise _fault("a host, or host:port")
    return unquote(host), port or usual_port


def _socket(parts: SplitResult) -> str:
    if parts.scheme != "unix":
        return ""
    if not parts.path.strip("/"):
        raise _fault("an absolute path after unix://")
    return unquote(parts.path)


def _service(parts: SplitResult) -> str:
    if not parts.scheme.endswith(SENTINEL):
        return ""
    service = unquote(parts.path.removeprefix("/").partition("/")[0])
    if not service:
        raise _fault("the master's name after the sentinels: host:port,host:port/name")
    return service


def _db(parts: SplitResult, options: Mapping[str, str]) -> int:
    path = "" if parts.scheme == "unix" else parts.path.removeprefix("/")
    if parts.scheme.endswith(SENTINEL):
        path = path.partition("/")[2]
    if path and "db" in options:
        raise _fault("the database's number once")
    number = path or options.get("db", "0")
    if not re.fullmatch(r"[0-9]{1,5}", number):
        raise _fault("the database's number")
    return int(number)


def _tls(options: Mapping[str, str]) -> dict[str, str | bool]:
    tls: dict[str, str | bool] = {name: options[name] for name in _TLS if name in options}
    if tls.get("ssl_cert_reqs", "required") not in _CERT_REQS:
        raise _fault(f"ssl_cert_reqs to be one of {', '.join(_CERT_REQS)}")
    if (value := options.get("ssl_check_hostname")) is not None:
        if value.lower() not in YES + NO:
            raise _fault("ssl_check_hostname to be true or false")
        tls["ssl_check_hostname"] = value.lower() in YES
    return tls


def _fault(expected: str) -> ValueError:
    return ValueError(
        f"expected {expected} (:, /, ?, #, @ and % in a name or password: percent-encoded)"
    )
