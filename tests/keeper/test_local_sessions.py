"""Local sessions: known to one member, kept and ended there without a txn, until an ephemeral tells all members."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.keeper.ensemble import Ensemble, Member, move
from tests.keeper.harness import OPEN, Client, create_op
from tests.keeper.test_multi import codes_of
from zkpy.proto import errors, opcodes
from zkpy.proto.records import CreateRequest, GetDataRequest


def made(**settings: Any) -> Ensemble:
    """A leader, a follower and an observer whose sessions are local."""
    return Ensemble(followers=1, observers=1, local_sessions=True, four_letter_words=frozenset("*"), **settings)


@pytest.fixture
def ensemble() -> Iterator[Ensemble]:
    one = made(local_sessions_upgrading=True)
    yield one
    one.check()


@pytest.fixture(params=[0, 1, 2], ids=["leader", "follower", "observer"])
def member(ensemble: Ensemble, request: pytest.FixtureRequest) -> Member:
    return ensemble.members[request.param]


def is_known(ensemble: Ensemble, client: Client) -> list[bool]:
    """Which members' trees have the client's session?"""
    return [client.session_id in member.tree.sessions.timeouts for member in ensemble.members]


def test_a_local_session_takes_no_txn_and_reads_and_writes(ensemble: Ensemble, member: Member) -> None:
    zxid = ensemble.leader.tree.last_zxid
    client = member.client()
    assert ensemble.leader.tree.last_zxid == zxid
    assert client.create("/a", b"x").err == 0
    assert client.set("/a", b"y").err == 0
    assert client.data("/a") == b"y"
    assert client.multi(create_op("/b")).err == 0
    assert client.delete("/b").err == 0
    assert is_known(ensemble, client) == [False] * 3


def test_it_is_closed_behind_its_writes_and_without_a_txn(ensemble: Ensemble, member: Member) -> None:
    client = member.client()
    ensemble.holds_commits = True
    client.send(
        client.request(opcodes.CREATE, CreateRequest("/a", b"", OPEN, 0)),
        client.request(opcodes.CLOSE_SESSION),
        client.request(opcodes.GET_DATA, GetDataRequest("/a", False)),
    )
    assert client.take() == []
    ensemble.holds_commits = False
    ensemble.release()
    assert [reply.err for reply in client.take()] == [0, 0]
    assert client.is_closed
    assert not member.keeper.sessions.by_id
    assert ensemble.leader.tree.last_zxid & 0xFFFFFFFF == 1


def test_it_is_lost_without_trace_if_its_client_leaves_before_the_close_is_answered(
    ensemble: Ensemble, member: Member
) -> None:
    client = member.client(timeout_ms=6000)
    ensemble.holds_commits = True
    client.send(
        client.request(opcodes.CREATE, CreateRequest("/a", b"", OPEN, 0)), client.request(opcodes.CLOSE_SESSION)
    )
    client.hang_up()
    ensemble.holds_commits = False
    ensemble.release()
    for _ in range(4):
        member.advance(3000)
    assert not member.keeper.sessions.by_id


def test_it_expires_where_it_is_unless_its_client_is_heard(ensemble: Ensemble, member: Member) -> None:
    silent, heard = member.client(timeout_ms=6000), member.client(timeout_ms=6000)
    for _ in range(4):
        member.advance(3000)
        assert heard.call(opcodes.PING).err == 0
    assert silent.is_closed
    assert not heard.is_closed
    assert list(member.keeper.sessions.by_id) == [heard.session_id]
    assert ensemble.leader.tree.last_zxid & 0xFFFFFFFF == 0


def test_it_can_be_continued_where_it_is_and_nowhere_else(ensemble: Ensemble, member: Member) -> None:
    client = member.client()
    again = member.open()
    again.connect(session_id=client.session_id, password=client.password)
    assert client.is_closed
    assert again.session_id == client.session_id
    assert again.create("/a").err == 0
    for other in ensemble.members:
        if other is not member:
            stranger = other.open()
            answer = stranger.connect(session_id=client.session_id, password=client.password)
            assert answer is not None
            assert answer.session_id == 0
            assert stranger.is_closed
    assert not again.is_closed


@pytest.mark.parametrize("is_multi", [False, True])
def test_an_ephemeral_makes_it_a_session_of_the_ensemble(ensemble: Ensemble, member: Member, is_multi: bool) -> None:
    client = member.client(timeout_ms=20000)
    if is_multi:
        assert client.multi(create_op("/a"), create_op("/e", flags=opcodes.EPHEMERAL)).err == 0
    else:
        assert client.create("/e", flags=opcodes.EPHEMERAL).err == 0
    assert client.stat("/e").ephemeral_owner == client.session_id
    assert is_known(ensemble, client) == [True] * 3
    sessions = ensemble.leader.keeper.sessions
    assert sessions.by_id[client.session_id] in sessions.expiry.deadlines
    if member is not ensemble.leader:
        assert client.session_id in dict(member.keeper.learning.take_touched())
    elsewhere = ensemble.members[0 if member is not ensemble.leader else 1]
    moved = move(client, elsewhere)
    assert moved.stat("/e").ephemeral_owner == client.session_id
    assert moved.close_session().err == 0
    assert member.client().exists("/e").err == errors.NONODE


def test_without_upgrades_an_ephemeral_is_refused_and_the_session_goes_on(ensemble: Ensemble) -> None:
    ensemble = made()
    for number, member in enumerate(ensemble.members):
        client = member.client()
        assert client.create("/e", flags=opcodes.EPHEMERAL).err == errors.EPHEMERALONLOCALSESSION
        multi = client.multi(create_op("/x"), create_op("/e", flags=opcodes.EPHEMERAL_SEQUENTIAL))
        # To the leader the session of a learner is just unknown.
        code = errors.EPHEMERALONLOCALSESSION if member is ensemble.leader else errors.SESSIONEXPIRED
        assert codes_of(multi) == [0, code]
        assert client.create(f"/a{number}").err == 0
        # Apache knows no other opcode for an ephemeral, and the leader lets none through.
        call = client.call(opcodes.CREATE_CONTAINER, CreateRequest("/e", b"", OPEN, opcodes.EPHEMERAL))
        assert call.err == errors.SESSIONEXPIRED
    ensemble.check()


def test_a_session_that_the_leader_made_and_forgot_may_not_write(ensemble: Ensemble) -> None:
    client = ensemble.leader.client()
    forgotten = ensemble.leader.keeper.sessions.by_id.pop(client.session_id)
    ensemble.leader.keeper.sessions.expiry.remove(forgotten)
    assert client.create("/a").err == errors.SESSIONEXPIRED


def test_local_sessions_end_with_the_reign(ensemble: Ensemble, member: Member) -> None:
    client = member.client()
    ensemble.depose()
    assert client.is_closed
    ensemble.elect(ensemble.members[1])
    again = member.open()
    answer = again.connect(session_id=client.session_id, password=client.password)
    assert answer is not None
    assert answer.session_id == 0


def test_dump_tells_local_sessions_apart(ensemble: Ensemble) -> None:
    here = ensemble.leader.client()
    known = ensemble.leader.client()
    known.create("/e", flags=opcodes.EPHEMERAL)
    text = ensemble.leader.word(b"dump")
    first, second = text.split("Global Session Sets (1)/(1):\n")
    assert first.startswith("SessionTracker dump:\nLocal Session Sets (1)/(1):\n1 expire at ")
    assert first.endswith(f":\n\t0x{here.session_id:x}\n")
    assert second.splitlines()[1] == f"\t0x{known.session_id:x}"
    text = ensemble.members[1].word(b"dump")
    assert text.startswith(
        "SessionTracker dump:\nLocal Session Sets (0)/(0):\n"
        f"Global Sessions(1):\n0x{known.session_id:x}\t10000ms\nephemeral nodes dump:\n"
    )
