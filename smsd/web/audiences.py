"""`/audiences`. Rule: an audience is shown by its counts; none of it is read for that."""

from collections.abc import Sequence

from aiohttp import web

from smsd.core.fields import rfc3339
from smsd.redis.availability import within
from smsd.store.audiences import Audiences
from smsd.store.audiences.record import Audience, Import
from smsd.web import audience_models as models
from smsd.web.audience_names import AudienceNames, find_audience, no_audience
from smsd.web.errors import ANSWER_S, json_response
from smsd.web.route import Answer, Route


class AudienceCalls:
    """The handlers of audiences as a whole, but for imports."""

    def __init__(self, audiences: Audiences, names: AudienceNames) -> None:
        self._audiences = audiences
        self._names = names

    def routes(self) -> Sequence[Route]:
        """The rows of these calls."""
        path = "/audiences/{name}"
        return (
            Route(
                "GET",
                "/audiences",
                self.list,
                "All audiences.",
                {200: Answer("By name.", models.AudienceList)},
                operation_id="audiences",
            ),
            Route(
                "GET",
                path,
                self.show,
                "How many contacts an audience has, and which fields.",
                {200: Answer("The audience.", models.AudienceShown)},
                refusals=(404,),
                operation_id="audience",
            ),
            Route(
                "DELETE",
                path,
                self.remove,
                "Remove an audience.",
                {200: Answer("It is gone.", models.Removed)},
                refusals=(404, 409),
                operation_id="remove_audience",
            ),
        )

    async def list(self, _: web.BaseRequest) -> web.Response:
        """`GET /audiences`: all of them."""
        async with within(ANSWER_S):
            found = await self._audiences.all()
        shown = {audience.name: _shown(audience) for audience in found}
        shown |= {name: _fixed(name, numbers) for name, numbers in self._names.fixed.items()}
        return json_response({"audiences": [shown[name] for name in sorted(shown)]})

    async def show(self, request: web.BaseRequest) -> web.Response:
        """`GET /audiences/{name}`: what it holds, and how that came."""
        name = self._names.readable(request)
        if (numbers := self._names.fixed.get(name)) is not None:
            return json_response(_fixed(name, numbers))
        audience = await find_audience(self._audiences, name)
        imports = [_shown_import(one) for one in audience.imports]
        return json_response({**_shown(audience), "imports": imports})

    async def remove(self, request: web.BaseRequest) -> web.Response:
        """`DELETE /audiences/{name}`: all of it."""
        name = self._names.writable(request)
        async with within(ANSWER_S):
            if not await self._audiences.remove(name):
                raise no_audience(name)
        return json_response({"status": "removed", "name": name})


def _shown(audience: Audience) -> dict[str, object]:
    shown: dict[str, object] = {
        "name": audience.name,
        "contacts": audience.contacts,
        "fields": audience.fields,
        "source": "redis",
        "created": rfc3339(audience.created),
        "updated": rfc3339(audience.updated),
    }
    if audience.imports:
        shown["by"] = audience.imports[0].source.by
    return shown


def _shown_import(one: Import) -> dict[str, object]:
    return {
        "at": rfc3339(one.at),
        "sha256": one.source.sha256,
        "replaced": one.replaced,
        "by": one.source.by,
        "added": one.counts.added,
        "updated": one.counts.updated,
        "duplicates": one.counts.duplicates,
        "rejected": sum(one.source.rejected.values()),
    }


def _fixed(name: str, numbers: Sequence[str]) -> dict[str, object]:
    return {"name": name, "contacts": len(numbers), "fields": [], "source": "config"}
