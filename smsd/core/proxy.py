"""The URL of a proxy. Rule: every part of it is used, or it is a fault.

A fault quotes nothing of the URL, which may hold a password.
"""

from dataclasses import dataclass, field
from urllib.parse import unquote, urlsplit

SCHEMES = ("http", "https")
FORM = "http://host:port or https://host:port, with user:password@ before the host if need be"


@dataclass(frozen=True, slots=True)
class Proxy:
    """Its address, and the login for it; "" without one."""

    url: str
    user: str = field(default="", repr=False)
    password: str = field(default="", repr=False)


def parse(url: str) -> Proxy:
    """Read a URL. Raises `ValueError`, which states what was expected."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        raise ValueError(f"expected {FORM}") from None
    if parts.scheme not in SCHEMES or not host or parts.path not in ("", "/"):
        raise ValueError(f"expected {FORM}")
    if parts.query or parts.fragment or not (host.isascii() and host.isprintable()):
        raise ValueError(f"expected {FORM}")
    shown = f"[{host}]" if ":" in host else host
    where = f"{parts.scheme}://{shown}" + (f":{port}" if port is not None else "")
    return Proxy(where, unquote(parts.username or ""), unquote(parts.password or ""))
