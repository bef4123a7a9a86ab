"""Whose turn is next. Rule: those that have work share the segments by their weights.

Weighted fair queuing: each has an account that a turn moves by its segments over its weight, and
the one with the lowest account is next. Accounts are kept relative to the lowest, so whoever joins
late begins level with who is next, and does not catch up on what it missed.
"""

from collections.abc import Mapping


class Turns:
    """Turns among campaigns, by their ids."""

    def __init__(self) -> None:
        self._weights: dict[str, int] = {}
        self._accounts: dict[str, float] = {}

    def keep(self, weights: Mapping[str, int]) -> None:
        """These have work from now on, with these weights, and no others."""
        self._accounts = {one: self._account(one, weight) for one, weight in weights.items()}
        self._weights = dict(weights)
        self._level()

    def _account(self, one: str, weight: int) -> float:
        """What it had more than the lowest is as many segments with another weight."""
        ahead = self._accounts.get(one, 0.0)
        return ahead * self._weights[one] / weight if ahead else 0.0

    @property
    def next(self) -> str | None:
        """Whose turn it is, the one that joined first among equals; None if nobody has work."""
        return min(self._accounts, key=self._accounts.__getitem__, default=None)

    def took(self, one: str, segments: int) -> None:
        """It had a turn, of so many segments."""
        self._accounts[one] += segments / self._weights[one]
        self._level()

    def drop(self, one: str) -> None:
        """It has no work, until `keep` names it again."""
        del self._accounts[one], self._weights[one]
        self._level()

    def _level(self) -> None:
        lowest = min(self._accounts.values(), default=0.0)
        if lowest:
            for one in self._accounts:
                self._accounts[one] -= lowest
