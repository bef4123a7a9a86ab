"""Requests to queue messages. Rule: all messages of a request are queued, or none."""

import secrets
from collections.abc import Sequence
from typing import NamedTuple

from smsd.core.fields import FieldError
from smsd.core.message import Content, look_up_fields, to_fields
from smsd.store.keys import Keys
from smsd.store.long_lists import LongLists, part_of


class Append(NamedTuple):
    """The messages of one request, queued all or none."""

    content: Content
    recipients: Sequence[str]
    scheduled_ids: Sequence[str] = ()  # one a recipient when `content.send_at` lies ahead
    idempotency_key: str = ""  # digest of the caller's key; "" for none
    fingerprint: str = ""  # digest of the request's body
    answer: bytes = b""  # what to answer a repetition, but for the ids

    @classmethod
    def of(cls, content: Content, recipients: Sequence[str], now_ms: int) -> "Append":
        """Messages for now, or for their `send_at`. Raises `FieldError` if they have expired."""
        if content.expires_at is not None and content.expires_at <= now_ms:
            raise FieldError("expires_at", "has passed already")
        if content.send_at is None or content.send_at <= now_ms:
            return cls(content, recipients)
        # As a stream's ids they begin with their time: 11 digits. (Chance for each recipient would
        # take 1.5 µs.)
        request = f"{now_ms:011x}{secrets.token_hex(6)}"
        return cls(content, recipients, [f"s{request}{n:04x}" for n in range(len(recipients))])

    def for_script(self, keys: Keys, long_lists: LongLists) -> tuple[dict[str, object], list[str]]:
        """The fields of `append.lua` that this request gives, and its keys."""
        content, scheduled = self.content, bool(self.scheduled_ids)
        request: dict[str, object] = {
            "stream": "h" if content.priority == "high" else "n",
            "fields": to_fields(content, with_priority=scheduled),
            "recipients": self.recipients,
            "many": len(self.recipients),
        }
        own_keys = list(map(keys.message, self.scheduled_ids))
        if scheduled:
            request |= {"due": content.send_at, "scheduled": self.scheduled_ids}
            request["look_up"] = look_up_fields(content)
        key = keys.idempotency(self.idempotency_key) if self.idempotency_key else ""
        if len(self.recipients) > part_of(scheduled=scheduled):
            own_keys = [keys.staged]
            request |= long_lists.staged(request, key) | {"recipients": (), "scheduled": ()}
        if key:
            request |= {"fingerprint": self.fingerprint, "answer": self.answer.decode()}
            own_keys.append(key)
        return request, own_keys


class Appended(NamedTuple):
    """The messages are durable. `answer` is set when an earlier request had queued them."""

    ids: list[str]
    answer: bytes | None = None
    ahead: int = 0  # messages that were in line before them


class QueueFull(Exception):  # noqa: N818 - a state, named as users see it
    """More messages would wait than may."""


class KeyConflict(Exception):  # noqa: N818 - a state, named as users see it
    """The Idempotency-Key was used with another body."""
