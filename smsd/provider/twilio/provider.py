"""Twilio. Rule: configuration decides what a code means, else our table, else the HTTP status.

One submission is one `POST …/Messages.json`. Twilio has no idempotency key for it, and warns that
after an error of its own (20500, a 5xx but 503) the message may have been sent all the same. Such a
message is in doubt, and is searched for in Twilio's list of messages (`lookup.py`).
"""

from collections import Counter
from collections.abc import Mapping
from typing import ClassVar, Self
from urllib.parse import urlencode

from smsd.core.message import Message
from smsd.core.outcome import Accepted, InDoubt, Outcome, Unavailable
from smsd.core.recent import Recent
from smsd.provider.base import (
    KEEP_ALIVE_S,
    FindSettled,
    ProviderSettings,
    ProxyFor,
    Slot,
    direct,
)
from smsd.provider.twilio import smart_encoding
from smsd.provider.twilio.codes import code_in
from smsd.provider.twilio.lookup import (
    EARLY_S,
    LATE_S,
    Listed,
    Sought,
    created_at,
    matching_messages,
    outcome_of_listed,
)
from smsd.provider.twilio.settings import TwilioSettings
from smsd.provider.wire.answer import Answer, segment_count
from smsd.provider.wire.gateway import Gateway
from smsd.provider.wire.redact import redact
from smsd.provider.wire.status import outcome_of_status
from smsd.provider.wire.transport import HttpClient, Request

REMEMBERED = 20_000  # sids with the message of each, and messages that were refused
_LISTED_AS = {"From": "from", "MessagingServiceSid": "messaging_service_sid"}


class Twilio(Gateway):
    """The Messages resource of one Twilio account.

    `Gateway.submit` sends the `request` in the slot, and `outcome` reads the answer.
    """

    Settings: ClassVar[type[ProviderSettings]] = TwilioSettings
    # The sids in Redis tell which of two equal messages a listed one is, in a later process too.
    stop_leaves_in_doubt = True

    def __init__(self, settings: TwilioSettings, client: HttpClient, timeout_s: float) -> None:
        super().__init__(client)
        self._timeout_s = timeout_s
        self._url = settings.messages_url
        self.gateway = f"twilio {self._url}"
        self._authorization = settings.authorization()
        self._headers = {
            "Authorization": self._authorization,
            "Content-Type": "application/x-www-form-urlencoded",
        }
        self._secrets = settings.secrets
        self._default_sender = settings.default_sender_fields
        self._rulings = settings.rulings
        self._message_of_sid: Recent[str] = Recent(REMEMBERED)
        self._refused_once: Recent[bool] = Recent(REMEMBERED)  # by message
        self._under_way: Counter[tuple[str, str]] = Counter()

    @classmethod
    def build(
        cls,
        settings: TwilioSettings,
        *,
        timeout_s: float,
        max_in_flight: int,
        keep_alive_s: float = KEEP_ALIVE_S,
        proxy_for: ProxyFor = direct,
    ) -> Self:
        """A provider ready to `start`."""
        client = HttpClient(
            timeout_s=timeout_s,
            max_in_flight=max_in_flight,
            keep_alive_s=keep_alive_s,
            proxy_for=proxy_for,
            ca_file=settings.ca_file,
        )
        return cls(settings, client, timeout_s)

    # -- submitting -------------------------------------------------------------------------------

    async def submit(self, message: Message, slot: Slot) -> Outcome:
        """Submit one message in its slot, and remember what tells it from an equal one."""
        alike = _alike(message)
        self._under_way[alike] += 1
        try:
            outcome = await super().submit(message, slot)
        finally:
            self._under_way[alike] -= 1
            if not self._under_way[alike]:
                del self._under_way[alike]
        return self._remember(message, outcome)

    def request(self, message: Message) -> Request:
        """The request that submits a message."""
        form = urlencode(
            {"To": message.recipient, **self._sender_fields(message), "Body": message.content.text}
        )
        return Request("POST", self._url, self._headers, form.encode())

    def outcome(self, answer: Answer, message: Message) -> Outcome:
        """What the answer to that request means."""
        parsed = answer.json()
        answered: dict[str, object] = parsed if isinstance(parsed, dict) else {}
        if answer.good:
            return _accepted(answer, answered)
        code = code_in(answered.get("code"))
        hidden = (message.content.text, message.recipient, *self._secrets)
        text = redact(str(answered.get("message") or ""), hidden)
        reason = answer.reason(code, text or answer.unread)
        code = code or str(answer.status)
        if (ruling := self._rulings.get(code)) is not None:
            return ruling.outcome(answer, code, reason)
        return outcome_of_status(answer, code, reason)

    def _sender_fields(self, message: Message) -> Mapping[str, str]:
        own = message.content.sender
        return {"From": own} if own else self._default_sender

    # -- looking up -------------------------------------------------------------------------------

    async def look_up(
        self, message: Message, started_ms: int, find_settled: FindSettled
    ) -> Outcome | None:
        """What became of a message, if Twilio's list of messages shows it."""
        sought = self._sought(message, started_ms)
        url = self._url.with_query(sought.query)
        answer = await self.ask(Request("GET", url, {"Authorization": self._authorization}))
        if answer is None or not answer.good:
            return InDoubt("no list of messages")
        if self._under_way[_alike(message)]:  # and that one may be the listed one
            return InDoubt("an equal message is under way")
        listed = matching_messages(answer.json(), sought)
        if not isinstance(listed, dict):
            return listed
        ours = await self._without_others(listed, message, find_settled)
        first = message.attempts == 0 and not self._refused_once.get(message.id)
        outcome = outcome_of_listed(ours, sought, self._rulings.get, first=first)
        return outcome and self._remember(message, outcome)

    def _sought(self, message: Message, started_ms: int) -> Sought:
        started = started_ms / 1000
        return Sought(
            message.recipient,
            (message.content.text, smart_encoding.billed_text(message.content.text)),
            {_LISTED_AS[field]: value for field, value in self._sender_fields(message).items()},
            started,
            started - EARLY_S,
            started + self._timeout_s + LATE_S,
        )

    async def _without_others(
        self, listed: Mapping[str, Listed], message: Message, find_settled: FindSettled
    ) -> Mapping[str, Listed]:
        """The listed messages but for those known to be other messages of ours."""
        ours = {sid: one for sid, one in listed.items() if not self._is_another(sid, message)}
        if not ours:
            return ours
        created = [created_at(one) or 0.0 for one in ours.values()]
        since = min(created) - EARLY_S
        until = max(created) + self._timeout_s + LATE_S
        settled = await find_settled(ours, round(1000 * since), round(1000 * until))
        return {
            sid: one
            for sid, one in ours.items()
            # (An equal message may have been found to be that one while Redis was asked.)
            if settled.get(sid, message.id) == message.id and not self._is_another(sid, message)
        }

    def _is_another(self, sid: str, message: Message) -> bool:
        return self._message_of_sid.get(sid) not in (None, message.id)

    def _remember(self, message: Message, outcome: Outcome) -> Outcome:
        if isinstance(outcome, Accepted):
            self._message_of_sid.remember(outcome.provider_id, message.id)
        elif not isinstance(outcome, InDoubt | Unavailable):
            self._refused_once.remember(message.id, value=True)
        return outcome


def _alike(message: Message) -> tuple[str, str]:
    """What messages share that Twilio's list cannot tell apart."""
    return message.recipient, message.content.text


def _accepted(answer: Answer, answered: Mapping[str, object]) -> Outcome:
    sid = answered.get("sid")
    if not isinstance(sid, str) or not sid:
        return InDoubt(f"HTTP {answer.status}, but no sid in the answer")
    # "0" with a Messaging Service: the sender, hence the count, is not chosen yet.
    return Accepted(sid, segment_count(answered.get("num_segments")))
