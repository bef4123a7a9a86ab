"""`[provider.http]`. Rule: every template in it is read once, at the start, or is a named fault.

    [provider.http]
    url     = "https://gateway.example/send"
    body    = "form"      # or "json", "query", "raw" (the text alone; the fields go in the query)
    fields  = {to = "{to_no_plus}", from = "{from_no_plus}", text = "{text}", ref = "{id}"}
    encodings = {gsm7 = "0", ucs2 = "2"}                  # what {encoding} becomes
    headers = {Authorization = "Bearer ${TOKEN}"}         # from [provider.http.secrets]
    id      = "json:messages.0.id"                        # or "re:id=([0-9]+)", "header:X-Id"
    rules   = [                                           # the first that matches decides
        {body = "re:^BUSY", outcome = "throttled"},
        {json = "code", in = [1007], outcome = "halted"},
        {status = 200, body = "re:^OK", outcome = "accepted"},
    ]

The placeholders are those in the column `placeholder` of `smsd/core/fields.py`, of which `headers`
take the ones with `in_headers`, and a few more in `fields.py` here. `wire/rulings.py` has the
outcomes. In `in`, 7 matches the answer's 7, 7.0 or "7", and true matches true alone. An `id` is a
string or a number. With a `base_url`, each `url` is a path. `look_up` describes how the gateway is
asked about a message in doubt: see `lookup.py`; without it the `in_doubt` policy decides at once.

If no rule matches, a 2xx is a success, unless some rule describes a success, or the `id` is not
where it should be: then it is in doubt. Other answers go by their status. A redirect is not
followed: 301, 307 and 308 hold dispatch until the `url` is corrected, others are in doubt.
"""

import hashlib
import json
from collections.abc import Mapping
from typing import Any, Literal, Self

from pydantic import Field, SecretStr, ValidationInfo, model_validator
from pydantic_core import PydanticCustomError

from smsd.provider.base import ProviderSecret, ProviderSettings, default_sender
from smsd.provider.generic.lookup import LookUp, LookUpSettings
from smsd.provider.generic.request import Body, RequestTemplate, fault_at, header_templates
from smsd.provider.generic.rules import ExtractField, Rule
from smsd.provider.wire.settings import HttpSettings
from smsd.provider.wire.transport import basic

SLOWLY = 100_000  # rounds, some 40 ms


class Encodings(ProviderSettings):
    """What the gateway calls the two encodings."""

    gsm7: str = "gsm7"
    ucs2: str = "ucs2"


class GenericSettings(HttpSettings):
    """`[provider.http]`."""

    base_url: str = ""  # before each `url`, for configurations that differ in the host alone
    url: str
    method: Literal["POST", "GET", "PUT"] = "POST"
    body: Body | None = None  # None: "query" for GET, else "form"
    headers: dict[str, str] = Field(default_factory=dict)
    fields: dict[str, Any]
    encodings: Encodings = Encodings()
    # Their names are matched in any case, since environment variables are in capitals.
    secrets: dict[str, ProviderSecret] = Field(default_factory=dict)
    user: str = ""  # for Basic authentication
    password: ProviderSecret = SecretStr("")
    id: ExtractField | None = None
    segments: ExtractField | None = None
    reason: ExtractField | None = None  # the gateway's own text for a refusal; else none is kept
    rules: tuple[Rule, ...] = ()
    look_up: LookUpSettings | None = None

    @model_validator(mode="after")
    def _readable(self, info: ValidationInfo) -> Self:
        placeholders = self.request_template().placeholders
        self.look_up_template()
        if placeholders & {"from", "from_no_plus"} and default_sender(info) == "":
            # Else messages that name no sender would be sent with an empty one.
            raise PydanticCustomError(
                "incomplete",
                "fields: {from} is empty where a message names no sender;"
                " set [message] default_from",
            )
        return self

    def request_template(self) -> RequestTemplate:
        """The request, without the values of a message. Raises `ValueError`."""
        return RequestTemplate(
            method=self.method,
            body=self.body or ("query" if self.method == "GET" else "form"),
            base_url=self.base_url,
            url=self.url,
            headers=self.headers,
            authorization=self._authorization(),
            field_values=self.fields,
            encodings=self.encodings.model_dump(),
            secrets=self._secrets(),
        )

    def look_up_template(self) -> LookUp | None:
        """How the gateway is asked about a message; None if it is not. Raises `ValueError`."""
        if self.look_up is None:
            return None
        headers = self.headers if self.look_up.headers is None else self.look_up.headers
        secrets = self._secrets()
        with fault_at("look_up"):
            templates = header_templates(headers, self._authorization(), secrets)
            return LookUp(self.look_up, self.base_url, templates, secrets, self.rules)

    @property
    def gateway(self) -> str:
        """What tells this gateway and account from others: its templates, without any secret.

        A changed secret may be a new key or another account, and another query of the look-up may
        name another account, or be a mended one. Where an absence counts as a proof, both count as
        another account; 16 bits of a slow digest show a secret: none is found so.
        """
        asked = self.look_up_template()
        proves_absence = asked is not None and asked.proves_absence
        parts = [self.base_url, self.url, self.user, _by_lower_name(self.headers), self.fields]
        if self.look_up:
            url = self.look_up.url if proves_absence else self.look_up.url.partition("?")[0]
            parts += [url, _by_lower_name(self.look_up.headers)]
        templates = f"http {json.dumps(parts, sort_keys=True)}"
        if not proves_absence or not self.secrets:
            return templates
        secrets = json.dumps(self._secrets(), sort_keys=True).encode()
        digest = hashlib.pbkdf2_hmac("sha256", secrets, templates.encode(), SLOWLY, dklen=2)
        return f"{templates} {digest.hex()}"

    @property
    def hidden(self) -> tuple[str, ...]:
        """What no log may show."""
        secrets = (each.get_secret_value() for each in (*self.secrets.values(), self.password))
        return (*secrets, self._authorization().removeprefix("Basic "))

    @property
    def success_is_ruled(self) -> bool:
        """Whether a rule describes what a success looks like."""
        return any(rule.ruling.kind == "accepted" for rule in self.rules)

    def _authorization(self) -> str:
        """The `Authorization` header of Basic authentication, if that is used."""
        return basic(self.user, self.password.get_secret_value()) if self.user else ""

    def _secrets(self) -> dict[str, str]:
        return {name.lower(): each.get_secret_value() for name, each in self.secrets.items()}


def _by_lower_name(headers: Mapping[str, str] | None) -> dict[str, str] | None:
    return None if headers is None else {name.lower(): each for name, each in headers.items()}
