"""Any gateway, by configuration. Rule: the first rule that matches decides, else the HTTP status.

`settings.py` shows the configuration and describes how an answer is read.
"""

from typing import ClassVar

from smsd.core.message import Message
from smsd.core.outcome import Accepted, InDoubt, Outcome
from smsd.provider.base import (
    KEEP_ALIVE_S,
    FindSettled,
    ProviderSettings,
    ProxyFor,
    direct,
)
from smsd.provider.generic.lookup import LONGEST_ID, LookUp
from smsd.provider.generic.rules import extracted
from smsd.provider.generic.settings import GenericSettings
from smsd.provider.wire.answer import Answer, segment_count
from smsd.provider.wire.gateway import Gateway
from smsd.provider.wire.redact import redact
from smsd.provider.wire.status import outcome_of_status
from smsd.provider.wire.transport import HttpClient, Request


class Http(Gateway):
    """A gateway that `[provider.http]` describes.

    `Gateway.submit` sends the `request` in the slot, and `outcome` reads the answer.
    """

    Settings: ClassVar[type[ProviderSettings]] = GenericSettings

    def __init__(self, settings: GenericSettings, client: HttpClient) -> None:
        super().__init__(client)
        self._settings = settings
        self._template = settings.request_template()
        self._success_is_ruled = settings.success_is_ruled
        self._hidden = settings.hidden

    @classmethod
    def build(
        cls,
        settings: GenericSettings,
        *,
        timeout_s: float,
        max_in_flight: int,
        keep_alive_s: float = KEEP_ALIVE_S,
        proxy_for: ProxyFor = direct,
    ) -> "Http":
        """A provider ready to `start`; one with a look-up side if `look_up` is configured."""
        client = HttpClient(
            timeout_s=timeout_s,
            max_in_flight=max_in_flight,
            keep_alive_s=keep_alive_s,
            proxy_for=proxy_for,
            ca_file=settings.ca_file,
        )
        look_up = settings.look_up_template()
        if look_up is None:
            return cls(settings, client)
        return HttpWithLookUp(settings, client, look_up)

    def request(self, message: Message) -> Request:
        """The request that submits a message."""
        return self._template.fill(message)

    def outcome(self, answer: Answer, message: Message) -> Outcome:
        """What the answer to that request means."""
        for rule in self._settings.rules:
            code = rule.match(answer)
            if code is None:
                continue
            if rule.ruling.kind == "accepted":
                return self._accepted(answer)
            reason = self._reason(answer, code, message)
            return rule.ruling.outcome(answer, code or str(answer.status), reason)
        if answer.good:
            return self._unruled_success(answer)
        return outcome_of_status(answer, str(answer.status), self._reason(answer, "", message))

    def _unruled_success(self, answer: Answer) -> Outcome:
        if self._success_is_ruled:
            return InDoubt(f"HTTP {answer.status}, but no rule matches this answer")
        accepted = self._accepted(answer)
        if self._settings.id is not None and not accepted.provider_id:
            return InDoubt(f"HTTP {answer.status}, but no id where one should be")
        return accepted

    def _accepted(self, answer: Answer) -> Accepted:
        provider_id = extracted(self._settings.id, answer)[:LONGEST_ID]
        return Accepted(provider_id, segment_count(extracted(self._settings.segments, answer)))

    def _reason(self, answer: Answer, code: str, message: Message) -> str:
        hidden = (message.content.text, message.recipient, *self._hidden)
        text = redact(extracted(self._settings.reason, answer), hidden)
        return answer.reason(code, text or answer.unread)


class HttpWithLookUp(Http):
    """A gateway that can be asked about a message in doubt."""

    def __init__(self, settings: GenericSettings, client: HttpClient, look_up: LookUp) -> None:
        super().__init__(settings, client)
        self._look_up = look_up
        self.gateway = settings.gateway
        self.stop_leaves_in_doubt = not look_up.proves_absence

    async def look_up(
        self, message: Message, started_ms: int, find_settled: FindSettled
    ) -> Outcome | None:
        """What became of a message."""
        if (request := self._look_up.request(message)) is None:
            return None
        answer = await self.ask(request)
        return InDoubt("asked: no answer") if answer is None else self._look_up.outcome(answer)
