"""Callers without tokens. Rule: a program on this machine may call; a page in its browser may not.

Any page can make a browser call a loopback address, and read the answers by letting the page's own
name lead there (DNS rebinding). The browser then sends that name as the Host, the page's address as
its Origin, and says in Sec-Fetch-Site whether that is ours; a page can forge none of them.
"""

import ipaddress
import re
from collections.abc import Collection
from functools import lru_cache

from aiohttp import web

from smsd.web.errors import ApiError

_HOST = re.compile(r"(?:\[([0-9a-f:.]+)\]|([a-z0-9._-]+))(?::[0-9]{1,5})?")
_OWN_SITE = ("same-origin", "none")  # none: typed by a person


def check_browser(request: web.BaseRequest, hosts: Collection[str], *, address: str | None) -> None:
    """Refuse what a foreign page made a browser ask. Raises `ApiError` 403.

    `hosts`: names that are ours, beside those of loopback and the `address` that was called; None
    for a unix socket.
    """
    host = request.headers.get("Host")
    # A browser always names a host (aiohttp lets only HTTP/1.0 go without), and reaches no unix
    # socket, where any name will do.
    if host is not None and address is not None:
        name = _name(host.lower())
        if not name or not (name == address or name in hosts or _is_loopback(name)):
            raise _refusal(
                "foreign_host",
                "this Host is none of ours; without [http] tokens, name it in [http] hosts",
            )
    origin = request.headers.get("Origin")
    foreign = origin is not None and origin.partition("://")[2].lower() != (host or "").lower()
    if foreign or not (_is_own_site(request) or _is_link(request)):
        raise _refusal("foreign_origin", "without [http] tokens, no page of another site may call")


def _is_own_site(request: web.BaseRequest) -> bool:
    return request.headers.get("Sec-Fetch-Site", "none") in _OWN_SITE


@lru_cache(256)
def _name(host: str) -> str:
    """The host without its port; empty where it is none."""
    found = _HOST.fullmatch(host)
    return (found[1] or found[2]) if found else ""


@lru_cache(256)
def _is_loopback(name: str) -> bool:
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return name == "localhost"


def _is_link(request: web.BaseRequest) -> bool:
    """Whether a person followed a link to us, which shows the page that linked nothing."""
    headers = request.headers
    return (
        request.method in ("GET", "HEAD")
        and headers.get("Sec-Fetch-Mode") == "navigate"
        and headers.get("Sec-Fetch-Dest") == "document"  # not in a frame
    )


def _refusal(code: str, message: str) -> ApiError:
    return ApiError(403, code, message, headers={"Connection": "close"})
