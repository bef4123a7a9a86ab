"""smsd: messages in over HTTP or Redis Streams, out to a carrier at exactly the bought rate."""

from typing import TYPE_CHECKING

__version__: str

if not TYPE_CHECKING:

    def __getattr__(name: str) -> str:
        """Look the version up when it is asked for: that takes 7 MB, which a parser needs not."""
        if name == "__version__":
            from importlib.metadata import version  # noqa: PLC0415

            return version("smsd")
        raise AttributeError(name)
