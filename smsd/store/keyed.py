"""Messages whose producers gave them a key. Rule: of those with one key, the first is sent.

Keys of entries and of requests are apart: an entry has no answer, and a request no entry, to
compare.
"""

import hashlib
from collections.abc import Mapping
from typing import Literal, get_args

from smsd.core.life import State
from smsd.core.message import Message, look_up_fields
from smsd.redis.scripts import Call
from smsd.store.entry import Entry
from smsd.store.history import history_line
from smsd.store.keys import Keys

Keyed = Literal["first", "duplicate", "conflict"]
KEYED: Mapping[object, Keyed] = {reply.encode(): reply for reply in get_args(Keyed)}


def key_call(entry: Entry, message: Message, now_ms: int, keys: Keys, key_ttl: int) -> Call:
    """What lets a message stay in the queue, or takes it out, since another had its key first."""
    digest = hashlib.sha256(f"entry:{message.key}".encode())
    request = {
        "name": entry.name,
        "id": message.id,
        "fingerprint": entry.fingerprint,
        "key_ttl": key_ttl,
        "line": history_line(now_ms, None, State.DUPLICATE),
        "look_up": shown_fields(message),
    }
    return Call(
        "take_key", request, [keys.idempotency(digest.hexdigest()), keys.message(message.id)]
    )


def shown_fields(message: Message) -> list[str]:
    """What a look-up shows of a message beside its state."""
    return ["to", message.recipient, *look_up_fields(message.content)]
