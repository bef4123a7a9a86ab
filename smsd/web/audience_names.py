"""Names of audiences. Rule: those of the settings are only read, and hide others of their name."""

import re
from collections.abc import Mapping, Sequence

from aiohttp import web

from smsd.core.fields import FieldError, shortened
from smsd.redis.availability import within
from smsd.store.audiences import Audiences
from smsd.store.audiences.record import Audience
from smsd.web.audience_models import NAME
from smsd.web.errors import ANSWER_S, ApiError
from smsd.web.route import PARAMETERS


class AudienceNames:
    """Which names there are in the settings, and which are allowed beside them."""

    def __init__(self, fixed: Mapping[str, Sequence[str]]) -> None:
        """`fixed`: the numbers of each audience of the settings."""
        self.fixed = {name: tuple(dict.fromkeys(numbers)) for name, numbers in fixed.items()}

    def readable(self, request: web.BaseRequest) -> str:
        """The name that the path of a request has. Raises `FieldError`."""
        name = request[PARAMETERS]["name"]
        if name not in self.fixed and not re.fullmatch(NAME, name):
            must = "must be 1 to 64 small letters, digits, - or _, and not begin with - or _"
            raise FieldError("name", f"{must}, not {shortened(name)}")
        return name

    def writable(self, request: web.BaseRequest) -> str:
        """The same; one of the settings is refused. Raises `ApiError` 409."""
        name = self.readable(request)
        if name in self.fixed:
            message = f"{name} stands in [audiences] of the settings, and is changed there"
            raise ApiError(409, "audience_fixed", message)
        return name


async def find_audience(audiences: Audiences, name: str) -> Audience:
    """An audience that is in Redis. Raises `ApiError` 404."""
    async with within(ANSWER_S):
        audience = await audiences.show(name)
    if audience is None:
        raise no_audience(name)
    return audience


def no_audience(name: str) -> ApiError:
    """The answer where there is none."""
    return ApiError(404, "not_found", f"there is no audience {name}")
