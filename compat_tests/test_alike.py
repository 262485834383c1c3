"""What generated programs cannot say, because it takes time, a file or a setting of its own: each told once to both.

Every test is a story that returns what a client saw; Apache's and zkpy's must be equal. Times and session ids are left
out by the stories themselves; what stands in the answers besides is compared to the letter.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from compat_tests import peers
from compat_tests.clients import PATIENCE_S, Client, await_connections, word
from compat_tests.differential.pools import ALICE, ALICE_ID, OPEN_ACL, SUPER, SUPER_DIGEST
from compat_tests.differential.wire import (
    CONNECT_REQUEST,
    OPERATIONS,
    REQUEST_HEADER,
    Wire,
    decode_connect_response,
    decode_reply,
    encode,
)
from compat_tests.peers import Server, server
from zkpy.proto import opcodes
from zkpy.proto.records import CreateTxn, TxnHeader
from zkpy.storage.snapshots import write_snapshot
from zkpy.tree.acl import OPEN
from zkpy.tree.datatree import DataTree

pytestmark = pytest.mark.slow

Story = Callable[[Server], Any]
_TIMES = ("ctime", "mtime")


def both(tmp_path: Path, story: Story, config: dict[str, str] | None = None, jvm_flags: str = "") -> Any:
    """What the story gave on each server; they are equal, and it is returned."""
    peers.require("apache")
    seen = {}
    for kind in ("apache", "zkpy"):
        with server(kind, tmp_path / kind / "data", config=config, jvm_flags=jvm_flags) as running:
            seen[kind] = story(running)
    assert seen["zkpy"] == seen["apache"]
    return seen["zkpy"]


def plain(answer: dict[str, Any]) -> dict[str, Any]:
    """An answer without times and owners."""
    if "stat" not in answer:
        return answer
    stat = {name: value for name, value in answer["stat"].items() if name not in _TIMES}
    stat["ephemeralOwner"] = bool(stat["ephemeralOwner"])
    return {**answer, "stat": stat}


def events_until(client: Client, path: str) -> list[dict[str, Any]]:
    """The events up to the first one of `path`."""
    heard = [client.event()]
    while heard[-1].get("path") != path:
        assert heard[-1], heard
        heard.append(client.event())
    return heard


# --- sessions and time ---------------------------------------------------------------------------------------------


def expiry(running: Server) -> Any:
    """A silent session expires: its connection closes without a word, its ephemerals go under one zxid, and nobody
    attaches to it any more."""
    watcher = Client(running.port)
    silent = Client(running.port, timeout_ms=1)
    silent.create("/kept")
    for name in ("a", "b", "last"):
        silent.create(f"/{name}", flags=1)
    watcher.call("addWatch", path="/", mode=1)
    watcher.call("getChildren", path="/", watch=True)
    heard = [events_until(watcher, path) for path in ("/a", "/b", "/last")]
    gone = silent.is_closed()
    late = Client(running.port, session=silent.session)
    kept = watcher.call("exists", path="/kept", watch=False)
    root = watcher.call("getChildren2", path="/", watch=False)
    return heard, gone, late.welcome, late.is_closed(), plain(kept), plain(root)


def test_expired_session_leaves_what_apaches_leaves(tmp_path: Path) -> None:
    heard, gone, welcome, closed, *_ = both(tmp_path, expiry, {"tickTime": "500"})
    assert gone
    assert closed
    assert welcome["sessionId"] == welcome["timeOut"] == 0
    assert len({event["zxid"] for events in heard for event in events}) == 1


def reattach(running: Server) -> Any:
    """Ephemerals outlive the connection; who attaches gets the new timeout and neither watches nor identities."""
    first = Client(running.port, timeout_ms=3000)
    first.call("auth", type=0, scheme="digest", auth=ALICE.encode())
    first.create("/e", flags=1)
    first.call("getData", path="/e", watch=True)
    first.close()
    # Apache forgets whose connection it is when it notices that the first has gone: here, before there is a second.
    await_connections(running.port, 0)
    second = Client(running.port, timeout_ms=5000, session=first.session)
    who = second.call("whoAmI")
    second.set("/e")
    third = Client(running.port, timeout_ms=10**9, session=first.session)
    told = [second.is_closed(), second.events, who, third.welcome["timeOut"], third.welcome["readOnly"]]
    told.append(third.call("getEphemerals", prefixPath="/"))
    wrong = Client(running.port, session=(first.session[0], b"\x01" * 16))
    told += [wrong.welcome, wrong.is_closed(), third.is_closed()]
    fourth = Client(running.port, session=first.session)
    return [*told, fourth.welcome["timeOut"], fourth.call("getEphemerals", prefixPath="/")]


def pipelined(running: Server) -> Any:
    """A handshake in one piece with all that one wants: who one is, and requests that depend on it."""
    wire = Wire("127.0.0.1", running.port)
    hello = {"protocolVersion": 0, "lastZxidSeen": 0, "timeOut": 6000, "sessionId": 0, "passwd": bytes(16)}
    wanted: list[tuple[str, int, dict[str, Any]]] = [
        ("auth", -4, {"type": 0, "scheme": "digest", "auth": ALICE.encode()}),
        ("create2", 1, {"path": "/p", "data": b"", "acl": list(OPEN_ACL), "flags": 0}),
        ("whoAmI", 2, {}),
        ("exists", 3, {"path": "/p", "watch": False}),
    ]
    frames = [encode(CONNECT_REQUEST, hello) + b"\0"]
    for op, xid, fields in wanted:
        opcode, kinds, _ = OPERATIONS[op]
        frames.append(encode(REQUEST_HEADER, {"xid": xid, "type": opcode}) + encode(kinds, fields))
    wire.send(b"".join(len(frame).to_bytes(4, "big") + frame for frame in frames))
    welcome = wire.frame()
    assert welcome is not None
    answers = [wire.frame() for _ in wanted]
    wire.close()
    told = [decode_reply(op, frame) for (op, _, _), frame in zip(wanted, answers, strict=True) if frame is not None]
    told[2]["clientInfo"].sort(key=str)  # Apache's is a set
    return decode_connect_response(welcome)["timeOut"], [plain(answer) for answer in told]


def test_what_comes_with_the_handshake_is_answered_behind_it_as_by_apache(tmp_path: Path) -> None:
    timeout_ms, answers = both(tmp_path, pipelined)
    assert timeout_ms == 6000
    assert [(answer["xid"], answer["err"]) for answer in answers] == [(-4, 0), (1, 0), (2, 0), (3, 0)]
    assert len(answers[2]["clientInfo"]) == 2


def test_session_moves_from_connection_to_connection_as_with_apache(tmp_path: Path) -> None:
    config = {"tickTime": "500", "minSessionTimeout": "2000", "maxSessionTimeout": "7000"}
    told = both(tmp_path, reattach, config)
    assert told[3] == 7000


def restart(running: Server) -> Any:
    """Over a restart sessions, ephemerals, counters, versions, containers, TTL nodes and quotas are what they were."""
    client = Client(running.port)
    client.create("/e", flags=1)
    for _ in range(3):
        client.create("/n", flags=2)
    client.create("/c", op="createContainer", flags=4)
    client.create("/t", op="createTTL", flags=5, ttl=10**9)
    client.create("/q", data=b"12345")
    client.create("/zookeeper/quota/q")
    client.create("/zookeeper/quota/q/zookeeper_limits", data=b"count=5,bytes=100")
    client.create("/zookeeper/quota/q/zookeeper_stats", data=b"count=0,bytes=0")
    client.create("/q/r", data=b"678")
    client.call("setACL", path="/q", acl=[{"perms": 1, "id": {"scheme": "digest", "id": ALICE_ID}}], version=0)
    client.call("delete", path="/nowhere", version=-1)
    client.close()
    running.restart()
    back = Client(running.port, session=client.session)
    told = [back.welcome["timeOut"], back.call("getEphemerals", prefixPath="")]
    for path in ("/", "/e", "/c", "/t", "/q/r", "/n0000000002", "/zookeeper/config"):
        told.append(plain(back.call("getData", path=path, watch=False)))
    told.append(plain(back.call("getACL", path="/q")))
    told.append(plain(back.call("getData", path="/zookeeper/quota/q/zookeeper_stats", watch=False)))
    told.append(plain(back.create("/n", flags=3)))
    return told


def test_restart_changes_nothing_that_apache_keeps(tmp_path: Path) -> None:
    told = both(tmp_path, restart, {"tickTime": "10000", "extendedTypesEnabled": "true"})
    assert told[-1]["path"] == "/n0000000007"


# --- numbers at their end ------------------------------------------------------------------------------------------


def worn_out(directory: Path) -> None:
    """A data directory with a node whose counters are about to run over."""
    tree = DataTree()
    tree.apply(TxnHeader(1, 1, 1, 1000, opcodes.CREATE), CreateTxn("/p", b"", OPEN, False, 1))
    node = tree.nodes["/p"]
    node.cversion, node.version, node.digest = 2**31 - 3, 2**31 - 2, -1
    tree.digest = tree.compute_digest()
    (directory / "version-2").mkdir(parents=True)
    write_snapshot(directory / "version-2", tree)


def overflow(running: Server) -> Any:
    """Names, counters and versions up to their largest number and beyond it."""
    client = Client(running.port)
    told = []
    for _ in range(6):
        told.append(client.create("/p/s", flags=2))
        told.append(client.call("getChildren2", path="/p", watch=False))
        told[-1]["children"].sort()
    told += [client.set("/p") for _ in range(4)]
    told.append(client.call("setData", path="/p", data=b"", version=2**31 - 1))
    return [plain(answer) for answer in told]


def test_counters_run_over_as_apaches_do(tmp_path: Path) -> None:
    for kind in ("apache", "zkpy"):
        worn_out(tmp_path / kind / "data")
    told = both(tmp_path, overflow)
    assert [answer["path"] for answer in told[:4:2]] == ["/p/s2147483645", "/p/s2147483646"]


# --- reaping -------------------------------------------------------------------------------------------------------


def reaping(running: Server) -> Any:
    """Containers that had a child and have none go, TTL nodes that were not written go; others stay."""
    client = Client(running.port)
    client.create("/used", op="createContainer", flags=4)
    client.create("/used/child")
    client.create("/busy", op="createContainer", flags=4)
    client.create("/busy/child")
    client.create("/unused", op="createContainer", flags=4)
    client.create("/old", op="createTTL", flags=5, ttl=1)
    client.create("/young", op="createTTL", flags=5, ttl=10**9)
    client.create("/parent", op="createTTL", flags=5, ttl=1)
    client.create("/parent/child")
    client.create("/number", op="createTTL", flags=6, ttl=1)
    client.call("getData", path="/used", watch=True)
    client.call("getChildren", path="/busy", watch=True)
    client.call("delete", path="/used/child", version=-1)
    deadline = time.monotonic() + PATIENCE_S
    left: list[str] = []
    while len(left) != 5 and time.monotonic() < deadline:
        time.sleep(0.05)
        left = sorted(client.call("getChildren", path="/", watch=False)["children"])
    events = [{name: event[name] for name in ("type", "path")} for event in client.events]
    return left, events, [plain(client.call("exists", path=f"/{name}", watch=False))["err"] for name in left]


def test_containers_and_ttl_nodes_are_reaped_as_by_apache(tmp_path: Path) -> None:
    flags = "-Dznode.container.checkIntervalMs=200"
    left, events, _ = both(tmp_path, reaping, {"extendedTypesEnabled": "true"}, flags)
    assert left == ["busy", "parent", "unused", "young", "zookeeper"]
    assert events == [{"type": 2, "path": "/used"}]


# --- settings ------------------------------------------------------------------------------------------------------


def closed_doors(running: Server) -> Any:
    """Every operation on a node that nobody may touch, and its ACL."""
    client = Client(running.port)
    nobody = [{"perms": 31, "id": {"scheme": "digest", "id": ALICE_ID}}]
    client.create("/shut", acl=nobody)
    told = [
        client.call("exists", path="/shut", watch=False),
        client.set("/shut", b"x"),
        client.call("getACL", path="/shut"),
    ]
    told += [client.call("getData", path="/shut", watch=True), client.call("getChildren2", path="/shut", watch=True)]
    told.append(client.call("exists", path="/shut", watch=True))
    told.append(client.call("setACL", path="/shut", acl=nobody, version=-1))
    told += [client.set("/shut"), client.create("/shut/child"), client.call("delete", path="/shut/child", version=-1)]
    return [plain(answer) for answer in told], client.events


def test_skip_acl_opens_what_it_opens_on_apache(tmp_path: Path) -> None:
    answers, events = both(tmp_path, closed_doors, {"skipACL": "yes"})
    assert not any(answer["err"] for answer in answers)
    assert events


def test_doors_are_shut_without_it(tmp_path: Path) -> None:
    answers, events = both(tmp_path, closed_doors)
    assert {answer["err"] for answer in answers} >= {-102}
    assert not events


def digests(running: Server) -> Any:
    """What an identity looks like in an ACL, and the super user's way past every ACL."""
    alice, root = Client(running.port), Client(running.port)
    alice.call("auth", type=0, scheme="digest", auth=ALICE.encode())
    alice.create("/mine", acl=[{"perms": 31, "id": {"scheme": "auth", "id": ""}}])
    told = [alice.call("getACL", path="/mine"), root.call("getACL", path="/mine")]
    told.append(root.call("auth", type=0, scheme="digest", auth=SUPER.encode()))
    told += [root.call("getACL", path="/mine"), root.set("/mine"), root.call("whoAmI")]
    told[-1]["clientInfo"].sort(key=repr)
    return [plain(answer) for answer in told]


@pytest.mark.parametrize("algorithm", ["MD5", "SHA-256", "SHA-512", "SHA3-256"])
def test_digest_algorithms_are_apaches(tmp_path: Path, algorithm: str) -> None:
    both(tmp_path, digests, jvm_flags=f"-Dzookeeper.DigestAuthenticationProvider.digestAlg={algorithm}")


def test_super_user_passes_where_he_passes_on_apache(tmp_path: Path) -> None:
    told = both(tmp_path, digests, {"DigestAuthenticationProvider.superDigest": SUPER_DIGEST})
    assert told[4]["err"] == 0


def required_auth(running: Server) -> Any:
    """With required authentication: refused and closed without it, served with it."""
    stranger, alice, wrong = Client(running.port), Client(running.port), Client(running.port)
    told = [stranger.create("/a"), stranger.is_closed()]
    told += [wrong.call("auth", type=0, scheme="ip", auth=b""), wrong.call("ping"), wrong.is_closed()]
    told += [alice.call("auth", type=0, scheme="digest", auth=ALICE.encode()), plain(alice.create("/a"))]
    told.append(alice.call("closeSession"))
    return told


def test_required_authentication_is_apaches(tmp_path: Path) -> None:
    flags = "-Dzookeeper.enforce.auth.enabled=true -Dzookeeper.enforce.auth.schemes=digest"
    told = both(tmp_path, required_auth, jvm_flags=flags)
    assert told[0]["err"] == -124


def limits(running: Server) -> Any:
    """Frames, connections and timeouts at their limits."""
    await_connections(running.port, 0)  # the one that found that it answers is forgotten
    clients = [Client(running.port, timeout_ms=asked) for asked in (1, 10_000, 10**9)]
    told: list[Any] = [client.welcome["timeOut"] for client in clients]
    try:
        told.append(Client(running.port).welcome)
    except OSError:  # closed before the client had said anything
        told.append({})
    first = clients[0]
    overhead = len("/a") + 4 + 4 + 4 + 8
    first.create("/a")
    told.append(plain(first.set("/a", b"x" * (1000 - overhead))))
    told.append(first.set("/a", b"x" * (1001 - overhead)))
    return told


def test_limits_are_where_apaches_are(tmp_path: Path) -> None:
    config = {"maxClientCnxns": "3", "minSessionTimeout": "5000", "maxSessionTimeout": "30000"}
    told = both(tmp_path, limits, config, "-Djute.maxbuffer=1000")
    assert told[:3] == [5000, 10_000, 30_000]
    assert told[3] == {}
    assert told[4]["err"] == 0
    assert told[5] == {}


def quota_warnings(running: Server) -> Any:
    """Limits of both kinds, enforced or not; usage as it is kept; metrics of it."""
    client = Client(running.port)
    client.create("/q")
    client.create("/zookeeper/quota/q")
    limits, stats = "/zookeeper/quota/q/zookeeper_limits", "/zookeeper/quota/q/zookeeper_stats"
    client.create(limits, data=b"count=2,bytes=5=;byteHardLimit=10;countHardLimit=3")
    client.create(stats, data=b"")
    told = [client.create(f"/q/{name}", data=b"123") for name in "abcd"]
    told += [client.set("/q/a", b"x" * 9), client.set("/q/a", b"")]
    told += [client.call("getData", path=path, watch=False) for path in (limits, stats)]
    client.call("delete", path=limits, version=-1)
    told += [client.create("/q/e"), client.set("/q/e", b"x" * 100)]
    told.append(client.call("getData", path=stats, watch=False))
    metrics = [line for line in word(running.port, b"mntr").splitlines() if "quota" in line]
    return [plain(answer) for answer in told], sorted(metrics)


@pytest.mark.parametrize("enforced", ["true", "false"])
def test_quotas_are_kept_as_apache_keeps_them(tmp_path: Path, enforced: str) -> None:
    both(tmp_path, quota_warnings, {"enforceQuota": enforced})


def open_acl_of(running: Server) -> Any:
    """The nodes every server has, before anybody did anything."""
    client = Client(running.port)
    paths = ("/", "/zookeeper", "/zookeeper/quota", "/zookeeper/config")
    told = [client.call(op, path=path, watch=False) for path in paths for op in ("getData", "getChildren2", "getACL")]
    told += [client.call("reconfig", joining=None, leaving="1", newMembers=None, curConfigId=-1)]
    told += [client.call("setData", path="/zookeeper/config", data=b"", version=-1)]
    told += [client.call("setACL", path="/zookeeper/config", acl=list(OPEN_ACL), version=-1)]
    return [plain(answer) for answer in told]


@pytest.mark.parametrize("reconfig", ["true", "false"])
def test_fresh_server_is_as_apaches(tmp_path: Path, reconfig: str) -> None:
    both(tmp_path, open_acl_of, {"reconfigEnabled": reconfig})
