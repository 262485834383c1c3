"""A running ensemble changes from Apache's servers to ours, and back, one member at a time and on the same directories.

All the while somebody writes through whichever member answers, and two sessions go on, each with an ephemeral and a
watch: kazoo's, which finds a member by itself, and one on the wire, which goes from each member to its successor and
sets its watch again as Java's client does.
"""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest
from kazoo.client import KazooClient

from compat_tests.clients import Client
from compat_tests.datadirs.served import last_zxid
from compat_tests.ensembles.alike import check_alike
from compat_tests.ensembles.clients import Load, started
from compat_tests.ensembles.ensemble import Ensemble, Member, await_true
from compat_tests.peers import require

pytestmark = pytest.mark.slow

TIMEOUT_MS = 60_000
DATA_CHANGED = 3
#: The exit status after SIGTERM.
STOPPED = {"apache": 143, "zkpy": 0}


class Wanderer:
    """A session that goes from member to member with its ephemeral and its watch, and hears of nothing on the way."""

    def __init__(self, member: Member) -> None:
        self.wire = Client(member.port, timeout_ms=TIMEOUT_MS)
        self.session = self.wire.session
        assert self.wire.create("/wanderer", flags=1)["err"] == 0
        assert self.wire.create("/for-wanderer")["err"] == 0
        assert self.wire.call("exists", path="/for-wanderer", watch=True)["err"] == 0

    def go(self, member: Member) -> None:
        """Continue at this member."""
        assert self.wire.events == []
        zxid = int(last_zxid(member))
        self.wire.close()
        self.wire = Client(member.port, timeout_ms=TIMEOUT_MS, session=self.session)
        assert self.wire.welcome["sessionId"] == self.session[0]
        watches = {"data": ["/for-wanderer"], "exist": [], "child": []}
        assert self.wire.call("setWatches", relativeZxid=zxid, **watches)["err"] == 0
        found = self.wire.call("exists", path="/wanderer", watch=False)
        assert found["err"] == 0
        assert found["stat"]["ephemeralOwner"] == self.session[0]

    def arrive(self, member: Member) -> None:
        """Its watch fires, once, for what is written at this member; then it hangs up."""
        with member.client() as client:
            client.do("setData", path="/for-wanderer", data=b"at last")
        event = self.wire.event()
        assert (event["path"], event["type"]) == ("/for-wanderer", DATA_CHANGED)
        assert self.wire.events == []
        self.wire.close()


class Resident:
    """A session of kazoo's that no change of members may end."""

    def __init__(self, client: KazooClient) -> None:
        self._seen: list[bytes] = []
        self._client = client
        self.session = client.client_id
        self._client.create("/resident", ephemeral=True)
        self._czxid = self._client.get("/resident")[1].czxid
        self._client.create("/for-resident")
        self._client.DataWatch("/for-resident", lambda data, _: self._seen.append(data))

    def hear(self, member: Member, value: bytes) -> None:
        """What is written at this member comes to it, in the session and beside the ephemeral that it always had."""
        with member.client() as client:
            client.do("setData", path="/for-resident", data=value)
        await_true(lambda: value in self._seen, f"the watch tells of {value.decode()}")
        assert self._client.client_id == self.session
        assert self._client.retry(self._client.get, "/resident")[1].czxid == self._czxid


@pytest.mark.parametrize("kinds", [("apache", "zkpy", "apache"), ("zkpy", "apache")], ids="-".join)
def test_members_are_exchanged_one_by_one_and_no_client_notices(tmp_path: Path, kinds: tuple[str, ...]) -> None:
    require("apache")
    with Ensemble(tmp_path, dict.fromkeys((1, 2, 3), kinds[0])) as ensemble:
        ensemble.start(leader=3)
        wanderer = Wanderer(ensemble[3])
        with started(ensemble.hosts, TIMEOUT_MS / 1000) as client:
            resident = Resident(client)
            load = Load(ensemble.hosts, "/load")
            for before, after in pairwise(kinds):
                for sid in (1, 2, 3):  # the leader last, as one does it
                    member = ensemble[sid]
                    load.await_progress()
                    assert member.stop() == STOPPED[before]
                    member.kind = after
                    member.launch()
                    ensemble.leader()
                    resident.hear(member, f"{after} {sid}".encode())
                    wanderer.go(member)
                    assert ensemble.wrong_digests() == []
                assert {member.kind for member in ensemble.running} == {after}
            load.await_progress()
            acknowledged = load.finish()
            nodes = check_alike(ensemble)
            assert acknowledged - nodes.keys() == set()
            assert nodes["/resident"].field("ephemeralOwner") == resident.session[0]
            assert nodes["/wanderer"].field("ephemeralOwner") == wanderer.session[0]
            wanderer.arrive(ensemble[1])
        assert "/resident" not in check_alike(ensemble)
