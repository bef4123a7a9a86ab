"""A daemon with audiences, and a name for each campaign."""

from collections.abc import Iterator

import pytest

from tests.support.calls import number, running
from tests.support.campaign_calls import PEOPLE, SETTINGS, put, verb
from tests.support.processes import Daemon


@pytest.fixture(scope="module")
def smsd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    for daemon in running(tmp_path_factory.mktemp("smsd"), SETTINGS):
        rows = "".join(f"{to},{name},x\n" for to, name in PEOPLE)
        put(daemon, "people", "phone,first_name,note\n" + rows)
        put(daemon, "long", f"phone,note\n{number(3700)},{'x' * 250}\n{number(3701)},short\n")
        put(daemon, "crowd", "phone\n" + "".join(f"{number(4000 + n)}\n" for n in range(1000)))
        yield daemon


@pytest.fixture
def name(request: pytest.FixtureRequest, smsd: Daemon) -> Iterator[str]:
    """The name of a campaign that only this test knows, and that does not outlive it."""
    made = f"n{abs(hash(request.node.name))}"
    yield made
    verb(smsd, made, "cancel")
