"""Look-ups on real sockets. Rule: each is one request, which sends nothing."""

import asyncio
import gzip
import json
import socket
from asyncio import StreamReader as Reader
from asyncio import StreamWriter as Writer
from collections.abc import Callable, Collection, Mapping
from email.utils import formatdate
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from smsd.core.message import Message
from smsd.core.outcome import (
    Accepted,
    InDoubt,
    Outcome,
    Rejected,
    Throttled,
    Unavailable,
)
from smsd.provider.base import Provider, SupportsLookUp
from tests.support.gateway import (
    GOOD,
    GZIP,
    TEXT,
    Gateway,
    Maker,
    Script,
    Slot,
    drips,
    hangs_up,
    is_silent,
    listening,
    message,
    post,
    response,
    says,
    started,
    twilio,
)

STARTED_S = 1_767_225_600  # 2026-01-01T00:00:00Z
SERVICE = "MG" + "1" * 32


def asking(method: str = "GET", **look_up: Any) -> Maker:
    """A gateway that is asked by our id."""
    asks = {"url": "/messages/{id}", "method": method, "id": "json:sid", **look_up}
    return lambda url, **common: post(url, look_up=asks, **common)


every_askable = pytest.mark.parametrize("maker", [asking(), asking("POST"), twilio])


def of_twilio(sid: str = "SM1", **changes: object) -> dict[str, object]:
    """A message as Twilio lists it."""
    return {
        "account_sid": "AC" + "0" * 32,
        "api_version": "2010-04-01",
        "body": TEXT,
        "date_created": formatdate(STARTED_S + 1),
        "date_sent": None,
        "date_updated": formatdate(STARTED_S + 1),
        "direction": "outbound-api",
        "error_code": None,
        "error_message": None,
        "from": "+12025550100",
        "messaging_service_sid": None,
        "num_media": "0",
        "num_segments": "2",
        "price": None,
        "price_unit": "USD",
        "sid": sid,
        "status": "queued",
        "subresource_uris": {"media": f"/2010-04-01/Accounts/AC0/Messages/{sid}/Media.json"},
        "to": "+12025550123",
        "uri": f"/2010-04-01/Accounts/AC0/Messages/{sid}.json",
        **changes,
    }


def list_of(*messages: dict[str, object]) -> bytes:
    """Twilio's list, as it stands on the wire."""
    uri = "/2010-04-01/Accounts/AC0/Messages.json?To=%2B12025550123&PageSize=20&Page=0"
    return json.dumps(
        {
            "end": len(messages),
            "first_page_uri": uri,
            "messages": messages,
            "next_page_uri": None,
            "page": 0,
            "page_size": 20,
            "previous_page_uri": None,
            "start": 0,
            "uri": uri,
        }
    ).encode()


FOUND = json.loads(list_of(of_twilio())) | {"sid": "SM1"}  # what both kinds of gateway understand


async def looked_up(
    provider: Provider, *, of: Message | None = None, settled: Mapping[str, str] | None = None
) -> Outcome | None:
    """`settled`: messages by sid, as Redis knows them."""

    async def find_settled(ids: Collection[str], since: int, until: int) -> Mapping[str, str]:
        assert since < STARTED_S * 1000 < until
        return {sid: id_ for sid, id_ in (settled or {}).items() if sid in ids}

    assert isinstance(provider, SupportsLookUp)
    return await provider.look_up(of or message(), STARTED_S * 1000, find_settled)


@every_askable
@pytest.mark.parametrize(("headers", "pack"), [((), bytes), (GZIP, gzip.compress)])
async def test_a_message_that_was_taken_is_found_by_one_request_that_sends_nothing(
    maker: Maker, headers: tuple[str, ...], pack: Callable[[bytes], bytes]
) -> None:
    gateway = Gateway(says(response(200, pack(json.dumps(FOUND).encode()), *headers)))
    async with listening(gateway), started(maker(gateway.url)) as provider:
        found = await looked_up(provider)
    assert isinstance(found, Accepted)
    assert found.provider_id == "SM1"
    [request] = gateway.requests
    assert b"Hi" not in request
    assert request.endswith(b"\r\n\r\n")


@every_askable
@pytest.mark.parametrize(
    "script",
    [
        says(response(404)),
        says(response(401)),
        says(response(429, b"", "Retry-After: 2")),
        says(response(500, json.dumps(FOUND).encode())),
        says(response(301, b"", "Location: /elsewhere")),
        says(response(304)),
        says(response(200, b"<html>")),
        says(response(200, b"[]")),
        says(response(200, b"{}")),
        says(response(200, GOOD, "Content-Encoding: gzip")),
        says(response(200, json.dumps(FOUND).encode() + b" " * 100_000)),
        hangs_up(),
        hangs_up(reset=True),
        hangs_up(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{"),
        is_silent,
        drips,
    ],
)
async def test_without_a_clear_answer_the_message_stays_in_doubt_after_one_request(
    maker: Maker, script: Script
) -> None:
    gateway = Gateway(script)
    async with listening(gateway), started(maker(gateway.url, timeout_s=1.0)) as provider:
        assert isinstance(await looked_up(provider), InDoubt)
    assert len(gateway.requests) == 1


@every_askable
async def test_a_provider_that_cannot_be_reached_leaves_the_message_in_doubt(maker: Maker) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    async with started(maker(f"http://127.0.0.1:{port}")) as provider:
        assert isinstance(await looked_up(provider), InDoubt)


async def test_a_404_means_not_taken_only_if_configured() -> None:
    for not_found, kind in (("in_doubt", InDoubt), ("unavailable", Unavailable)):
        gateway = Gateway(says(response(404)))
        maker = asking(not_found=not_found)
        async with listening(gateway), started(maker(gateway.url)) as provider:
            assert isinstance(await looked_up(provider), kind)
        assert gateway.requests[0].startswith(b"GET /messages/m1 HTTP/1.1\r\n")


async def test_twilio_is_asked_for_the_messages_of_the_day_to_this_number() -> None:
    gateway = Gateway(says(response(200, list_of(of_twilio()))))
    async with listening(gateway), started(twilio(gateway.url)) as provider:
        assert await looked_up(provider) == Accepted("SM1", 2)
    method, target, _ = gateway.requests[0].split(b"\r\n")[0].decode().split(" ")
    address = urlsplit(target)
    assert method == "GET"
    assert address.path == f"/2010-04-01/Accounts/AC{'0' * 32}/Messages.json"
    assert parse_qs(address.query, strict_parsing=True) == {
        "To": ["+12025550123"],
        "DateSent>": ["2025-12-31"],  # five seconds before midnight
        "PageSize": ["20"],
    }
    assert b"Authorization: Basic QUMw" in gateway.requests[0]


@pytest.mark.parametrize(
    ("messages", "expected"),
    [
        ([of_twilio(num_segments="0", status="accepted")], Accepted("SM1", None)),
        ([of_twilio(status="undelivered", error_code=30005)], Accepted("SM1", 2)),
        ([of_twilio("SM1"), of_twilio("SM2")], None),
        ([of_twilio("SM1"), of_twilio("SM2", body="another")], Accepted("SM1", 2)),
        ([of_twilio(date_created=formatdate(STARTED_S - 60))], InDoubt("not listed")),
        ([of_twilio(date_created=formatdate(STARTED_S + 600))], InDoubt("not listed")),
        ([], InDoubt("not listed")),
    ],
)
async def test_only_the_one_message_in_twilios_list_that_matches_decides(
    messages: list[dict[str, object]], expected: Outcome | None
) -> None:
    gateway = Gateway(says(response(200, list_of(*messages))))
    async with listening(gateway), started(twilio(gateway.url)) as provider:
        assert await looked_up(provider) == expected


async def test_a_message_that_twilio_lists_as_refused_was_not_taken() -> None:
    refused = of_twilio(status="failed", error_code=21610)
    gateway = Gateway(says(response(200, list_of(refused))))
    async with listening(gateway), started(twilio(gateway.url)) as provider:
        assert await looked_up(provider) == Rejected(
            "21610", "listed as failed: 21610", "recipient", opted_out=True
        )


async def test_the_refusal_of_an_earlier_attempt_does_not_decide_a_later_one() -> None:
    async def answers(reader: Reader, writer: Writer) -> None:
        sends = gateway.requests[-1].startswith(b"POST")
        full = response(429, b'{"code": 21611}')
        listing = response(200, list_of(of_twilio(status="failed", error_code=21211)))
        await says(full if sends else listing)(reader, writer)

    gateway = Gateway(answers)
    async with listening(gateway), started(twilio(gateway.url)) as provider:
        assert isinstance(await provider.submit(message(), Slot()), Throttled)
        assert await looked_up(provider) == InDoubt("not listed")
        second = message()._replace(attempts=1)
        assert await looked_up(provider, of=second) == InDoubt("not listed")
        other = message()._replace(id="m2")
        assert isinstance(await looked_up(provider, of=other), Rejected)


async def test_of_two_like_messages_the_one_that_was_settled_before_a_restart_is_set_aside() -> (
    None
):
    gateway = Gateway(says(response(200, list_of(of_twilio("SM1"), of_twilio("SM2")))))
    async with listening(gateway), started(twilio(gateway.url)) as provider:
        assert await looked_up(provider) is None
        assert await looked_up(provider, settled={"SM1": "m1", "SM2": "m0"}) == Accepted("SM1", 2)
    async with listening(gateway), started(twilio(gateway.url)) as provider:
        assert await looked_up(provider, settled={"SM1": "m0"}) == Accepted("SM2", 2)


async def test_a_message_of_a_twilio_service_is_known_by_its_service() -> None:
    mine = of_twilio("SM1", messaging_service_sid=SERVICE, **{"from": "+12025550177"})
    gateway = Gateway(says(response(200, list_of(mine, of_twilio("SM2")))))
    service: dict[str, Any] = {"from": "", "messaging_service_sid": SERVICE}
    async with listening(gateway), started(twilio(gateway.url, **service)) as provider:
        assert await looked_up(provider) == Accepted("SM1", 2)


async def test_a_sid_belongs_to_one_of_equal_messages() -> None:
    async def answers(reader: Reader, writer: Writer) -> None:
        sends = gateway.requests[-1].startswith(b"POST")
        listing = list_of(of_twilio("SM1"), of_twilio("SM2"))
        await says(response(201, GOOD) if sends else response(200, listing))(reader, writer)

    first, second, third = (Message(f"m{n}", "+12025550123", message().content) for n in range(3))
    gateway = Gateway(answers)
    async with listening(gateway), started(twilio(gateway.url)) as provider:
        assert await provider.submit(first, Slot()) == Accepted("SM1", 2)
        assert await looked_up(provider, of=second) == Accepted("SM2", 2)
        assert await looked_up(provider, of=second) == Accepted("SM2", 2)  # asked once more
        assert await looked_up(provider, of=third) == InDoubt("not listed")


async def test_of_two_equal_messages_asked_about_at_once_one_listed_message_is_one_of_them() -> (
    None
):
    both_wait = asyncio.Barrier(2)

    async def answers(_: Reader, writer: Writer) -> None:
        writer.write(response(200, list_of(of_twilio("SM1"))))

    async def find_settled(_ids: Collection[str], _since: int, _until: int) -> Mapping[str, str]:
        await both_wait.wait()
        return {}

    alike = [Message(f"m{n}", "+12025550123", message().content) for n in range(2)]
    gateway = Gateway(answers)
    async with listening(gateway), started(twilio(gateway.url)) as provider:
        assert isinstance(provider, SupportsLookUp)
        outcomes = await asyncio.gather(
            *(provider.look_up(one, STARTED_S * 1000, find_settled) for one in alike)
        )
    assert outcomes.count(Accepted("SM1", 2)) == 1
    assert outcomes.count(InDoubt("not listed")) == 1


async def test_while_an_equal_message_is_under_way_the_list_does_not_decide() -> None:
    held = asyncio.Event()

    async def answers(reader: Reader, writer: Writer) -> None:
        if gateway.requests[-1].startswith(b"POST"):
            await held.wait()
            writer.write(response(201, GOOD))
        else:
            writer.write(response(200, list_of(of_twilio("SM1"))))

    alike = Message("m2", "+12025550123", message().content)
    gateway = Gateway(answers)
    async with listening(gateway), started(twilio(gateway.url)) as provider:
        submission = asyncio.create_task(provider.submit(alike, Slot()))
        while not gateway.requests:
            await asyncio.sleep(0.01)
        assert await looked_up(provider) == InDoubt("an equal message is under way")
        held.set()
        assert await submission == Accepted("SM1", 2)
        assert await looked_up(provider) == InDoubt("not listed")
        assert await looked_up(provider, of=alike) == Accepted("SM1", 2)
