"""What the faults of a run explain. The judge blames smsd for all else, and for nothing of this."""

from collections.abc import Container, Mapping
from dataclasses import dataclass, field
from math import inf
from typing import Any

from smsd.core.campaign import split_id

MILLISECOND = 1_000_000  # ns
RANDOM = 5  # characters at the end of a campaign's id


@dataclass
class Restored:
    """That Redis was given back what it knew at an earlier time. Times are Unix ns."""

    copied_at: int
    ended_at: int  # when the server had ended that knew more
    last_ids: Mapping[str, str]  # that the copy knows, by stream: "n" and "h"
    cancelled: Container[str] = ()  # what the copy calls cancelled
    campaigns: Container[str] = ()  # ids of those that the copy knows
    died_at: int = 0  # when the last daemon died that did not live through it
    released_at: float = inf  # by the first `smsd release` behind it

    def forgot(self, message_id: str) -> bool:
        """Whether the copy cannot know this message, accepted by the server that ended."""
        if campaign := split_id(message_id):
            return campaign[0] not in self.campaigns and self._had_begun(campaign[0])
        entry = _entry_id(message_id.removeprefix("h"))
        last = _entry_id(self.last_ids["h" if message_id.startswith("h") else "n"])
        return last < entry and entry[0] <= self.ended_at // MILLISECOND

    def _had_begun(self, campaign_id: str) -> bool:
        """Whether a campaign is one of the server that ended: its id tells when it was started."""
        return int(campaign_id[1:-RANDOM], 36) <= self.ended_at // MILLISECOND

    def forgot_cancelling(self, message_id: str, began: int, ended: int) -> bool:
        """Whether the copy may not know that this message was cancelled between these times."""
        meanwhile = self.copied_at <= ended and began <= self.ended_at
        return meanwhile and message_id not in self.cancelled

    def forgot_sending(self, arrival: Mapping[str, Any]) -> bool:
        """Whether neither the copy nor a daemon that lived on knows of this arrival."""
        return bool(self.copied_at <= arrival["at"] <= self.died_at)


def _entry_id(text: str) -> tuple[int, int]:
    milliseconds, sequence = text.split("-")
    return int(milliseconds), int(sequence)


@dataclass
class Excuses:
    """What the faults of a run explain, so that smsd is not blamed for it."""

    lost: set[str] = field(default_factory=set)  # other hands deleted it, or its status
    unfiled: set[str] = field(default_factory=set)  # other hands deleted its dead letter
    unmarked: bool = False  # other hands deleted the marks: all that was claimed is in doubt
    restored: list[Restored] = field(default_factory=list)
    retried: set[str] = field(default_factory=set)  # ids of campaigns whose dead a person replayed

    def loss(self, message_id: str) -> bool:
        return message_id in self.lost or any(each.forgot(message_id) for each in self.restored)

    def cancelling(self, message_id: str, began: int, ended: int) -> bool:
        """Whether it may be forgotten that this message was cancelled between these times."""
        return any(each.forgot_cancelling(message_id, began, ended) for each in self.restored)

    def sending(self, arrival: Mapping[str, Any]) -> bool:
        """Whether it may be forgotten that this was sent."""
        return any(each.forgot_sending(arrival) for each in self.restored)

    def released(self, at: int) -> None:
        """A person let dispatch go on."""
        for each in self.restored:
            each.released_at = min(each.released_at, at)

    def replay(self, arrival: Mapping[str, Any]) -> bool:
        """Whether a person may have replayed its message, whose attempts begin anew then."""
        found = split_id(str(arrival["id"]))
        return found is not None and found[0] in self.retried

    def repeat(self, earlier: Mapping[str, Any], later: Mapping[str, Any]) -> bool:
        """A person replayed what was rejected, or released dispatch though nobody knew any more
        what had been sent.
        """
        if earlier["reply"] == "400" and self.replay(earlier):
            return True
        return any(
            each.forgot_sending(earlier) and later["at"] >= each.released_at
            for each in self.restored
        )
