"""Campaigns as another kind of traffic: started, paused, resumed, edited and cancelled at random.

What became of each recipient is known from the campaign itself: a finished message has no status.
"""

import random
import threading
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from http.client import HTTPException
from typing import Any, NamedTuple

import redis

from smsd.core.campaign import Campaign, CampaignState, message_id
from smsd.store.campaigns import Recipient, WrongState
from tests.chaos.stage import Stage
from tests.support.campaigns import Desk
from tests.support.excuses import Excuses
from tests.support.oracle import Asked

AUDIENCE = "people"
CONTACTS = 400
LARGEST = 300  # recipients who are named one by one
MOST = 4  # campaigns of a run
GAP = 0.8  # seconds, the longest between calls
AREA = "+1203555"
ENDED = {"finished", "needs_attention", "cancelled"}
ACTIVE = "smsd:campaigns:active"


@dataclass(frozen=True)
class Wish:
    """A campaign that was asked for, whether it was answered or not."""

    texts: Mapping[str, str]  # by number
    ends: frozenset[str]


class Cancelled(NamedTuple):
    """That a campaign, or a message, was answered to be cancelled. Times are Unix ns."""

    id: str
    began: int
    ended: int


def import_audience(stage: Stage) -> None:
    """Import the audience, before anything is hurt."""
    rows = [f"{AREA}{place:04d},name {place}" for place in range(CONTACTS)]
    body = "\n".join(["phone,name", *rows]).encode()
    daemon = stage.daemons[0]
    headers = {"Content-Type": "text/csv", **authorized(stage)}
    status, answer = daemon.call("PUT", f"/audiences/{AUDIENCE}", body, headers)
    if status != 200:
        raise AssertionError(f"the audience was answered with {status}: {answer}")


def authorized(stage: Stage) -> dict[str, str]:
    return {"Authorization": f"Bearer {stage.token}"} if stage.token else {}


class Campaigner:
    """Starts campaigns and changes them, until it is to stop."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._chance = random.Random(stage.chance.random())
        self._left = self._chance.randint(1, MOST)
        self._stopping = threading.Event()
        self.wished: dict[str, Wish] = {}  # by name, from before the call
        self.started: dict[str, str] = {}  # answered with 200: id to name
        self.cancelled: list[Cancelled] = []
        self.tried: set[str] = set()  # ids of messages that may be cancelled by themselves
        self.taken_back: list[Cancelled] = []
        self.refused: Counter[str] = Counter()
        self._thread = threading.Thread(target=self._run)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stopping.set()

    def join(self) -> None:
        self._thread.join()

    def _run(self) -> None:
        verbs = [
            *(self._pause, self._resume, self._resume, self._edit),
            *(self._retry, self._cancel, self._take_back),
        ]
        while not self._stopping.wait(self._chance.uniform(0, GAP)):
            if self._left and (not self.started or self._chance.random() < 0.4):
                self._left -= 1
                self._start(f"c-{len(self.wished)}")
            elif self.started:
                self._chance.choice(verbs)(self._chance.choice(list(self.started)))

    def _start(self, name: str) -> None:
        """Twice, as somebody does who has not been answered: it is started once."""
        body, wish = self._some()
        if self._chance.random() < 0.2:
            body["expires_at"] = _in_seconds(self._chance.uniform(1.0, 6.0))
            wish = Wish(wish.texts, frozenset({"expired"}))
        self.wished[name] = wish
        body |= {"name": name, "weight": self._chance.randint(1, 5)}
        body |= {"priority": "high"} if self._chance.random() < 0.2 else {}
        for _ in range(2):
            answer = self._call("POST", "/campaigns", body, {"Idempotency-Key": f"key-{name}"})
            if answer is not None:
                self.started[answer["id"]] = name
                return

    def _some(self) -> tuple[dict[str, Any], Wish]:
        """Whom it is for, and what they are to read."""
        if self._chance.random() < 0.5:
            texts = {f"{AREA}{place:04d}": f"Hi name {place}" for place in range(CONTACTS)}
            return {"audience": AUDIENCE, "message": "Hi {{ name }}"}, Wish(texts, frozenset())
        first, many = self._chance.randrange(5000), self._chance.randint(1, LARGEST)
        numbers = [f"{AREA}{place:04d}" for place in range(first, first + many)]
        text = "t" * self._chance.choice((20, 20, 200))
        return {"to": numbers, "message": text}, Wish(dict.fromkeys(numbers, text), frozenset())

    def _pause(self, id_: str) -> None:
        self._call("POST", f"/campaigns/{id_}/pause", {"reason": "chaos"})

    def _resume(self, id_: str) -> None:
        self._call("POST", f"/campaigns/{id_}/resume", {"reason": "chaos"})

    def _retry(self, id_: str) -> None:
        self._stage.excuses.retried.add(id_)
        self._call("POST", f"/campaigns/{id_}/retry-failed", {"reason": "chaos"})

    def _edit(self, id_: str) -> None:
        self._call("PATCH", f"/campaigns/{id_}", {"weight": self._chance.randint(1, 9)})

    def _cancel(self, id_: str) -> None:
        if self._chance.random() < 0.5:
            return
        name = self.started[id_]
        wish = self.wished[name]
        self.wished[name] = Wish(wish.texts, wish.ends | {"cancelled"})
        began = time.time_ns()
        if self._call("POST", f"/campaigns/{id_}/cancel", {"reason": "chaos"}) is not None:
            self.cancelled.append(Cancelled(id_, began, time.time_ns()))

    def _take_back(self, id_: str) -> None:
        """Cancel one message, whether it is made yet or not."""
        state = self._chance.choice(("waiting", "held"))
        page = self._call("GET", f"/campaigns/{id_}/recipients?state={state}&count=50")
        if not page or not page["recipients"]:
            return
        message = self._chance.choice(page["recipients"])["message_id"]
        self.tried.add(message)
        began = time.time_ns()
        if self._call("DELETE", f"/messages/{message}") is not None:
            self.taken_back.append(Cancelled(message, began, time.time_ns()))

    def _call(
        self, method: str, path: str, body: object = None, headers: Mapping[str, str] | None = None
    ) -> Any:
        """The answer; None where it is no 200, or none came."""
        daemon = self._chance.choice(self._stage.daemons)
        headers = {**authorized(self._stage), **(headers or {})}
        try:
            status, answer = daemon.call(method, path, body, headers, timeout=8)
        except (OSError, HTTPException) as error:
            self.refused[type(error).__name__] += 1
            return None
        if status != 200:
            self.refused[f"{status} {answer['error']['code']}"] += 1
            return None
        return answer


def _in_seconds(seconds: float) -> str:
    moment = time.gmtime(time.time() + seconds)
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", moment)


# -- afterwards -----------------------------------------------------------------------------------


def are_at_rest(client: redis.Redis, desk: Desk) -> bool:
    """Whether all is settled; a person resumes what is paused."""
    if not client.scard(ACTIVE):
        return True
    for campaign in desk.all():
        if campaign.state is CampaignState.PAUSED:
            with suppress(WrongState):
                desk.turn("resume", campaign.id)
    return False


class Found(NamedTuple):
    """What the campaigns of a run say, in the words of the judge."""

    accepted: list[str]  # ids of messages
    known: dict[str, dict[str, str]]
    asked: dict[str, Asked]
    faults: dict[str, int]


def look(desk: Desk, campaigner: Campaigner, excuses: Excuses) -> Found:
    """What became of all recipients, of campaigns that are at rest."""
    campaigns = desk.all()
    found = Found([], {}, {}, {})
    for campaign in campaigns:
        wish = campaigner.wished[campaign.request.name]
        recipients = desk.recipients(campaign)
        ids = {message_id(campaign.id, campaign.key, number): number for number in wish.texts}
        found.accepted.extend(ids)
        for id_, number in ids.items():
            ends = wish.ends | ({"cancelled"} if id_ in campaigner.tried else frozenset())
            found.asked[id_] = Asked(number, wish.texts[number], ends)
        for recipient in recipients:
            found.known[recipient.message_id] = _status(recipient)
    for one in campaigner.taken_back:
        if one.id in found.asked and not excuses.cancelling(*one):
            found.asked[one.id] = replace(found.asked[one.id], never=True)
    found.faults.update(_faults(campaigns, campaigner, excuses, found))
    return found


def _status(recipient: Recipient) -> dict[str, str]:
    status = {"state": recipient.state, "to": recipient.number}
    if recipient.state == "dead":
        status["reason"] = recipient.reason.partition(" ")[0]
    return status


def _faults(
    campaigns: Sequence[Campaign], campaigner: Campaigner, excuses: Excuses, found: Found
) -> dict[str, int]:
    """What is wrong with campaigns as a whole."""
    states = {one.id: str(one.state) for one in campaigns}
    gone = [id_ for id_ in campaigner.started if id_ not in states and not excuses.loss(f"{id_}_1")]
    defied = [
        one
        for one in campaigner.cancelled
        if states.get(one.id, "cancelled") != "cancelled" and not excuses.cancelling(*one)
    ]
    faults = {
        "campaigns lost": len(gone),
        "campaigns that go on": sum(state not in ENDED for state in states.values()),
        "cancellations defied": len(defied),
        "campaigns with other counts": sum(not _counts_are_right(one, found) for one in campaigns),
        "strangers among recipients": len(found.known.keys() - found.asked.keys()),
    }
    return {what: many for what, many in faults.items() if many}


def _counts_are_right(campaign: Campaign, found: Found) -> bool:
    states = Counter(
        status["state"] for id_, status in found.known.items() if id_.startswith(f"{campaign.id}_")
    )
    counts = campaign.counts._asdict()
    total = counts.pop("recipients")
    return total == states.total() and all(
        states[state] == many
        for state, many in counts.items()
        if state not in ("waiting", "in_flight")
    )
