"""Configuration files that tests write, and the faults that `load` finds in them."""

import traceback
from pathlib import Path

import pytest

from smsd.config import ConfigError, load

HUSH = "hush-hush-hush-hush"  # a secret, which no fault may show
TOKEN = "a-token-of-24-characters"
LONG_TOKENS = "expected at least 16 visible ASCII characters"
REDIS_URL = (
    'expected "embedded", or a URL with redis://, rediss://, unix://, redis+sentinel://,'
    " rediss+sentinel://"
)
UNENCODED = "(:, /, ?, #, @ and % in a name or password: percent-encoded)"


def faults(path: Path) -> tuple[str, ...]:
    with pytest.raises(ConfigError) as caught:
        load(path)
    assert str(caught.value) == "\n".join(caught.value.faults)
    assert "hush" not in "".join(traceback.format_exception(caught.value))
    return caught.value.faults


def fault(path: Path) -> str:
    (only,) = faults(path)
    return only
