"""`/campaigns`: a look at them, and changes. Rule: each change keeps who made it, and why.

A campaign is named by its id or by its name.
"""

from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

from aiohttp import web

from smsd.core.campaign import Campaign
from smsd.core.campaign_request import read_edit, read_verb
from smsd.core.fields import FieldError, shortened
from smsd.redis.availability import within
from smsd.store.campaigns import Campaigns
from smsd.web import campaign_models as models
from smsd.web.auth import caller
from smsd.web.body import read_object
from smsd.web.campaign_refusals import no_campaign, refusals_of_verbs
from smsd.web.campaign_view import CampaignView
from smsd.web.errors import ANSWER_S, json_response
from smsd.web.query import read_count, read_query
from smsd.web.route import BODY, PARAMETERS, Answer, Route

QUERY = tuple(models.ListQuery.model_fields)
COUNT = 20  # campaigns in a page, where the request gives no count
PATH = "/campaigns/{campaign}"
LONGEST_ID = 16  # characters


class Turn(Protocol):
    """A verb as the store has it."""

    def __call__(
        self, campaign: Campaign, *, by: str, reason: str, expect: int | None
    ) -> Awaitable[Campaign]:
        """Do it, unless another number of messages is concerned than was expected."""
        ...


async def find_campaign(campaigns: Campaigns, request: web.BaseRequest) -> Campaign:
    """The campaign that the path of a request names. Raises `ApiError` 404."""
    name = request[PARAMETERS]["campaign"]
    async with within(ANSWER_S):
        campaign = await campaigns.show(name)
    if campaign is None:
        raise no_campaign(shortened(name))
    return campaign


class CampaignCalls:
    """The handlers."""

    def __init__(
        self, campaigns: Campaigns, view: CampaignView, *, now_ms: Callable[[], int]
    ) -> None:
        self._campaigns = campaigns
        self._view = view
        self._now_ms = now_ms

    def routes(self) -> Sequence[Route]:
        """The rows of these calls."""
        shown = {200: Answer("The campaign.", models.CampaignShown)}
        verbs = (
            ("pause", self.pause, "Nothing of it starts any more, until it is resumed."),
            ("resume", self.resume, "Let a paused campaign go on."),
            ("cancel", self.cancel, "Nothing of it starts any more."),
        )
        return (
            Route(
                "GET",
                "/campaigns",
                self.list,
                "Campaigns, the latest first.",
                {200: Answer("A page of campaigns.", models.CampaignList)},
                query=models.ListQuery,
                operation_id="campaigns",
            ),
            Route(
                "GET",
                PATH,
                self.show,
                "A campaign, and how far it is.",
                shown,
                refusals=(404,),
                operation_id="campaign",
            ),
            Route(
                "PATCH",
                PATH,
                self.edit,
                "Another weight or expiry, for messages that are still to be made.",
                shown,
                body=models.EditRequest,
                refusals=(404, 409),
                operation_id="edit_campaign",
            ),
            Route(
                "DELETE",
                PATH,
                self.remove,
                "Forget a campaign that has ended, and its recipients.",
                {200: Answer("It is gone.", models.CampaignRemoved)},
                refusals=(404, 409),
                operation_id="remove_campaign",
            ),
            *(
                Route(
                    "POST",
                    f"{PATH}/{verb}",
                    handler,
                    summary,
                    shown,
                    body=models.VerbRequest,
                    refusals=(404, 409),
                    operation_id=f"{verb}_campaign",
                )
                for verb, handler, summary in verbs
            ),
        )

    async def list(self, request: web.BaseRequest) -> web.Response:
        """`GET /campaigns`: a page of them."""
        query = read_query(request, QUERY)
        count = read_count(query, most=models.MOST_SHOWN, default=COUNT)
        after = query.get("after", "")
        if not (after.isascii() and len(after) <= LONGEST_ID):
            raise FieldError("after", "must be what the page before answered")
        async with within(ANSWER_S):
            found, cursor = await self._campaigns.page(after, count)
        answer: dict[str, object] = {"campaigns": self._view.several(found), "more": bool(cursor)}
        if cursor:
            answer["after"] = cursor
        return json_response(answer)

    async def show(self, request: web.BaseRequest) -> web.Response:
        """`GET /campaigns/{campaign}`: one of them."""
        return json_response(self._view.whole(await find_campaign(self._campaigns, request)))

    async def edit(self, request: web.BaseRequest) -> web.Response:
        """`PATCH`: another weight, another expiry."""
        asked = read_edit(read_object(request[BODY]), self._now_ms())
        campaign = await find_campaign(self._campaigns, request)
        send_at = campaign.request.send_at
        if asked.expires_at is not None and send_at is not None and asked.expires_at <= send_at:
            raise FieldError("expires_at", "must be later than send_at")
        async with within(ANSWER_S):
            with refusals_of_verbs():
                changed = await self._campaigns.edit(
                    campaign,
                    by=caller(request),
                    weight=asked.weight,
                    expires_at=asked.expires_at,
                )
        return json_response(self._view.whole(changed))

    async def remove(self, request: web.BaseRequest) -> web.Response:
        """`DELETE`: forget it."""
        campaign = await find_campaign(self._campaigns, request)
        async with within(ANSWER_S):
            with refusals_of_verbs():
                await self._campaigns.remove(campaign, by=caller(request))
        name = campaign.request.name
        return json_response({"status": "removed", "id": campaign.id, "name": name})

    async def pause(self, request: web.BaseRequest) -> web.Response:
        """`POST …/pause`."""
        return await self._turn(request, self._campaigns.pause)

    async def resume(self, request: web.BaseRequest) -> web.Response:
        """`POST …/resume`."""
        return await self._turn(request, self._campaigns.resume)

    async def cancel(self, request: web.BaseRequest) -> web.Response:
        """`POST …/cancel`."""
        return await self._turn(request, self._campaigns.cancel)

    async def _turn(self, request: web.BaseRequest, turn: Turn) -> web.Response:
        asked = read_verb(read_object(request[BODY]))
        campaign = await find_campaign(self._campaigns, request)
        async with within(ANSWER_S):
            with refusals_of_verbs():
                turned = await turn(
                    campaign, by=caller(request), reason=asked.reason, expect=asked.expect
                )
        return json_response(self._view.whole(turned))
