"""Settings. Rule: every fault is reported before the start, all at once, and shows no secret.

`settings.py` has every key with its default and bounds, `sources.py` the places that values come
from and their order, `faults.py` the messages.
"""

from smsd.config.faults import ConfigError, explain, source, unknown_table
from smsd.config.settings import Settings, is_loopback
from smsd.config.sources import data_dir, load

__all__ = [
    "ConfigError",
    "Settings",
    "data_dir",
    "explain",
    "is_loopback",
    "load",
    "source",
    "unknown_table",
]
