"""smsd: messages in over HTTP or Redis Streams, out to a carrier at exactly the bought rate."""

from importlib.metadata import version

__version__ = version("smsd")
