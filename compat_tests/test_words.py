"""The same four-letter words, said to Apache ZooKeeper and to zkpy after the same story, get the same text.

What differs by nature is taken out, and no more: ports, session ids, dates, latencies, sizes of files, the version and
the environment. mntr: the same names in the same order, and the same values where they follow from the story.
"""

from __future__ import annotations

import re
import socket
from pathlib import Path

import pytest

from compat_tests import peers
from compat_tests.clients import Client, word
from compat_tests.peers import Server, server

WORDS = "ruok isro srvr stat conf cons dump wchs wchc wchp dirs gtmk hash crst srst".split()
#: Values that follow from the story; all others are times, or what one server does and the other has no word for.
SAME_VALUES = frozenset(
    "server_state num_alive_connections outstanding_requests znode_count watch_count ephemerals_count"
    " approximate_data_size global_sessions local_sessions packets_received packets_sent auth_failed_count"
    " connection_drop_probability connection_rejected commit_count digest_mismatches_count"
    " stale_sessions_expired".split()
)
#: Sizes of reads and writes by the first name of their paths, which come last, in the order of a hash table.
NAMESPACES = re.compile(r"zk_\w+?_(read|write)_per_namespace$")

#: What is taken out: what stands for it → the pattern, of which the first group stays.
FREE = {
    "PORT": r"(127\.0\.0\.1:|clientPort=)\d+",
    "SID": r"()0x[0-9a-f]{13,16}\b(?!,lresp)",
    "DATE": r"(expire at ).*?(?=:$)",
    "SETS": r"(Session Sets \()\d+",
    "N": r"((?:est|lresp|llat|minlat|avglat|maxlat|dataDirSize|dataLogSize|datadir_size: |logdir_size: )=?)\d+",
    "L": r"(Latency min/avg/max: )\S+",
    "VERSION": r"(Zookeeper version: ).*",
    "DIR": r"(data(?:Log)?Dir=).*(?=/version-2$)",
    "DIGEST": r"(^80: )\d+",
}


def told(text: str) -> list[str]:
    """The lines of an answer with what is FREE taken out; those of connections and watchers sorted."""
    for name, pattern in FREE.items():
        text = re.sub(pattern, rf"\g<1>{name}", text, flags=re.MULTILINE)
    lines: list[str] = []
    block: list[str] = []
    for line in [*text.split("\n"), ""]:
        if line.startswith((" /", "\t")):
            block.append(line)
        else:
            lines += [*sorted(block), line]
            block = []
    return lines[:-1]


def blocks(text: str) -> list[list[str]]:
    """The lines that begin at the margin, each with those below it, sorted."""
    found: list[list[str]] = []
    for line in told(text):
        if line.startswith("\t"):
            found[-1].append(line)
        else:
            found.append([line])
    return sorted(found)


def tell_story(port: int) -> list[object]:
    """Two sessions with ephemerals and watches, a connection without any, more than 128 txns, a write that fails."""
    writer, watcher = Client(port), Client(port, timeout_ms=8000)
    writer.create("/a", data=b"x")
    writer.create("/e", flags=1)
    writer.create("/e/below", flags=1)
    writer.create("/e2", flags=1)
    for _ in range(130):
        writer.set("/a", b"y")
    watcher.call("getData", path="/a", watch=True)
    watcher.call("exists", path="/none", watch=True)
    watcher.call("addWatch", path="/b", mode=0)
    watcher.call("addWatch", path="/c", mode=1)
    watcher.call("auth", type=0, scheme="digest", auth=b"a:b")
    writer.call("getData", path="/a", watch=True)
    writer.call("getChildren", path="/", watch=True)
    writer.call("delete", path="/none", version=-1)
    return [writer, watcher, socket.create_connection(("127.0.0.1", port))]


def answers_of(server: Server) -> dict[str, str]:
    word(server.port, b"srst")  # who waited for the start is forgotten
    clients = tell_story(server.port)
    answers = {name: word(server.port, name.encode()) for name in [*WORDS, "mntr"]}
    answers["cons after crst"] = word(server.port, b"cons")
    answers["stmk"] = word(server.port, b"stmk" + (5).to_bytes(8, "big"))
    answers["gtmk after stmk"] = word(server.port, b"gtmk")
    answers["telnet close"] = word(server.port, b"\xff\xf4\xff\xfd")
    for client in clients:
        client.close()  # type: ignore[attr-defined]
    return answers


@pytest.mark.slow
def test_every_word_has_apaches_answer(tmp_path: Path) -> None:
    peers.require("apache")
    answers = {}
    for kind in ("apache", "zkpy"):
        # Ticks of 4 s: nothing expires, and each session has a bucket of its own.
        with server(kind, tmp_path / kind / "data", config={"tickTime": "4000"}) as running:
            answers[kind] = answers_of(running)
    apache, zkpy = answers["apache"], answers["zkpy"]
    for name in apache:
        if name == "dump":
            # Whose connection is due when is a matter of seconds.
            ours, theirs = (told(text.partition("Connections dump")[0]) for text in (zkpy[name], apache[name]))
            # Apache keeps buckets that everybody has left until their time comes.
            assert ours == [line for line in theirs if line != "0 expire at DATE:"]
        elif name in ("wchc", "wchp"):
            # Each block is a connection or a path; hash tables decide their order.
            assert blocks(zkpy[name]) == blocks(apache[name]), name
        elif name != "mntr":
            assert told(zkpy[name]) == told(apache[name]), name
    metrics = {
        kind: dict(line.split("\t", 1) for line in answers[kind]["mntr"].splitlines()) for kind in ("apache", "zkpy")
    }
    namespaces = {kind: sorted(filter(NAMESPACES.match, said)) for kind, said in metrics.items()}
    assert len(namespaces["apache"]) >= 5 * 4
    assert {key: metrics["zkpy"][key] for key in namespaces["zkpy"]} == {
        key: metrics["apache"][key] for key in namespaces["apache"]
    }
    names = {kind: [key for key in said if not NAMESPACES.match(key)] for kind, said in metrics.items()}
    assert names["zkpy"] == names["apache"]
    assert list(metrics["zkpy"]) == [*names["zkpy"], *filter(NAMESPACES.match, metrics["zkpy"])]
    same = {key for key in metrics["apache"] if key.removeprefix("zk_") in SAME_VALUES}
    assert len(same) == len(SAME_VALUES)
    assert {key: metrics["zkpy"][key] for key in same} == {key: metrics["apache"][key] for key in same}


@pytest.mark.slow
def test_words_that_are_not_allowed_have_apaches_answer(tmp_path: Path) -> None:
    peers.require("apache")
    answers = {}
    for kind in ("apache", "zkpy"):
        with server(kind, tmp_path / kind / "data", config={"4lw.commands.whitelist": "ruok, wchs"}) as running:
            said = [*(name.encode() for name in WORDS), b"\xff\xf4\xff\xfd", b"nope", b"RUOK"]
            answers[kind] = {name: told(word(running.port, name)) for name in said}
    assert answers["zkpy"] == answers["apache"]
