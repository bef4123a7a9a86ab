"""Hosts without tokens. Rule: what a page makes a browser ask is refused, nothing else is."""

from collections.abc import Mapping

import pytest
from aiohttp.test_utils import make_mocked_request

from smsd.web.errors import ApiError
from smsd.web.hosts import check_browser


def refusal(
    headers: Mapping[str, str], *, address: str | None = "127.0.0.1", hosts: tuple[str, ...] = ()
) -> str:
    """The code of the refusal, or nothing."""
    try:
        check_browser(make_mocked_request("GET", "/", headers), hosts, address=address)
    except ApiError as error:
        return error.code
    return ""


@pytest.mark.parametrize("host", ["localhost", "evil.example", "", "x"])
def test_on_a_unix_socket_any_host_will_do(host: str) -> None:
    assert refusal({"Host": host}, address=None) == ""


def test_on_a_unix_socket_a_foreign_origin_is_refused_all_the_same() -> None:
    headers = {"Host": "localhost", "Origin": "http://evil.example"}
    assert refusal(headers, address=None) == "foreign_origin"


def test_the_address_that_was_called_is_ours() -> None:
    assert refusal({"Host": "192.0.2.7:8080"}, address="192.0.2.7") == ""
    assert refusal({"Host": "[2001:db8::7]"}, address="2001:db8::7") == ""
    assert refusal({"Host": "192.0.2.8"}, address="192.0.2.7") == "foreign_host"


def test_where_the_address_is_not_known_only_names_of_loopback_and_ours_are() -> None:
    assert refusal({"Host": "localhost"}, address="") == ""
    assert refusal({"Host": "a.example"}, address="", hosts=("a.example",)) == ""
    for host in ("", "a.example", ":80"):
        assert refusal({"Host": host}, address="") == "foreign_host"


def test_names_are_ours_in_any_case_and_whole() -> None:
    assert refusal({"Host": "SMS.example:1"}, hosts=("sms.example",)) == ""
    assert refusal({"Host": "a.sms.example"}, hosts=("sms.example",)) == "foreign_host"
    assert (
        refusal(
            {
                "Host": "sms.example.",
            },
            hosts=("sms.example",),
        )
        == "foreign_host"
    )


@pytest.mark.parametrize("host", ["\u00e9", "a b", "a/b", "a@localhost", "localhost:x", "[::1]x"])
def test_what_is_no_host_is_none_of_ours(host: str) -> None:
    assert refusal({"Host": host}) == "foreign_host"
