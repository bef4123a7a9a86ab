"""What stops a caller. Rule: each has a name, and is raised before anything is changed."""


class CampaignExists(Exception):  # noqa: N818 - a state, named as users see it
    """Another campaign has this name."""


class NoSuchAudience(Exception):  # noqa: N818
    """No audience has this name."""


class NoRecipients(Exception):  # noqa: N818
    """The audience is empty."""


class WrongState(Exception):  # noqa: N818
    """The campaign's state does not permit it; the message names the state."""


class CountChanged(Exception):  # noqa: N818
    """Not as many as were expected would be concerned; `.found` is how many."""

    def __init__(self, found: int) -> None:
        super().__init__(found)
        self.found = found


class MissingValue(Exception):  # noqa: N818
    """A recipient lacks a value that the body needs: `number`, `column`; `missing` of them do."""

    def __init__(self, number: str, column: str, missing: int) -> None:
        super().__init__(number, column, missing)
        self.number, self.column, self.missing = number, column, missing
