"""What `make test-servers` runs. Rule: every test that it names exists."""

from pathlib import Path

import pytest

from tests.servers.__main__ import OLD, QUICK, WHOLE

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("named", sorted({*WHOLE, *QUICK, *OLD}))
def test_what_is_run_against_every_server_is_there(named: str) -> None:
    path, _, test = named.partition("::")
    assert (ROOT / path).exists()
    assert not test or f"def {test}(" in (ROOT / path).read_text("utf-8")
