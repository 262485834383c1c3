"""Ensembles of Apache's servers and ours: who follows whom, who is brought up how, who takes whose place.

The same stories are told to ensembles of Apache's alone, which shows that the stories are true. After each all
members must serve the same (`check_alike`).
"""

from __future__ import annotations

from pathlib import Path

import pytest

from compat_tests.datadirs.served import Node
from compat_tests.ensembles.alike import check_alike
from compat_tests.ensembles.ensemble import Ensemble, await_true
from compat_tests.peers import require

pytestmark = pytest.mark.slow

#: More txns than a leader keeps in memory for its learners.
MANY = 600


@pytest.fixture(autouse=True)
def _apache() -> None:
    require("apache")


def write(ensemble: Ensemble, sid: int, root: str, count: int = 5) -> None:
    """Create, change and delete a few nodes through this member, then `count` more."""
    with ensemble[sid].client() as client:
        client.do("create", path=root, data=b"root")
        client.do("create", path=f"{root}/changed")
        client.do("setData", path=f"{root}/changed", data=b"new")
        client.do("setACL", path=f"{root}/changed", acl=[{"perms": 1, "id": {"scheme": "world", "id": "anyone"}}])
        client.do("create", path=f"{root}/deleted")
        client.do("delete", path=f"{root}/deleted")
        client.fail(-101, "delete", path=f"{root}/none")
        client.multi(*(("create", {"path": f"{root}/multi{at}"}) for at in range(3)))
        for at in range(count):
            client.do("create", path=f"{root}/{at}", data=b"%d" % at)


def leave_tail(ensemble: Ensemble, sid: int, path: str) -> None:
    """Have the leader propose what nobody else hears of, and kill all, so that only its log has it."""
    ensemble.await_leader(sid)
    client = ensemble[sid].client()
    for other in ensemble.running:
        if other.sid != sid:
            other.freeze()
    mark = b"never committed " + path.encode()
    client.send("create", path=path, data=mark)
    await_true(lambda: ensemble[sid].has_logged(mark), "the leader has logged its proposal")
    ensemble.kill(*ensemble.members)
    client.leave()


@pytest.mark.parametrize(("leader", "learner"), [("apache", "apache"), ("apache", "zkpy"), ("zkpy", "apache")])
def test_a_follower_is_brought_up_in_each_way(leader: str, learner: str, tmp_path: Path) -> None:
    """1 is the learner. It leads for a while, twice, so that it has something to forget."""
    with Ensemble(tmp_path, {1: learner, 2: leader, 3: leader}) as ensemble:
        ensemble.start(leader=3)
        write(ensemble, 1, "/start")
        check_alike(ensemble)

        ensemble.kill(1)
        write(ensemble, 2, "/diff")
        bring_up(ensemble, 1, "diff")

        ensemble[1].stop()
        write(ensemble, 2, "/far", MANY)
        # Both look into their logs; Apache's leader does not count the file in which it begins to read.
        bring_up(ensemble, 1, "diff" if leader == "apache" else "snap")

        ensemble[1].stop()
        ensemble[1].wipe()
        bring_up(ensemble, 1, "snap")

        lead_alone(ensemble, "/tail1")
        ensemble.launch(2, 3)
        ensemble.await_leader(3)
        assert "/tail1" not in bring_up(ensemble, 1, "trunc")

        lead_alone(ensemble, "/tail2")
        ensemble.launch(2, 3)
        ensemble.await_leader(3)
        write(ensemble, 2, "/later")  # a txn of this reign, and Apache's leader does not cut beyond a reign
        assert "/tail2" not in bring_up(ensemble, 1, "snap")


def bring_up(ensemble: Ensemble, sid: int, way: str) -> dict[str, Node]:
    """Start a member that must be brought up in this way; what all serve then."""
    leader = ensemble.leader()
    ensemble.launch(sid)
    ensemble.await_leader(leader.sid)
    assert ensemble.ways(sid) == {way}
    return check_alike(ensemble)


def lead_alone(ensemble: Ensemble, path: str) -> None:
    """From a reign of 3 to one of 1, which proposes the last txn of all for itself alone; nobody runs then."""
    ensemble.kill(2)
    write(ensemble, 1, f"{path}_without_2")
    ensemble.kill(3)
    ensemble.launch(2)  # whose history is shorter
    ensemble.await_leader(1)
    ensemble.launch(3)
    ensemble.await_leader(1)
    write(ensemble, 3, f"{path}_led_by_1")
    check_alike(ensemble)
    leave_tail(ensemble, 1, path)
