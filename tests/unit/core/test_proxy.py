"""Where a proxy is. Rule: a fault quotes nothing of what may hold a password."""

import pytest

from smsd.config import ConfigError
from smsd.core.proxy import Proxy, parse
from smsd.daemon.proxies import proxy_for


@pytest.mark.parametrize(
    ("url", "proxy"),
    [
        ("http://proxy.example:3128", Proxy("http://proxy.example:3128")),
        ("http://proxy.example:3128/", Proxy("http://proxy.example:3128")),
        ("https://10.0.0.1", Proxy("https://10.0.0.1")),
        ("http://[::1]:8080", Proxy("http://[::1]:8080")),
        ("http://me:p%40ss@proxy:1", Proxy("http://proxy:1", "me", "p@ss")),
        ("http://me@proxy:1", Proxy("http://proxy:1", "me", "")),
    ],
)
def test_a_proxy_is_read_as_it_is_written(url: str, proxy: Proxy) -> None:
    assert parse(url) == proxy


@pytest.mark.parametrize(
    "url",
    [
        "proxy:3128",
        "socks5://me:s3cret@proxy:1080",
        "http://",
        "http://me:s3cret@proxy:port",
        "http://me:s3cret@proxy:99999",
        "http://me:s3cret@proxy/path",
        "http://proxy?s3cret",
        "http://proxy#s3cret",
        "http://[::1",
    ],
)
def test_what_is_no_proxy_is_refused_without_a_quotation(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ValueError, match="expected http://host:port") as caught:
        parse(url)
    assert "s3cret" not in str(caught.value)
    if "://" in url:
        monkeypatch.setenv("https_proxy", url)
        with pytest.raises(ConfigError) as fault:
            proxy_for("environment")
        assert "HTTPS_PROXY: expected" in str(fault.value)
        assert "s3cret" not in str(fault.value)


def test_a_password_is_not_shown() -> None:
    assert "s3cret" not in repr(parse("http://me:s3cret@proxy:1"))
