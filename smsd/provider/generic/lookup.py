"""Asking a gateway about a message, by configuration. Rule: without a clear answer it is in doubt.

(A caller's look-up of a message's status is another thing: `smsd/store/lookup.py`.)

    [provider.http.look_up]
    url       = "https://gateway.example/messages/{id}"   # also {to}, {to_no_plus}, {ref}
    method    = "GET"                                     # or "POST"; neither has a body
    headers   = {Authorization = "Bearer ${TOKEN}"}       # left out: those of [provider.http]
    rules     = [                                         # the first that matches decides
        {json = "status", in = ["queued", "sent", "delivered"], outcome = "accepted"},
        {json = "status", in = ["refused"], outcome = "rejected"},
        {json = "status", in = ["unknown"], outcome = "unavailable"},   # surely not taken
    ]
    id        = "json:id"                                 # the gateway's id of the message
    not_found = "in_doubt"                                # what a 404 means

If no rule matches, the rules of `[provider.http]` that find a refusal in the body decide. Failing
them, a 2xx with the `id` means that the message was taken, unless some rule describes a success.
`not_found = "unavailable"` means "surely not taken", and the message is sent again: it is right
only where the gateway was given our {id} with the message, and its 404 is certain for as long as
smsd may be down. It is believed only if every look-up of half a minute ends so; after one without
an answer the gateway may be catching up, and the half minute begins again (`InDoubtAsker` in
`smsd/dispatch/in_doubt.py` asks). After a restart with another gateway configured nobody is asked:
another one is one whose `url`, `user`, `headers`, `fields`, or `url` (up to its query) or `headers`
of the `look_up` differ; and, if an absence can be a proof, that query or one of its `secrets`,
either of which may be another account's.
{ref} is only as unique as callers make it.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Literal, Self
from urllib.parse import quote

from pydantic import model_validator
from yarl import URL

from smsd.core.message import Message
from smsd.core.outcome import Accepted, InDoubt, Outcome, Rejected, Unavailable
from smsd.provider.base import ProviderSettings
from smsd.provider.generic.fields import Template, fill_headers, only
from smsd.provider.generic.rules import ExtractField, Rule, extracted
from smsd.provider.wire.answer import Answer
from smsd.provider.wire.rulings import Kind
from smsd.provider.wire.settings import below, http_url
from smsd.provider.wire.transport import Request

LONGEST_ID = 128  # characters of a provider's id for a message

_IN_URL = only("id", "to", "to_no_plus", "ref")  # what a gateway can find a message by
_DECIDING: tuple[Kind, ...] = ("accepted", "rejected", "unavailable", "in_doubt")
_REFUSING: tuple[Kind, ...] = ("rejected", "throttled", "unavailable", "halted")
_FIXED_HOST = re.compile(r"https?://[^/?#{}]+[/?]")  # no caller may choose the host
_NOT_FOUND = 404
_NO_NAMES = ("", ".", "..")  # as a part of a path they change it


class LookUpSettings(ProviderSettings):
    """`look_up` of `[provider.http]`."""

    url: str
    method: Literal["GET", "POST"] = "GET"
    headers: dict[str, str] | None = None
    rules: tuple[Rule, ...] = ()
    id: ExtractField | None = None
    not_found: Literal["unavailable", "in_doubt"] = "in_doubt"

    @model_validator(mode="after")
    def _decides(self) -> Self:
        for rule in self.rules:
            if rule.ruling.kind not in _DECIDING:
                raise ValueError(f"a rule's outcome must be one of {', '.join(_DECIDING)}")
        if self.id is None and not self.success_is_ruled:
            raise ValueError("needs an `id`, or a rule whose outcome is accepted")
        return self

    @property
    def success_is_ruled(self) -> bool:
        """Whether a rule describes what a message that was taken looks like."""
        return any(rule.ruling.kind == "accepted" for rule in self.rules)


class LookUp:
    """The settings, read once. Raises `ValueError`."""

    def __init__(
        self,
        settings: LookUpSettings,
        base_url: str,
        headers: Mapping[str, Template],
        secrets: Mapping[str, str],
        rules: Sequence[Rule] = (),
    ) -> None:
        """`rules`: those of a submission; their refusals apply to a record too."""
        self._settings = settings
        self._refusals = [rule for rule in rules if rule.ruling.kind in _REFUSING and rule.reads]
        self._headers = headers
        self._url = _url(base_url, settings.url, secrets)
        self._by_ref = "{ref}" in settings.url

    @property
    def proves_absence(self) -> bool:
        """Whether an answer can mean that a message was surely not taken."""
        kinds = [rule.ruling.kind for rule in self._settings.rules]
        return self._settings.not_found == "unavailable" or "unavailable" in kinds

    def request(self, message: Message) -> Request | None:
        """The request about a message; None where its `ref` would change the path."""
        if self._by_ref and message.content.ref in _NO_NAMES:
            return None
        url = self._url.fill(message, lambda value: quote(value, safe=""))
        headers = fill_headers(self._headers, message)
        return Request(self._settings.method, URL(url, encoded=True), headers)

    def outcome(self, answer: Answer) -> Outcome:
        """What the answer means for the message."""
        settings, status = self._settings, answer.status
        provider_id = extracted(settings.id, answer)[:LONGEST_ID]
        for rule in settings.rules:
            if (code := rule.match(answer)) is None:
                continue
            if rule.ruling.kind == "accepted":
                return Accepted(provider_id)
            return rule.ruling.outcome(answer, code or str(status), _reason(answer, code))
        if status == _NOT_FOUND and settings.not_found == "unavailable":
            return Unavailable("never arrived")
        if answer.good and (refused := self._refused(answer)) is not None:
            return refused
        if answer.good and provider_id and not settings.success_is_ruled:
            return Accepted(provider_id)
        return InDoubt(f"asked: HTTP {status}")

    def _refused(self, answer: Answer) -> Rejected | Unavailable | None:
        for rule in self._refusals:
            if (code := rule.match(answer)) is not None:
                reason = _reason(answer, code)
                return rule.ruling.outcome_of_record(code or str(answer.status), reason)
        return None


def _reason(answer: Answer, code: str) -> str:
    return f"asked: {answer.reason(code)}"


def _url(base_url: str, url: str, secrets: Mapping[str, str]) -> Template:
    quoted = {name: quote(secret, safe="") for name, secret in secrets.items()}
    try:
        whole = below(base_url, url)
        template = Template(whole, quoted, allowed=_IN_URL)
        http_url(template.fixed())
    except ValueError as error:
        raise ValueError(f"url: {error}") from None
    if not _FIXED_HOST.match(whole):
        raise ValueError("url: must name the host before its first placeholder")
    return template
