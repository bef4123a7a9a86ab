"""A cluster. Rule: one hash tag holds all keys on one node."""

from pathlib import Path

from smsd.redis.durability import persistence
from tests.redis.opened import Opened
from tests.redis.reaching import whole_life
from tests.support.processes import Daemon, eventually
from tests.support.store import (
    ALICE,
)
from tests.support.topologies import (
    cluster_of_one,
)


async def test_a_text_lives_its_life_in_a_cluster_under_one_hash_tag(tmp_path: Path) -> None:
    node = cluster_of_one(tmp_path / "c")
    try:
        async with Opened(node.url, prefix="{smsd}:") as opened:
            await whole_life(opened.store)
            assert (await persistence(opened.store.redis, prefix="{smsd}:")).fault == ""
            for untagged in ("smsd:", "{}smsd:", "s{msd:"):
                found = await persistence(opened.store.redis, prefix=untagged)
                assert "needs a hash tag" in found.fault
    finally:
        node.kill()


async def test_the_daemon_does_not_start_in_a_cluster_without_a_hash_tag(tmp_path: Path) -> None:
    node = cluster_of_one(tmp_path / "c")
    try:
        environment = {"SMSD_REDIS__URL": node.url}
        untagged = Daemon(tmp_path / "u", environment=environment)
        untagged.start(wait=False)
        assert untagged.wait() != 0
        assert 'prefix needs a hash tag, "{smsd}:" in place of "smsd:"' in untagged.log
        assert "Traceback" not in untagged.log
        tagged = Daemon(tmp_path / "t", environment=environment | {"SMSD_REDIS__PREFIX": "{smsd}:"})
        try:
            tagged.start()
            id_ = tagged.send(to=ALICE, message="Hi")["id"]
            eventually(lambda: tagged.call("GET", f"/messages/{id_}")[1]["state"] == "sent")
            assert tagged.stop() == 0
        finally:
            tagged.kill()
    finally:
        node.kill()
