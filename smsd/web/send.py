"""`POST /send`. Rule: 200 means durable; all else means not queued, or that it is unknown."""

import asyncio
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import cast

import orjson
from aiohttp import web

from smsd.core import segment
from smsd.core.fields import FieldError
from smsd.core.forecast import moment
from smsd.core.message import Content, Limits, parse
from smsd.redis.availability import Availability, within
from smsd.redis.errors import Away
from smsd.store.append import Append, Appended, KeyConflict, QueueFull
from smsd.store.long_lists import Unfinished
from smsd.store.queue import Queue
from smsd.web.body import MOST_VALUES, read_object
from smsd.web.errors import ANSWER_S, unavailable
from smsd.web.idempotency import REPLAYED, KeyHeaders, ReplayedHeaders, conflict, read_key
from smsd.web.message_models import Queued, SendRequest
from smsd.web.recipients import read_recipients
from smsd.web.route import BODY, Answer, Route

LONGEST_LIST = 10_000  # numbers: a longer list than is allowed is refused by its length
DRAINS_AT = "drains_at"
LEARNED = 0.05  # of what a new message is otherwise
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
        rate: Callable[[], float],
        now_ms: Callable[[], int],
    ) -> None:
        """`default_audience`: where a message without `to` goes; empty: `to` is required.

        `rate`: segments per second.
        """
        self._queue = queue
        self._availability = availability
        self._limits = limits
        self._default_audience = default_audience
        self._rate = rate
        self._now_ms = now_ms
        self._segments_each = 1.0  # of the messages that came of late
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
                {200: Answer("Queued.", Queued, headers=ReplayedHeaders)},
                body=SendRequest,
                headers=KeyHeaders,
                refusals=(409, 429),
            ),
        )

    async def send(self, request: web.BaseRequest) -> web.Response:
        """Queue the messages of one request."""
        body = request[BODY]
        if not self._availability.up:
            raise unavailable("redis_away", "Redis does not answer; nothing was queued")
        key, fingerprint = read_key(request, body)
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
        recipients: Sequence[str]
        if "to" in fields:  # `null` is no number, and must not mean the default audience
            recipients, duplicates = await read_recipients(
                fields.pop("to"), self._limits.max_recipients
            )
        else:
            recipients, duplicates = self._default_recipients(), 0
        content = parse(fields, self._limits.message, now_ms)
        summary = _summary(content, len(recipients), duplicates)
        summary[DRAINS_AT] = self._drains_at(content, len(recipients), now_ms)
        return Append.of(content, recipients, now_ms), summary

    def _drains_at(self, content: Content, messages: int, now_ms: int) -> list[float]:
        """When the last message would leave with none ahead, and what each one ahead takes: in ms.

        An estimate, as if those were like the messages that came of late.
        """
        segment_ms = 1000 / self._rate()
        each = content.segments.segments
        self._segments_each += (each - self._segments_each) * LEARNED
        begins = max(now_ms, content.send_at or 0)
        return [begins + each * messages * segment_ms, self._segments_each * segment_ms]

    async def _answer_again(self, key: str, fingerprint: str) -> web.Response | None:
        """The first answer to this key: a repetition is not judged by today's clock and limits."""
        async with within(ANSWER_S):
            first = await self._queue.first_answer(key)
        if first is None:
            return None
        if first[0] != fingerprint:
            raise conflict()
        return _answer(first[1], {})

    async def _append(self, wanted: Append) -> Appended:
        try:
            return await self._queue.append(wanted)
        except KeyConflict:
            raise conflict() from None
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
    if DRAINS_AT in content:  # (not in what an older version has answered)
        alone, each_ahead = cast("list[float]", content[DRAINS_AT])
        content[DRAINS_AT] = moment(alone + appended.ahead * each_ahead)
    if len(appended.ids) == 1:
        content["id"] = appended.ids[0]
    else:
        content["ids"] = appended.ids
    return web.Response(
        body=orjson.dumps(content) + b"\n",
        content_type="application/json",
        headers=REPLAYED if again else None,
    )
