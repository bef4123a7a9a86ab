"""Secrets. Rule: no answer, log line or metric shows a token, a text or a credential."""

import base64
import html
import http.client
import json
import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote_plus

import pytest

from tests.support.hostile import (
    BEARER,
    GARBAGE,
    IMPATIENT,
    LARGE,
    TOKEN,
    embedded,
    exchange,
    running,
)
from tests.support.processes import Daemon, eventually

BODY_MARK = "Zebra-in-the-text"
SECRET_MARK = "provider-secret-Quagga"
KEY_MARK = "idempotency-Okapi"


def test_without_a_token_nothing_is_shown_even_of_messages_there_are(smsd: Daemon) -> None:
    status, answer = smsd.call("POST", "/send", {"message": "x", "to": "+12025560100"}, BEARER)
    assert status == 200
    with embedded(smsd) as client:
        pid = int(client.info("server")["process_id"])
    os.kill(pid, signal.SIGSTOP)  # nothing can be looked up, so what is answered is not from there
    try:
        shown = {
            json.dumps(smsd.call(method, f"/messages/{id_}", None, headers))
            for method in ("GET", "DELETE")
            for id_ in (answer["id"], "1-1", "<script>", "%00", "a/b")
            for headers in ({}, {"Authorization": "Bearer wrong-token-0123456789"})
        }
    finally:
        os.kill(pid, signal.SIGCONT)
    [same] = shown
    assert json.loads(same)[0] == 401
    eventually(lambda: smsd.call("GET", f"/messages/{answer['id']}", None, BEARER)[0] == 200)


ENOUGH = 21  # submissions: each status three times


class Echo(threading.Thread):
    """A provider that answers every way there is to fail, and repeats all that it was sent."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self._door = socket.create_server(("127.0.0.1", 0))
        self.port = self._door.getsockname()[1]
        self.heard = 0

    def run(self) -> None:
        while True:
            try:
                caller, _ = self._door.accept()
            except OSError:
                return
            with caller, suppress(OSError):
                self._answer(caller)

    def _answer(self, caller: socket.socket) -> None:
        shown = b""
        while b"\r\n\r\n" not in shown or not shown.endswith(b"}"):
            octets = caller.recv(65_536)
            if not octets:
                return
            shown += octets
        statuses = (
            b"400 Bad",
            b"429 Slow",
            b"500 Oops",
            b"503 Down",
            b"200 OK",
            b"302 Go",
            b"999 \xff",
        )
        # (Held for the account, little more would come.)
        status = statuses[self.heard % 7] if self.heard < ENOUGH else b"401 No"
        self.heard += 1
        if self.heard % 10 == 9:
            return  # closed without an answer
        body = json.dumps({"error": shown.decode("latin-1"), "code": shown[-60:].decode()}).encode()
        caller.sendall(
            b"HTTP/1.1 "
            + status
            + b"\r\nX-Echo: "
            + BODY_MARK.encode()
            + b"\r\nContent-Length: %d\r\n\r\n" % len(body)
            + body
        )

    def close(self) -> None:
        with suppress(OSError):
            self._door.shutdown(socket.SHUT_RDWR)
        self._door.close()
        self.join(10)


@pytest.fixture
def echo() -> Iterator[Echo]:
    echo = Echo()
    echo.start()
    yield echo
    echo.close()


def test_no_token_text_or_secret_is_shown_to_anybody(tmp_path: Path, echo: Echo) -> None:
    settings = f"""
        [http]
        tokens = ["{TOKEN}"]
        header_timeout = 0.5
        body_timeout = 0.5
        [rate]
        segments_per_second = 200
        [provider]
        name = "http"
        timeout = 1.0
        [provider.http]
        url = "http://127.0.0.1:{echo.port}/send/${{token}}"
        body = "json"
        fields = {{to = "{{to}}", text = "{{text}}", id = "{{id}}"}}
        headers = {{Authorization = "Bearer ${{token}}"}}
        secrets = {{token = "{SECRET_MARK}"}}
        id = "json:id"
        reason = "json:error"
        [log]
        level = "debug"
    """
    with running(tmp_path / "smsd", settings, calm=False) as daemon:
        answers = [daemon.call("POST", "/send", body, headers) for body, headers in _faults()]
        for path in ("/readyz", "/readyz/dispatch"):
            answers += [daemon.call("GET", path), daemon.call("GET", path, None, BEARER)]
        connection = http.client.HTTPConnection(daemon.url.removeprefix("http://"), timeout=20)
        with embedded(daemon) as client:
            for name in ("message", "to", "from", "priority", "ref", "id", "send_at"):
                fields = {"to": "+12025560187", "message": BODY_MARK} | {name: BODY_MARK + "\0\n"}
                client.xadd("smsd:queue", fields)
            client.xadd(
                "smsd:queue", {"to": "+12025560187", "message": b"\xff" + BODY_MARK.encode()}
            )
            eventually(lambda: echo.heard > ENOUGH, 30, "submissions")
            eventually(lambda: "dispatch held" in daemon.log, 30, "the last of them is believed")
        for octets in (*GARBAGE.values(), *LARGE.values()):
            exchange(daemon, octets.replace(b"Zebra", BODY_MARK.encode()))
        connection.request("GET", "/metrics", headers=BEARER)
        metrics = connection.getresponse().read().decode()
        connection.close()
    for what, shown in (
        ("log", daemon.log),
        ("metrics", metrics),
        ("answers", json.dumps(answers)),
    ):
        for mark in (TOKEN, BODY_MARK, SECRET_MARK, KEY_MARK, "12025560187"):
            assert mark not in shown, (what, mark, _around(shown, mark))


ECHOES: tuple[Callable[[str], str], ...] = (
    str,
    unquote_plus,
    quote,
    lambda shown: html.escape(unquote_plus(shown)),
    lambda shown: json.dumps(unquote_plus(shown)),
    lambda shown: unquote_plus(shown).upper(),
    lambda shown: unquote_plus(shown)[-60:-5],
    lambda shown: shown[-60:-5].replace("%", "%25"),
)


class Repeater(BaseHTTPRequestHandler):
    """Refuses everything, and repeats it: credentials and form, each time in another form."""

    heard = 0

    def do_POST(self) -> None:
        form = self.rfile.read(int(self.headers["Content-Length"])).decode()
        shown = f"{self.path} {self.headers['Authorization']} {self.headers['X-Key']} {form}"
        repeated = ECHOES[Repeater.heard % len(ECHOES)](shown)
        Repeater.heard += 1
        body = json.dumps({"error": f"refused: {repeated}"}).encode()
        self.send_response(401 if Repeater.heard > len(ECHOES) else 400)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


def test_a_gateway_that_repeats_a_request_it_refuses_is_not_quoted(tmp_path: Path) -> None:
    text = f"{BODY_MARK}: it's 50% & <more> é"
    number = "+12025560187"
    with HTTPServer(("127.0.0.1", 0), Repeater) as gateway:
        serving = threading.Thread(target=gateway.serve_forever, daemon=True)
        serving.start()
        settings = f"""
            [http]
            tokens = ["{TOKEN}"]
            [rate]
            segments_per_second = 200
            [provider]
            name = "http"
            [provider.http]
            url = "http://127.0.0.1:{gateway.server_port}/send/${{token}}"
            fields = {{to = "{{to}}", text = "{{text}}"}}
            headers = {{X-Key = "${{token}}"}}
            secrets = {{token = "{SECRET_MARK}+/"}}
            user = "smsd"
            password = "{KEY_MARK}"
            reason = "json:error"
            [log]
            level = "debug"
        """
        shown: list[Any] = []
        with running(tmp_path, settings, calm=False) as daemon:
            shown += [_refused(daemon, {"message": text, "to": number}) for _ in ECHOES]
            daemon.call("POST", "/send", {"message": text, "to": number}, BEARER)
            eventually(lambda: daemon.call("GET", "/readyz/dispatch")[0] == 503, what="a hold")
            shown.append(daemon.call("GET", "/readyz/dispatch", None, BEARER)[1])
            dead_letters = daemon.call("GET", "/dead-letters", None, BEARER)[1]["dead_letters"]
        gateway.shutdown()
        serving.join(10)
    assert len(dead_letters) == len(ECHOES)
    shown += [*dead_letters, daemon.log]
    everything = json.dumps(shown, ensure_ascii=False).lower()
    everything = everything.replace(f'"to": "{number}"', "")  # in its place, to its owner
    assert "refused: /send/…" in everything  # the rest of its reason is shown
    basic = base64.b64encode(f"smsd:{KEY_MARK}".encode()).decode()
    for mark in (BODY_MARK, "in-the-text", "50%", "more", SECRET_MARK, KEY_MARK, basic, number[1:]):
        assert mark.lower() not in everything, (mark, _around(everything, mark.lower()))


def _refused(daemon: Daemon, body: object) -> object:
    """What is shown of a message that is sent and dies."""
    path = f"/messages/{daemon.call('POST', '/send', body, BEARER)[1]['id']}"
    eventually(lambda: daemon.call("GET", path, None, BEARER)[1]["state"] == "dead")
    return daemon.call("GET", path, None, BEARER)[1]


def test_a_text_that_was_taken_for_the_name_of_a_field_is_not_logged(tmp_path: Path) -> None:
    with running(tmp_path, IMPATIENT) as daemon:
        with embedded(daemon) as client:
            id_ = client.xadd("smsd:queue", {"to": "+12025560187", BODY_MARK: "x"}).decode()
        path = f"/messages/{id_}"
        eventually(lambda: daemon.call("GET", path, None, BEARER)[1]["state"] == "dead")
    assert BODY_MARK not in daemon.log


def _around(shown: str, mark: str) -> str:
    place = shown.find(mark)
    return shown[max(0, place - 300) : place + 100]


def _faults() -> Iterator[tuple[object, dict[str, str]]]:
    key = BEARER | {"Idempotency-Key": KEY_MARK}
    for n in range(30):
        yield {"message": BODY_MARK, "to": f"+12025550{100 + n}"}, BEARER
    yield {"message": BODY_MARK, "to": "+12025560187"}, key
    yield {"message": BODY_MARK + "!", "to": "+12025560187"}, key
    yield {"message": BODY_MARK, "to": "+12025560187"}, BEARER | {"Idempotency-Key": KEY_MARK + " "}
    yield {"message": BODY_MARK}, {"Authorization": f"Bearer {TOKEN}x"}
    yield (
        {"message": BODY_MARK},
        {"Authorization": f"Basic {base64.b64encode(TOKEN.encode()).decode()}"},
    )
    yield {"message": BODY_MARK * 1_000, "to": "+12025560187"}, BEARER
    yield {"message": BODY_MARK, "to": BODY_MARK}, BEARER
    yield {"message": BODY_MARK, "to": [BODY_MARK] * 50}, BEARER
    for name in ("from", "priority", "send_at", "expires_at"):
        yield {"message": "x", name: BODY_MARK}, BEARER
    yield {"message": BODY_MARK, "ref": BODY_MARK + "\n"}, BEARER
    yield f'{{"message": "{BODY_MARK}'.encode(), BEARER
    yield f'{{"message": "{BODY_MARK}\\x"}}'.encode(), BEARER
    yield f'["{BODY_MARK}"]'.encode(), BEARER
    yield BODY_MARK.encode(), BEARER
    yield BODY_MARK.encode(), BEARER | {"Content-Encoding": "gzip"}
    yield BODY_MARK.encode(), BEARER | {"Content-Type": "text/" + BODY_MARK}
