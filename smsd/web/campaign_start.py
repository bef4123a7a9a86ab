"""`POST /campaigns`. Rule: 200 means that the recipients are frozen and the campaign is durable."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace

from aiohttp import web

from smsd.core import segment
from smsd.core.campaign import Campaign
from smsd.core.campaign_request import LONGEST_BODY, Draft, read_draft
from smsd.core.fields import FieldError
from smsd.redis.availability import within
from smsd.store.audiences import MOST_IN_PAGE, Audiences
from smsd.store.campaigns import Campaigns
from smsd.web import campaign_models as models
from smsd.web.audience_names import AudienceNames
from smsd.web.auth import caller
from smsd.web.body import MOST_VALUES, read_object
from smsd.web.campaign_plan import Planner, Recipients
from smsd.web.campaign_refusals import (
    no_audience,
    refusals_of_key,
    refusals_of_start,
    unknown_column,
)
from smsd.web.campaign_view import CampaignView
from smsd.web.errors import ANSWER_S, json_response
from smsd.web.idempotency import REPLAYED, KeyHeaders, ReplayedHeaders, read_key
from smsd.web.query import read_flag, read_query
from smsd.web.recipients import read_recipients
from smsd.web.route import BODY, Answer, Route
from smsd.web.send import LONGEST_LIST, SHORT_BODY, SendLimits
from smsd.web.slices import Slices

QUERY = tuple(models.StartQuery.model_fields)
START_S = 30.0  # for the start of a campaign: a million recipients take one second
SAMPLE = MOST_IN_PAGE  # contacts by which the segments of a message are estimated


class CampaignStart:
    """The handler."""

    def __init__(
        self,
        campaigns: Campaigns,
        audiences: Audiences,
        names: AudienceNames,
        view: CampaignView,
        planner: Planner,
        *,
        limits: SendLimits,
        now_ms: Callable[[], int],
    ) -> None:
        self._campaigns = campaigns
        self._audiences = audiences
        self._names = names
        self._view = view
        self._planner = planner
        self._limits = limits
        self._now_ms = now_ms
        self._long_work = asyncio.Lock()
        self._most_names = LONGEST_BODY + MOST_VALUES
        self._most_values = self._most_names + max(limits.max_recipients, LONGEST_LIST)

    def routes(self) -> Sequence[Route]:
        """The row of this call."""
        return (
            Route(
                "POST",
                "/campaigns",
                self.start,
                "Start a campaign. 200 means that it is durable; with `dry_run`, that it could be.",
                {200: Answer("It is started.", models.StartAnswer, headers=ReplayedHeaders)},
                body=models.CampaignRequest,
                query=models.StartQuery,
                headers=KeyHeaders,
                refusals=(409,),
                operation_id="start_campaign",
            ),
        )

    async def start(self, request: web.BaseRequest) -> web.Response:
        """Start a campaign, or answer what it would be."""
        body, is_dry = request[BODY], read_flag(read_query(request, QUERY), "dry_run")
        key = read_key(request, body)
        if key[0] and not is_dry and (before := await self._started_before(key)) is not None:
            return self._answer(before, again=True)
        draft, duplicates = await self._read(body)
        recipients = await self._recipients(draft, duplicates)
        if is_dry:
            return json_response(await self._planner.plan(request, draft, recipients))
        with refusals_of_start():
            each = await self._segments_each(draft, recipients)
            async with within(START_S):
                campaign, again = await self._campaigns.start(
                    draft.request,
                    by=caller(request),
                    required=draft.template.required,
                    columns=draft.template.columns,
                    segments_each=each,
                    numbers=recipients.fixed,
                    idempotency=key if key[0] else None,
                )
        return self._answer(campaign, again=again)

    def _answer(self, campaign: Campaign, *, again: bool) -> web.Response:
        return json_response(self._view.started(campaign), headers=REPLAYED if again else None)

    async def _started_before(self, key: tuple[str, str]) -> Campaign | None:
        """What the same request has started: it is not judged by today's clock and limits."""
        async with within(ANSWER_S):
            with refusals_of_key():
                return await self._campaigns.started_before(key)

    # -- what is asked for ------------------------------------------------------------------------

    async def _read(self, body: bytes) -> tuple[Draft, int]:
        """A request, and how many of its numbers are repetitions.

        Long bodies are read one after the other: the slices of several would add up to a long step
        of the event loop.
        """
        if len(body) <= SHORT_BODY:
            return await self._parse(body)
        async with self._long_work:
            return await self._parse(body)

    async def _parse(self, body: bytes) -> tuple[Draft, int]:
        fields = read_object(body, most_values=self._most_values, most_names=self._most_names)
        draft = read_draft(fields, self._limits.message, self._now_ms())
        if "to" not in fields:
            if not draft.request.audience:
                raise FieldError("audience", "is missing; or name numbers in to")
            return draft, 0
        numbers, duplicates = await read_recipients(fields["to"], self._limits.max_recipients)
        request = replace(draft.request, recipients=tuple(numbers))
        return replace(draft, request=request), duplicates

    async def _recipients(self, draft: Draft, duplicates: int) -> Recipients:
        """Who gets it. Raises `FieldError` where the body needs what they have not."""
        fixed: Sequence[str] | None = None
        columns: tuple[str, ...] = ()
        if name := draft.request.audience:
            fixed = self._names.fixed.get(name)
            if fixed is None:
                async with within(ANSWER_S):
                    audience = await self._audiences.show(name)
                if audience is None:
                    raise no_audience(name)
                columns = audience.fields
        for column in draft.template.columns:
            if column not in columns:
                raise unknown_column(column, columns)
        draft.template.refuse_columns(columns)
        return Recipients(fixed, columns, duplicates)

    async def _segments_each(self, draft: Draft, recipients: Recipients) -> float:
        """What a message takes, on average: exact where all are alike."""
        if not draft.template.columns:
            return draft.content.segments.segments
        async with within(ANSWER_S):
            page = await self._audiences.page(draft.request.audience, count=SAMPLE)
        if page is None or not page.contacts:
            return draft.content.segments.segments  # the start says that it is gone, or empty
        bound, total, slices = draft.bind(recipients.columns), 0, Slices()
        for contact in page.contacts:
            await slices.rest()
            values = [contact.fields.get(column, "") for column in recipients.columns]
            try:
                total += bound.segments(values).segments
            except (FieldError, segment.TooLong):  # it lacks a value: the start says so
                total += 1
        return total / len(page.contacts)
