"""Why the daemon does not start. Rule: the message says what to change."""


class StartError(Exception):
    """The daemon cannot start."""
