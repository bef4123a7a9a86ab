"""Why the daemon cannot start. Rule: the message names what to change."""


class StartError(Exception):
    """The daemon cannot start."""
