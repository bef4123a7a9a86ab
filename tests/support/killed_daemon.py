"""smsd, which kills itself with SIGKILL at a named step: `killed_daemon.py STEP COUNT run …`.

The product knows nothing of this. Each step wraps one real call; at the COUNT-th time the process
dies there, exactly as if it had been killed from outside at the worst moment.
"""

import os
import signal
import sys
from collections.abc import Callable
from typing import Any

from smsd.cli import main
from smsd.dispatch.pace import PacedSlot
from smsd.provider.wire.gateway import Gateway
from smsd.store.queue import Queue

STEPS: dict[str, tuple[type, str, str]] = {
    "after claim": (Queue, "claim", "after"),
    "before begin": (Queue, "begin", "before"),
    "after begin": (Queue, "begin", "after"),
    "in the slot": (PacedSlot, "__aexit__", "before"),
    "during submit": (PacedSlot, "__aexit__", "after"),
    "after the reply": (Gateway, "submit", "after"),
    "before settle": (Queue, "_settle", "before"),
    "after settle": (Queue, "_settle", "after"),
}


def arm(step: str, count: int) -> None:
    owner, name, when = STEPS[step]
    real: Callable[..., Any] = getattr(owner, name)
    left = count

    def reached() -> None:
        nonlocal left
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    async def armed(*args: Any, **kwargs: Any) -> Any:
        if when == "before":
            reached()
        result = await real(*args, **kwargs)
        if when == "after" and result != []:  # an empty claim is no claim
            reached()
        return result

    setattr(owner, name, armed)


if __name__ == "__main__":
    arm(sys.argv[1], int(sys.argv[2]))
    sys.argv = ["smsd", *sys.argv[3:]]
    main()
