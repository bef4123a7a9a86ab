"""Where Redis is. Rule: what a URL says is understood, or refused without a word of it."""

import pytest

from smsd.redis.endpoint import SCHEMES, Endpoint, Login, parse

HUSH = "hush-hush"


@pytest.mark.parametrize(
    ("url", "meant"),
    [
        ("redis://db", Endpoint((("db", 6379),))),
        ("redis://db:7000/3", Endpoint((("db", 7000),), db=3)),
        ("redis://[::1]:7000?db=3", Endpoint((("::1", 7000),), db=3)),
        ("redis://:pw@db", Endpoint((("db", 6379),), login=Login("", "pw"))),
        ("redis://u:p%40%2F%25w@db", Endpoint((("db", 6379),), login=Login("u", "p@/%w"))),
        ("redis://db?username=u&password=p", Endpoint((("db", 6379),), login=Login("u", "p"))),
        ("rediss://db", Endpoint((("db", 6379),), tls={})),
        ("Redis://db", Endpoint((("db", 6379),))),
        (
            "rediss://db?ssl_ca_certs=/ca.pem&ssl_check_hostname=No&ssl_cert_reqs=none",
            Endpoint(
                (("db", 6379),),
                tls={
                    "ssl_ca_certs": "/ca.pem",
                    "ssl_cert_reqs": "none",
                    "ssl_check_hostname": False,
                },
            ),
        ),
        ("unix:///run/r%20s.sock", Endpoint((), path="/run/r s.sock")),
        ("unix://u:p@/r.sock?db=2", Endpoint((), path="/r.sock", db=2, login=Login("u", "p"))),
        (
            "redis+sentinel://u:p@a:1,[::1],c/texts/2?sentinel_username=s&sentinel_password=t",
            Endpoint(
                (("a", 1), ("::1", 26379), ("c", 26379)),
                service="texts",
                db=2,
                login=Login("u", "p"),
                sentinel_login=Login("s", "t"),
            ),
        ),
        ("rediss+sentinel://a/texts", Endpoint((("a", 26379),), service="texts", tls={})),
    ],
)
def test_a_url_is_understood(url: str, meant: Endpoint) -> None:
    assert parse(url) == meant


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("", "one of redis://"),
        (f"http://:{HUSH}@db", "one of redis://"),
        (HUSH, "one of redis://"),
        ("redis://", "a host, or host:port"),
        ("redis://db:", "a host, or host:port"),
        ("redis://db:0", "a host, or host:port"),
        ("redis://a,b", "a host, or host:port"),
        ("redis://db:65536", "a port of 1 to 65535"),
        ("redis://[::1", "an IPv6 address in [brackets]"),
        (f"redis://u:{HUSH}/{HUSH}@db", "a port of 1 to 65535"),
        (f"redis://u:1/{HUSH}@db", "the database's number"),
        (f"redis://u:{HUSH}?{HUSH}@db", "options as ?name=value"),
        (f"redis://db?{HUSH}", "options as ?name=value"),
        (f"redis://db?{HUSH}=1", "no options but db, username, password, each once"),
        (f"redis://u:{HUSH}#{HUSH}@db", "no #"),
        ("redis://db/x", "the database's number"),
        ("redis://db/1/2", "the database's number"),
        ("redis://db/1?db=1", "the database's number once"),
        ("redis://db?db=1&db=2", "each once"),
        ("redis://db?socket_timeout=9", "no options but"),
        ("redis://db?ssl_ca_certs=/ca.pem", "no options but"),
        ("redis://db?sentinel_password=p", "no options but"),
        ("rediss://db?ssl_cert_reqs=never", "ssl_cert_reqs to be one of required, optional, none"),
        ("rediss://db?ssl_check_hostname=perhaps", "ssl_check_hostname to be true or false"),
        ("unix://", "an absolute path"),
        ("unix://run/r.sock", "an absolute path"),
        ("redis+sentinel://a,b", "the master's name"),
        ("redis+sentinel://a,b/", "the master's name"),
        ("redis+sentinel://a,/texts", "a host, or host:port"),
        ("redis+sentinel:///texts", "a host, or host:port"),
        ("redis+sentinel://a/texts/x", "the database's number"),
    ],
)
def test_what_is_not_understood_is_refused_and_not_quoted(url: str, expected: str) -> None:
    with pytest.raises(ValueError, match="percent-encoded") as caught:
        parse(url)
    assert str(caught.value).startswith("expected ")
    assert expected in str(caught.value)
    assert HUSH not in str(caught.value)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_no_secret_shows(scheme: str) -> None:
    place = {"unix": "/r.sock"}.get(scheme, "db/texts" if "+" in scheme else "db")
    options = f"?sentinel_password={HUSH}" if "+" in scheme else ""
    options = "?ssl_password=" + HUSH if scheme == "rediss" else options
    assert HUSH not in repr(parse(f"{scheme}://{HUSH}:{HUSH}@{place}{options}"))


def test_the_files_it_names_are_known() -> None:
    url = "rediss://db?ssl_ca_certs=/a&ssl_keyfile=/b&ssl_ciphers=c"
    assert parse(url).files == {"ssl_ca_certs": "/a", "ssl_keyfile": "/b"}
    assert parse("redis://db").files == {}
