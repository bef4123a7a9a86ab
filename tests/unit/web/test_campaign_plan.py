"""Dry runs. Rule: they change nothing, hold up nothing, and end with whoever asked."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, cast

import pytest
from aiohttp import web

from smsd.core.campaign_request import Draft, read_draft
from smsd.core.fields import FieldError
from smsd.core.message import Limits
from smsd.store.audiences import Audiences, Page
from smsd.store.audiences.record import Audience, Contact
from smsd.store.campaigns import Campaigns
from smsd.store.opt_outs import OptOuts
from smsd.web.campaign_plan import AT_ONCE, Planner, Recipients
from smsd.web.campaign_progress import Progress
from smsd.web.campaign_view import CampaignView, Price
from smsd.web.errors import ApiError

NOW = 1_795_788_000_000
PAGES = 40


class Crowd:
    """An audience of some pages, which may change while it is read."""

    def __init__(self, many: int = AT_ONCE * PAGES) -> None:
        self.audience: Audience | None = Audience("a", "v1", ("name",), 0, 0, (), contacts=many)
        self.pages_read = 0
        self.at_page: dict[int, Audience | None] = {}

    async def show(self, name: str) -> Audience | None:
        await asyncio.sleep(0)
        return self.audience

    async def page(self, name: str, cursor: str, count: int) -> Page | None:
        await asyncio.sleep(0)
        self.pages_read += 1
        if self.pages_read in self.at_page:
            self.audience = self.at_page[self.pages_read]
        if self.audience is None:
            return None
        start = int(cursor or 0)
        end = min(start + count, self.audience.contacts)
        found = [Contact(f"+1202{n:07}", {"name": f"n{n}"}) for n in range(start, end)]
        return Page(found, str(end) if end < self.audience.contacts else "")


class Nobody:
    """Nobody has opted out."""

    async def among(self, numbers: Sequence[str]) -> frozenset[str]:
        return frozenset()


class Request:
    """Somebody who waits for an answer."""

    transport: Any = None

    def __init__(self) -> None:
        self.closing = False
        self.transport = self

    def is_closing(self) -> bool:
        return self.closing


def draft(**fields: object) -> Draft:
    return read_draft({"message": "Hi {{ name }}", "audience": "a"} | fields, Limits(), NOW)


def planner(crowd: Crowd) -> Planner:
    progress = Progress(
        cast("Campaigns", None),
        queue_length=lambda: cast("Any", None),
        rate=lambda: 45.0,
        clock=lambda: 0.0,
        now_ms=lambda: NOW,
    )
    return Planner(
        cast("Audiences", crowd),
        cast("OptOuts", Nobody()),
        progress,
        CampaignView(progress, Price(0.01, "")),
        limits=Limits(),
        now_ms=lambda: NOW,
    )


async def plan(
    crowd: Crowd, asked: Draft | None = None, request: Request | None = None
) -> Mapping[str, Any]:
    waiting = cast("web.BaseRequest", request or Request())
    recipients = Recipients(None, ("name",), 0)
    return await planner(crowd).plan(waiting, asked or draft(), recipients)


async def test_every_contact_of_every_page_is_counted() -> None:
    made = await plan(Crowd())
    assert made["recipients"] == made["segments"] == AT_ONCE * PAGES
    assert made["cost"] == {"sent": 0, "expected": 40.0}
    assert made["drains_at"] == "2026-11-27T14:01:28.889+00:00"


async def test_numbers_that_the_audience_has_are_duplicates() -> None:
    asked = draft(message="Hi")
    numbers = ("+12020000000", "+12020003999", "+12025560101")
    asked = replace(asked, request=replace(asked.request, recipients=numbers))
    made = await plan(Crowd(), asked)
    assert (made["recipients"], made["duplicates"]) == (AT_ONCE * PAGES + 1, 2)


async def test_an_audience_that_vanishes_ends_it() -> None:
    crowd = Crowd()
    crowd.at_page[7] = None
    with pytest.raises(ApiError) as refused:
        await plan(crowd)
    assert (refused.value.status, refused.value.code) == (409, "audience_changed")
    assert crowd.pages_read == 7


@pytest.mark.parametrize("change", [{"version": "v2"}, {"revision": 1}])
async def test_an_audience_that_is_replaced_or_added_to_ends_it(change: dict[str, Any]) -> None:
    crowd = Crowd()
    assert crowd.audience is not None
    crowd.at_page[PAGES] = replace(crowd.audience, **change)
    with pytest.raises(ApiError) as refused:
        await plan(crowd)
    assert refused.value.code == "audience_changed"


@pytest.mark.parametrize("how", ["closing", "gone"])
async def test_nothing_is_read_for_a_caller_who_hung_up(how: str) -> None:
    crowd, request = Crowd(), Request()
    work = asyncio.create_task(plan(crowd, request=request))
    while crowd.pages_read < 3:
        await asyncio.sleep(0)
    if how == "closing":
        request.closing = True
    else:
        request.transport = None
    with pytest.raises(ApiError) as refused:
        await work
    assert refused.value.code == "caller_gone"
    assert crowd.pages_read <= 4


async def test_one_that_is_given_up_lets_the_next_begin() -> None:
    crowd = Crowd()
    made = planner(crowd)
    recipients = Recipients(None, ("name",), 0)
    request = cast("web.BaseRequest", Request())
    work = asyncio.create_task(made.plan(request, draft(), recipients))
    while crowd.pages_read < 2:
        await asyncio.sleep(0)
    work.cancel()
    await asyncio.wait([work])
    assert (await made.plan(request, draft(), recipients))["recipients"] == AT_ONCE * PAGES


async def test_the_next_one_waits_only_so_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("smsd.web.campaign_plan.ANSWER_S", 0.0)
    crowd = Crowd()
    made = planner(crowd)
    async with made._one_at_a_time:
        with pytest.raises(ApiError) as refused:
            await made.plan(cast("web.BaseRequest", Request()), draft(), Recipients(None, (), 0))
    assert (refused.value.status, refused.value.code) == (503, "busy")
    assert crowd.pages_read == 0


async def test_an_empty_audience_is_named() -> None:
    with pytest.raises(FieldError) as refused:
        await plan(Crowd(0))
    assert refused.value.field == "audience"


async def test_a_slice_ends_as_soon_as_its_time_is_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("smsd.web.slices.SLICE_S", 0.0)  # it is up at each look at the clock
    counted = 0

    class Counting:
        def __init__(self, *_: object, **__: object) -> None:
            pass

        def add(self, *_: object) -> None:
            nonlocal counted
            counted += 1
            raise_at_end()

    def raise_at_end() -> None:
        if counted == 1000:
            raise RuntimeError("enough")

    monkeypatch.setattr("smsd.web.campaign_plan.Plan", Counting)
    work = asyncio.create_task(plan(Crowd()))
    longest = before = 0
    while not work.done():
        await asyncio.sleep(0)
        longest, before = max(longest, counted - before), counted
    assert isinstance(work.exception(), RuntimeError)
    assert longest == 1


@pytest.mark.parametrize(("seconds", "expired"), [(10, 3550), (80, 400), (100, 0)])
async def test_what_leaves_after_its_expiry_is_counted(seconds: int, expired: int) -> None:
    expires_at = f"2026-11-27T14:{seconds // 60:02}:{seconds % 60:02}Z"
    made = await plan(Crowd(), draft(expires_at=expires_at))
    assert made["would_expire"] == expired


async def test_what_starts_later_leaves_later() -> None:
    made = await plan(Crowd(), draft(send_at="2026-11-28T14:00:00Z"))
    assert made["drains_at"] == "2026-11-28T14:01:28.889+00:00"
