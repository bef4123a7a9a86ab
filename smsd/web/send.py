"""`POST /send`. Rule: 200 means durable; all else means not queued, or that it is unknown."""

import asyncio
import hashlib
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import orjson
from aiohttp import web

from smsd.core import segment
from smsd.core.fields import FieldError, read_visible
from smsd.core.message import Content, Limits, parse, parse_recipient
from smsd.redis.availability import Availability, within
from smsd.redis.errors import Away
from smsd.store.append import Append, Appended, KeyConflict, QueueFull
from smsd.store.long_lists import Unfinished
from smsd.store.queue import Queue
from smsd.web.body import MOST_VALUES, read_object
from smsd.web.errors import ANSWER_S, ApiError, unavailable
from smsd.web.message_models import Queued, QueuedHeaders, SendHeaders, SendRequest
from smsd.web.route import BODY, Answer, Route
from smsd.web.slices import STEP, Slices

MOST_FAULTS = 20  # bad numbers that one answer names
LONGEST_LIST = 10_000  # numbers: a longer list than is allowed is refused by its length
SHORT_BODY = 4096  # octets of a body whose reading is one short step


@dataclass(frozen=True, slots=True)
class SendLimits:
    """What one request may ask for."""

    message: Limits
    max_recipients: int


class Send:
    """The handler."""

    def __init__(
        self,
        queue: Queue,
        availability: Availability,
        *,
        limits: SendLimits,
        default_audience: Sequence[str],
        now_ms: Callable[[], int],
    ) -> None:
        """`default_audience`: where a message without `to` goes; empty: `to` is required."""
        self._queue = queue
        self._availability = availability
        self._limits = limits
        self._default_audience = default_audience
        self._now_ms = now_ms
        self._long_work = asyncio.Lock()
        characters = limits.message.max_segments * segment.PART["gsm7"]
        self._most_names = characters + MOST_VALUES
        self._most_values = self._most_names + max(limits.max_recipients, LONGEST_LIST)

    def routes(self) -> Sequence[Route]:
        """The row of this call."""
        return (
            Route(
                "POST",
                "/send",
                self.send,
                "Queue a message for one or many recipients. 200 means that it is durable.",
                {200: Answer("Queued.", Queued, headers=QueuedHeaders)},
                body=SendRequest,
                headers=SendHeaders,
                refusals=(409, 429),
            ),
        )

    async def send(self, request: web.BaseRequest) -> web.Response:
        """Queue the messages of one request."""
        body = request[BODY]
        if not self._availability.up:
            raise unavailable("redis_away", "Redis does not answer; nothing was queued")
        key, fingerprint = _idempotency(request.headers.get("Idempotency-Key"), body)
        if key and (answer := await self._answer_again(key, fingerprint)):
            return answer

        wanted, summary = await self._read(body)
        if key:
            wanted = wanted._replace(
                idempotency_key=key, fingerprint=fingerprint, answer=orjson.dumps(summary)
            )
        return _answer(await self._append(wanted), summary)

    async def _read(self, body: bytes) -> tuple[Append, dict[str, object]]:
        """What a body asks for, and the summary of it for the answer.

        Long bodies are read one after the other: the slices of several would add up to a long step
        of the event loop.
        """
        if len(body) <= SHORT_BODY:
            return await self._parse(body)
        async with self._long_work:
            return await self._parse(body)

    async def _parse(self, body: bytes) -> tuple[Append, dict[str, object]]:
        now_ms = self._now_ms()
        fields = read_object(body, most_values=self._most_values, most_names=self._most_names)
        if "to" in fields:  # `null` is no number, and must not mean the default audience
            recipients, duplicates = await self._recipients(fields.pop("to"))
        else:
            recipients, duplicates = self._default_recipients(), 0
        content = parse(fields, self._limits.message, now_ms)
        summary = _summary(content, len(recipients), duplicates)
        return Append.of(content, recipients, now_ms), summary

    async def _answer_again(self, key: str, fingerprint: str) -> web.Response | None:
        """The first answer to this key: a repetition is not judged by today's clock and limits."""
        async with within(ANSWER_S):
            first = await self._queue.first_answer(key)
        if first is None:
            return None
        if first[0] != fingerprint:
            raise _conflict()
        return _answer(first[1], {})

    async def _append(self, wanted: Append) -> Appended:
        try:
            return await self._queue.append(wanted)
        except KeyConflict:
            raise _conflict() from None
        except QueueFull:
            raise unavailable("queue_full", "the queue is full", status=429) from None
        except Unfinished:
            raise unavailable(
                "outcome_unknown",
                "the messages are accepted, but not all of them are queued yet; they will be."
                " A repetition with the same Idempotency-Key queues none of them twice.",
            ) from None
        except Away as error:
            raise unavailable(
                "outcome_unknown",
                "Redis went away while the messages were being queued: they may be queued or not."
                " A repetition with the same Idempotency-Key queues them once.",
            ) from error

    def _default_recipients(self) -> Sequence[str]:
        if not self._default_audience:
            raise FieldError("to", "is missing")
        return self._default_audience

    async def _recipients(self, raw: object) -> tuple[Sequence[str], int]:
        """The recipients, each once, and how many were repetitions."""
        if not isinstance(raw, list):
            return [parse_recipient(raw)], 0
        most = self._limits.max_recipients
        if not 0 < len(raw) <= most:
            raise FieldError("to", f"must name 1 to {most} numbers, not {len(raw)}")
        numbers = await _numbers(raw)
        return numbers, len(raw) - len(numbers)


async def _numbers(raw: list[object]) -> list[str]:
    """Each number once. Raises `ApiError` with the first faults."""
    numbers: dict[str, None] = {}
    faults: list[dict[str, str]] = []
    slices = Slices()
    for place, one in enumerate(raw):
        if place % STEP == 0:
            await slices.rest()
        try:
            numbers[parse_recipient(one, f"to[{place}]")] = None
        except FieldError as fault:  # (not kept: 10,000 tracebacks are work for the collector)
            faults.append({"field": fault.field, "message": str(fault)})
    if faults:
        raise _faults(faults)
    return list(numbers)


def _idempotency(key: str | None, body: bytes) -> tuple[str, str]:
    """Digests of the key and of the body it was sent with; both are empty without a key."""
    if key is None:
        return "", ""
    read_visible("Idempotency-Key", key)
    return hashlib.sha256(key.encode()).hexdigest(), hashlib.sha256(body).hexdigest()


def _summary(content: Content, messages: int, duplicates: int) -> dict[str, object]:
    counted = content.segments
    summary: dict[str, object] = {
        "status": "queued",
        "messages": messages,
        "segments": counted.segments * messages,
        "segments_per_message": counted.segments,
        "encoding": counted.encoding,
    }
    if duplicates:
        summary["duplicates"] = duplicates
    if counted.encoding == "ucs2" and (culprit := segment.culprit(content.text)):
        place, character = culprit
        summary["ucs2_because"] = {
            "character": character,
            "name": unicodedata.name(character, f"U+{ord(character):04X}"),
            "position": place + 1,
        }
    return summary


def _answer(appended: Appended, summary: dict[str, object]) -> web.Response:
    """One shape for the first answer and its repetitions: both are built from the same octets."""
    again = appended.answer is not None
    content = orjson.loads(appended.answer) if appended.answer is not None else summary
    if len(appended.ids) == 1:
        content["id"] = appended.ids[0]
    else:
        content["ids"] = appended.ids
    return web.Response(
        body=orjson.dumps(content) + b"\n",
        content_type="application/json",
        headers={"Idempotent-Replayed": "true"} if again else None,
    )


def _conflict() -> ApiError:
    return ApiError(
        409,
        "idempotency_conflict",
        "this Idempotency-Key was used with another body",
        field="Idempotency-Key",
    )


def _faults(faults: list[dict[str, str]]) -> ApiError:
    first = faults[0]
    return ApiError(
        400,
        "invalid_field",
        f"{first['field']} {first['message']}",
        field=first["field"],
        more={"faults": faults[:MOST_FAULTS], "fault_count": len(faults)},
    )
