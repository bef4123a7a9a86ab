"""Texts in doubt, on real processes. Rule: what the provider can tell is asked before judging."""

import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.processes import Daemon, Recorder, eventually

DROPS = {"drop": 1.0}  # takes every text and answers none


@pytest.fixture
def recorder(tmp_path: Path) -> Iterator[Recorder]:
    recorder = Recorder(tmp_path, latency=0.05).start(plan=DROPS)
    yield recorder
    recorder.stop()


def asking(recorder: Recorder, *, by: str = "id", not_found: str = "in_doubt") -> str:
    """A config.toml by which the recorder is asked about texts in doubt; it knows them by id."""
    url = f"http://127.0.0.1:{recorder.port}/lookup?id={{{by}}}"
    look_up = f'{{url = "{url}", id = "json:id", not_found = "{not_found}"}}'
    return f"{recorder.settings()}\nlook_up = {look_up}\n"


def start(daemon: Daemon, settings: str, **more: Any) -> Daemon:
    (daemon.directory / "config.toml").write_text(settings)
    return daemon.start(**more)


def becomes(daemon: Daemon, message_id: str, state: str) -> dict[str, Any]:
    """The text, when it has come to `state`."""
    told: dict[str, Any] = {}

    def came() -> bool:
        told.update(daemon.call("GET", f"/messages/{message_id}")[1])
        return bool(told.get("state") == state)

    eventually(came, 30, f"{state}: {told}")
    return told


def test_a_text_whose_answer_was_lost_is_sent_when_the_provider_says_that_it_has_it(
    daemon: Daemon, recorder: Recorder
) -> None:
    start(daemon, asking(recorder))
    text = becomes(daemon, daemon.send(to="+12025550123", message="Hi")["id"], "sent")

    [arrival] = recorder.arrivals()
    assert (arrival["id"], arrival["own_id"]) == (text["id"], text["provider_id"])
    assert text["attempts"] == 1
    assert " asked id=" in daemon.log
    assert "found=taken" in daemon.log


def test_a_text_whose_answer_was_lost_is_a_dead_letter_where_nobody_can_be_asked(
    daemon: Daemon, recorder: Recorder
) -> None:
    start(daemon, recorder.settings())
    text = becomes(daemon, daemon.send(to="+12025550123", message="Hi")["id"], "dead")

    assert text["reason"] == "in_doubt"
    assert len(recorder.arrivals()) == 1
    assert "asking" not in daemon.log


def test_a_stop_cuts_the_asking_short_and_the_next_start_asks_again(
    daemon: Daemon, recorder: Recorder
) -> None:
    start(daemon, asking(recorder, by="to"))  # which it does not know, and is asked for again
    message_id = daemon.send(to="+12025550123", message="Hi")["id"]
    eventually(lambda: '"in doubt, asking" id=' in daemon.log)
    daemon.signal(signal.SIGTERM)
    assert daemon.wait(20) == 0
    assert f'"left in doubt" id={message_id}' in daemon.log
    assert '"dispatch stopped" drained=true' in daemon.log

    start(daemon, asking(recorder))
    becomes(daemon, message_id, "sent")
    assert len(recorder.arrivals()) == 1


def test_while_one_text_is_asked_about_the_others_go_on(daemon: Daemon, recorder: Recorder) -> None:
    start(daemon, asking(recorder, by="to"))
    asked = daemon.send(to="+12025550123", message="Hi")["id"]
    eventually(lambda: '"in doubt, asking" id=' in daemon.log)
    recorder.stop()
    recorder.start(plan={"ok": 1})
    ids = daemon.send(to=[f"+1202555{n:04d}" for n in range(200, 240)], message="Ho")["ids"]
    for message_id in ids:
        becomes(daemon, message_id, "sent")
    assert daemon.call("GET", f"/messages/{asked}")[1]["state"] == "sending"


def test_the_sandbox_can_be_asked(daemon: Daemon) -> None:
    daemon.start()
    text = becomes(daemon, daemon.send(to="+12025550197", message="Hi")["id"], "sent")
    assert text["provider_id"] == "sandbox-1"
