"""A campaign's message by its id. Rule: what is settled is known by its recipient alone."""

from collections.abc import Mapping
from typing import cast

import orjson

from smsd.core.campaign import number_of
from smsd.core.life import State
from smsd.redis.client import text
from smsd.redis.scripts import Call
from smsd.store.campaigns.results import UNEXPANDED, Result, unpack
from smsd.store.client import StoreClient

# Of a recipient's states, those that a message does not have.
_STATES: Mapping[str, str] = {UNEXPANDED: State.QUEUED, "held": State.DEFERRED}


async def look_up(client: StoreClient, campaign_id: str, digits: str) -> dict[str, str] | None:
    """The fields of a message without a status, by the two parts of its id; None if it is none."""
    key, names = client.keys.campaign(campaign_id), ["key", "created", "rest", "request"]
    record = cast("list[bytes | None]", await client.read(lambda redis: redis.hmget(key, names)))
    try:
        first, second = map(int, text(record[0]).split())
        created, asked = int(text(record[1])), orjson.loads(text(record[3]))
        labels = {"campaign": str(asked["name"]), "ref": str(asked["ref"])}
    except (ValueError, TypeError, KeyError):  # there is none, or other hands were there
        return None
    number = number_of((first, second), digits)
    call = Call("audience_look", {"number": number[1:]}, [client.keys.audience(campaign_id)])
    found = await client.ask(call)
    if not isinstance(found, list):
        return None
    return {"to": number, **labels, **_fields(unpack(found[0], created, text(record[2] or "")))}


def _fields(result: Result) -> dict[str, str]:
    state = _STATES.get(result.state, result.state)
    return {
        "state": state,
        "provider_id": result.provider_id,
        "reason": result.reason,
        "history": "" if result.at is None else f"{result.at} {state}",
    }
