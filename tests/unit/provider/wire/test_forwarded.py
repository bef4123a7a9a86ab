"""What a 503 says of having been forwarded. Rule: Envoy, Istio and RFC 9209 are understood."""

import pytest
from multidict import CIMultiDict

from smsd.core.outcome import InDoubt, Throttled, Unavailable
from smsd.provider.wire.answer import Answer
from smsd.provider.wire.status import outcome_of_status

ENVOY = "upstream connect error or disconnect/reset before headers"


def judged(body: str = "", **headers: str) -> object:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    answer = Answer(503, CIMultiDict(named), body.encode())
    return outcome_of_status(answer, "503", "HTTP 503")


@pytest.mark.parametrize(
    ("body", "how"),
    [
        (f"{ENVOY}. reset reason: connection termination", "connection termination"),
        (f"{ENVOY}. reset reason: remote reset", "remote reset"),
        (f"{ENVOY}. reset reason: remote reset (no error)", "remote reset (no error)"),
        (f"{ENVOY}. reset reason: local reset", "local reset"),
        (f"{ENVOY}. reset reason: protocol error", "protocol error"),
        (
            f"{ENVOY}. retried and the latest reset reason: connection termination",
            "connection termination",
        ),
        (
            f'{{"message": "{ENVOY}. reset reason: connection termination"}}',
            "connection termination",
        ),
        (f"{ENVOY}. reset reason: a new one, Hi & bye", "reset"),
        (ENVOY, "reset"),
    ],
)
def test_a_503_that_was_forwarded_is_in_doubt(body: str, how: str) -> None:
    assert judged(body) == InDoubt(f"HTTP 503: forwarded, then {how}")
    assert judged(body, retry_after="1") == InDoubt(f"HTTP 503: forwarded, then {how}")


@pytest.mark.parametrize(
    "body",
    [
        "",
        "<html><h1>503 Service Temporarily Unavailable</h1><hr>nginx</html>",
        "<html><body><h1>503 Service Unavailable</h1>No server is available</body></html>",
        "no healthy upstream",
        f"{ENVOY}. reset reason: connection failure",
        f"{ENVOY}. reset reason: connection failure, transport failure reason: delayed: 111",
        f"{ENVOY}. reset reason: remote connection failure, transport failure reason: TLS_error",
        f"{ENVOY}. retried and the latest reset reason: remote connection failure",
        f"{ENVOY}. reset reason: connection timeout",
        f"{ENVOY}. reset reason: overflow",
        f"{ENVOY}. reset reason: remote refused stream reset",
    ],
)
def test_a_503_that_nobody_took_is_unavailable(body: str) -> None:
    assert judged(body) == Unavailable("HTTP 503")
    assert judged(body, retry_after="1") == Throttled(1.0, "HTTP 503")


@pytest.mark.parametrize(
    ("name", "value", "kind"),
    [
        ("x_envoy_response_flags", "UC", InDoubt),
        ("x_envoy_response_flags", "URX,UC", InDoubt),
        ("x_envoy_response_flags", "UF", Unavailable),
        ("x_envoy_response_flags", "UH", Unavailable),
        ("x_details", "upstream_reset_before_response_started{connection_termination}", InDoubt),
        ("x_details", "upstream_reset_before_response_started{remote_reset}", InDoubt),
        ("x_details", "upstream_reset_before_response_started{overflow}", Unavailable),
        ("x_details", "no_healthy_upstream", Unavailable),
        ("x_envoy_overloaded", "true", Unavailable),
        ("x_envoy_upstream_service_time", "3", Unavailable),
        ("proxy_status", 'edge; error=connection_terminated; details="UC"', InDoubt),
        ("proxy_status", "a; error=connection_refused, b; error=connection_terminated", InDoubt),
        ("proxy_status", "edge; error=connection_refused", Unavailable),
        ("proxy_status", "edge", Unavailable),
    ],
)
def test_headers_report_it_as_well(name: str, value: str, kind: type) -> None:
    assert isinstance(judged("down", **{name: value}), kind)
