"""The terminal that smsd was started in. Rule: SIGHUP means stop once it is closed, else reload."""

import os
import signal


class Terminal:
    """Tells the two meanings of SIGHUP apart; make it before the signal is handled."""

    def __init__(self) -> None:
        # Without a terminal, as under systemd, or if its end is ignored, as under nohup, SIGHUP
        # always asks for a reload.
        self._stops_with_it = signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN and _is_there()

    def has_closed(self) -> bool:
        """Whether smsd was started in a terminal, which has closed since."""
        return self._stops_with_it and not _is_there()


def _is_there() -> bool:
    """Whether this process has a controlling terminal; the kernel takes away a closed one."""
    try:
        os.close(os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY))
    except OSError:
        return False
    return True
