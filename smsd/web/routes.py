"""Every call there is. Rule: a feature makes the rows of its calls, and they are joined here."""

from collections.abc import Sequence
from typing import Protocol

from smsd.web.contract import Contract
from smsd.web.route import Route


class Feature(Protocol):
    """The handlers of one kind of call."""

    def routes(self) -> Sequence[Route]:
        """The rows of these calls."""
        ...


def join(features: Sequence[Feature]) -> list[Route]:
    """The route table: the rows of all features, and that of their contract."""
    routes = [route for feature in features for route in feature.routes()]
    return [*routes, Contract(routes).route]
