"""Everything a server tells about its tree, as one value.

Two servers over the same directory must tell the same: last zxid, each node's data, stat and ACL, each session and its
ephemerals, and the figures a monitor sees.
"""

from __future__ import annotations

import re
import socket
from dataclasses import dataclass, fields
from typing import Any

from compat_tests.peers import Server

from .client import ANSWER_S, Client

#: Those that follow from the tree alone. Not approximate_data_size: Apache forgets what quotas add to it.
FIGURES = ("znode_count", "ephemerals_count", "global_sessions")
#: So many nodes are asked for before the first answer is read; the questions fit into what sockets hold.
AT_ONCE = 64


@dataclass(frozen=True)
class Node:
    """One znode as a client sees it."""

    data: bytes | None
    stat: tuple[tuple[str, int], ...]
    acl: tuple[tuple[int, str, str], ...]
    children: tuple[str, ...]

    def field(self, name: str) -> int:
        """One field of the stat."""
        return dict(self.stat)[name]


@dataclass(frozen=True)
class Served:
    """What a server serves; `ephemerals` by session."""

    zxid: int
    nodes: dict[str, Node]
    sessions: frozenset[int]
    ephemerals: dict[int, frozenset[str]]
    figures: dict[str, str]


def word(server: Server, text: str) -> str:
    """The answer to a four-letter word."""
    with socket.create_connection((server.host, server.port), timeout=ANSWER_S) as sock:
        sock.sendall(text.encode())
        answer = b""
        while more := sock.recv(1 << 16):
            answer += more
        return answer.decode()


def monitored(server: Server) -> dict[str, str]:
    """What mntr says, without the prefix of its names."""
    lines = (line.split("\t", 1) for line in word(server, "mntr").splitlines())
    return {name.removeprefix("zk_"): value for name, value in lines}


def last_zxid(server: Server) -> int:
    """The zxid of the last txn applied."""
    found = re.search(r"^Zxid: 0x([0-9a-f]+)$", word(server, "srvr"), re.MULTILINE)
    assert found is not None
    return int(found[1], 16)


def digest_mismatches(server: Server) -> int:
    """How many digests did not fit since the server was started, those of the replay included."""
    return int(monitored(server)["digest_mismatches_count"])


def read_served(server: Server) -> Served:
    """All of it. Costs two txns, a session opened and closed, before `zxid` is read."""
    with Client(server) as client:
        nodes = read_nodes(client)
    sessions, ephemerals = _read_sessions(server)
    figures = monitored(server)
    return Served(last_zxid(server), nodes, sessions, ephemerals, {name: figures[name] for name in FIGURES})


def read_nodes(client: Client) -> dict[str, Node]:
    """All znodes, whatever their ACLs say; `client` passes every ACL from now on."""
    client.become_super()
    nodes: dict[str, Node] = {}
    todo = ["/"]
    while todo:
        some, todo = todo[:AT_ONCE], todo[AT_ONCE:]
        for path, node in zip(some, _read_some(client, some), strict=True):
            nodes[path] = node
            todo += [f"{path.rstrip('/')}/{name}" for name in node.children]
    return nodes


def without_own_session(served: Served, zxid: int) -> Served:
    """`served` as it was at `zxid`, before the session that read it."""
    assert zxid == served.zxid - 2, (zxid, served.zxid)
    return Served(zxid, served.nodes, served.sessions, served.ephemerals, served.figures)


def differences(left: Served, right: Served) -> list[str]:
    """Each place where the two differ, in words; empty if they are equal."""
    found = [
        f"{path}: {left.nodes.get(path)} | {right.nodes.get(path)}"
        for path in sorted({*left.nodes, *right.nodes})
        if left.nodes.get(path) != right.nodes.get(path)
    ]
    for field in fields(Served):
        if field.name != "nodes" and getattr(left, field.name) != getattr(right, field.name):
            found.append(f"{field.name}: {getattr(left, field.name)} | {getattr(right, field.name)}")
    return found


def _read_some(client: Client, paths: list[str]) -> list[Node]:
    questions = ("getData", "getACL", "getChildren2")
    replies = client.do_all(*((op, {"path": path}) for path in paths for op in questions))
    nodes = []
    for at, path in enumerate(paths):
        data, acl, children = replies[3 * at : 3 * at + 3]
        assert data["stat"] == acl["stat"] == children["stat"], path
        entries = tuple(sorted((entry["perms"], entry["id"]["scheme"], entry["id"]["id"]) for entry in acl["acl"]))
        nodes.append(Node(data["data"], _stat(data["stat"]), entries, tuple(sorted(children["children"]))))
    return nodes


def _stat(stat: dict[str, int]) -> tuple[tuple[str, int], ...]:
    return tuple(stat.items())


def _read_sessions(server: Server) -> tuple[frozenset[int], dict[int, frozenset[str]]]:
    """The sessions and their ephemerals as the word dump tells them."""
    tracker, _, rest = word(server, "dump").partition("ephemeral nodes dump:\n")
    listed = rest.partition("Connections dump:\n")[0]
    ephemerals: dict[int, set[str]] = {}
    owner: Any = None
    for line in listed.splitlines()[1:]:
        if line.startswith("\t"):
            owner.add(line[1:])
        else:
            owner = ephemerals.setdefault(int(line.rstrip(":"), 16), set())
    sessions = frozenset(int(found, 16) for found in re.findall(r"^\t(0x[0-9a-f]+)$", tracker, re.MULTILINE))
    return sessions, {session: frozenset(paths) for session, paths in ephemerals.items() if paths}
