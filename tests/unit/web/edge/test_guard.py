"""Around every request. Rule: however it ends, it is answered and its memory is free again."""

import asyncio
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

import pytest
from aiohttp import web
from aiohttp.base_protocol import BaseProtocol
from aiohttp.streams import StreamReader
from aiohttp.test_utils import make_mocked_request

from smsd.core.fields import FieldError
from smsd.web.auth import Callers
from smsd.web.edge.body_memory import BODIES, HELD, BodyMemory
from smsd.web.edge.guard import Guard
from smsd.web.edge.turns import STEPS_PER_TURN, Turns
from smsd.web.route import Answer, Handler, Route
from smsd.web.router import Router

LARGEST = 1000
MEMORY = BODIES * LARGEST


def guard_of(handler: Handler, *, tokens: Sequence[str] = ()) -> Guard:
    clock = lambda: 0.0  # noqa: E731 - time stands still
    row = Route("POST", "/", handler, "For tests.", {200: Answer("It is done.")})
    router = Router([row], max_body=LARGEST, body_timeout_s=1.0)
    return Guard(router, callers=Callers(tokens), memory=BodyMemory(LARGEST), turns=Turns(clock))


class Line:
    """A connection as the guard sees it: it learns what begins and ends."""

    ssl_context = peername = sockname = None  # that aiohttp's request asks for
    address = None

    def __init__(self, *, whole: bool = True, has_turn: bool = False) -> None:
        self.events: list[str] = []
        self._whole = whole
        self._has_turn = has_turn

    def began(self, _: web.BaseRequest) -> bool:
        self.events.append("began")
        return self._whole

    def take_turn(self) -> bool:
        return self._has_turn

    def set_known(self) -> None:
        self.events.append("known")

    def ended(self, _: web.BaseRequest) -> None:
        self.events.append("ended")

    def drop_rest(self, _: web.BaseRequest) -> None:
        self.events.append("dropped")


class Desk:
    """A handler that keeps everybody waiting until a test ends it."""

    def __init__(self, *, holds: int = 0) -> None:
        """`holds`: octets of each body."""
        self._holds = holds
        self.came: list[web.BaseRequest] = []
        self.ends: list[asyncio.Future[web.StreamResponse]] = []

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        request[HELD].reserve(self._holds)
        self.came.append(request)
        self.ends.append(asyncio.get_running_loop().create_future())
        return await self.ends[-1]


def ask(line: Line, *, octets: int = 0, headers: Mapping[str, str] | None = None) -> web.Request:
    """A request, whose body is still on its way where it has one."""
    loop = asyncio.get_running_loop()
    body = StreamReader(BaseProtocol(loop), 2**16, loop=loop)
    if not octets:
        body.feed_eof()
    headers = {**(headers or {}), "Content-Length": str(octets)}
    return make_mocked_request("POST", "/", headers, payload=body, protocol=cast("Any", line))


def code(answer: web.StreamResponse) -> str:
    body = cast("web.Response", answer).body
    assert isinstance(body, bytes)
    found: str = json.loads(body)["error"]["code"]
    return found


def raising(error: BaseException) -> Guard:
    async def handle(_: web.BaseRequest) -> web.StreamResponse:
        raise error

    return guard_of(handle)


async def turns(count: int = 5) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


async def fill(guard: Guard) -> "list[asyncio.Task[web.StreamResponse]]":
    """As many of the largest bodies as there is room for; each holds LARGEST."""
    tasks = [asyncio.create_task(guard(ask(Line()))) for _ in range(MEMORY // LARGEST)]
    await turns(2 * len(tasks) // STEPS_PER_TURN + 2)
    assert not any(task.done() for task in tasks)
    return tasks


async def free(guard: Guard, desk: Desk) -> int:
    """How many of the largest bodies are taken at once."""
    before = len(desk.came)
    tasks = []
    while True:
        tasks.append(asyncio.create_task(guard(ask(Line()))))
        await turns()
        if tasks[-1].done():
            break
    taken = len(desk.came) - before
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    return taken


async def test_an_answer_passes_and_the_connection_knows_where_it_began_and_ended() -> None:
    line, right = Line(), web.Response()

    async def handle(_: web.BaseRequest) -> web.StreamResponse:
        assert line.events == ["began", "known"]
        return right

    assert await guard_of(handle)(ask(line)) is right
    assert line.events == ["began", "known", "ended"]


@pytest.mark.parametrize(
    ("error", "status", "reason"),
    [
        (FieldError("to", "is missing"), 400, "invalid_field"),
        (web.HTTPNotFound(), 404, "not_found"),
        (RuntimeError("a bug"), 500, "internal"),
    ],
)
async def test_an_error_is_answered_and_the_connection_learns_its_end(
    error: Exception, status: int, reason: str
) -> None:
    line = Line()

    answer = await raising(error)(ask(line))

    assert (answer.status, code(answer)) == (status, reason)
    assert line.events == ["began", "known", "ended"]


@pytest.mark.parametrize("error", [web.HTTPNotModified(), asyncio.CancelledError()])
async def test_what_is_no_error_passes_and_the_connection_learns_its_end(
    error: BaseException,
) -> None:
    line = Line()

    with pytest.raises(type(error)):
        await raising(error)(ask(line))
    assert line.events == ["began", "known", "ended"]


@pytest.mark.parametrize(
    ("line", "headers", "status", "reason"),
    [
        (Line(whole=False), {}, 400, "invalid_body"),
        (Line(), {"Expect": "a miracle"}, 417, "expectation_failed"),
    ],
)
async def test_one_that_cannot_be_read_comes_no_further(
    line: Line, headers: dict[str, str], status: int, reason: str
) -> None:
    desk = Desk()

    answer = await guard_of(desk.handle)(ask(line, headers=headers))

    assert (answer.status, code(answer), answer.keep_alive) == (status, reason, False)
    assert not desk.came
    assert line.events == ["began", "known", "ended"]


async def test_one_that_waits_for_100_continue_gets_it() -> None:
    desk = Desk()
    waiting = asyncio.create_task(
        guard_of(desk.handle)(ask(Line(), headers={"Expect": "100-Continue"}))
    )
    await turns()
    desk.ends[0].set_result(web.Response())
    assert (await waiting).status == 200


async def test_a_body_for_which_there_is_no_room_is_refused_and_takes_none() -> None:
    desk, line = Desk(holds=LARGEST), Line()
    guard = guard_of(desk.handle)
    tasks = await fill(guard)

    for _ in range(3):
        answer = await guard(ask(line))
        assert (answer.status, code(answer), answer.keep_alive) == (503, "busy", False)
        assert int(answer.headers["Retry-After"]) > 0
    assert line.events == ["began", "known", "ended"] * 3
    assert len(desk.came) == BODIES

    desk.ends[0].set_result(web.Response())
    await tasks[0]
    assert await free(guard, desk) == 1
    for end in desk.ends[1:]:
        end.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


Ending = Callable[["asyncio.Future[web.StreamResponse]"], object]


@pytest.mark.parametrize(
    "ending",
    [
        lambda end: end.set_result(web.Response()),
        lambda end: end.set_exception(FieldError("to", "is missing")),
        lambda end: end.set_exception(RuntimeError("a bug")),
        lambda end: end.set_exception(web.HTTPNotModified()),
        lambda end: end.cancel(),
    ],
    ids=["answer", "error", "bug", "not modified", "cancelled"],
)
async def test_the_room_of_a_body_comes_back_however_it_ended(ending: Ending) -> None:
    desk = Desk(holds=LARGEST)
    guard = guard_of(desk.handle)
    for _ in range(2):
        tasks = await fill(guard)
        for end in desk.ends:
            ending(end)
        desk.ends.clear()
        await asyncio.gather(*tasks, return_exceptions=True)
    assert await free(guard, desk) == BODIES


async def test_a_stranger_comes_no_further_and_the_rest_of_the_body_is_dropped() -> None:
    desk, line = Desk(), Line()

    answer = await guard_of(desk.handle, tokens=["x" * 16])(ask(line, octets=10 * LARGEST))

    assert (answer.status, code(answer), answer.keep_alive) == (401, "unauthorized", False)
    assert not desk.came
    assert line.events == ["began", "ended", "dropped"]


async def test_an_answer_before_the_end_of_the_body_closes_the_connection() -> None:
    line = Line()

    async def handle(_: web.BaseRequest) -> web.StreamResponse:
        return web.Response()

    answer = await guard_of(handle)(ask(line, octets=1))

    assert (answer.status, answer.keep_alive) == (200, False)
    assert line.events == ["began", "known", "ended", "dropped"]


async def test_they_begin_a_few_at_a_time_in_the_order_they_came() -> None:
    desk = Desk()
    guard = guard_of(desk.handle)
    asked = [ask(Line()) for _ in range(2 * STEPS_PER_TURN + 1)]
    tasks = [asyncio.create_task(guard(one)) for one in asked]
    steps = []
    while len(desk.came) < len(asked):
        await asyncio.sleep(0)
        steps.append(len(desk.came))
    assert desk.came == asked
    assert (
        max(after - before for before, after in zip([0, *steps], steps, strict=False))
        <= STEPS_PER_TURN
    )
    for end in desk.ends:
        end.set_result(web.Response())
    await asyncio.gather(*tasks)


async def test_one_whose_octets_had_their_turn_begins_at_once() -> None:
    desk = Desk()
    guard = guard_of(desk.handle)
    tasks = [asyncio.create_task(guard(ask(Line()))) for _ in range(STEPS_PER_TURN)]
    late = ask(Line())
    paid = ask(Line(has_turn=True))
    tasks += [asyncio.create_task(guard(one)) for one in (late, paid)]
    await asyncio.sleep(0)
    assert desk.came[STEPS_PER_TURN:] == [paid]
    await turns()
    assert desk.came[STEPS_PER_TURN:] == [paid, late]
    for end in desk.ends:
        end.set_result(web.Response())
    await asyncio.gather(*tasks)


async def test_one_that_is_cancelled_while_it_waits_for_its_turn_leaves_nothing_behind() -> None:
    desk, line = Desk(holds=LARGEST), Line()
    guard = guard_of(desk.handle)
    tasks = [asyncio.create_task(guard(ask(Line()))) for _ in range(STEPS_PER_TURN)]
    late = asyncio.create_task(guard(ask(line)))
    await asyncio.sleep(0)
    late.cancel()
    await asyncio.gather(late, return_exceptions=True)
    assert len(desk.came) == STEPS_PER_TURN
    assert line.events == ["began", "ended"]
    for end in desk.ends:
        end.set_result(web.Response())
    await asyncio.gather(*tasks)
    assert await free(guard, desk) == BODIES
