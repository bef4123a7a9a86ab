"""The dry run of a campaign. Rule: it changes nothing, and costs the pace nothing.

Recipients come page by page, are counted in slices, and leave nothing but counters. One dry run is
made at a time, and ends when nobody waits for it any more.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from typing import NamedTuple

from aiohttp import web

from smsd.core.campaign_request import Draft
from smsd.core.forecast import Backlog, moment
from smsd.core.message import Limits
from smsd.core.plan import Fault, Plan, Ucs2
from smsd.core.transliterate import REPLACEMENTS
from smsd.redis.availability import within
from smsd.store.audiences import Audiences
from smsd.store.audiences.record import Contact
from smsd.store.opt_outs import OptOuts
from smsd.web.campaign_progress import Progress
from smsd.web.campaign_refusals import audience_changed, no_recipients
from smsd.web.campaign_view import CampaignView
from smsd.web.errors import ANSWER_S, ApiError, unavailable
from smsd.web.slices import Slices

AT_ONCE = 100  # contacts that are fetched: a quarter of a millisecond to take in
SHOWN = 20  # reasons for UCS-2, characters that are replaced
PLAN = "plan"  # an id that no campaign has


class Recipients(NamedTuple):
    """Who gets a message, beside those in `to`."""

    fixed: Sequence[str] | None  # the numbers of an audience of the settings
    columns: tuple[str, ...]  # that contacts have
    duplicates: int  # in `to`


class Planner:
    """Makes plans."""

    def __init__(
        self,
        audiences: Audiences,
        opt_outs: OptOuts,
        progress: Progress,
        view: CampaignView,
        *,
        limits: Limits,
        now_ms: Callable[[], int],
    ) -> None:
        self._audiences = audiences
        self._opt_outs = opt_outs
        self._progress = progress
        self._view = view
        self._limits = limits
        self._now_ms = now_ms
        self._one_at_a_time = asyncio.Lock()

    async def plan(
        self, request: web.BaseRequest, draft: Draft, recipients: Recipients
    ) -> dict[str, object]:
        """What would become of it. Raises `ApiError`, `FieldError`."""
        try:
            async with asyncio.timeout(ANSWER_S):
                await self._one_at_a_time.acquire()
        except TimeoutError:
            raise unavailable("busy", "another dry run is being made") from None
        try:
            return await self._plan(request, draft, recipients)
        finally:
            self._one_at_a_time.release()

    async def _plan(
        self, request: web.BaseRequest, draft: Draft, recipients: Recipients
    ) -> dict[str, object]:
        plan = self._empty(draft, recipients)
        left = dict.fromkeys(draft.request.recipients)  # those that the audience has not
        duplicates = recipients.duplicates
        async for contacts in self._pages(draft, recipients):
            if request.transport is None or request.transport.is_closing():
                raise ApiError(400, "caller_gone", "nobody waits for this dry run")
            for contact in contacts:
                if contact.number in left:
                    duplicates += 1
                    del left[contact.number]
            await self._add(plan, contacts, recipients.columns)
        numbers = list(left)
        for start in range(0, len(numbers), AT_ONCE):
            some = [Contact(one, {}) for one in numbers[start : start + AT_ONCE]]
            await self._add(plan, some, recipients.columns)
        if not plan.recipients:
            raise no_recipients()
        return self._shown(plan, draft, duplicates)

    def _empty(self, draft: Draft, recipients: Recipients) -> Plan:
        by_provider = not draft.request.sender
        billed = self._limits.billed if by_provider else None
        return Plan(
            draft.template,
            recipients.columns,
            self._limits.max_segments,
            billed,
            transliterating=draft.request.transliterate,
        )

    async def _pages(self, draft: Draft, recipients: Recipients) -> AsyncIterator[list[Contact]]:
        """Contacts of the audience. Raises `ApiError` 409 if it is changed meanwhile."""
        name, fixed = draft.request.audience, recipients.fixed or ()
        for start in range(0, len(fixed), AT_ONCE):
            yield [Contact(one, {}) for one in fixed[start : start + AT_ONCE]]
        if not name or recipients.fixed is not None:
            return
        audience, after, more = await self._audience(name), "", True
        while more:
            async with within(ANSWER_S):
                page = await self._audiences.page(name, after, AT_ONCE)
            if page is None:
                raise audience_changed()
            yield page.contacts
            after = page.cursor
            more = bool(after)
        if await self._audience(name) != audience:
            raise audience_changed()

    async def _audience(self, name: str) -> tuple[str, int] | None:
        """Its version and revision."""
        async with within(ANSWER_S):
            audience = await self._audiences.show(name)
        return (audience.version, audience.revision) if audience else None

    async def _add(self, plan: Plan, contacts: Sequence[Contact], columns: Sequence[str]) -> None:
        async with within(ANSWER_S):
            opted_out = await self._opt_outs.among([one.number for one in contacts])
        slices = Slices()
        for contact in contacts:
            await slices.rest()  # after each: a body may be long
            if contact.number in opted_out:
                plan.add_opted_out()
            else:
                plan.add(contact.number, [contact.fields.get(name, "") for name in columns])

    # -- what is answered -------------------------------------------------------------------------

    def _shown(self, plan: Plan, draft: Draft, duplicates: int) -> dict[str, object]:
        return {
            "dry_run": True,
            "would_start": not plan.missing.recipients,
            "recipients": plan.recipients,
            "duplicates": duplicates,
            "opted_out": plan.opted_out,
            "messages": plan.messages,
            "segments": plan.segments,
            "by_segments": {str(many): plan.by_segments[many] for many in sorted(plan.by_segments)},
            "ucs2": self._ucs2(plan.ucs2),
            **_replaced(plan, draft),
            "missing": _fault(plan.missing),
            "unusable": _fault(plan.unusable),
            "too_long": _fault(plan.too_long),
            **self._future(plan, draft),
            **self._view.costs(0, plan.segments),
        }

    def _ucs2(self, ucs2: Ucs2) -> dict[str, object]:
        because = [
            {
                "character": culprit.character,
                "name": culprit.name,
                "column": culprit.column,
                "messages": many,
                "extra_segments": ucs2.extra_of[culprit],
                **self._view.extra_cost(ucs2.extra_of[culprit]),
            }
            for culprit, many in ucs2.of.most_common(SHOWN)
        ]
        return {
            "messages": ucs2.messages,
            "extra_segments": ucs2.extra,
            **self._view.extra_cost(ucs2.extra),
            "because": because,
        }

    def _future(self, plan: Plan, draft: Draft) -> dict[str, object]:
        """When it is finished, and how many messages expire before."""
        now, asked = self._now_ms(), draft.request
        backlog = Backlog(
            PLAN,
            plan.segments,
            asked.weight,
            goes_first=asked.priority == "high",
            starts_at=max(0.0, ((asked.send_at or 0) - now) / 1000),
        )
        ends_at = now + round(1000 * self._progress.forecast([], backlog).finished[PLAN])
        expired = 0
        if asked.expires_at is not None and ends_at > asked.expires_at:
            until = max(0.0, (asked.expires_at - now) / 1000)
            left = self._progress.forecast([], backlog, until=until).left[PLAN]
            expired = round(left * plan.messages / plan.segments) if plan.segments else 0
            ends_at = asked.expires_at
        return {"would_expire": expired, "drains_at": moment(ends_at)}


def _replaced(plan: Plan, draft: Draft) -> dict[str, object]:
    if not draft.request.transliterate:
        return {}
    return {
        "replaced": [
            {"character": one, "replacement": REPLACEMENTS[one], "messages": many}
            for one, many in plan.replaced.most_common(SHOWN)
        ]
    }


def _fault(fault: Fault) -> dict[str, object]:
    return {
        "recipients": fault.recipients,
        "columns": {name: many for name, many in fault.by_column.items() if name},
        "first": [
            {"number": number, **({"column": column} if column else {})}
            for number, column in fault.first
        ],
    }
