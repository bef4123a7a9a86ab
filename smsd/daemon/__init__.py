"""The daemon. Rule: its parts are put together here, and nothing below imports it.

`root.py` composes it of `storage.py` (Redis), `intake.py` (HTTP) and `terms.py` (dispatch).
"""

from smsd.config import ConfigError
from smsd.daemon.build import build_limits, build_provider, open_store
from smsd.daemon.clocks import clock, now_ms
from smsd.daemon.errors import StartError
from smsd.daemon.root import serve
from smsd.redis.binary import EmbeddedError

__all__ = [
    "ConfigError",
    "EmbeddedError",
    "StartError",
    "build_limits",
    "build_provider",
    "clock",
    "now_ms",
    "open_store",
    "serve",
]
