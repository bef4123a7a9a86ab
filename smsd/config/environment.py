"""Environment variables as keys. Rule: `SMSD_<TABLE>__<KEY>` is ours, any other is left alone.

(Kubernetes gives a pod beside a Service `smsd` variables like SMSD_SERVICE_HOST and SMSD_PORT.)

Case means nothing in a name that smsd knows. Below a table whose names are the user's own, a name
in capitals is read in small letters, as variables are spelled, and any other as it is written:
`SMSD_PROVIDER__HTTP__FIELDS__To` is `[provider.http] fields.To`, and so is no `…__TO`.
"""

import os
from collections.abc import Sequence

ENV_PREFIX = "SMSD_"
_DELIMITER = "__"
# How many names of a path smsd itself knows; in other tables it knows all.
_KNOWN = {"provider": 3, "audiences": 1}


def path(variable: str) -> tuple[str, ...]:
    """The table, and the key within it, that a variable is named after; () if after none."""
    if not variable.upper().startswith(ENV_PREFIX):
        return ()
    names = variable[len(ENV_PREFIX) :].split(_DELIMITER)
    known = _KNOWN.get(names[0].lower(), len(names))
    return tuple(
        name.lower() if place < known or name.isupper() else name
        for place, name in enumerate(names)
    )


def variables() -> dict[str, str]:
    """Values by names whose parts are spelled as in `path`, for pydantic-settings."""
    return {
        ENV_PREFIX.lower() + _DELIMITER.join(names): value
        for name, value in os.environ.items()
        if (names := path(name))
    }


def variable_of(names: Sequence[str]) -> str:
    """The variable that sets the key of this path; "" if none does."""
    wanted = tuple(names)
    return next((name for name in sorted(os.environ) if path(name) == wanted), "")


def variable_within(names: Sequence[str]) -> str:
    """A variable that sets anything below this path; "" if none does."""
    wanted = tuple(names)
    below = (name for name in sorted(os.environ) if path(name)[: len(wanted)] == wanted)
    return next((name for name in below if len(path(name)) > len(wanted)), "")
