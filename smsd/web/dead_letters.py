"""`/dead-letters`. Rule: a person sees why each died, and says which are sent again or dropped."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence

from aiohttp import web

from smsd.redis.errors import Away
from smsd.store.dead_letter_request import Order, read_after, read_choice, read_order
from smsd.store.dead_letters import MOST_HANDLED, PAGE, DeadLetters, Swept
from smsd.web.body import read_object
from smsd.web.dead_letter_models import (
    DeadLetterChoice,
    DeadLetterPage,
    DeadLetterQuery,
    SweptAnswer,
)
from smsd.web.errors import json_response, unavailable
from smsd.web.query import read_count, read_flag, read_query
from smsd.web.route import BODY, Answer, Route
from smsd.web.slices import STEP, Slices

COUNT = 100  # dead letters in an answer, where the request gives no count
QUERY = tuple(DeadLetterQuery.model_fields)


class DeadLetterCalls:
    """The handlers."""

    def __init__(self, dead_letters: DeadLetters) -> None:
        self._dead_letters = dead_letters
        self._long_pages = asyncio.Lock()

    def routes(self) -> Sequence[Route]:
        """The rows of these calls."""
        swept = Answer(
            "How many; where `more`, ask again with `after` and `until` as they are here.",
            SweptAnswer,
        )
        return (
            Route(
                "GET",
                "/dead-letters",
                self.show,
                "Messages that will not be sent, and why; those to which all parameters apply.",
                {200: Answer("A page of dead letters.", DeadLetterPage)},
                query=DeadLetterQuery,
                operation_id="dead_letters",
            ),
            Route(
                "DELETE",
                "/dead-letters",
                self.drop,
                "Throw dead letters away.",
                {200: swept},
                body=DeadLetterChoice,
            ),
            Route(
                "POST",
                "/dead-letters/replay",
                self.replay,
                "Put dead letters back into the queue.",
                {200: swept},
                body=DeadLetterChoice,
            ),
        )

    async def show(self, request: web.BaseRequest) -> web.Response:
        """`GET`: dead letters with their fields; their bodies only with `message=true`."""
        query = read_query(request, QUERY)
        if read_count(query, most=MOST_HANDLED, default=COUNT) <= PAGE:
            return json_response(await self._page(query))
        async with self._long_pages:  # so that their steps do not add up in one turn of the loop
            return json_response(await self._page(query))

    async def _page(self, query: Mapping[str, object]) -> dict[str, object]:
        count = read_count(query, most=MOST_HANDLED, default=COUNT)
        with_text = read_flag(query, "message")
        found = await self._dead_letters.find(
            read_choice(query), after=read_after(query), count=count
        )
        shown, slices = [], Slices()
        for place, dead_letter in enumerate(found.dead_letters):
            if place % STEP == 0:
                await slices.rest()
            shown.append(dead_letter.shown(with_text=with_text))
        return {"dead_letters": shown, **_more(found.swept, "after")}

    async def replay(self, request: web.BaseRequest) -> web.Response:
        """`POST …/replay`: put the chosen ones back into the queue."""
        order = read_order(read_object(request[BODY]), replay=True)
        swept = await _finished(self._dead_letters.replay, order, "replayed")
        return json_response(
            {
                "status": "replayed",
                "replayed": swept.done,
                "skipped": swept.skipped,
                **_more(swept, "after", "until"),
            }
        )

    async def drop(self, request: web.BaseRequest) -> web.Response:
        """`DELETE`: throw the chosen ones away."""
        order = read_order(read_object(request[BODY]), replay=False)
        swept = await _finished(self._dead_letters.drop, order, "dropped")
        return json_response(
            {"status": "dropped", "dropped": swept.done, **_more(swept, "after", "until")}
        )


async def _finished(sweep: Callable[[Order], Awaitable[Swept]], order: Order, done: str) -> Swept:
    try:
        return await sweep(order)
    except Away as error:
        raise unavailable(
            "redis_away",
            f"Redis went away; some may have been {done} already, and asking again does the rest",
        ) from error


def _more(swept: Swept, *places: str) -> dict[str, object]:
    """Whether there is more, and what to send along to go on."""
    more: dict[str, object] = {"more": swept.more}
    if swept.more:
        more |= {place: getattr(swept, place) for place in places}
    return more
