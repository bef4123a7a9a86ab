"""Recipients become messages, a few at a time. Rule: no recipient gets a second message.

A message's id is made of its recipient's number, and the script that queues it looks at what
became of the recipient: an expansion may be repeated, and two daemons may try it at once.
"""

from collections.abc import Sequence
from typing import NamedTuple, cast

from smsd.core.campaign import Campaign, message_id
from smsd.redis.client import text
from smsd.redis.scripts import Call
from smsd.store.audiences.record import SEPARATOR
from smsd.store.client import StoreClient
from smsd.store.handed_out import Fenced
from smsd.store.identity import OlderData

MOST_TOGETHER = 100  # messages that one script queues


class Waiting(NamedTuple):
    """A recipient without a message."""

    number: str  # E.164
    values: Sequence[str]  # in the order of the campaign's columns


class Rendered(NamedTuple):
    """A message that is to be put into the queue."""

    number: str  # E.164
    fields: Sequence[str]  # flat, as in an entry: without `id`
    segments: int


async def active_ids(client: StoreClient) -> list[str]:
    """Ids of the campaigns of which something is not settled, the oldest first."""
    key = client.keys.campaigns_active
    found = await client.read(lambda redis: redis.smembers(key))
    return sorted(map(text, cast("set[bytes]", found)))


async def waiting(client: StoreClient, campaign: Campaign, most: int) -> list[Waiting]:
    """The next recipients without a message, of one bucket, `most` at most; [] at the end."""
    request = {"campaign": campaign.id, "most": most}
    while True:
        reply = await client.ask(Call("campaign_waiting", request))
        at, flat = cast("tuple[int, list[bytes]]", reply)
        if flat or at < 0:
            pairs = zip(flat[::2], flat[1::2], strict=True)
            return [Waiting(f"+{text(one)}", _values(campaign, text(raw))) for one, raw in pairs]


async def expand(client: StoreClient, campaign: Campaign, messages: Sequence[Rendered]) -> int:
    """Put messages into the queue, each unless its recipient has one: how many were new.

    0 where the campaign does not run any more. Safe to repeat. Raises `Fenced`, `OlderData`.
    """
    new = 0
    for at in range(0, len(messages), MOST_TOGETHER):
        some = messages[at : at + MOST_TOGETHER]
        ids = [message_id(campaign.id, campaign.key, one.number) for one in some]
        request = {
            "campaign": campaign.id,
            "stream": "h" if campaign.request.priority == "high" else "n",
            "messages": [
                (id_, one.fields, one.segments) for id_, one in zip(ids, some, strict=True)
            ],
        }
        statuses = [client.keys.message(id_) for id_ in ids]
        reply = await client.insist(Call("campaign_expand", request, statuses))
        if reply == b"fenced":
            raise Fenced
        if reply == b"older":
            raise OlderData
        new += cast("int", reply)
    return new


async def queued(client: StoreClient) -> int:
    """Entries in the normal stream, claimed or not."""
    key = client.keys.queue
    return int(await client.read(lambda redis: redis.xlen(key)))


def _values(campaign: Campaign, packed: str) -> list[str]:
    values = packed.split(SEPARATOR)
    return values + [""] * (len(campaign.columns) - len(values))
