"""Campaigns in Redis. Rule: a recipient has one state, and each change of it moves the counts.

A campaign has a record (hash `smsd:campaign:ID`: its request, state and counts) and recipients: a
copy of its audience's contacts, laid out as a version of an audience (`smsd:audience:ID`, see
lua/_audience.lua). The value of a recipient is first the contact's values, and from the moment at
which its message exists what became of that.
"""

from collections.abc import Sequence

from smsd.core.campaign import Campaign, CampaignRequest, CampaignState
from smsd.store.campaigns import expansion, forgetting, reader, recipients, start, verbs
from smsd.store.campaigns.errors import (
    CampaignExists,
    CountChanged,
    MissingValue,
    NoRecipients,
    NoSuchAudience,
    WrongState,
)
from smsd.store.campaigns.expansion import Rendered, Waiting
from smsd.store.campaigns.recipients import Recipient, RecipientPage
from smsd.store.campaigns.tidy import Tidying
from smsd.store.client import StoreClient

__all__ = [
    "CampaignExists",
    "Campaigns",
    "CountChanged",
    "MissingValue",
    "NoRecipients",
    "NoSuchAudience",
    "Recipient",
    "RecipientPage",
    "Rendered",
    "Waiting",
    "WrongState",
]


class Campaigns:
    """All campaigns. Every change is idempotent, and kept with who asked and why."""

    def __init__(self, client: StoreClient, *, keep_idempotency_ms: int) -> None:
        self._client = client
        self._keep_key_ms = keep_idempotency_ms
        self._tidying = Tidying(client)

    # -- start and look ---------------------------------------------------------------------------

    async def start(
        self,
        request: CampaignRequest,
        *,
        by: str,
        required: Sequence[str] = (),
        columns: Sequence[str] = (),
        segments_each: float = 1.0,
        idempotency: tuple[str, str] | None = None,
        numbers: Sequence[str] | None = None,
    ) -> tuple[Campaign, bool]:
        """Freeze the recipients and start it: the campaign, and whether it was there before.

        `required`: columns that no recipient may lack. `columns`: those that the body uses, each
        of which the audience must have (raises `KeyError` with the name). `idempotency`: a key and
        the fingerprint of the request. `numbers`: those of the audience, where the configuration
        has it. Raises `CampaignExists`, `NoSuchAudience`, `NoRecipients`,
        `MissingValue`, `KeyConflict`, `AudienceChanged` (again and again); `WrongState` where the
        campaign that the same request has started was removed.
        """
        digest, fingerprint = idempotency or ("", "")
        order = start.Order(
            request=request,
            by=by,
            required=required,
            columns=columns,
            segments_each=segments_each,
            numbers=numbers,
            digest=digest,
            fingerprint=fingerprint,
            keep_key_ms=self._keep_key_ms,
        )
        return await start.start(self._client, order)

    async def started_before(self, idempotency: tuple[str, str]) -> Campaign | None:
        """What the same request has started. Raises `KeyConflict`, and `WrongState` as `start`."""
        return await start.started_by(self._client, *idempotency)

    async def show(self, id_or_name: str) -> Campaign | None:
        """One campaign with its counts. Raises `Refused` where other hands have spoiled it."""
        return await reader.show(self._client, id_or_name)

    async def page(self, after: str = "", count: int = 100) -> tuple[list[Campaign], str]:
        """Campaigns, the latest first, and the cursor behind them: "" at the end."""
        return await reader.page(self._client, after, count)

    async def recipients(
        self, campaign: Campaign, *, state: str = "", cursor: str = "", count: int = 100
    ) -> RecipientPage:
        """Some recipients, of one state if asked; fewer than `count` where those are rare.

        `state`: one of `recipients.STATES`. Raises `BadCursor`.
        """
        return await recipients.page(self._client, campaign, state, cursor, count)

    async def recipient(self, campaign: Campaign, number: str) -> Recipient | None:
        """One recipient; None where this number is none."""
        return await recipients.look(self._client, campaign, number)

    # -- verbs ------------------------------------------------------------------------------------

    async def pause(
        self, campaign: Campaign, *, by: str, reason: str, expect: int | None = None
    ) -> Campaign:
        """Nothing of it starts any more, until it is resumed.

        `expect`: how many recipients are waiting, in flight, held or deferred; raises
        `CountChanged`. Raises `WrongState` where it has ended. (The same for the other verbs.)
        """
        asked = verbs.Turn(CampaignState.PAUSED, by, reason, expect)
        return await verbs.turn(self._client, campaign, asked)

    async def resume(
        self, campaign: Campaign, *, by: str, reason: str, expect: int | None = None
    ) -> Campaign:
        """Go on."""
        asked = verbs.Turn(CampaignState.RUNNING, by, reason, expect)
        return await verbs.turn(self._client, campaign, asked)

    async def cancel(
        self, campaign: Campaign, *, by: str, reason: str, expect: int | None = None
    ) -> Campaign:
        """Nothing of it starts any more."""
        asked = verbs.Turn(CampaignState.CANCELLED, by, reason, expect)
        return await verbs.turn(self._client, campaign, asked)

    async def edit(
        self, campaign: Campaign, *, by: str, weight: int | None, expires_at: int | None
    ) -> Campaign:
        """Another weight, another expiry (Unix ms): for messages that have not been made yet.

        What is None stays. Raises `WrongState` where it has ended.
        """
        changes = {"weight": weight, "expires_at": expires_at}
        return await verbs.edit(self._client, campaign, changes, by)

    async def remove(self, campaign: Campaign, *, by: str) -> None:
        """Forget one that has ended, and of which no message is left. Raises `WrongState`."""
        await verbs.remove(self._client, campaign, by)

    async def forget_ended(self, before: int) -> int:
        """Remove those that finished or were cancelled before then (Unix ms): how many."""
        return await forgetting.forget_ended(self._client, before)

    # -- expansion, by the daemon that dispatches -------------------------------------------------

    async def active(self) -> list[Campaign]:
        """Those that have not ended: scheduled, running, paused, or with work left after a verb.

        Their messages in flight are counted among those that wait.
        """
        ids = await expansion.active_ids(self._client)
        return await reader.look_readable(self._client, ids, in_flight=False)

    async def waiting(self, campaign: Campaign, most: int) -> list[Waiting]:
        """The next recipients without a message, of one bucket, `most` at most; [] at the end."""
        return await expansion.waiting(self._client, campaign, most)

    async def expand(self, campaign: Campaign, messages: Sequence[Rendered]) -> int:
        """Put messages into the queue, each unless its recipient has one: how many were new.

        0 where the campaign does not run any more. Safe to repeat. Raises `Fenced`, `OlderData`.
        """
        return await expansion.expand(self._client, campaign, messages)

    async def tidy(self, campaign: Campaign) -> bool:
        """One bounded step of what a verb or an expiry left to do; whether there may be more.

        Resumed: messages that were taken back are due. Cancelled or expired: messages that wait
        are cancelled or expire. Every recipient settled: the state becomes finished, or
        needs_attention, or running again after a replay.
        """
        return await self._tidying.step(campaign)
