"""The terminal that smsd was started in. Rule: SIGHUP means stop once it is closed, else reload."""

import os
import signal


class Terminal:
    """What a SIGHUP means; to be made before it is handled."""

    def __init__(self) -> None:
        # Without a terminal, as under systemd, and ignoring its end, as under nohup, it is a
        # request to reload, whenever it comes.
        self._ends_us = signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN and _is_there()

    def has_closed(self) -> bool:
        """Whether there was a terminal that should end us, and there is none any more."""
        return self._ends_us and not _is_there()


def _is_there() -> bool:
    """Whether this process has a controlling terminal; one that has hung up is taken from it."""
    try:
        os.close(os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY))
    except OSError:
        return False
    return True
