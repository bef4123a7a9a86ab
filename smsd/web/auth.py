"""Who may call. Rule: that is known, in constant time, before anything of a body is waited for.

All tokens are compared, and none is ever shown. Without tokens only programs on this machine can
call; what a page in its browser asks for is refused.
"""

import hashlib
import hmac
from collections.abc import Collection, Sequence
from typing import cast

from aiohttp import web

from smsd.web.edge.connection import Connection
from smsd.web.errors import ApiError
from smsd.web.hosts import check_browser
from smsd.web.route import Access


def caller(request: web.BaseRequest) -> str:
    """The caller as a record of what was done names it."""
    return f"HTTP from {request.remote or 'a socket'}"


class Callers:
    """Those who bear one of the tokens; without any token, the programs on this machine."""

    def __init__(self, tokens: Sequence[str], hosts: Collection[str] = ()) -> None:
        """`hosts`: see `check_browser`."""
        # Digests are of one length, so the time of a comparison does not show the token's.
        self._digests = [_digest(token) for token in tokens]
        self._hosts = frozenset(host.lower() for host in hosts)

    def check(self, request: web.BaseRequest, access: Access) -> bool:
        """Whether the caller is known; a stranger may make a call that is open to all.

        Refuses whoever may not call. Raises `ApiError` 401 or 403.
        """
        if not self._digests:
            address = cast("Connection", request.protocol).address
            check_browser(request, self._hosts, address=address)
            return True
        if access is Access.OPEN:
            return False
        if not self.knows(request):
            raise ApiError(
                401,
                "unauthorized",
                "this needs a header Authorization: Bearer <one of [http] tokens>",
                # Whoever guesses must connect anew for each guess, and that is bounded.
                headers={"WWW-Authenticate": 'Bearer realm="smsd"', "Connection": "close"},
            )
        return True

    def knows(self, request: web.BaseRequest) -> bool:
        """Whether the caller bears one of the tokens, or none are asked for."""
        if not self._digests:
            return True
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        given = _digest(token.strip())
        matches = [hmac.compare_digest(given, digest) for digest in self._digests]
        return scheme.lower() == "bearer" and any(matches)


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).digest()
