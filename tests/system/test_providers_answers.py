"""Providers on real sockets: answers. Rule: each has the outcome that it states.

The same tests run over every provider that speaks HTTP.
"""

import gzip
import json
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest

from smsd.core.outcome import (
    Accepted,
    Halted,
    InDoubt,
    Outcome,
    Rejected,
    Throttled,
    Unavailable,
)
from tests.support.gateway import (
    GOOD,
    TEXT,
    Gateway,
    Maker,
    Slot,
    asked,
    certificate,
    get,
    listening,
    message,
    post,
    put,
    response,
    says,
    serving,
    started,
    twilio,
)

every_provider = pytest.mark.parametrize("maker", [post, get, put, twilio])


@every_provider
@pytest.mark.parametrize(
    ("raw", "kind"),
    [
        (response(200, GOOD), Accepted),
        (response(201, GOOD), Accepted),
        (response(200, b"<html>no</html>"), InDoubt),
        (response(204), InDoubt),
        (response(429), Throttled),
        (response(429, b"", "Retry-After: 2"), Throttled),
        (response(503, b"", "Retry-After: 2"), Throttled),
        (response(503), Unavailable),
        (response(500), InDoubt),
        (response(502, b"<html>bad gateway</html>"), InDoubt),
        (response(400, b'{"code": 21610}'), Rejected),
        (response(400, b'{"code": 99999}'), Rejected),
        (response(400, b"\xff\x00"), Rejected),
        (response(401), Halted),
        (response(408), InDoubt),
        (b"HTTP/1.1 100 Continue\r\n\r\n" + response(200, GOOD), Accepted),
    ],
)
async def test_an_answer_is_classified(maker: Maker, raw: bytes, kind: type) -> None:
    gateway = Gateway(says(raw))
    assert isinstance(await asked(maker, gateway), kind)
    assert len(gateway.requests) == 1


@every_provider
async def test_the_providers_own_time_and_code_come_through(maker: Maker) -> None:
    throttled = await asked(maker, Gateway(says(response(429, b"", "Retry-After: 2"))))
    assert throttled == Throttled(2.0, "HTTP 429")
    opted_out = await asked(maker, Gateway(says(response(400, b'{"code": 21610}'))))
    assert opted_out == Rejected("21610", "HTTP 400: 21610", "recipient", opted_out=True)
    unknown = await asked(maker, Gateway(says(response(404))))
    assert unknown == Rejected("404", "HTTP 404", known=False)


def raw_deflate(body: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return packer.compress(body) + packer.flush()


@every_provider
@pytest.mark.parametrize(
    ("coding", "pack"),
    [
        ("gzip", gzip.compress),
        ("X-GZip", gzip.compress),
        ("deflate", zlib.compress),
        ("deflate", raw_deflate),
        ("identity", bytes),
        ("gzip, gzip", lambda body: gzip.compress(gzip.compress(body))),
        ("gzip", lambda body: gzip.compress(body[:9]) + gzip.compress(body[9:])),
        ("gzip", lambda body: gzip.compress(body) + b"\0" * 8),
    ],
)
async def test_a_compressed_answer_is_read(
    maker: Maker, coding: str, pack: Callable[[bytes], bytes]
) -> None:
    header = f"Content-Encoding: {coding}"
    taken = await asked(maker, Gateway(says(response(201, pack(GOOD), header))))
    assert taken == Accepted("SM1", 2)
    refused = response(400, pack(b'{"code": 21610}'), header)
    assert await asked(maker, Gateway(says(refused))) == Rejected(
        "21610", "HTTP 400: 21610", "recipient", opted_out=True
    )


@every_provider
async def test_what_cannot_be_decoded_is_named(maker: Maker) -> None:
    async def outcome(status: int, body: bytes, coding: str) -> Outcome:
        raw = response(status, body, f"Content-Encoding: {coding}")
        return await asked(maker, Gateway(says(raw)))

    unread = "the answer is coded as br, which is not read"
    assert await outcome(201, GOOD, "br") == InDoubt(f"HTTP 201, but {unread}")
    assert await outcome(400, b"?", "br") == Rejected("400", f"HTTP 400: {unread}", known=False)
    assert await outcome(201, GOOD, "gzip") == InDoubt(
        "HTTP 201, but the answer is no gzip, though it says so"
    )
    assert await outcome(201, gzip.compress(GOOD)[:-9], "gzip") == InDoubt(
        "HTTP 201, but the answer is cut short within its coding"
    )
    bomb = gzip.compress(b"0" * 10_000_000)
    assert await outcome(201, bomb, "gzip") == InDoubt("HTTP 201, but the answer is too large")
    assert await outcome(429, bomb, "gzip") == Throttled(None, "HTTP 429")


@every_provider
async def test_a_permanent_redirect_is_not_followed_and_halts(
    maker: Maker,
) -> None:
    for status in (301, 307, 308):
        gateway = Gateway(says(response(status, b"", "Location: /elsewhere")))
        outcome = await asked(maker, gateway)
        assert isinstance(outcome, Halted)
        assert outcome.scope == "account"
        assert outcome.reason.startswith(f"HTTP {status}: a redirect, and none is followed")
        assert len(gateway.requests) == 1


@every_provider
async def test_another_redirect_is_not_followed_and_in_doubt(
    maker: Maker,
) -> None:
    for status in (302, 303, 304):
        gateway = Gateway(says(response(status, b"", "Location: /elsewhere")))
        assert await asked(maker, gateway) == InDoubt(f"HTTP {status}")
        assert len(gateway.requests) == 1


@every_provider
async def test_tls_is_verified_against_the_authorities_given(maker: Maker, tmp_path: Path) -> None:
    pem = certificate(tmp_path, "IP:127.0.0.1")
    gateway = Gateway(says(response(201, GOOD)))
    async with listening(gateway, serving(pem)):
        async with started(maker(gateway.url)) as provider:
            unknown = await provider.submit(message(), Slot())
        async with started(maker(gateway.url, ca_file=pem)) as provider:
            known = await provider.submit(message(), Slot())
    assert isinstance(unknown, Unavailable)
    assert "certificate verify failed" in unknown.reason
    assert known == Accepted("SM1", 2)
    assert len(gateway.requests) == 1


@every_provider
async def test_tls_is_verified_against_the_name(maker: Maker, tmp_path: Path) -> None:
    pem = certificate(tmp_path, "DNS:other.example")
    gateway = Gateway(says(response(201, GOOD)))
    async with (
        listening(gateway, serving(pem)),
        started(maker(gateway.url, ca_file=pem)) as provider,
    ):
        outcome = await provider.submit(message(), Slot())
    assert isinstance(outcome, Unavailable)
    assert "IP address mismatch" in outcome.reason
    assert gateway.requests == []


@every_provider
async def test_a_proxy_in_the_environment_is_not_used(
    maker: Maker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    assert await asked(maker, Gateway(says(response(201, GOOD)))) == Accepted("SM1", 2)


@every_provider
async def test_the_text_arrives_as_it_was_sent(maker: Maker) -> None:
    gateway = Gateway(says(response(201, GOOD)))
    await asked(maker, gateway)
    assert b"Hi+%26+bye+%3D+50%25+%2B+%C3%A9%0A" in gateway.requests[0]
    assert b"%2B12025550123" in gateway.requests[0]
    assert json.dumps(TEXT).encode() not in gateway.requests[0]
