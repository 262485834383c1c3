"""Writes of every kind, told to any server: what a data directory must be able to hold.

A chapter stands under a node of its own, so that several can be written one after the other, by different servers. The
second one goes on with what the first has left: counters, containers, quotas, sessions. Whatever happens by itself is
waited for at once, so the same chapter always makes the same txns in the same order.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from compat_tests.differential.pools import ALICE, ALICE_ID, BOB_ID
from compat_tests.peers import Server

from .client import CONTAINER, EPHEMERAL, EPHEMERAL_SEQUENCE, SEQUENCE, TTL_SEQUENCE, Client

#: Half an hour: none of these goes away during a test.
TTL_MS = 1_800_000
SHORT_MS = 400
#: Nothing that must happen takes longer unless it never happens.
PATIENCE_S = 60.0

NO_NODE, NO_AUTH, BAD_VERSION, NO_CHILDREN_FOR_EPHEMERALS = -101, -102, -103, -108
NODE_EXISTS, NOT_EMPTY, INVALID_ACL = -110, -111, -114

#: As large as a request may be, nearly: some hundred bytes stay for the rest of it.
LARGE = bytes(range(256)) * 4000


def acl(perms: int, scheme: str, name: str) -> dict[str, Any]:
    """One entry of an ACL."""
    return {"perms": perms, "id": {"scheme": scheme, "id": name}}


@dataclass(frozen=True)
class OpenSession:
    """A session that nobody has closed, and the ephemerals it owns."""

    session: int
    password: bytes
    paths: frozenset[str]


def await_true(condition: Callable[[], bool], what: str) -> None:
    """Wait until it holds."""
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, f"still not so: {what}"
        time.sleep(0.05)


def write_chapter(server: Server, root: str, *, address: str = "::1") -> list[OpenSession]:
    """Every kind of txn under `root`, which must not exist yet; the sessions left open at the end.

    `address` stands in an ACL: servers of 3.8 know IPv4 alone.
    """
    with Client(server) as client:
        client.do("create", path=root, data=b"chapter")
        await_gone(client, *_leave_session(server, f"{root}/expired", timeout_ms=SHORT_MS).paths)
        _write_nodes(client, root)
        _write_counters(client, f"{root}/counters")
        _write_acls(server, client, f"{root}/acls", address)
        _write_multis(client, f"{root}/multis")
        _write_errors(client, f"{root}/errors")
        _write_quota(client, f"{root}/limited")
        _write_containers(client, f"{root}/containers")
        client.do("createTTL", path=f"{root}/ttl", data=b"t", ttl=TTL_MS)
        client.do("createTTL", path=f"{root}/ttl-", flags=TTL_SEQUENCE, ttl=TTL_MS + 1)
        left = [_leave_session(server, f"{root}/left-{name}") for name in "ab"]
        with Client(server) as other:
            other.do("create", path=f"{root}/closed", flags=EPHEMERAL)
            other.do("create", path=f"{root}/closed-", flags=EPHEMERAL_SEQUENCE)
        with Client(server):
            pass  # a session without ephemerals
    return left


def continue_chapter(server: Server, root: str) -> None:
    """Writes that need what the chapter has left there."""
    with Client(server) as client:
        client.become_super()
        for number in range(14, 17):
            made = client.do("create", path=f"{root}/counters/s-", data=str(number).encode(), flags=SEQUENCE)
            assert made["path"] == f"{root}/counters/s-{number:010}"
        client.do("setData", path=f"{root}/data/changed", data=b"again", version=3)
        client.do("setACL", path=f"{root}/acls/changed", acl=[acl(31, "world", "anyone")], version=3)
        client.do("delete", path=f"{root}/containers/kept/child")
        client.do("create", path=f"{root}/limited/more", data=b"1234567")
        client.multi(
            ("check", {"path": f"{root}/data/empty", "version": 0}),
            ("delete", {"path": f"{root}/data/empty"}),
            ("setData", {"path": root, "data": b"continued", "version": 0}),
        )
        await_gone(client, f"{root}/containers/kept")


def await_gone(client: Client, *paths: str) -> None:
    """Wait until none of the nodes is there any more."""
    await_true(lambda: not any(client.has(path) for path in paths), f"{', '.join(paths)} are gone")


def _leave_session(server: Server, path: str, **options: Any) -> OpenSession:
    client = Client(server, **options)
    # Both at once: a short session may end before a second request is sent.
    first, second = client.do_all(
        ("create", {"path": path, "data": b"mine", "flags": EPHEMERAL}),
        ("create2", {"path": f"{path}-", "flags": EPHEMERAL_SEQUENCE}),
    )
    client.leave()
    return OpenSession(client.session, client.password, frozenset((first["path"], second["path"])))


def _write_nodes(client: Client, root: str) -> None:
    names = f"{root}/data"
    client.do("create2", path=names, data=b"")
    for name, data in (("null", None), ("empty", b""), ("zeros", bytes(300)), ("large", LARGE)):
        client.do("create", path=f"{names}/{name}", data=data)
    for name in ("ünï", "ünï/中文", "ünï/中文/ключ", "a b", "...", "ｆｕｌｌ", "ünï/e\u0301"):
        client.do("create2", path=f"{names}/{name}", data=name.encode())
    client.do("create", path=f"{names}/changed", data=b"0")
    for data in (b"one", None, b"", b"three"):
        client.do("setData", path=f"{names}/changed", data=data)
    client.do("setData", path=f"{names}/changed", data=b"last", version=4)
    client.do("setData", path=f"{names}/null", data=b"no more")
    client.do("setData", path=f"{names}/zeros", data=None)
    client.do("delete", path=f"{names}/changed", version=5)
    client.do("create", path=f"{names}/changed", data=b"born again")
    for _ in range(3):
        client.do("setData", path=f"{names}/changed", data=LARGE[:5000])


def _write_counters(client: Client, parent: str) -> None:
    client.do("create", path=parent)
    made = [client.do("create", path=f"{parent}/s-", flags=SEQUENCE)["path"] for _ in range(12)]
    assert made[-1] == f"{parent}/s-0000000011"
    for path in (*made[:3], made[-1]):
        client.do("delete", path=path)
    assert client.do("create2", path=f"{parent}/s-", flags=SEQUENCE)["path"] == f"{parent}/s-0000000012"
    assert client.do("create", path=f"{parent}/", flags=SEQUENCE)["path"] == f"{parent}/0000000013"


def _write_acls(server: Server, client: Client, parent: str, address: str) -> None:
    with Client(server) as alice:
        alice.authenticate(ALICE)
        alice.do("create", path=parent)
        alice.do("create", path=f"{parent}/auth", acl=[acl(31, "auth", "")])
        alice.do("create", path=f"{parent}/twice", acl=[acl(31, "auth", ""), acl(31, "digest", ALICE_ID)])
        alice.do("create", path=f"{parent}/changed", acl=[acl(31, "digest", ALICE_ID), acl(1, "world", "anyone")])
        alice.do("setACL", path=f"{parent}/changed", acl=[acl(31, "digest", ALICE_ID), acl(9, "digest", BOB_ID)])
        alice.do("setACL", path=f"{parent}/changed", acl=[acl(1, "ip", "10.0.0.0/8"), acl(31, "auth", "")], version=1)
        alice.do("setACL", path=f"{parent}/changed", acl=[acl(31, "auth", ""), acl(16, "world", "anyone")])
    client.do("create", path=f"{parent}/read-only", acl=[acl(1, "world", "anyone")])
    client.do("create", path=f"{parent}/open", acl=[acl(31, "world", "anyone")])
    client.do("create", path=f"{parent}/unicode", acl=[acl(31, "digest", "ünï:中文"), acl(4, "ip", address)])
    client.do("create", path=f"{parent}/open/e", flags=EPHEMERAL, acl=[acl(3, "world", "anyone")])
    client.fail(NO_AUTH, "setData", path=f"{parent}/read-only", data=b"no")
    client.fail(INVALID_ACL, "setACL", path=f"{parent}/open", acl=[])


def _write_multis(client: Client, parent: str) -> None:
    client.multi(
        ("create", {"path": parent, "data": b"m"}),
        ("create2", {"path": f"{parent}/a", "data": None}),
        ("create", {"path": f"{parent}/a/s-", "flags": SEQUENCE}),
        ("createContainer", {"path": f"{parent}/container"}),
        ("create", {"path": f"{parent}/container/child"}),
        ("createTTL", {"path": f"{parent}/ttl", "ttl": TTL_MS}),
        ("create", {"path": f"{parent}/e", "flags": EPHEMERAL}),
        ("setData", {"path": f"{parent}/a", "data": b"1"}),
        ("setData", {"path": f"{parent}/a", "data": b"2", "version": 1}),
        ("check", {"path": f"{parent}/a", "version": 2}),
        ("create", {"path": f"{parent}/short-lived"}),
        ("delete", {"path": f"{parent}/short-lived"}),
    )
    client.multi(("setData", {"path": f"{parent}/a", "data": b"3"}), ("delete", {"path": f"{parent}/e"}))
    client.multi(("check", {"path": f"{parent}/a", "version": 3}))
    client.multi()
    client.multi(
        ("create", {"path": f"{parent}/never"}),
        ("setData", {"path": f"{parent}/a", "data": b"never"}),
        ("delete", {"path": f"{parent}/missing"}),
        ("create", {"path": f"{parent}/nor-this"}),
        err=NO_NODE,
    )
    client.multi(
        ("create", {"path": f"{parent}/a/s-", "flags": SEQUENCE}),
        ("check", {"path": f"{parent}/a", "version": 77}),
        err=BAD_VERSION,
    )


def _write_errors(client: Client, parent: str) -> None:
    client.do("create", path=parent)
    client.do("create", path=f"{parent}/child")
    client.do("create", path=f"{parent}/e", flags=EPHEMERAL)
    client.fail(NODE_EXISTS, "create", path=parent)
    client.fail(NO_NODE, "create2", path=f"{parent}/missing/child")
    client.fail(NO_CHILDREN_FOR_EPHEMERALS, "create", path=f"{parent}/e/child")
    client.fail(NOT_EMPTY, "delete", path=parent)
    client.fail(NO_NODE, "delete", path=f"{parent}/missing")
    client.fail(BAD_VERSION, "delete", path=f"{parent}/child", version=9)
    client.fail(BAD_VERSION, "setData", path=parent, data=b"no", version=9)
    client.fail(BAD_VERSION, "setACL", path=parent, acl=[acl(31, "world", "anyone")], version=9)
    client.fail(NODE_EXISTS, "createContainer", path=parent, flags=CONTAINER)


def _write_quota(client: Client, limited: str) -> None:
    client.do("create", path=limited, data=b"12345")
    client.do("create", path=f"{limited}/before", data=b"123")
    at = "/zookeeper/quota"
    for name in limited[1:].split("/"):
        at += f"/{name}"
        client.say("create", path=at)
    client.do("create", path=f"{at}/zookeeper_limits", data=b"count=1000,bytes=100000")
    client.do("create", path=f"{at}/zookeeper_stats", data=b"count=0,bytes=0")
    client.do("create", path=f"{limited}/after", data=b"1234567890")
    client.do("create", path=f"{limited}/after/deep", data=LARGE[:1000])
    client.do("setData", path=f"{limited}/before", data=b"1")
    client.do("delete", path=f"{limited}/after/deep")
    client.do("create", path=f"{limited}/e", flags=EPHEMERAL)


def _write_containers(client: Client, parent: str) -> None:
    client.do("create", path=parent)
    for name in ("kept", "emptied", "never-used"):
        client.do("createContainer", path=f"{parent}/{name}", data=name.encode())
    client.do("create", path=f"{parent}/kept/child")
    client.do("create", path=f"{parent}/emptied/child")
    client.do("delete", path=f"{parent}/emptied/child")
    await_gone(client, f"{parent}/emptied")
