"""Sessions of an ensemble: the leader decides over their life, and they move from one member to another."""

import pytest

from tests.keeper.ensemble import Ensemble, Member, move
from tests.keeper.harness import OPEN, Client, create_op, multi_body
from zkpy.keeper.keeper import BACKLOG_LIMIT
from zkpy.keeper.sessions import OWN, first_session_id, password
from zkpy.proto import errors, opcodes
from zkpy.proto.frames import frame
from zkpy.proto.records import (
    ConnectRequest,
    ConnectResponse,
    CreateRequest,
    GetDataRequest,
    SetDataRequest,
    SetWatches2,
)

REFUSED = ConnectResponse(0, 0, 0, bytes(16), False)


def deadline(ensemble: Ensemble, client: Client) -> int:
    """When the leader will let the client's session expire."""
    sessions = ensemble.leader.keeper.sessions
    return sessions.expiry.deadlines[sessions.by_id[client.session_id]]


def owner(ensemble: Ensemble, client: Client) -> int | None:
    return ensemble.leader.keeper.sessions.by_id[client.session_id].owner


# --- new ones -----------------------------------------------------------------------------------------------------


def test_session_ids_tell_the_server_that_made_them(ensemble: Ensemble) -> None:
    for sid, member in enumerate(ensemble.members, 1):
        assert member.client().session_id == first_session_id(sid, member.wall_ms)


def test_id_of_a_session_made_here_before_is_not_given_again(ensemble: Ensemble) -> None:
    """A follower that was started again with its clock turned back."""
    follower = ensemble.members[1]
    taken = first_session_id(follower.sid, follower.wall_ms)
    ensemble.leader.replica.begin(ensemble.leader.now_ms, ensemble.leader.wall_ms)
    follower.wire.forward(taken, 0, opcodes.CREATE_SESSION, (10000).to_bytes(4, "big"), None)
    ensemble.run()
    assert follower.client().session_id == taken + 1


def test_session_of_a_follower_is_answered_when_all_know_it(ensemble: Ensemble) -> None:
    follower = ensemble.members[1]
    ensemble.holds_requests = True
    client = follower.open()
    assert client.connect() is None
    assert not client.is_closed
    ensemble.release()
    (answer,) = client.take()
    assert isinstance(answer, ConnectResponse)
    assert answer.passwd == password(answer.session_id)
    assert all(answer.session_id in member.tree.sessions.timeouts for member in ensemble.members)


def test_requests_behind_a_handshake_are_served_after_it(ensemble: Ensemble) -> None:
    client = ensemble.members[1].open()
    client.send(
        frame(ConnectRequest(0, 0, 10000, 0, bytes(16), False).to_bytes()),
        client.request(opcodes.CREATE, CreateRequest("/a", b"", OPEN, 0)),
        client.request(opcodes.GET_DATA, GetDataRequest("/a", False)),
    )
    welcome, *replies = client.take()
    assert isinstance(welcome, ConnectResponse)
    assert [getattr(reply, "err", None) for reply in replies] == [0, 0]


# --- coming back --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("first", "second"), [(0, 0), (0, 1), (1, 0), (1, 1), (1, 2)])
def test_session_moves_with_its_ephemerals(ensemble: Ensemble, first: int, second: int) -> None:
    client = ensemble.members[first].client()
    client.create("/e", flags=opcodes.EPHEMERAL)
    client.hang_up()
    to = ensemble.members[second]
    moved = move(client, to, timeout_ms=20000)
    assert (moved.session_id, moved.timeout_ms) == (client.session_id, 20000)
    assert moved.stat("/e").ephemeral_owner == client.session_id
    assert moved.set("/e", b"x").err == 0
    assert owner(ensemble, moved) == (OWN if to is ensemble.leader else to.wire.link)
    moved.close_session()
    assert not any("/e" in member.tree.nodes for member in ensemble.members)


def test_watches_move_with_the_client(ensemble: Ensemble) -> None:
    client = ensemble.members[1].client()
    zxid = client.create("/a").zxid
    client.get("/a", watch=True)
    client.exists("/b", watch=True)
    client.hang_up()
    other = ensemble.leader.client()
    other.set("/a", b"x")
    moved = move(client, ensemble.members[2], zxid=zxid)
    moved.post(opcodes.SET_WATCHES2, SetWatches2(zxid, ["/a"], ["/b"], [], [], ["/r"]), opcodes.XID_SET_WATCHES)
    assert [
        (getattr(packet, "kind", None), packet.xid if hasattr(packet, "xid") else None) for packet in moved.take()
    ] == [
        (3, None),
        (None, opcodes.XID_SET_WATCHES),
    ]
    other.create("/b")
    other.create("/r")
    other.create("/r/s")
    assert moved.events() == [(1, "/b"), (1, "/r"), (1, "/r/s")]


@pytest.mark.parametrize("at", [0, 1])
def test_wrong_password_is_refused_and_still_takes_the_place(ensemble: Ensemble, at: int) -> None:
    member = ensemble.members[at]
    client = member.client()
    thief = member.open()
    assert thief.connect(session_id=client.session_id, password=b"x" * 16) == REFUSED
    assert thief.is_closed
    assert client.is_closed
    assert move(client, member).session_id == client.session_id


@pytest.mark.parametrize("at", [0, 1])
def test_session_that_never_was_is_refused(ensemble: Ensemble, at: int) -> None:
    unknown = ensemble.members[at].open()
    assert unknown.connect(session_id=77, password=password(77)) == REFUSED
    assert unknown.is_closed


def test_closed_session_is_refused_everywhere(ensemble: Ensemble) -> None:
    client = ensemble.members[1].client()
    client.close_session()
    assert client.is_closed
    for member in ensemble.members:
        again = member.open()
        assert again.connect(session_id=client.session_id, password=client.password) == REFUSED


def test_session_that_is_about_to_be_closed_is_refused(ensemble: Ensemble) -> None:
    client = ensemble.members[1].client()
    ensemble.holds_commits = True
    client.post(opcodes.CLOSE_SESSION)
    again = ensemble.members[2].open()
    assert again.connect(session_id=client.session_id, password=client.password) == REFUSED
    ensemble.release()


def test_requests_wait_for_the_leaders_word_on_their_session(ensemble: Ensemble) -> None:
    client = ensemble.members[1].client()
    client.create("/a")
    client.hang_up()
    ensemble.holds_requests = True
    moved = ensemble.members[2].open()
    moved.send(
        frame(ConnectRequest(0, 0, 10000, client.session_id, client.password, False).to_bytes()),
        moved.request(opcodes.SET_DATA, SetDataRequest("/a", b"x", -1)),
    )
    moved.send(moved.request(opcodes.GET_DATA, GetDataRequest("/a", False)))
    assert moved.take() == []
    ensemble.release()
    welcome, *replies = moved.take()
    assert isinstance(welcome, ConnectResponse)
    assert [getattr(reply, "err", None) for reply in replies] == [0, 0]


def test_client_that_sends_without_end_before_it_has_its_session_is_closed(ensemble: Ensemble) -> None:
    client = ensemble.members[1].client()
    ensemble.holds_requests = True
    moved = ensemble.members[2].open()
    moved.connect(session_id=client.session_id, password=client.password)
    for _ in range(BACKLOG_LIMIT):
        moved.post(opcodes.PING, xid=-2)
    assert not moved.is_closed
    moved.post(opcodes.PING, xid=-2)
    assert moved.is_closed
    ensemble.release()
    assert moved.take() == []


def test_client_that_left_before_the_leaders_word_is_not_missed(ensemble: Ensemble) -> None:
    client = ensemble.members[1].client()
    ensemble.holds_requests = True
    gone, stays = ensemble.members[2].open(), ensemble.members[2].open()
    gone.connect(session_id=client.session_id, password=client.password)
    stays.connect(session_id=client.session_id, password=client.password)
    gone.hang_up()
    ensemble.release()
    (answer,) = stays.take()
    assert isinstance(answer, ConnectResponse)
    assert answer.session_id == client.session_id


def test_of_two_that_ask_for_one_session_the_last_one_gets_it(ensemble: Ensemble) -> None:
    client = ensemble.members[1].client()
    ensemble.holds_requests = True
    rivals = [ensemble.members[2].open() for _ in range(2)]
    for rival in rivals:
        rival.connect(session_id=client.session_id, password=client.password)
    ensemble.release()
    assert [rival.is_closed for rival in rivals] == [True, False]


def test_without_an_answer_a_client_that_comes_back_is_dropped_in_time(ensemble: Ensemble) -> None:
    client = ensemble.members[1].client(timeout_ms=60000)
    ensemble.holds_requests = True
    moved = ensemble.members[2].open()
    moved.connect(session_id=client.session_id, password=client.password)
    ensemble.advance(12_000)
    assert moved.is_closed
    ensemble.release()


# --- who may act --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("old", [0, 1])
@pytest.mark.parametrize("op", [opcodes.SET_DATA, opcodes.MULTI])
def test_old_connection_of_a_session_that_moved_is_closed_at_its_next_write(
    ensemble: Ensemble, old: int, op: int
) -> None:
    client = ensemble.members[old].client()
    client.create("/a")
    moved = move(client, ensemble.members[2])
    assert client.get("/a").err == 0
    assert not client.is_closed
    body = SetDataRequest("/a", b"old", -1) if op == opcodes.SET_DATA else multi_body(create_op("/b"), create_op("/c"))
    client.post(op, body)
    assert client.take() == []
    assert client.is_closed
    assert moved.set("/a", b"new", 0).err == 0
    assert moved.names("/") == ["a", "zookeeper"]


def test_old_connection_may_close_a_session_that_moved(ensemble: Ensemble) -> None:
    client = ensemble.members[1].client()
    moved = move(client, ensemble.members[2])
    assert client.close_session().err == 0
    assert moved.is_closed


def test_session_that_expired_is_told_so_by_the_leader(ensemble: Ensemble) -> None:
    """Its follower has not heard yet, and forwards one more write."""
    follower = ensemble.members[1]
    client = follower.client()
    other = ensemble.leader.client()
    follower.wire.forward(client.session_id, 0, opcodes.CLOSE_SESSION, b"", None)
    follower.is_behind = True
    ensemble.run()
    client.post(opcodes.CREATE, CreateRequest("/a", b"", OPEN, 0))
    assert other.get("/a").err == errors.NONODE
    follower.catch_up()
    assert client.take() == []
    assert client.is_closed


# --- time ---------------------------------------------------------------------------------------------------------


def test_session_of_a_follower_lives_as_long_as_its_client_is_heard_of(ensemble: Ensemble) -> None:
    client = ensemble.members[1].client(timeout_ms=6000)
    for _ in range(10):
        ensemble.advance(4000)
        assert client.call(opcodes.PING).err == 0
    ensemble.advance(12_000)
    assert client.is_closed
    assert not any(member.tree.sessions.timeouts for member in ensemble.members)
    assert [member.keeper.statistics.stale_sessions_expired for member in ensemble.members] == [1, 0, 0]


def test_every_time_a_client_is_heard_of_reaches_the_leader(ensemble: Ensemble) -> None:
    """Also twice within a tick, with a ping in between."""
    client = ensemble.members[1].client()
    for passed in (10, 20, 40, 900, 1000, 2999):
        for member in ensemble.members:
            member.now_ms += passed
            member.replica.begin(member.now_ms, member.wall_ms)
        client.call(opcodes.PING)
        ensemble.ping()
        tick_ms = ensemble.leader.keeper.settings.tick_time_ms
        assert deadline(ensemble, client) == ((ensemble.leader.now_ms + 10000) // tick_ms + 1) * tick_ms


def test_touches_are_told_once(ensemble: Ensemble) -> None:
    follower = ensemble.members[1]
    client = follower.client()
    learning = follower.keeper.learning
    assert learning is not None
    client.call(opcodes.PING)
    assert learning.take_touched() == [(client.session_id, 10000)]
    assert learning.take_touched() == []
    client.auth("digest", b"a:b")
    assert learning.take_touched() == []


def test_follower_expires_nothing_by_itself(ensemble: Ensemble) -> None:
    follower = ensemble.members[1]
    client = follower.client(timeout_ms=6000)
    follower.now_ms += 100_000
    follower.replica.begin(follower.now_ms, follower.wall_ms)
    follower.replica.wake()
    ensemble.run()
    assert not client.is_closed
    assert client.session_id in follower.tree.sessions.timeouts


def test_containers_are_reaped_by_the_leader_alone(ensemble: Ensemble) -> None:
    client = ensemble.members[1].client(timeout_ms=60000)
    client.create("/c", flags=opcodes.CONTAINER, op=opcodes.CREATE_CONTAINER)
    client.create("/c/x")
    client.delete("/c/x")
    follower = ensemble.members[1]
    follower.now_ms += 200_000
    follower.replica.begin(follower.now_ms, follower.wall_ms)
    follower.replica.wake()
    ensemble.run()
    assert "/c" in follower.tree.nodes
    ensemble.leader.now_ms += 61_000
    ensemble.leader.replica.begin(ensemble.leader.now_ms, ensemble.leader.wall_ms)
    ensemble.leader.replica.wake()
    ensemble.run()
    assert "/c" not in follower.tree.nodes


def test_new_leader_gives_every_session_its_whole_timeout(ensemble: Ensemble) -> None:
    clients = [member.client(timeout_ms=6000) for member in ensemble.members]
    ensemble.advance(5000)
    ensemble.depose()
    ensemble.elect(ensemble.members[2])
    ensemble.advance(5000)
    for client in clients:
        assert client.session_id in ensemble.leader.tree.sessions.timeouts
    ensemble.advance(6000)
    assert not ensemble.leader.tree.sessions.timeouts


def test_session_goes_on_under_the_next_leader(ensemble: Ensemble) -> None:
    client = ensemble.leader.client()
    client.create("/e", flags=opcodes.EPHEMERAL)
    ensemble.depose()
    ensemble.elect(ensemble.members[1])
    moved = move(client, ensemble.members[0])
    assert moved.set("/e", b"x").err == 0
    moved.close_session()
    assert "/e" not in ensemble.leader.tree.nodes


def test_touches_of_sessions_that_are_gone_are_nothing(ensemble: Ensemble) -> None:
    leading = ensemble.leader.keeper.leading
    assert leading is not None
    leading.touch([(1234, 10000)])
    client = ensemble.members[1].client()
    client.close_session()
    leading.touch([(client.session_id, 10000)])
    assert not ensemble.leader.keeper.sessions.expiry.deadlines


def test_close_while_requests_are_under_way_comes_last(ensemble: Ensemble) -> None:
    client = ensemble.members[1].client()
    ensemble.holds_requests = True
    client.send(
        client.request(opcodes.CREATE, CreateRequest("/e", b"", OPEN, opcodes.EPHEMERAL)),
        client.request(opcodes.CLOSE_SESSION),
        client.request(opcodes.CREATE, CreateRequest("/late", b"", OPEN, 0)),
    )
    ensemble.release()
    assert [getattr(reply, "xid", None) for reply in client.take()] == [1, 2]
    assert client.is_closed
    assert not any({"/e", "/late"} & member.tree.nodes.keys() for member in ensemble.members)


def test_answer_about_a_session_nobody_asked_about_is_noted(ensemble: Ensemble) -> None:
    follower: Member = ensemble.members[1]
    follower.wire.next().revalidated.append((5, True))
    ensemble.run()
    (note,) = follower.keeper.take_notes()
    assert note[:2] == ("warning", "answer about a session that nobody asked about")
