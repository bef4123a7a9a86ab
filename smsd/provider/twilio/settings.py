"""`[provider.twilio]`. Rule: everything that is missing is reported at once, and shows no secret.

[provider.twilio]
account_sid = "AC…"
auth_token  = "…"                      # or api_key and api_secret; best as a credential
from        = "+12025550100"           # or messaging_service_sid = "MG…"; or neither, where
                                       # [message] default_from names the sender
smart_encoding = true                  # if the Messaging Service has it: counts as it bills
codes       = {"30034" = "rejected:sender"}   # "503": a status, where no code is answered
"""

from collections.abc import Mapping
from typing import Annotated, Any

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

from smsd.core.message import configured_sender
from smsd.provider.base import BilledText, ProviderSecret, default_sender
from smsd.provider.twilio import smart_encoding
from smsd.provider.twilio.codes import CODES, is_code
from smsd.provider.wire.rulings import Ruling, RulingField, read_ruling
from smsd.provider.wire.settings import HttpSettings, HttpUrl
from smsd.provider.wire.transport import basic

_API = "2010-04-01"
_BOOL = TypeAdapter(bool)


def _code(key: str) -> str:
    if not is_code(key):
        raise ValueError("must be one of Twilio's codes, like 30034")
    return key


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
    smart_encoding: bool = False  # whether the Messaging Service has it; counts as it bills
    codes: dict[Annotated[str, AfterValidator(_code)], RulingField] = Field(default_factory=dict)

    # Keys that depend on each other are checked with the last of them, not with the whole table, so
    # that everything that is missing is reported at once. A key that is absent from `info.data` has
    # a fault of its own.

    @field_validator("api_secret")
    @classmethod
    def _can_log_in(cls, api_secret: SecretStr, info: ValidationInfo) -> SecretStr:
        auth_token, api_key = (info.data.get(name) for name in ("auth_token", "api_key"))
        if auth_token is None or api_key is None:
            return api_secret
        if bool(api_key) != bool(api_secret):
            raise PydanticCustomError("incomplete", "api_key and api_secret go together")
        if bool(api_key) == bool(auth_token):
            needs = "needs either auth_token or api_key and api_secret"
            raise PydanticCustomError("incomplete", needs)
        return api_secret

    @field_validator("messaging_service_sid")
    @classmethod
    def _has_a_sender(cls, service: str, info: ValidationInfo) -> str:
        sender = info.data.get("sender")
        if sender is None or bool(sender) != bool(service):
            return service
        if not sender and default_sender(info):
            return service  # every message has a sender
        needs = "needs either from or messaging_service_sid, or else [message] default_from"
        raise PydanticCustomError("incomplete", needs)

    @field_validator("smart_encoding")
    @classmethod
    def _has_a_service(cls, smart: bool, info: ValidationInfo) -> bool:  # noqa: FBT001 - pydantic's
        if smart and info.data.get("messaging_service_sid") == "":
            raise PydanticCustomError("incomplete", "needs a messaging_service_sid")
        if smart and default_sender(info):
            needs = "needs [message] default_from to be empty, since the service has the senders"
            raise PydanticCustomError("incomplete", needs)
        return smart

    @classmethod
    def billed_text(cls, table: Mapping[str, Any]) -> BilledText | None:
        """The text as Smart Encoding changes it, if that is set."""
        try:
            smart = _BOOL.validate_python(table.get("smart_encoding", False))
        except ValidationError:
            return None  # a fault of the table, which is reported elsewhere
        return smart_encoding.billed_text if smart else None

    def authorization(self) -> str:
        """The `Authorization` header."""
        user = self.api_key or self.account_sid
        secret = self.api_secret if self.api_key else self.auth_token
        return basic(user, secret.get_secret_value())

    @property
    def messages_url(self) -> URL:
        """The Messages resource of the account: a POST sends a message, a GET lists them."""
        return URL(self.base_url) / _API / "Accounts" / self.account_sid / "Messages.json"

    @property
    def default_sender_fields(self) -> Mapping[str, str]:
        """The form fields that name the sender of a message without one of its own."""
        fields = {"From": self.sender, "MessagingServiceSid": self.messaging_service_sid}
        return {name: value for name, value in fields.items() if value}

    @property
    def secrets(self) -> tuple[str, ...]:
        """What no log may show."""
        login = self.authorization().removeprefix("Basic ")
        return self.auth_token.get_secret_value(), self.api_secret.get_secret_value(), login

    @property
    def rulings(self) -> Mapping[str, Ruling]:
        """What each code means: the table, and the configuration that overrides it."""
        return {code: read_ruling(value) for code, value in CODES.items()} | self.codes
