"""The recording gateway. Rule: its record and its look-up agree on what was taken."""

import json
import signal
import socket
import time
import urllib.error
import urllib.request
from collections import Counter
from http.client import HTTPConnection, HTTPException
from pathlib import Path

import pytest

from tests.support.processes import SECOND, Recorder


def send(recorder: Recorder, message_id: str) -> str:
    """The status of the answer, or the error."""
    text = {"to": "+12025550123", "text": "Hi", "id": message_id, "segments": "1"}
    url = f"http://127.0.0.1:{recorder.port}/send"
    try:
        with urllib.request.urlopen(url, json.dumps(text).encode(), timeout=20) as answer:
            return str(answer.status)
    except urllib.error.HTTPError as error:
        with error:
            return str(error.code)
    except (OSError, HTTPException):
        return "no answer"


def looked_up(recorder: Recorder, message_id: str) -> bool:
    url = f"http://127.0.0.1:{recorder.port}/lookup?id={message_id}"
    try:
        with urllib.request.urlopen(url, timeout=20):
            return True
    except urllib.error.HTTPError as error:
        error.close()
        return False


@pytest.mark.parametrize(("kind", "answer"), [("500", "500"), ("reset", "no answer")])
def test_of_a_doubtful_answer_half_were_taken(tmp_path: Path, kind: str, answer: str) -> None:
    recorder = Recorder(tmp_path, latency=0.0, seed=1).start(plan={kind: 1})
    try:
        ids = [f"m{n}" for n in range(60)]
        assert {send(recorder, message_id) for message_id in ids} == {answer}
        taken = {each["id"]: each["taken"] for each in recorder.arrivals()}
        recorder.stop()
        recorder.start(plan={"ok": 1})  # it still knows
        assert {message_id: looked_up(recorder, message_id) for message_id in ids} == taken
        assert 15 < Counter(taken.values())[True] < 45
    finally:
        recorder.stop()


def test_a_refused_text_never_arrives(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path, latency=0.0, seed=1).start(plan={"refuse": 1})
    try:
        assert {send(recorder, f"m{n}") for n in range(20)} == {"no answer"}
        assert recorder.arrivals() == []
        recorder.stop()
        recorder.start(plan={"ok": 1})
        assert not looked_up(recorder, "m0")
    finally:
        recorder.stop()


def test_refusals_are_drawn_among_the_rest(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path, latency=0.0, seed=1).start(plan={"ok": 0.5, "refuse": 0.5})
    try:
        answers = Counter(send(recorder, f"m{n}") for n in range(60))
        assert answers["200"] == len(recorder.arrivals())
        assert min(answers["200"], answers["no answer"]) > 15
    finally:
        recorder.stop()


def test_the_plan_changes_with_the_next_request_on_the_same_connection(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path, latency=0.0).start()
    try:
        link = HTTPConnection("127.0.0.1", recorder.port, timeout=20)
        assert post(link, "a") == (200, b'{"id":"0000001"}')
        recorder.behave(plan={"taken 503": 1})
        assert post(link, "b") == (503, b"{}")
        recorder.behave(plan={"forwarded 503": 1})
        status, body = post(link, "c")
        assert (status, body.endswith(b"reset reason: connection termination")) == (503, True)
        recorder.behave(plan={"unreached 503": 1})
        status, body = post(link, "d")
        assert (status, body.endswith(b"reset reason: connection failure")) == (503, True)
        taken = {each["id"]: each["taken"] for each in recorder.arrivals()}
        assert (taken["a"], taken["b"], taken["d"]) == (True, True, False)
        link.close()
    finally:
        recorder.stop()


def test_an_arrival_is_as_old_as_it_is_though_nobody_was_there_to_accept_it(
    tmp_path: Path,
) -> None:
    recorder = Recorder(tmp_path, latency=0.0).start()
    assert recorder._process is not None
    try:
        recorder._process.send_signal(signal.SIGSTOP)
        link = HTTPConnection("127.0.0.1", recorder.port, timeout=20)
        sent = time.time_ns()
        link.request("POST", "/send", b'{"id":"a"}')
        time.sleep(3)
        recorder._process.send_signal(signal.SIGCONT)
        with link.getresponse() as answer:
            assert answer.status == 200
        assert recorder.arrivals()[0]["at"] - sent < 2 * SECOND
        link.close()
    finally:
        recorder.stop()


def test_it_can_be_changed_though_it_refuses_connections(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path, seed=1).start(plan={"ok": 0.2, "refuse": 0.8})
    try:
        for _ in range(5):
            recorder.behave(keep_alive=0)
    finally:
        recorder.stop()


@pytest.mark.parametrize("announced", [True, False])
def test_an_idle_connection_is_closed(tmp_path: Path, announced: bool) -> None:
    recorder = Recorder(tmp_path, latency=0.0).start()
    try:
        recorder.behave(keep_alive=0.2, announced=announced)
        with socket.create_connection(("127.0.0.1", recorder.port), timeout=20) as sock:
            sock.sendall(b'POST /send HTTP/1.1\r\nContent-Length: 10\r\n\r\n{"id":"a"}')
            answer = sock.recv(1000)
            assert (b"\r\nKeep-Alive: timeout=0\r\n" in answer) == announced
            assert sock.recv(1000) == b""
    finally:
        recorder.stop()


def test_what_crosses_the_close_of_an_idle_connection_is_never_read(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path, latency=0.0).start()
    try:
        recorder.behave(keep_alive=0.1, close_takes=4.0)
        link = HTTPConnection("127.0.0.1", recorder.port, timeout=20)
        assert post(link, "a")[0] == 200
        time.sleep(2)
        with pytest.raises((OSError, HTTPException)):
            post(link, "b")
        assert [each["id"] for each in recorder.arrivals()] == ["a"]
    finally:
        recorder.stop()


def post(link: HTTPConnection, message_id: str) -> tuple[int, bytes]:
    link.request("POST", "/send", json.dumps({"to": "+12025550123", "id": message_id}).encode())
    with link.getresponse() as answer:
        return answer.status, answer.read()
