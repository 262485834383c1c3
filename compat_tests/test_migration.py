"""A running ensemble changes from Apache's servers to ours, or back, one member at a time and on the same directories.

All the while somebody writes, and a session with an ephemeral and a watch goes from each member to its successor.
Beside that: ensembles of both kinds at once, whichever of them leads.
"""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest
from kazoo.client import KazooClient
from kazoo.exceptions import KazooException

from compat_tests.clients import Client
from compat_tests.datadirs.served import last_zxid
from compat_tests.ensembles.alike import check_alike
from compat_tests.ensembles.ensemble import PATIENCE_S, Ensemble, Member, await_true
from compat_tests.peers import require

pytestmark = pytest.mark.slow

TIMEOUT_MS = 60_000
PAIRS = [("apache", "zkpy"), ("zkpy", "apache")]
DATA_CHANGED = 3


@pytest.fixture(autouse=True)
def _apache() -> None:
    require("apache")


class Wanderer:
    """A session that goes from member to member with its ephemeral and its watch, as Java's client takes it along."""

    def __init__(self, member: Member) -> None:
        self.wire = Client(member.port, timeout_ms=TIMEOUT_MS)
        self.session = self.wire.session
        assert self.wire.create("/mine", flags=1)["err"] == 0
        assert self.wire.create("/watched")["err"] == 0
        assert self.wire.call("exists", path="/watched", watch=True)["err"] == 0

    def go(self, member: Member) -> None:
        """Continue at this member."""
        assert self.wire.events == []
        zxid = int(last_zxid(member))
        self.wire.close()
        self.wire = Client(member.port, timeout_ms=TIMEOUT_MS, session=self.session)
        assert self.wire.welcome["sessionId"] == self.session[0]
        assert self.wire.call("setWatches", relativeZxid=zxid, data=["/watched"], exist=[], child=[])["err"] == 0
        found = self.wire.call("exists", path="/mine", watch=False)
        assert found["err"] == 0
        assert found["stat"]["ephemeralOwner"] == self.session[0]


class Load(threading.Thread):
    """Writes as long as it is told to, through whichever member answers; what was acknowledged is remembered."""

    def __init__(self, hosts: str) -> None:
        super().__init__(daemon=True)
        self.zk = KazooClient(hosts, timeout=TIMEOUT_MS / 1000)
        self.zk.start(timeout=PATIENCE_S)
        self.zk.create("/load")
        self.is_wanted = True
        self.acknowledged: list[str] = []

    def run(self) -> None:
        n = 0
        while self.is_wanted:
            n += 1
            try:
                self.zk.create(f"/load/{n}", b"%d" % n)
                self.acknowledged.append(str(n))
            except KazooException:
                time.sleep(0.05)  # its member has gone; the next one is asked

    def go_on(self) -> None:
        """Wait until it has written some more."""
        enough = len(self.acknowledged) + 20
        await_true(lambda: len(self.acknowledged) >= enough, "the load goes on")

    def finish(self) -> None:
        self.is_wanted = False
        self.join(PATIENCE_S)
        assert not self.is_alive()
        self.zk.stop()
        self.zk.close()


@pytest.mark.parametrize(("before", "after"), PAIRS)
def test_an_ensemble_changes_its_kind_member_by_member_under_load(tmp_path: Path, before: str, after: str) -> None:
    with Ensemble(tmp_path, {1: before, 2: before, 3: before}) as ensemble:
        ensemble.start(leader=3)
        wanderer = Wanderer(ensemble[3])
        load = Load(ensemble.hosts)
        load.start()
        for sid in (1, 2, 3):  # the leader last, as one does it
            member = ensemble[sid]
            load.go_on()
            assert member.stop() in (0, 143)
            member.kind = after
            member.launch()
            ensemble.leader()
            assert ensemble.wrong_digests() == []
            wanderer.go(member)
        load.go_on()
        load.finish()
        nodes = check_alike(ensemble)
        assert nodes.keys() >= {f"/load/{name}" for name in load.acknowledged}
        with ensemble[1].client() as client:
            client.do("setData", path="/watched", data=b"at last")
        event = wanderer.wire.event()
        assert (event["path"], event["type"]) == ("/watched", DATA_CHANGED)
        assert wanderer.wire.events == []
        wanderer.wire.close()
        check_alike(ensemble)


def write_some(member: Member, root: str) -> None:
    """Through this member: what is decided by the leader alone, sequence numbers and versions among it."""
    with member.client() as client:
        client.do("create", path=root, data=b"root")
        for at in range(3):
            client.do("create", path=f"{root}/seq-", flags=2, data=b"%d" % at)
        client.do("setData", path=root, data="größer".encode())
        client.fail(-110, "create", path=root)
        client.multi(("create", {"path": f"{root}/a"}), ("create", {"path": f"{root}/a/b"}))


@pytest.mark.parametrize(
    "kinds",
    [
        ("zkpy", "apache", "apache"),
        ("apache", "zkpy", "apache"),
        ("apache", "zkpy", "zkpy"),
        ("zkpy", "apache", "zkpy"),
    ],
    ids="-".join,
)
def test_every_member_takes_writes_and_shows_those_of_all(tmp_path: Path, kinds: tuple[str, ...]) -> None:
    with Ensemble(tmp_path, dict(enumerate(kinds, 1))) as ensemble:
        ensemble.start(leader=3)
        for sid in (1, 2, 3):
            write_some(ensemble[sid], f"/at{sid}")
        nodes = check_alike(ensemble)
        assert all(f"/at{sid}/{name}" in nodes for sid in (1, 2, 3) for name in ("a/b", "seq-0000000002"))


@pytest.mark.parametrize(("observer", "voters"), PAIRS)
def test_an_observer_follows_voters_of_the_other_kind(tmp_path: Path, observer: str, voters: str) -> None:
    kinds = {1: voters, 2: voters, 3: voters, 4: observer}
    with Ensemble(tmp_path, kinds, observers=[4]) as ensemble:
        ensemble.start(leader=3)
        write_some(ensemble[4], "/by-observer")
        write_some(ensemble[1], "/by-voter")
        check_alike(ensemble)
        ensemble.kill(4)
        write_some(ensemble[1], "/while-away")
        ensemble.launch(4)
        assert "/while-away/a/b" in check_alike(ensemble)
