"""Settings. Rule: whatever is wrong is said before the start, all of it, and no secret with it.

`settings.py` has every key with its default and bounds, `sources.py` where values come from and
which wins, `faults.py` the words for what is wrong.
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
