"""What is wrong in Redis itself. Rule: it is known by key until it is seen to be gone.

Other hands may have put anything at any key. A command that Redis refuses, and will refuse again
until somebody mends that, is no bug and no absence: it is `Refused`, and whoever met it goes on
with what can go on, slowly.
"""

import asyncio
import logging
from collections.abc import Callable, Collection, Mapping

from smsd.core.pacer import SECOND
from smsd.redis.errors import Refused

log = logging.getLogger("smsd.redis")
COMMANDS = "commands"  # the name of what no key is known to be the cause of
KEPT_NS = 60 * SECOND  # for how long a refusal is believed that no look at the keys explains


def among(found: Mapping[str, str], keys: Collection[str]) -> str:
    """What is wrong with one of these keys; "" if nothing is."""
    return next((f"redis: {key} {why}" for key, why in found.items() if key in keys), "")


class Damage:
    """What is wrong, by key. Every change is logged once."""

    def __init__(self, clock: Callable[[], int]) -> None:
        """`clock`: nanoseconds, monotonic."""
        self._clock = clock
        self._examined: Mapping[str, str] = {}
        self._refused: dict[str, tuple[str, int]] = {}
        self.found: Mapping[str, str] = {}
        self.suspected = asyncio.Event()  # a refusal has been met since it was last cleared

    def met(self, error: Exception) -> None:
        """Note an error, if it is a refusal."""
        if isinstance(error, Refused):
            self._refused[error.key or COMMANDS] = error.reason, self._clock()
            self.suspected.set()
            self._update()

    def examined(self, keys: Mapping[str, str], known: frozenset[str]) -> None:
        """Note what a look at all of the `known` keys found to be wrong. It explains WRONGTYPE."""
        self._examined = keys
        now = self._clock()
        self._refused = {
            key: (reason, at)
            for key, (reason, at) in self._refused.items()
            if not (key in known or reason.startswith("WRONGTYPE")) and now - at < KEPT_NS
        }
        self._update()

    def _update(self) -> None:
        refused = {key: reason for key, (reason, _) in self._refused.items()}
        found = refused | dict(self._examined)
        for key in found.keys() - self.found.keys():
            log.error(
                "redis refuses", extra={"key": key, "reason": found[key], "mend": "smsd fsck"}
            )
        for key in self.found.keys() - found.keys():
            log.info("redis refuses no more", extra={"key": key})
        self.found = found
