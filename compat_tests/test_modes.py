"""Ways in which a member may serve its clients: with local sessions, as a leader that does not, without a leader.

Ensembles of Apache's and of ours are told the same story, and its clients hear the same (as in `test_alike`).
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from struct import pack
from typing import Any

import pytest

from compat_tests import peers
from compat_tests.clients import Client, word
from compat_tests.differential.pools import OPEN_ACL
from compat_tests.differential.wire import OPERATIONS, REQUEST_HEADER, decode_reply, encode
from compat_tests.ensembles.ensemble import PATIENCE_S, Ensemble, await_true

pytestmark = pytest.mark.slow

LEADER = 3
PATIENCE_MS = int(PATIENCE_S * 1000)
#: A follower, the leader, an observer.
ROLES = (1, LEADER, 4)


def both(
    tmp_path: Path, story: Callable[[Ensemble], Any], config: dict[str, str] | None = None, flags: str = ""
) -> Any:
    """What the story gave on ensembles of both kinds; they are equal, and it is returned."""
    peers.require("apache")
    seen = {}
    for kind in ("apache", "zkpy"):
        kinds = dict.fromkeys((1, 2, 3, 4), kind)
        with Ensemble(tmp_path / kind, kinds, observers=[4], config=config, flags=flags) as ensemble:
            seen[kind] = story(ensemble)
    assert seen["zkpy"] == seen["apache"]
    return seen["zkpy"]


def plain(answer: dict[str, Any]) -> dict[str, Any]:
    """An answer without zxids, times, sizes of sessions and stats."""
    return {name: value for name, value in answer.items() if name not in ("zxid", "stat", "sessionId", "passwd")}


def multi(client: Client, *paths_and_flags: tuple[str, int]) -> dict[str, Any]:
    """A multi of creates."""
    opcode, kinds, _ = OPERATIONS["create"]
    frame = encode(REQUEST_HEADER, {"xid": 1000, "type": OPERATIONS["multi"][0]})
    for path, flags in paths_and_flags:
        fields = {"path": path, "data": b"", "acl": list(OPEN_ACL), "flags": flags}
        frame += pack(">i?i", opcode, False, -1) + encode(kinds, fields)
    client.wire.send_frame(frame + pack(">i?i", -1, True, -1))
    answer = client.wire.frame()
    assert answer is not None
    return decode_reply("multi", answer)


def known_sessions(ensemble: Ensemble, sid: int) -> list[str]:
    """How many local and how many global sessions a member counts."""
    lines = word(ensemble[sid].port, b"mntr").splitlines()
    return [line for line in lines if line.startswith(("zk_local_sessions", "zk_global_sessions"))]


def attach(ensemble: Ensemble, sid: int, client: Client) -> bool:
    """May a second connection continue the session at this member?"""
    return bool(Client(ensemble[sid].port, session=client.session).welcome["sessionId"])


def local_sessions(ensemble: Ensemble) -> Any:
    """At each member: writes, an ephemeral alone and in a multi, continued here and elsewhere, closed."""
    ensemble.start(leader=LEADER)
    told: list[Any] = []
    for sid in ROLES:
        port = ensemble[sid].port
        client = Client(port, timeout_ms=60_000)
        told += [plain(client.welcome), known_sessions(ensemble, sid)]
        told += [plain(client.create(f"/a{sid}")), plain(client.set(f"/a{sid}", b"x"))]
        told.append([attach(ensemble, other, client) for other in ROLES])
        client = Client(port, timeout_ms=60_000)
        told += [plain(client.create(f"/e{sid}", flags=1)), known_sessions(ensemble, sid)]
        told.append(plain(client.create(f"/sequential{sid}-", flags=3)))
        second = Client(port, timeout_ms=60_000)
        told.append(plain(multi(second, (f"/b{sid}", 0), (f"/m{sid}", 1))))
        told.append(sorted(second.call("getChildren", path="/", watch=False)["children"]))
        told += [plain(second.call("closeSession")), known_sessions(ensemble, sid)]
        elsewhere = ROLES[(ROLES.index(sid) + 1) % 3]
        told.append([attach(ensemble, elsewhere, client), attach(ensemble, elsewhere, second)])
    return told


@pytest.mark.parametrize("upgrading", ["true", "false"])
def test_local_sessions_are_as_apaches(tmp_path: Path, upgrading: str) -> None:
    config = {"localSessionsEnabled": "true", "localSessionsUpgradingEnabled": upgrading}
    told = both(tmp_path, local_sessions, config)
    assert told[1] == ["zk_global_sessions\t0", "zk_local_sessions\t1"]


def read_only_member(ensemble: Ensemble) -> Any:
    """Of a follower that is left alone, and that is one of three again: who is served, and with what."""
    ensemble.start(leader=LEADER)
    port = ensemble[1].port
    owner, before = Client(port, timeout_ms=60_000), Client(port, read_only=True)
    told: list[Any] = [before.welcome["readOnly"], plain(owner.create("/a", data=b"x"))]
    owner.create("/e", flags=1)
    ensemble.kill(2, LEADER, 4)
    told += [owner.is_closed(), before.is_closed()]
    await_true(lambda: word(port, b"isro") == "ro", "readers are served")
    told += [Client(port).welcome, Client(port, session=owner.session).welcome]
    told += [Client(port, session=owner.session, read_only=True).welcome]
    reader = Client(port, timeout_ms=PATIENCE_MS, read_only=True)
    told.append(plain(reader.welcome))
    if reader.welcome.get("sessionId"):
        for op in ("getData", "exists", "getChildren"):
            told.append(plain(reader.call(op, path="/a", watch=True)))
        told += [plain(reader.call("getACL", path="/a")), reader.call("ping")]
        told += [reader.create("/b"), reader.set("/a"), reader.call("delete", path="/a", version=-1)]
        told += [reader.call("sync", path="/"), plain(multi(reader, ("/m", 0)))]
        told.append(reader.call("setACL", path="/a", acl=list(OPEN_ACL), version=-1))
        again = Client(port, session=reader.session, read_only=True)
        told += [plain(again.welcome), reader.is_closed(), again.call("closeSession"), again.is_closed()]
        late = Client(port, session=reader.session, read_only=True)
        told += [late.welcome, late.is_closed()]
        reader = Client(port, timeout_ms=PATIENCE_MS, read_only=True)
    ensemble.launch(2, LEADER)
    await_true(lambda: word(port, b"isro") == "rw", "writers are served again")
    told += [reader.is_closed(), plain(Client(port).create("/c")), attach(ensemble, 1, owner)]
    told.append(attach(ensemble, 1, reader) if reader.welcome.get("sessionId") else None)
    return told


@pytest.mark.parametrize("local", ["true", "false"])
def test_a_member_without_a_leader_serves_readers_as_apaches_does(tmp_path: Path, local: str) -> None:
    config = {"localSessionsEnabled": local, "localSessionsUpgradingEnabled": local}
    both(tmp_path, read_only_member, config, "-Dreadonlymode.enabled=true")


def leader_without_clients(ensemble: Ensemble) -> Any:
    """The leader serves nobody, and all others everybody."""
    ensemble.launch(1, LEADER)  # a quorum, of which it is the greater
    await_true(lambda: ensemble[1].mode() == "follower", "1 follows")
    ensemble.launch(2, 4)
    for sid in (2, 4):
        await_true(lambda: ensemble[sid].mode() in ("follower", "observer"), f"{sid} serves")  # noqa: B023
    words = [word(ensemble[LEADER].port, name) for name in (b"srvr", b"ruok", b"isro", b"mntr", b"hash")]
    return words, Client(ensemble[LEADER].port).welcome, plain(Client(ensemble[4].port).create("/a"))


def test_a_leader_may_leave_clients_to_the_others(tmp_path: Path) -> None:
    words, welcome, created = both(tmp_path, leader_without_clients, {"leaderServes": "no"})
    assert "not currently serving" in words[0]
    assert welcome == {}
    assert created["err"] == 0
