"""smsd with a provider inside the process that accepts everything at once: all cost is our own."""

from smsd.cli import main
from smsd.core.message import Message
from smsd.core.outcome import Accepted, Outcome
from smsd.daemon import root
from smsd.provider.base import Slot


class Null:
    async def start(self) -> None: ...

    async def close(self) -> None: ...

    async def submit(self, message: Message, slot: Slot) -> Outcome:
        async with slot:
            return Accepted("null", message.content.segments.segments)


if __name__ == "__main__":
    setattr(root, "build_provider", lambda *_: Null())  # noqa: B010 - not its type, on purpose
    main()
