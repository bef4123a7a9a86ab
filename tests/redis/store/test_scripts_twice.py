"""Every script may run twice, since its reply was lost. Rule: the second changes nothing."""

import pytest

from tests.redis.calls import Watched, kind_of
from tests.redis.operations import CASES, Prepared, append_repeated
from tests.support import lua
from tests.support.proxy import Proxy
from tests.support.store import (
    Store,
    all_scripts,
    dump,
    sha,
)

READ_ONLY = {
    *("census", "letters", "reclaim", "provider_ids"),
    *("audience_look", "audience_page", "campaign_look", "campaign_page"),
}
SETTLEMENTS = {"finish", "defer", "bury"}


def _ids(value: object) -> str:
    return getattr(value, "__name__", "").strip("_")


@pytest.mark.parametrize(("script", "prepare"), CASES, ids=_ids)
async def test_a_script_that_runs_twice_changes_nothing_more(
    wired: Store, proxy: Proxy, watched: Watched, script: str, prepare: Prepared
) -> None:
    operation = await prepare(wired)
    watched.calls.clear()
    before = await dump(wired.redis, wired.keys.prefix)
    await operation()
    [*_, command] = [one for one in proxy.commands if sha(script) in one]
    after = await dump(wired.redis, wired.keys.prefix)
    changed = {
        kind_of(key, wired.keys)
        for key in before.keys() | after.keys()
        if before.get(key) != after.get(key)
    }
    scripts = {call.script for call in watched.calls}
    assert changed <= {key for one in scripts for key in lua.header(one).changes}
    if script not in READ_ONLY and prepare is not append_repeated:
        assert after != before
    for _ in range(2):
        assert (await proxy.repeat(command)).startswith(b"*")
        assert await dump(wired.redis, wired.keys.prefix) == after
    assert await wired.difference() == 0


def test_every_script_is_among_those_that_run_twice() -> None:
    others = {script for script in all_scripts() if script.startswith("fsck_")}  # test_fsck.py
    assert {script for script, _ in CASES} | others == set(all_scripts())


@pytest.mark.parametrize(
    ("script", "prepare"), [case for case in CASES if case[0] in SETTLEMENTS], ids=_ids
)
async def test_a_settlement_that_runs_again_when_the_text_is_long_over_changes_nothing(
    wired: Store, proxy: Proxy, script: str, prepare: Prepared
) -> None:
    operation = await prepare(wired)
    await operation()
    [*_, command] = [one for one in proxy.commands if sha(script) in one]
    for letter, fields in await wired.dead_letters.page("", 10):
        await wired.queue.replay(letter, fields["id"])
    await wired.queue.promote()
    settled = await dump(wired.redis, wired.keys.prefix)
    await proxy.repeat(command)
    assert await dump(wired.redis, wired.keys.prefix) == settled
    assert await wired.difference() == 0
