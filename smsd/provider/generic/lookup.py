"""Asking any gateway about a text, by configuration. Rule: no clear answer leaves it in doubt.

    [provider.http.look_up]
    url       = "https://gateway.example/messages/{id}"   # also {to}, {to_no_plus}, {ref}
    method    = "GET"                                     # or "POST"; neither has a body
    headers   = {Authorization = "Bearer ${TOKEN}"}       # left out: those of [provider.http]
    rules     = [                                         # the first that matches decides
        {json = "status", in = ["queued", "sent", "delivered"], outcome = "accepted"},
        {json = "status", in = ["refused"], outcome = "rejected"},
        {json = "status", in = ["unknown"], outcome = "unavailable"},   # surely not taken
    ]
    id        = "json:id"                                 # the gateway's own id for the text
    not_found = "in_doubt"                                # what a 404 means

Where none matches, those of `[provider.http]` that see a refusal in what an answer holds do the
same here. Failing them, a 2xx that holds the `id` says that the text was taken, unless some rule
says what that looks like. `not_found = "unavailable"`, for "surely not taken", is right only where
the gateway was given our {id} with the text and its 404 is certain: the text is sent again. So it
is believed only when every ask of half a minute ended so. {ref} is as unique as callers make it.
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
from smsd.provider.generic.fields import Template, only
from smsd.provider.generic.rules import ExtractField, Rule, picked
from smsd.provider.wire import rulings as codes
from smsd.provider.wire.gateway import below, http_url
from smsd.provider.wire.rulings import Kind
from smsd.provider.wire.transport import Answer, Request

LONGEST_ID = 128  # characters of a provider's id for a message

_PLACEHOLDERS = only("id", "to", "to_no_plus", "ref")
_TELLING: tuple[Kind, ...] = ("accepted", "rejected", "unavailable", "in_doubt")
_REFUSING: tuple[Kind, ...] = ("rejected", "throttled", "unavailable", "halted")
_FIXED_HOST = re.compile(r"https?://[^/?#{}]+[/?]")  # no caller may choose whom we ask
_NOT_FOUND = 404
_NO_NAMES = ("", ".", "..")  # in a path they lead elsewhere


class LookUpSettings(ProviderSettings):
    """`look_up` of `[provider.http]`."""

    url: str
    method: Literal["GET", "POST"] = "GET"
    headers: dict[str, str] | None = None
    rules: tuple[Rule, ...] = ()
    id: ExtractField | None = None
    not_found: Literal["unavailable", "in_doubt"] = "in_doubt"

    @model_validator(mode="after")
    def _tells(self) -> Self:
        for rule in self.rules:
            if rule.outcome.kind not in _TELLING:
                raise ValueError(f"a rule's outcome must be one of {', '.join(_TELLING)}")
        if self.id is None and not self.success_is_ruled:
            raise ValueError("needs an `id`, or a rule whose outcome is accepted")
        return self

    @property
    def success_is_ruled(self) -> bool:
        """Whether a rule says what a text that was taken looks like."""
        return any(rule.outcome.kind == "accepted" for rule in self.rules)


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
        """`rules`: those of a submission. What they say of a refusal holds of a record too."""
        self._settings = settings
        self._refusals = [rule for rule in rules if rule.outcome.kind in _REFUSING and rule.reads]
        self._headers = headers
        self._url = _url(base_url, settings.url, secrets)
        self._by_ref = "{ref}" in settings.url

    @property
    def tells_absence(self) -> bool:
        """Whether it may say that a text was surely not taken."""
        kinds = [rule.outcome.kind for rule in self._settings.rules]
        return self._settings.not_found == "unavailable" or "unavailable" in kinds

    def request(self, message: Message) -> Request | None:
        """How the gateway is asked; None where the address would be another's."""
        if self._by_ref and message.content.ref in _NO_NAMES:
            return None
        url = self._url.fill(message, lambda value: quote(value, safe=""))
        headers = {name: value.fill(message) for name, value in self._headers.items()}
        return Request(self._settings.method, URL(url, encoded=True), headers)

    def judge(self, answer: Answer) -> Outcome:
        """What its answer means for the text."""
        settings, status = self._settings, answer.status
        provider_id = picked(settings.id, answer)[:LONGEST_ID]
        for rule in settings.rules:
            if (code := rule.match(answer)) is None:
                continue
            if rule.outcome.kind == "accepted":
                return Accepted(provider_id)
            return codes.apply(
                rule.outcome, answer, code or str(status), f"asked: {codes.reason(status, code)}"
            )
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
                reason = f"asked: {codes.reason(answer.status, code)}"
                return codes.refused(rule.outcome, code or str(answer.status), reason)
        return None


def _url(base_url: str, url: str, secrets: Mapping[str, str]) -> Template:
    quoted = {name: quote(secret, safe="") for name, secret in secrets.items()}
    try:
        text = below(base_url, url)
        template = Template(text, quoted, allowed=_PLACEHOLDERS)
        http_url(template.fixed())
    except ValueError as error:
        raise ValueError(f"url: {error}") from None
    if not _FIXED_HOST.match(text):
        raise ValueError("url: must name the host before its first placeholder")
    return template
