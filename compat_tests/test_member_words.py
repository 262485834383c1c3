"""Four-letter words to each member of an ensemble: a leader, a follower, an observer, and one without a quorum that is
read-only. Members of Apache's and ours are told the same story, and answer the same text (as in `test_words`)."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from compat_tests import peers
from compat_tests.clients import Client, word
from compat_tests.ensembles.ensemble import Ensemble, await_true
from compat_tests.test_words import blocks, told

WORDS = "ruok isro srvr stat conf cons dump wchs wchc wchp dirs hash mntr".split()
#: Of mntr: values that follow from the story at any member.
SAME_VALUES = frozenset(
    "server_state peer_state observer_master_id num_alive_connections znode_count watch_count ephemerals_count"
    " approximate_data_size global_sessions local_sessions connection_drop_probability quorum_size learners"
    " synced_followers synced_non_voting_followers synced_observers pending_syncs outstanding_requests"
    " digest_mismatches_count".split()
)
#: A write of the configuration by each new standing of a member.
ONLY_APACHES = re.compile(r"\w+_zookeeper_write_per_namespace")
#: What comes last, in the order of a hash table: sizes by the first name of paths, which follow from the story too.
NAMESPACES = re.compile(r"\w+_(read|write)_per_namespace")
#: What differs by nature beside what `test_words` takes out.
FREE = {
    "PORT": r"((?:electionPort|quorumPort)=)\d+",
    "PORTS": r"(^server\.\d=127\.0\.0\.1:)\d+:\d+",
    "ZXID": r"(Zxid: |lzxid=)0x[0-9a-f]+",
    "SIZES": r"(Proposal sizes last/min/max: )\S+",
    "COUNT": r"(Received: |Sent: |recved=|sent=)\d+",
    "DIGEST": r"(^[0-9a-f]+: )\d+$",
}
ROLES = {1: "follower", 3: "leader", 4: "observer"}


def story(ensemble: Ensemble) -> list[Any]:
    """At each member two sessions, one with watches; one has an ephemeral."""
    clients: list[Any] = []
    for sid in ROLES:
        port = ensemble[sid].port
        writer, watcher = Client(port, timeout_ms=60_000), Client(port, timeout_ms=40_000)
        writer.create(f"/node{sid}", data=b"x")
        writer.create(f"/ephemeral{sid}", flags=1)
        watcher.call("getData", path=f"/node{sid}", watch=True)
        watcher.call("exists", path="/none", watch=True)
        clients += [writer, watcher]
    for writer in clients[::2]:
        writer.call("sync", path="/")
    return clients


def ask(port: int) -> dict[str, str]:
    return {name: word(port, name.encode()) for name in WORDS}


def answers_of(kind: str, directory: Path) -> dict[str, dict[str, str]]:
    """What each role answers, and at last the follower that is left alone."""
    config = {"tickTime": "500"}
    flags = "-Dreadonlymode.enabled=true"
    with Ensemble(directory, dict.fromkeys((1, 2, 3, 4), kind), observers=[4], config=config, flags=flags) as ensemble:
        ensemble.start(leader=3)
        clients = story(ensemble)
        answers = {role: ask(ensemble[sid].port) for sid, role in ROLES.items()}
        for client in clients:
            client.close()
        ensemble.kill(2, 3, 4)
        await_true(lambda: word(ensemble[1].port, b"isro") == "ro", "the follower that is left serves readers")
        answers["read-only"] = ask(ensemble[1].port)
        return answers


def shape(name: str, text: str) -> list[Any]:
    """An answer without what is free in it."""
    for free, pattern in FREE.items():
        text = re.sub(pattern, rf"\g<1>{free}", text, flags=re.MULTILINE)
    if name == "dump":
        # Whose connection is due when is a matter of seconds; Apache keeps empty buckets until their time comes.
        return [block for block in blocks(text.partition("Connections dump")[0]) if block != ["0 expire at DATE:"]]
    return blocks(text) if name in ("wchc", "wchp") else told(text)


@pytest.mark.slow
def test_every_member_answers_every_word_as_apaches_does(tmp_path: Path) -> None:
    peers.require("apache")
    answers = {kind: answers_of(kind, tmp_path / kind) for kind in ("apache", "zkpy")}
    for role, apaches in answers["apache"].items():
        ours = answers["zkpy"][role]
        for name in WORDS:
            if name != "mntr":
                assert shape(name, ours[name]) == shape(name, apaches[name]), (role, name)
        metrics = [
            dict(line.removeprefix("zk_").split("\t", 1) for line in text.splitlines())
            for text in (ours["mntr"], apaches["mntr"])
        ]
        metrics = [
            {name: value for name, value in said.items() if ONLY_APACHES.fullmatch(name) is None} for said in metrics
        ]
        names = [[name for name in said if NAMESPACES.fullmatch(name) is None] for said in metrics]
        if role == "read-only":  # a hash table that was larger once: one pair stands the other way round
            names = [sorted(said) for said in names]
        assert names[0] == names[1], role
        values = [
            {key: said[key] for key in said if key in SAME_VALUES or NAMESPACES.fullmatch(key)} for said in metrics
        ]
        assert values[0] == values[1], role
