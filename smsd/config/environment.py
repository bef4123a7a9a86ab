"""Environment variables as keys. Rule: only `SMSD_<TABLE>__<KEY>` is read.

Other variables that begin with SMSD_ are ignored: Kubernetes gives a pod beside a Service `smsd`
variables such as SMSD_SERVICE_HOST and SMSD_PORT.

A name that smsd knows may be written in any case. In a table whose names the user chooses, a name
in capitals is read in lower case, and any other name as it is written:
`SMSD_PROVIDER__HTTP__FIELDS__To` sets `[provider.http] fields.To`, and `…__TO` sets `fields.to`.
"""

import os
from collections.abc import Sequence

ENV_PREFIX = "SMSD_"
_DELIMITER = "__"
# How many names of a path are known to smsd itself; in other tables all are.
_KNOWN = {"provider": 3, "audiences": 1}


def path(variable: str) -> tuple[str, ...]:
    """The table and key that a variable sets; () if it sets none."""
    if not variable.upper().startswith(ENV_PREFIX):
        return ()
    names = variable[len(ENV_PREFIX) :].split(_DELIMITER)
    known = _KNOWN.get(names[0].lower(), len(names))
    return tuple(
        name.lower() if place < known or name.isupper() else name
        for place, name in enumerate(names)
    )


def variables() -> dict[str, str]:
    """The values of all variables, by names spelled as in `path`, for pydantic-settings."""
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
