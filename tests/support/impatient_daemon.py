"""smsd, which takes dispatch for dead after two seconds: `impatient_daemon.py dead|slow run …`.

With `dead` it is: the dispatcher waits for ever, and everything else goes on.
"""

import asyncio
import sys

from smsd.cli import main
from smsd.daemon import watchdog
from smsd.dispatch.dispatcher import Dispatcher


async def wait_for_ever(_: Dispatcher) -> None:
    await asyncio.Event().wait()


if __name__ == "__main__":
    setattr(watchdog, "STUCK_S", 2.0)  # noqa: B010 - a constant, on purpose
    setattr(watchdog, "WITHIN_S", 0.0)  # noqa: B010
    if sys.argv[1] == "dead":
        setattr(Dispatcher, "run", wait_for_ever)  # noqa: B010
    sys.argv = ["smsd", *sys.argv[2:]]
    main()
