"""Read-only mode: a member without a leader, and the clients that are content with that."""

from collections.abc import Iterator
from struct import pack
from typing import Any

import pytest

from tests.keeper.ensemble import Ensemble, Member
from tests.keeper.harness import Client
from zkpy.keeper.host import Host
from zkpy.keeper.standing import READ_ONLY_DELAY_MS
from zkpy.proto import errors, opcodes
from zkpy.proto.frames import frame
from zkpy.proto.records import ConnectRequest, SyncRequest

DELAY_MS = 3000  # tickTime is more than the least delay


def lonely(**settings: Any) -> Member:
    """A follower that has had a node /a and a session of the ensemble, and has no leader now."""
    ensemble = Ensemble(read_only_mode=True, four_letter_words=frozenset("*"), **settings)
    client = ensemble.leader.client(timeout_ms=60000)
    client.create("/a", b"x")
    client.create("/e", flags=opcodes.EPHEMERAL)
    ensemble.depose()
    return ensemble.members[1]


@pytest.fixture
def member() -> Iterator[Member]:
    """One in read-only mode, with local sessions."""
    made = lonely(local_sessions=True, local_sessions_upgrading=True)
    made.advance(DELAY_MS)
    yield made
    made.check()


def reader(member: Member, timeout_ms: int = 10000) -> Client:
    client = member.open()
    answer = client.connect(timeout_ms, read_only=True)
    assert answer is not None
    assert answer.read_only
    return client


def test_it_begins_when_no_leader_is_found_for_a_while() -> None:
    member = lonely()
    assert DELAY_MS > READ_ONLY_DELAY_MS
    member.advance(DELAY_MS - 1)
    assert member.word(b"isro") == "null"
    member.advance(1)
    assert member.word(b"isro") == "ro"
    text = member.word(b"srvr")
    assert text.splitlines()[1] == "READ-ONLY mode; serving only read-only clients"
    assert "Mode: read-only\n" in text
    assert "zk_server_state\tread-only\n" in member.word(b"mntr")
    member.keeper.host = Host(member="peerType=0\n", membership="membership: \nserver.1=a:1:2:participant")
    assert member.word(b"conf").endswith("\nserverId=2\npeerType=0\n")


def test_it_is_off_unless_it_is_asked_for() -> None:
    ensemble = Ensemble()
    ensemble.depose()
    ensemble.members[1].advance(100_000)
    assert not ensemble.members[1].keeper.is_serving


def test_readers_read_and_ping_and_watch(member: Member) -> None:
    client = reader(member)
    assert "zk_local_sessions\t1\n" in member.word(b"mntr")
    assert client.data("/a") == b"x"
    assert client.exists("/b", watch=True).err == errors.NONODE
    assert client.call(opcodes.PING).err == 0
    assert client.names("/") == ["a", "e", "zookeeper"]


def test_whatever_writes_is_refused(member: Member) -> None:
    client = reader(member)
    zxid = member.tree.last_zxid
    refused = [
        client.create("/b"),
        client.delete("/a"),
        client.set("/a"),
        client.set_acl("/a", []),
        client.multi(),
        client.call(opcodes.SYNC, SyncRequest("/")),
    ]
    assert [(reply.zxid, reply.err) for reply in refused] == [(zxid, errors.NOTREADONLY)] * 6
    assert client.data("/a") == b"x"


def test_other_clients_are_turned_away(member: Member) -> None:
    for request in (ConnectRequest(0, 0, 10000, 0, bytes(16), False).to_bytes(), bytes(28)):
        client = member.open()
        client.send(frame(request))
        assert client.is_closed
        assert client.take() == []


def test_session_of_the_ensemble_cannot_go_on(member: Member) -> None:
    (session_id,) = member.tree.sessions.timeouts
    client = member.open()
    assert client.connect(session_id=session_id, read_only=True) is None
    assert client.is_closed


def test_local_session_can_be_continued_closed_and_lost(member: Member) -> None:
    first = reader(member)
    again = member.open()
    again.connect(session_id=first.session_id, password=first.password, read_only=True)
    assert again.session_id == first.session_id
    assert first.is_closed
    assert again.close_session().err == 0
    assert again.is_closed
    late = member.open()
    answer = late.connect(session_id=first.session_id, password=first.password, read_only=True)
    assert answer is not None
    assert (answer.session_id, answer.read_only) == (0, True)


def test_local_session_expires_here_and_leaves_no_txn(member: Member) -> None:
    silent, heard = reader(member, 6000), reader(member, 6000)
    for _ in range(4):
        member.advance(3000)
        heard.call(opcodes.PING)
    assert silent.is_closed
    assert not heard.is_closed
    assert not member.keeper.proposals
    assert silent.session_id not in member.keeper.sessions.by_id


def test_without_local_sessions_there_is_no_new_one() -> None:
    member = lonely()
    member.advance(DELAY_MS)
    client = member.open()
    client.speaks_frames = False
    client.send(frame(ConnectRequest(0, 0, 10000, 0, bytes(16), True).to_bytes()))
    assert bytes(client.raw) == pack(">iiqi", 16, 0, member.tree.last_zxid, errors.NOTREADONLY)


def test_it_ends_with_all_its_connections_when_there_is_a_leader(member: Member) -> None:
    client = reader(member)
    member.ensemble.elect(member.ensemble.members[2])
    assert client.is_closed
    assert member.word(b"isro") == "rw"
    assert member.client().create("/b").err == 0
    member.ensemble.check()
