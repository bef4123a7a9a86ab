"""A proxy on the way out, as a URL says it. Rule: all of a URL is understood, or it is a fault.

A fault quotes nothing of the URL, which may hold a password.
"""

from dataclasses import dataclass, field
from urllib.parse import unquote, urlsplit

SCHEMES = ("http", "https")
FORM = "http://host:port or https://host:port, with user:password@ before the host if need be"


@dataclass(frozen=True, slots=True)
class Proxy:
    """Where it is, and who we are to it. Empty words: nobody."""

    url: str
    user: str = field(default="", repr=False)
    password: str = field(default="", repr=False)


def parse(url: str) -> Proxy:
    """Read a URL. Raises `ValueError` with what was expected."""
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
