"""Twilio. Rule: its code decides, and else its status; configuration goes before both.

    [provider.twilio]
    account_sid = "AC…"
    auth_token  = "…"                      # or api_key and api_secret; best as a credential
    from        = "+12025550100"           # or messaging_service_sid = "MG…"; or neither, where
                                           # [message] default_from names the sender
    smart_encoding = true                  # if the Messaging Service has it: counts as it bills
    codes       = {"30034" = "rejected:sender"}   # "503": a status, where no code is answered

One submission is one `POST …/Messages.json`. Twilio has no idempotency key for it, and warns that
after an error of its own (20500, a 5xx but 503) the text may have been sent all the same: then its
list of messages is looked through.
"""

import re
from collections import Counter
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Self
from urllib.parse import urlencode

from pydantic import (
    AfterValidator,
    Field,
    SecretStr,
    TypeAdapter,
    ValidationError,
    ValidationInfo,
    field_validator,
)
from pydantic_core import PydanticCustomError
from yarl import URL

from smsd.core.message import Message, configured_sender
from smsd.core.outcome import Accepted, InDoubt, Outcome, Unavailable
from smsd.core.recent import Recent
from smsd.provider.base import (
    KEEP_ALIVE_S,
    BilledText,
    FindSettled,
    ProviderSecret,
    ProviderSettings,
    ProxyFor,
    Slot,
    default_sender,
    direct,
)
from smsd.provider.twilio import lookup as twilio_list
from smsd.provider.twilio import smart_encoding
from smsd.provider.twilio.lookup import EARLY_S, LATE_S, Listed, Sought
from smsd.provider.wire import rulings as codes
from smsd.provider.wire.gateway import Gateway, HttpSettings, HttpUrl
from smsd.provider.wire.rulings import RulingField, ruling
from smsd.provider.wire.transport import Answer, Link, Request, basic

REMEMBERED = 20_000  # sids, and for which text each stands
_API = "2010-04-01"
_CODE = re.compile(r"[0-9]{1,6}")
_BOOL = TypeAdapter(bool)
_LISTED_AS = {"From": "from", "MessagingServiceSid": "messaging_service_sid"}

# What Twilio may answer a submission. Not here: codes of delivery receipts, like 30003 to 30008;
# 20500 (internal error) and 20503 (unavailable, to be tried again), which go by their status. Nor
# 21606 and 21659, with which From cannot send to this destination (a short code abroad) or to none
# at all: unknown refusals, so one text stops nothing, and a wrong From does not empty the queue:
# many in a row hold dispatch.
CODES: Mapping[str, str] = {
    # The account: nothing will be taken.
    "10001": "halted:account",  # account not active
    "20003": "halted:account",  # permission denied: wrong credentials, or account suspended
    "20005": "halted:account",  # account not active
    "20006": "halted:account",  # access denied
    "20403": "halted:account",  # forbidden
    "20404": "halted:account",  # no such resource: the path holds nothing but the account's SID
    "30002": "halted:account",  # account suspended
    # The sender: nothing will be taken from it.
    "21212": "halted:sender",  # From is invalid
    "21267": "halted:sender",  # alphanumeric sender on a trial account
    "21601": "halted:sender",  # From is not a number of this account that can send texts
    "21603": "halted:sender",  # From or MessagingServiceSid is missing
    "21660": "halted:sender",  # From belongs to another account
    "21661": "halted:sender",  # From cannot send texts
    "21701": "halted:sender",  # no such Messaging Service
    "21703": "halted:sender",  # the Messaging Service has no sender that fits
    "21704": "halted:sender",  # the Messaging Service has no senders
    "21705": "halted:sender",  # MessagingServiceSid is malformed
    "30032": "halted:sender",  # toll-free number not verified
    "30034": "halted:sender",  # US long code not registered (A2P 10DLC)
    # The pace: not taken, later it will be.
    "20429": "throttled",  # too many concurrent requests
    "21611": "throttled",  # the sender's queue at Twilio is full
    # The recipient.
    "21211": "rejected:recipient",  # To is invalid
    "21217": "rejected:recipient",  # To is not a phone number
    "21265": "rejected:recipient",  # To is a short code
    "21266": "rejected:recipient",  # To and From are the same
    "21268": "rejected:recipient",  # To is a premium-rate or information number
    # To's country is not enabled. A person has to act, but all other countries may be texted: so it
    # is decided not to halt for it.
    "21408": "rejected:recipient",
    "21608": "rejected:recipient",  # To is not verified, which a trial account asks for
    "21610": "rejected:recipient:opted_out",  # replied STOP
    "21612": "rejected:recipient",  # cannot be reached from this sender
    "21614": "rejected:recipient",  # To is no mobile number
    "21635": "rejected:recipient",  # To is a landline
    # The message.
    "21602": "rejected:message",  # Body is missing
    "21617": "rejected:message",  # Body is longer than 1600 characters
    "21619": "rejected:message",  # neither Body nor MediaUrl
}


def _code(text: str) -> str:
    if not _CODE.fullmatch(text):
        raise ValueError("must be one of Twilio's codes, like 30034")
    return text


def _without_path(url: str) -> str:
    if f"/{_API}" in url:
        raise ValueError(f"must end before /{_API}, which is added")
    return url


class TwilioSettings(HttpSettings):
    """`[provider.twilio]`."""

    base_url: Annotated[HttpUrl, AfterValidator(_without_path)] = "https://api.twilio.com"
    account_sid: Annotated[str, Field(pattern=r"^AC[0-9a-fA-F]{32}$")]
    auth_token: ProviderSecret = SecretStr("")
    api_key: str = ""
    api_secret: ProviderSecret = Field(SecretStr(""), validate_default=True)
    sender: Annotated[str, AfterValidator(configured_sender)] = Field("", alias="from")
    messaging_service_sid: Annotated[str, Field(pattern=r"^(MG[0-9a-fA-F]{32})?$")] = Field(
        "", validate_default=True
    )
    smart_encoding: bool = False  # of the Messaging Service: texts are counted as it bills them
    codes: dict[Annotated[str, AfterValidator(_code)], RulingField] = Field(default_factory=dict)

    # Judged with their last key, not with the whole: all that is missing is told at once. A key
    # that is absent from `info.data` has a fault of its own.

    @field_validator("api_secret")
    @classmethod
    def _can_log_in(cls, api_secret: SecretStr, info: ValidationInfo) -> SecretStr:
        auth_token, api_key = (info.data.get(name) for name in ("auth_token", "api_key"))
        if auth_token is None or api_key is None:
            return api_secret
        if bool(api_key) != bool(api_secret):
            raise PydanticCustomError("incomplete", "api_key and api_secret go together")
        if bool(api_key) == bool(auth_token):
            words = "needs either auth_token or api_key and api_secret"
            raise PydanticCustomError("incomplete", words)
        return api_secret

    @field_validator("messaging_service_sid")
    @classmethod
    def _has_a_sender(cls, service: str, info: ValidationInfo) -> str:
        sender = info.data.get("sender")
        if sender is None or bool(sender) != bool(service):
            return service
        if not sender and default_sender(info):
            return service  # every message has a sender
        words = "needs either from or messaging_service_sid, or else [message] default_from"
        raise PydanticCustomError("incomplete", words)

    @field_validator("smart_encoding")
    @classmethod
    def _has_a_service(cls, smart: bool, info: ValidationInfo) -> bool:  # noqa: FBT001 - pydantic's
        if smart and info.data.get("messaging_service_sid") == "":
            raise PydanticCustomError("incomplete", "needs a messaging_service_sid, whose it is")
        if smart and default_sender(info):
            words = "needs [message] default_from to be empty, since the service has the senders"
            raise PydanticCustomError("incomplete", words)
        return smart

    @classmethod
    def billed_text(cls, table: Mapping[str, Any]) -> BilledText | None:
        """Texts as Smart Encoding makes them, where it is set."""
        try:
            smart = _BOOL.validate_python(table.get("smart_encoding", False))
        except ValidationError:
            return None  # a fault of the table, which is told elsewhere
        return smart_encoding.billed if smart else None

    def authorization(self) -> str:
        """The `Authorization` header."""
        user = self.api_key or self.account_sid
        secret = self.api_secret if self.api_key else self.auth_token
        return basic(user, secret.get_secret_value())


class Twilio(Gateway):
    """The Messages resource of one Twilio account."""

    Settings: ClassVar[type[ProviderSettings]] = TwilioSettings
    # Which of two like messages a listed one is, the sids of those that were settled show.
    answers_after_restart = True

    def __init__(self, settings: TwilioSettings, link: Link, timeout_s: float) -> None:
        super().__init__(link)
        self._timeout_s = timeout_s
        self._url = URL(settings.base_url) / _API / "Accounts" / settings.account_sid
        self._url /= "Messages.json"
        self._authorization = settings.authorization()
        self._headers = {
            "Authorization": self._authorization,
            "Content-Type": "application/x-www-form-urlencoded",
        }
        self._hidden = (
            settings.auth_token.get_secret_value(),
            settings.api_secret.get_secret_value(),
            self._authorization.removeprefix("Basic "),
        )
        self._sender = {
            name: value
            for name, value in (
                ("From", settings.sender),
                ("MessagingServiceSid", settings.messaging_service_sid),
            )
            if value
        }
        self._codes = {code: ruling(text) for code, text in CODES.items()} | settings.codes
        self._sids: Recent[str] = Recent(REMEMBERED)
        self._refused: Recent[bool] = Recent(REMEMBERED)  # messages that Twilio did not take once
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
        link = Link(
            timeout_s=timeout_s,
            max_in_flight=max_in_flight,
            keep_alive_s=keep_alive_s,
            proxy_for=proxy_for,
            ca_file=settings.ca_file,
        )
        return cls(settings, link, timeout_s)

    async def submit(self, message: Message, slot: Slot) -> Outcome:
        """Hand one message over in its slot, and remember what tells it from its like."""
        alike = _alike(message)
        self._under_way[alike] += 1
        try:
            outcome = await super().submit(message, slot)
        finally:
            self._under_way[alike] -= 1
            if not self._under_way[alike]:
                del self._under_way[alike]
        return self._note(message, outcome)

    async def look_up(
        self, message: Message, started_ms: int, find_settled: FindSettled
    ) -> Outcome | None:
        """What became of a message, if the list of messages tells."""
        sought = self._sought(message, started_ms)
        url = self._url.with_query(sought.query)
        answer = await self.ask(Request("GET", url, {"Authorization": self._authorization}))
        if answer is None or not answer.good:
            return InDoubt("no list of messages")
        if self._under_way[_alike(message)]:
            return InDoubt("the like of it is under way")  # and might be the one in the list
        listed = twilio_list.fitting(answer.json(), sought)
        if not isinstance(listed, dict):
            return listed
        ours = await self._not_others(listed, message, find_settled)
        first = message.attempts == 0 and not self._refused.get(message.id)
        found = twilio_list.outcome(ours, sought, self._codes.get, first=first)
        return found and self._note(message, found)

    async def _not_others(
        self, listed: Mapping[str, Listed], message: Message, find_settled: FindSettled
    ) -> Mapping[str, Listed]:
        """What is listed but for what stands for another message, as far as is known."""
        ours = {sid: one for sid, one in listed.items() if not self._is_others(sid, message)}
        if not ours:
            return ours
        created = [twilio_list.created_at(one) or 0.0 for one in ours.values()]
        since = min(created) - EARLY_S
        until = max(created) + self._timeout_s + LATE_S
        settled = await find_settled(ours, round(1000 * since), round(1000 * until))
        return {sid: one for sid, one in ours.items() if settled.get(sid, message.id) == message.id}

    def request(self, message: Message) -> Request:
        """How Twilio is asked. A message's own sender goes before the configured one."""
        form = urlencode(
            {"To": message.recipient, **self._sender_of(message), "Body": message.content.text}
        )
        return Request("POST", self._url, self._headers, form.encode())

    def judge(self, answer: Answer, message: Message) -> Outcome:
        """What its answer means."""
        said = answer.json()
        if not isinstance(said, dict):
            said = {}
        if answer.good:
            return _taken(answer, said)
        code = str(said.get("code") or "")
        if not _CODE.fullmatch(code):
            code = ""  # whatever it is, it is not Twilio's, and nothing to tell on
        hidden = (message.content.text, message.recipient, *self._hidden)
        words = codes.words(str(said.get("message") or ""), hidden)
        reason = codes.reason(answer.status, code, words or answer.unread)
        if (found := self._codes.get(code or str(answer.status))) is not None:
            return codes.apply(found, answer, code, reason)
        return codes.by_status(answer, code or str(answer.status), reason)

    def _sender_of(self, message: Message) -> Mapping[str, str]:
        own = message.content.sender
        return {"From": own} if own else self._sender

    def _sought(self, message: Message, started_ms: int) -> Sought:
        started = started_ms / 1000
        return Sought(
            message.recipient,
            (message.content.text, smart_encoding.billed(message.content.text)),
            {_LISTED_AS[field]: value for field, value in self._sender_of(message).items()},
            started,
            started - EARLY_S,
            started + self._timeout_s + LATE_S,
        )

    def _note(self, message: Message, outcome: Outcome) -> Outcome:
        if isinstance(outcome, Accepted):
            self._sids.note(outcome.provider_id, message.id)
        elif not isinstance(outcome, InDoubt | Unavailable):
            self._refused.note(message.id, True)  # noqa: FBT003 - what is remembered is that it was
        return outcome

    def _is_others(self, sid: str, message: Message) -> bool:
        return self._sids.get(sid) not in (None, message.id)


def _alike(message: Message) -> tuple[str, str]:
    """What texts share that the list cannot tell apart."""
    return message.recipient, message.content.text


def _taken(answer: Answer, said: dict[str, object]) -> Outcome:
    sid = said.get("sid")
    if not isinstance(sid, str) or not sid:
        return InDoubt(f"HTTP {answer.status}, but no sid in the answer")
    # "0" with a Messaging Service: the sender, hence the count, is not chosen yet.
    return Accepted(sid, codes.segment_count(said.get("num_segments")))
