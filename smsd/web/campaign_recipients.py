"""`/campaigns/{campaign}/recipients`. Rule: pages and pieces; they are never held as a whole."""

import asyncio
from collections.abc import AsyncGenerator, Iterable, Sequence

from aiohttp import web

from smsd.core import number
from smsd.core.campaign import Campaign
from smsd.core.fields import FieldError, rfc3339
from smsd.redis.availability import within
from smsd.store.audiences import BadCursor
from smsd.store.campaigns import Campaigns, Recipient, RecipientPage
from smsd.store.campaigns.recipients import STATES
from smsd.web import campaign_models as models
from smsd.web.campaigns import PATH, find_campaign
from smsd.web.csv_stream import BOM, answer_csv, for_excel, rows_as_csv
from smsd.web.errors import ANSWER_S, ApiError, json_response
from smsd.web.query import read_count, read_flag, read_query
from smsd.web.route import CSV, PARAMETERS, Answer, Route
from smsd.web.slices import STEP, Slices

QUERY = tuple(models.RecipientQuery.model_fields)
COUNT = 100  # recipients in a page, where the request gives no count
EXPORTED = 500  # that are fetched at once
COLUMNS = ("number", "state", "at", "provider_id", "reason", "code", "message_id")


class RecipientCalls:
    """The handlers."""

    def __init__(self, campaigns: Campaigns) -> None:
        self._campaigns = campaigns
        # So that the steps of several pages do not add up in one turn of the loop.
        self._pages = asyncio.Lock()

    def routes(self) -> Sequence[Route]:
        """The rows of these calls."""
        path = f"{PATH}/recipients"
        return (
            Route(
                "GET",
                path,
                self.recipients,
                "A page of recipients; with `Accept: text/csv` all of them.",
                {200: Answer("Recipients, in no order.", models.RecipientPage, also=CSV)},
                query=models.RecipientQuery,
                refusals=(404,),
            ),
            Route(
                "GET",
                f"{path}/{{number}}",
                self.recipient,
                "What became of the message to one recipient.",
                {200: Answer("The recipient.", models.RecipientShown)},
                refusals=(404,),
            ),
        )

    async def recipient(self, request: web.BaseRequest) -> web.Response:
        """`GET …/recipients/{number}`: one of them."""
        sought = _number(request)
        campaign = await find_campaign(self._campaigns, request)
        async with within(ANSWER_S):
            found = await self._campaigns.recipient(campaign, sought)
        if found is None:
            message = f"{campaign.request.name} has no recipient of this number"
            raise ApiError(404, "not_found", message)
        return json_response(_shown(found))

    async def recipients(self, request: web.BaseRequest) -> web.StreamResponse:
        """`GET …/recipients`: a page, or all as CSV."""
        query = read_query(request, QUERY)
        count = read_count(query, most=models.MOST_RECIPIENTS, default=COUNT)
        excel, state = read_flag(query, "excel"), _state(query)
        campaign = await find_campaign(self._campaigns, request)
        if CSV in request.headers.get("Accept", ""):
            name = "-".join(filter(None, (campaign.request.name, state)))
            pieces = self._export(campaign, state, excel=excel)
            return await answer_csv(request, pieces, f"{name}.csv")
        page = await self._page(campaign, state, query.get("after", ""), count)
        answer: dict[str, object] = {
            "recipients": [_shown(one) for one in page.recipients],
            "more": bool(page.cursor),
        }
        if page.cursor:
            answer["after"] = page.cursor
        return json_response(answer)

    async def _page(self, campaign: Campaign, state: str, after: str, count: int) -> RecipientPage:
        try:
            async with self._pages, within(ANSWER_S):
                return await self._campaigns.recipients(
                    campaign, state=state, cursor=after, count=count
                )
        except BadCursor:
            raise FieldError("after", "must be what the page before answered") from None

    async def _export(
        self, campaign: Campaign, state: str, *, excel: bool
    ) -> AsyncGenerator[bytes, None]:
        yield rows_as_csv([COLUMNS], begin=BOM if excel else "")
        after, slices = "", Slices()
        while True:
            page = await self._page(campaign, state, after, EXPORTED)
            for start in range(0, len(page.recipients), 2 * STEP):
                part = page.recipients[start : start + 2 * STEP]
                yield rows_as_csv(_rows(part, excel=excel))
                await slices.rest()
            after = page.cursor
            if not after:
                return


def _state(query: dict[str, str]) -> str:
    state = query.get("state", "")
    if "state" in query and state not in STATES:
        raise FieldError("state", f"must be one of {', '.join(STATES)}")
    return state


def _number(request: web.BaseRequest) -> str:
    try:
        return number.parse(request[PARAMETERS]["number"])
    except ValueError as error:
        raise FieldError("number", str(error)) from None


def _shown(one: Recipient) -> dict[str, object]:
    shown: dict[str, object] = {
        "number": one.number,
        "message_id": one.message_id,
        "state": one.state,
    }
    if one.at is not None:
        shown["at"] = rfc3339(one.at)
    reason, _, code = one.reason.partition(" ")
    more = {"provider_id": one.provider_id, "reason": reason, "code": code}
    return shown | {name: value for name, value in more.items() if value}


def _rows(recipients: Iterable[Recipient], *, excel: bool) -> Iterable[Sequence[str]]:
    for one in recipients:
        shown = _shown(one)
        row = [str(shown.get(column, "")) for column in COLUMNS]
        yield [for_excel(cell) for cell in row] if excel else row
