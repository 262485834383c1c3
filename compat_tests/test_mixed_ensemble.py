"""Ensembles of Apache's servers and ours: who follows whom, who is brought up how, and what survives what.

After each story all members must serve the same (`check_alike`). How an ensemble changes its kind: test_migration.py.
"""

from __future__ import annotations

import random
import time
from pathlib import Path

import pytest

from compat_tests.datadirs.client import EPHEMERAL, Client, Refused
from compat_tests.datadirs.served import Node
from compat_tests.datadirs.story import OpenSession, continue_chapter, write_chapter
from compat_tests.ensembles.alike import check_alike
from compat_tests.ensembles.clients import Load, Locker, started
from compat_tests.ensembles.ensemble import Ensemble, Member, await_true
from compat_tests.peers import require
from zkpy.proto import opcodes
from zkpy.proto.records import CreateTxn, TxnHeader
from zkpy.storage import Store, StoreOptions

pytestmark = pytest.mark.slow

#: More txns than a leader keeps in memory for its learners.
MANY = 600


@pytest.fixture(autouse=True)
def _apache() -> None:
    require("apache")


def write(ensemble: Ensemble, sid: int, root: str, count: int = 5) -> None:
    """Once all serve, create, change and delete a few nodes through this member, then `count` more."""
    ensemble.leader()
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


@pytest.mark.parametrize(("leader", "learner"), [("apache", "zkpy"), ("zkpy", "apache")])
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
        bring_up(ensemble, 1, "diff")  # from the log: no leader counts the file in which it begins to read

        ensemble[1].stop()
        ensemble[1].wipe()
        bring_up(ensemble, 1, "snap")

        lead_alone(ensemble, "/tail1")
        ensemble.launch(2, 3)
        assert "/tail1" not in bring_up(ensemble, 1, "trunc")

        lead_alone(ensemble, "/tail2")
        ensemble.launch(2, 3)
        write(ensemble, 2, "/later")  # a txn of this reign, and Apache's leader does not cut beyond a reign
        assert "/tail2" not in bring_up(ensemble, 1, "snap")


def test_a_member_whose_history_cannot_be_cut_gets_a_snapshot_from_the_same_leader(tmp_path: Path) -> None:
    """1 has got, as a snapshot and nothing else, what a leader had that died before its reign began."""
    with Ensemble(tmp_path, {1: "zkpy", 2: "apache", 3: "apache"}) as ensemble:
        ensemble.start(leader=3)
        write(ensemble, 2, "/start")
        check_alike(ensemble)
        ensemble.kill(*ensemble.members)
        with Store(StoreOptions(ensemble[1].data_dir, ensemble[1].data_dir, extended_types=True)) as store:
            tree = store.tree
            header = TxnHeader(0x77, 1, tree.last_zxid + 1, 1, opcodes.CREATE)
            tree.apply(header, CreateTxn("/tail", b"", [], False, tree.nodes["/"].cversion + 1))
            store.restore(tree)
        ensemble.launch(2, 3)
        ensemble.await_leader(3)
        assert "/tail" not in bring_up(ensemble, 1, "snap")
        assert ensemble[1].recent_log().count("history cannot be cut") == 1
        write(ensemble, 1, "/later")
        check_alike(ensemble)


def bring_up(ensemble: Ensemble, sid: int, way: str) -> dict[str, Node]:
    """Start a member that must be brought up in this way; what all serve then."""
    leader = ensemble.leader()
    ensemble.launch(sid)
    ensemble.await_leader(leader.sid)
    assert ensemble.ways(sid) == {way}
    return check_alike(ensemble)


def bring_up_by_diff_and_snap(ensemble: Ensemble, sid: int, writer: int) -> dict[str, Node]:
    """Kill a member that then lacks a little, and stop it and wipe its directory when there is much; as `bring_up`."""
    ensemble.kill(sid)
    write(ensemble, writer, "/diff")
    bring_up(ensemble, sid, "diff")
    ensemble[sid].stop()
    ensemble[sid].wipe()
    write(ensemble, writer, "/snap", MANY)
    return bring_up(ensemble, sid, "snap")


def lead_alone(ensemble: Ensemble, path: str) -> None:
    """From a reign of 2 or 3 to one of 1, which proposes the last txn of all for itself alone; nobody runs then."""
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


@pytest.mark.parametrize("leader", ["apache", "zkpy"])
def test_every_kind_of_write_through_any_member_is_the_same_to_all(leader: str, tmp_path: Path) -> None:
    """1 is of the other kind than 2 and 3, of which 3 leads."""
    other = "zkpy" if leader == "apache" else "apache"
    with Ensemble(tmp_path, {1: other, 2: leader, 3: leader}) as ensemble:
        ensemble.start(leader=3)
        for sid in (1, 2, 3):
            left = write_chapter(ensemble[sid], f"/chapter{sid}")
            check_alike(ensemble)
            move_sessions(ensemble[sid % 3 + 1], left)
        ensemble.kill(1)
        ensemble[1].wipe()
        ensemble.launch(1)
        ensemble.await_leader(3)
        check_alike(ensemble)
        for sid in (1, 2, 3):
            continue_chapter(ensemble[sid], f"/chapter{sid % 3 + 1}")
        check_alike(ensemble)


def move_sessions(member: Member, left: list[OpenSession]) -> None:
    """Open sessions are taken up at this member, by those who know the password only; the first one is closed."""
    for one in left:
        with pytest.raises(Refused):
            Client(member, session=one.session, password=bytes(16))
        client = Client(member, session=one.session, password=one.password)
        assert set(client.do("getEphemerals", prefixPath="/")["ephemerals"]) == one.paths
        client.leave()
    first = left[0]
    Client(member, session=first.session, password=first.password).close()
    with Client(member) as client:
        assert not any(client.has(path) for path in first.paths)
        assert all(client.has(path) for one in left[1:] for path in one.paths)


@pytest.mark.parametrize(("voter", "observer"), [("apache", "zkpy"), ("zkpy", "apache")])
def test_an_observer_serves_what_the_others_decide(voter: str, observer: str, tmp_path: Path) -> None:
    with Ensemble(tmp_path, {1: voter, 2: voter, 3: observer}, observers=[3]) as ensemble:
        ensemble.start(leader=2)
        with ensemble[3].client() as client:
            client.do("create", path="/ephemeral", flags=EPHEMERAL)
            write(ensemble, 1, "/through_follower")
            write(ensemble, 3, "/through_observer")
            assert client.has("/ephemeral")
            check_alike(ensemble)
        assert "/ephemeral" not in bring_up_by_diff_and_snap(ensemble, 3, writer=1)
        ensemble.kill(1)  # and with it the quorum, which the observer is no part of
        ensemble.launch(1)
        write(ensemble, 3, "/again")
        check_alike(ensemble)


def test_nothing_acknowledged_is_lost_whatever_happens_to_members(tmp_path: Path) -> None:
    """Blows in any order, the same order each time, and many snapshots."""
    dice = random.Random(4)
    config = {"snapCount": "60", "syncLimit": "4"}
    with Ensemble(tmp_path, {1: "apache", 2: "zkpy", 3: "zkpy"}, config=config) as ensemble:
        ensemble.start(leader=3)
        with started(ensemble.hosts) as client:
            client.create("/ephemeral", ephemeral=True)
            load = Load(ensemble.hosts, "/load")
            for _ in range(2):
                for blow in dice.sample(BLOWS, len(BLOWS)):
                    strike(ensemble, blow, dice, load)
                    load.await_progress(dice.choice((5, 60)))
            acknowledged = load.finish()
            nodes = check_alike(ensemble)
            assert acknowledged - nodes.keys() == set()
            assert nodes["/ephemeral"].field("ephemeralOwner") == client.client_id[0]


BLOWS = ("kill the leader", "kill one", "kill two", "kill all", "wipe a follower", "freeze one")


def strike(ensemble: Ensemble, blow: str, dice: random.Random, load: Load) -> None:
    """Do this to members; all run again afterwards."""
    leader = ensemble.leader().sid
    followers = sorted(ensemble.members.keys() - {leader})
    victims = {
        "kill the leader": [leader],
        "kill one": dice.sample((1, 2, 3), 1),
        "kill two": dice.sample((1, 2, 3), 2),
        "kill all": [1, 2, 3],
        "wipe a follower": dice.sample(followers, 1),
        "freeze one": dice.sample((1, 2, 3), 1),
    }[blow]
    if blow == "freeze one":
        ensemble[victims[0]].freeze()
        time.sleep(3)  # longer than the others have patience
        ensemble[victims[0]].thaw()
        return
    ensemble.kill(*victims)
    if blow == "wipe a follower":
        # What it has acknowledged the others may not all have yet: once they acknowledge more without it, they have.
        load.await_progress(2)
        ensemble[victims[0]].wipe()
    else:
        time.sleep(dice.random())
    ensemble.launch(*victims)


def test_a_lock_has_one_holder_while_leaders_die(tmp_path: Path) -> None:
    with Ensemble(tmp_path, dict.fromkeys((1, 2, 3), "zkpy")) as ensemble:
        ensemble.start(leader=3)
        holders: list[int] = []
        lockers = [Locker(ensemble.hosts, "/lock", holders, number) for number in range(4)]
        for _ in range(5):
            leader = ensemble.leader().sid
            ensemble.kill(leader)
            ensemble.leader()
            before = sum(locker.entered for locker in lockers)
            await_true(
                lambda before=before: (
                    sum(locker.entered for locker in lockers) >= before + 10
                    or any(locker.failure for locker in lockers)
                ),
                "the lock is taken again",
            )
            assert [locker.failure for locker in lockers] == [None] * len(lockers)
            ensemble.launch(leader)
        for locker in lockers:
            locker.finish()
        check_alike(ensemble)
