"""The recording gateway. Rule: its record and its look-up agree on what was taken."""

import json
import urllib.error
import urllib.request
from collections import Counter
from http.client import HTTPException
from pathlib import Path

import pytest

from tests.support.processes import Recorder


def send(recorder: Recorder, message_id: str) -> str:
    """The status of the answer, or the error."""
    text = {"to": "+12025550123", "text": "Hi", "id": message_id, "segments": "1"}
    url = f"http://127.0.0.1:{recorder.port}/send"
    try:
        with urllib.request.urlopen(url, json.dumps(text).encode(), timeout=5) as answer:
            return str(answer.status)
    except urllib.error.HTTPError as error:
        with error:
            return str(error.code)
    except (OSError, HTTPException):
        return "no answer"


def looked_up(recorder: Recorder, message_id: str) -> bool:
    url = f"http://127.0.0.1:{recorder.port}/lookup?id={message_id}"
    try:
        with urllib.request.urlopen(url, timeout=5):
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
