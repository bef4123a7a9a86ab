"""Starting a campaign. Rule: its recipients are frozen first, and nobody sees it before.

The buckets of the audience are copied as they are, and numbers of the request are added to them.
Last of all one script lets the campaign be there: its record, name, place in the list, and what
the same request is answered when it comes again. A start that breaks off before leaves a version
of an audience that nobody uses, which is removed like that of an import.
"""

import secrets
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from typing import NamedTuple, cast

from smsd.core.campaign import MOST_KEY, Campaign, CampaignRequest
from smsd.redis.client import text
from smsd.redis.errors import RedisError
from smsd.redis.scripts import Call
from smsd.store.append import KeyConflict
from smsd.store.audiences.reader import Found, find, insist
from smsd.store.audiences.version import AudienceChanged, NewVersion, StagingLost
from smsd.store.campaigns import reader
from smsd.store.campaigns.errors import (
    CampaignExists,
    MissingValue,
    NoRecipients,
    NoSuchAudience,
    WrongState,
)
from smsd.store.campaigns.record import Start, pack
from smsd.store.client import StoreClient

COPIED = 200  # buckets that one call copies
ADDED = 300  # numbers that one call adds
TRIES = 5  # while the audience is changed again and again
_DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"
_MOST_RANDOM = len(_DIGITS) ** 5


class Order(NamedTuple):
    """What is to be started, and what its recipients must have."""

    request: CampaignRequest
    by: str
    required: Sequence[str]  # columns
    columns: Sequence[str]
    segments_each: float
    numbers: Sequence[str] | None  # of the audience, where it is not in Redis
    digest: str  # of the idempotency key; "" for none
    fingerprint: str
    keep_key_ms: int


class Missing(NamedTuple):
    """Recipients that lack a value."""

    many: int = 0
    number: str = ""  # of one of them
    column: str = ""


async def start(client: StoreClient, order: Order) -> tuple[Campaign, bool]:
    """See `Campaigns.start`."""
    if (before := await _started_before(client, order)) is not None:
        return before, True
    for _ in range(TRIES):
        id_ = new_id(client.now_ms())
        base = await _audience(client, order)
        version = NewVersion(client, id_, "", base, merges=True)
        started = False
        try:
            await _freeze(client, order, version, base)
            answer = await _commit(client, order, version, base)
            started = answer == b"started"
        except (AudienceChanged, StagingLost):
            continue
        finally:
            if not started:
                await _give_up(version)
        return await _answered(client, order, answer, id_)
    raise AudienceChanged


def new_id(now_ms: int) -> str:
    """An id of a campaign: later ones sort behind earlier ones."""
    return f"c{_base36(now_ms)}{_base36(secrets.randbelow(_MOST_RANDOM)):0>5}"


def _base36(number: int) -> str:
    digits = ""
    while number:
        number, digit = divmod(number, len(_DIGITS))
        digits = _DIGITS[digit] + digits
    return digits


async def _started_before(client: StoreClient, order: Order) -> Campaign | None:
    """The campaign that the same request has started. Raises for another one of its name."""
    name = order.request.name
    # First the name: what has it by then may be what the same request has started meanwhile.
    exists = bool(name) and await reader.show(client, name) is not None
    before = await started_by(client, order.digest, order.fingerprint) if order.digest else None
    if before is None and exists:
        raise CampaignExists(name)
    return before


async def started_by(client: StoreClient, digest: str, fingerprint: str) -> Campaign | None:
    """See `Campaigns.started_before`."""
    key, names = client.keys.idempotency(digest), ["fingerprint", "campaign"]
    first, id_ = await client.read(lambda redis: redis.hmget(key, names))
    if first is None:
        return None
    if id_ is None or text(first) != fingerprint:
        raise KeyConflict
    await client.confirm()
    return await _started(client, text(id_))


async def _started(client: StoreClient, id_: str) -> Campaign:
    campaign = await reader.show(client, id_)
    if campaign is None:
        raise WrongState("has been removed")
    return campaign


async def _audience(client: StoreClient, order: Order) -> Found | None:
    """The audience, if it has one, in which nothing changed while it was looked up."""
    name = "" if order.numbers is not None else order.request.audience
    for _ in range(TRIES if name else 0):
        found = await find(client, name)
        if found is None:
            raise NoSuchAudience(name)
        record = await client.read(lambda redis: redis.hget(client.keys.audiences, name))
        if record is not None and text(record) == found.record:
            _check_columns(order, found.audience.fields)
            return found
    if name:
        raise AudienceChanged
    _check_columns(order, ())
    return None


def _check_columns(order: Order, fields: Sequence[str]) -> None:
    for column in (*order.columns, *order.required):
        if column not in fields:
            raise KeyError(column)


# -- recipients -----------------------------------------------------------------------------------


async def _freeze(
    client: StoreClient, order: Order, version: NewVersion, base: Found | None
) -> None:
    """Bring all recipients in. Raises `MissingValue`, `NoRecipients`, and as `NewVersion` does."""
    await version.begin()
    missing = await _copy(client, order, version, base) if base else Missing()
    added = await _add((*(order.numbers or ()), *order.request.recipients), version)
    if order.required and added.many:
        missing = Missing(missing.many + added.many, missing.number, missing.column)
        if not missing.number:
            missing = Missing(missing.many, added.number, order.required[0])
    if missing.many:
        raise MissingValue(f"+{missing.number}", missing.column, missing.many)
    if not version.contacts:
        raise NoRecipients(order.request.audience)


async def _copy(client: StoreClient, order: Order, version: NewVersion, base: Found) -> Missing:
    audience, required = base.audience, set(order.required)
    keys = [*version.keys, client.keys.audience(audience.version)]
    places = [at for at, field in enumerate(audience.fields, start=1) if field in required]
    request = {"most": COPIED, "revision": audience.revision, "required": places}
    missing, at = Missing(), 0
    while at >= 0:
        reply = await version.step("campaign_copy", {**request, "at": at}, keys)
        many, at, lacking, place = (int(reply[i]) for i in (0, 1, 2, 4))
        version.contacts += many
        if lacking:
            number, column = text(reply[3]), audience.fields[places[place - 1] - 1]
            first = missing if missing.many else Missing(0, number, column)
            missing = first._replace(many=missing.many + lacking)
    return missing


async def _add(numbers: Sequence[str], version: NewVersion) -> Missing:
    """Add numbers, and return how many of them are new: they have no values."""
    new, first = 0, ""
    for start_ in range(0, len(numbers), ADDED):
        some = [number.removeprefix("+") for number in numbers[start_ : start_ + ADDED]]
        many, number = await version.step("campaign_add", {"numbers": some}, version.keys)
        first = first or text(number)
        new += int(many)
    version.contacts += new
    return Missing(new, first)


async def _give_up(version: NewVersion) -> None:
    """It is removed later, whether Redis hears this or not."""
    with suppress(RedisError):
        await version.touch(abandoned=True)


# -- all at once ----------------------------------------------------------------------------------


async def _commit(
    client: StoreClient, order: Order, version: NewVersion, base: Found | None
) -> object:
    keys, id_ = client.keys, version.id
    name = order.request.name or id_
    beginning = Start(
        request=replace(order.request, name=name),
        columns=base.audience.fields if base else (),
        segments_each=order.segments_each,
        recipients=version.contacts,
        key=(_factor(), _factor()),
        by=order.by,
        now=client.now_ms(),
    )
    request = {
        "version": id_,
        "batch": version.batch,
        "name": name,
        "fields": pack(beginning),
        "by": order.by,
    }
    places = [*version.keys, keys.campaign(id_), keys.campaigns, keys.campaign_names]
    places.append(keys.campaigns_active)
    if order.digest:
        places.append(keys.idempotency(order.digest))
        request |= {"fingerprint": order.fingerprint, "key_ttl": order.keep_key_ms}
    reply = await insist(client, Call("campaign_start", request, places))
    if reply == b"gone":
        raise StagingLost
    return reply


async def _answered(
    client: StoreClient, order: Order, reply: object, id_: str
) -> tuple[Campaign, bool]:
    if reply == b"exists":
        raise CampaignExists(order.request.name)
    if reply == b"conflict":
        raise KeyConflict
    if isinstance(reply, list):
        return await _started(client, text(cast("list[bytes]", reply)[1])), True
    return await _started(client, id_), False


def _factor() -> int:
    return 1 + secrets.randbelow(MOST_KEY)
