"""Who may call. Rule: tokens are compared in constant time, all of them, and never shown."""

import hashlib
import hmac
from collections.abc import Sequence

from aiohttp import web
from aiohttp.typedefs import Middleware

from smsd.web.errors import ApiError, Handler

# For load balancers and supervisors, and for who wants to learn how to ask.
OPEN = frozenset({"/healthz", "/readyz", "/readyz/dispatch", "/openapi.json"})


class Callers:
    """Those who bear one of the tokens; without any token, everybody."""

    def __init__(self, tokens: Sequence[str]) -> None:
        # Digests are of one length, so the comparison does not tell the token's.
        self._digests = [_digest(token) for token in tokens]

    def know(self, request: web.BaseRequest) -> bool:
        """Whether the caller is one of them."""
        if not self._digests:
            return True
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        given = _digest(token.strip())
        matches = [hmac.compare_digest(given, digest) for digest in self._digests]
        return scheme.lower() == "bearer" and any(matches)


def require_token(callers: Callers) -> Middleware:
    """A middleware that lets only `callers` through."""

    @web.middleware
    async def authenticate(request: web.Request, handler: Handler) -> web.StreamResponse:
        if request.path not in OPEN and not callers.know(request):
            raise ApiError(
                401,
                "unauthorized",
                "this needs a header Authorization: Bearer <one of [http] tokens>",
                # Whoever guesses must connect anew for each guess, and that is bounded.
                headers={"WWW-Authenticate": 'Bearer realm="smsd"', "Connection": "close"},
            )
        return await handler(request)

    return authenticate


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).digest()
