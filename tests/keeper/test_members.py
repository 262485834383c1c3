"""Members of an ensemble: whom a request goes through, and in which order clients see what comes of it."""

import random

import pytest

from tests.keeper.ensemble import Ensemble
from tests.keeper.harness import OPEN, Client, Event, Reply, acl, check_op, create_op, delete_op, path_of, set_op
from zkpy.keeper.prepare import CLIENT_WRITES
from zkpy.proto import errors, opcodes
from zkpy.proto.records import (
    CreateRequest,
    CreateTxn,
    DeleteRequest,
    ErrorTxn,
    GetDataRequest,
    GetDataResponse,
    Id,
    SetDataRequest,
    SyncRequest,
    TxnHeader,
)
from zkpy.proto.zxid import make_zxid
from zkpy.tree.txns import decode_txn, encode_txn


def create(client: Client, path: str) -> bytes:
    return client.request(opcodes.CREATE, CreateRequest(path, b"", OPEN, 0))


def get(client: Client, path: str) -> bytes:
    return client.request(opcodes.GET_DATA, GetDataRequest(path, False))


def sync(client: Client) -> bytes:
    return client.request(opcodes.SYNC, SyncRequest("/"))


def answers(client: Client) -> list[tuple[int, int]]:
    """(xid, err) of every reply received."""
    return [(packet.xid, packet.err) for packet in client.take() if isinstance(packet, Reply)]


def test_write_through_any_member_is_seen_at_all(ensemble: Ensemble) -> None:
    clients = [member.client() for member in ensemble.members]
    for number, writer in enumerate(clients):
        assert writer.create(f"/n{number}", b"x").err == 0
        assert [reader.data(f"/n{number}") for reader in clients] == [b"x"] * 3


def test_first_txn_of_a_reign_is_the_first_of_its_epoch(ensemble: Ensemble) -> None:
    client = ensemble.members[1].client()
    assert ensemble.leader.tree.last_zxid == make_zxid(1, 1)
    assert client.create("/a").zxid == make_zxid(1, 2)


def test_refused_write_of_a_follower_is_an_error_txn_that_all_apply(ensemble: Ensemble) -> None:
    client = ensemble.members[1].client()
    reply = client.delete("/missing")
    assert (reply.err, reply.zxid) == (errors.NONODE, make_zxid(1, 2))
    assert [member.tree.last_zxid for member in ensemble.members] == [make_zxid(1, 2)] * 3


def test_undecodable_write_at_a_follower_is_answered_there(ensemble: Ensemble) -> None:
    client = ensemble.members[1].client()
    before = ensemble.leader.tree.last_zxid
    assert client.call(opcodes.CREATE, b"\xff").err == errors.MARSHALLINGERROR
    assert client.call(opcodes.SYNC, b"\xff").err == errors.MARSHALLINGERROR
    assert ensemble.leader.tree.last_zxid == before


def test_learner_that_forwards_what_cannot_be_decoded_hears_of_it_in_a_txn(ensemble: Ensemble) -> None:
    follower = ensemble.members[1]
    client = follower.client()
    for cxid, (op, body) in enumerate([(opcodes.CREATE, b"\xff"), (opcodes.CREATE_SESSION, b""), (999, b"")], 70):
        follower.wire.forward(client.session_id, cxid, op, body, None)
        ensemble.run()
    txns = [decode_txn(entry)[:2] for _, entry in ensemble.history[-3:]]
    assert [(header.cxid, header.type, txn) for header, txn in txns] == [
        (70, opcodes.ERROR, ErrorTxn(errors.MARSHALLINGERROR)),
        (71, opcodes.ERROR, ErrorTxn(errors.MARSHALLINGERROR)),
        (72, opcodes.ERROR, ErrorTxn(errors.UNIMPLEMENTED)),
    ]


@pytest.mark.parametrize("seed", range(20))
def test_garbage_from_a_learner_becomes_error_txns_and_nothing_else(ensemble: Ensemble, seed: int) -> None:
    dice = random.Random(seed)
    follower = ensemble.members[1]
    client = follower.client()
    client.create("/a")
    before = ensemble.leader.tree.last_zxid
    ops = [*CLIENT_WRITES, opcodes.CREATE_SESSION, opcodes.DELETE_CONTAINER, opcodes.CHECK, opcodes.PING, 999, -5]
    count = 50
    for _ in range(count):
        session_id = dice.choice([client.session_id, 0, 77, -1])
        op = dice.choice(ops)
        if op == opcodes.CLOSE_SESSION:
            session_id = 77
        identities = dice.choice([None, [], [Id("digest", "x")], [Id(None, None)]])
        follower.wire.forward(session_id, dice.randrange(-3, 3), op, dice.randbytes(dice.randrange(40)), identities)
        ensemble.run()
    assert ensemble.leader.tree.last_zxid == before + count
    assert client.create("/b").err == 0


def test_identities_go_with_a_forwarded_request(ensemble: Ensemble) -> None:
    client = ensemble.members[1].client()
    client.auth("digest", b"ann:secret")
    path = path_of(client.call(opcodes.CREATE, CreateRequest("/mine", b"", acl((opcodes.PERM_ALL, "auth", "")), 0)))
    other = ensemble.members[2].client()
    assert other.get(path).err == errors.NOAUTH
    assert other.set(path).err == errors.NOAUTH
    assert client.set(path).err == 0


# --- order --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("at", [0, 1])
def test_answers_come_in_the_order_of_a_sessions_requests(ensemble: Ensemble, at: int) -> None:
    client = ensemble.members[at].client()
    ensemble.holds_requests = ensemble.holds_commits = True
    client.send(
        get(client, "/a"),
        create(client, "/a"),
        get(client, "/a"),
        sync(client),
        client.request(opcodes.DELETE, DeleteRequest("/a", -1)),
        get(client, "/a"),
        client.request(opcodes.PING, xid=-2),
        sync(client),
        create(client, "/a/b"),
    )
    assert answers(client) == [(1, errors.NONODE)]
    ensemble.release()
    assert answers(client) == [(2, 0), (3, 0), (4, 0), (5, 0), (6, errors.NONODE), (-2, 0), (7, 0), (8, errors.NONODE)]


def test_reads_do_not_wait_for_other_sessions_writes_at_a_follower(ensemble: Ensemble) -> None:
    follower = ensemble.members[1]
    writer, reader = follower.client(), follower.client()
    ensemble.holds_requests = True
    writer.post(opcodes.CREATE, CreateRequest("/a", b"", OPEN, 0))
    assert reader.get("/a").err == errors.NONODE
    assert reader.call(opcodes.PING).err == 0
    assert len(follower.keeper.in_flight) == 1
    ensemble.release()
    assert reader.get("/a").err == writer.reply().err == 0
    assert len(follower.keeper.in_flight) == 0


def test_writes_of_all_members_are_judged_in_one_order(ensemble: Ensemble) -> None:
    clients = [member.client() for member in ensemble.members]
    ensemble.holds_commits = True
    for client in clients:
        client.post(opcodes.CREATE, CreateRequest("/lock", str(client.session_id).encode(), OPEN, 0))
    ensemble.release()
    assert [client.reply().err for client in clients] == [0, errors.NODEEXISTS, errors.NODEEXISTS]


def test_same_cxid_of_other_sessions_is_no_answer(ensemble: Ensemble) -> None:
    first, second = ensemble.members[1].client(), ensemble.members[2].client()
    ensemble.members[1].is_behind = True
    second.post(opcodes.CREATE, CreateRequest("/second", b"", OPEN, 0), xid=7)
    first.post(opcodes.CREATE, CreateRequest("/first", b"", OPEN, 0), xid=7)
    assert (len(second.take()), first.take()) == (1, [])
    ensemble.members[1].catch_up()
    assert path_of(first.reply()) == "/first"


def test_write_of_a_lost_connection_does_not_answer_the_next_one(ensemble: Ensemble) -> None:
    """The client counts from one again on its new connection, while its old write is still on its way."""
    follower = ensemble.members[1]
    client = follower.client()
    ensemble.holds_commits = True
    client.post(opcodes.CREATE, CreateRequest("/old", b"", OPEN, 0), xid=1)
    client.hang_up()
    again = follower.open()
    again.connect(session_id=client.session_id, password=client.password)
    again.post(opcodes.CREATE, CreateRequest("/new", b"", OPEN, 0), xid=1)
    assert again.take() == []
    ensemble.release()
    assert path_of(again.reply()) == "/new"
    assert "/old" in follower.tree.nodes


def test_event_comes_before_the_answer_of_the_write_that_fired_it(ensemble: Ensemble) -> None:
    client = ensemble.members[1].client()
    client.exists("/a", watch=True)
    client.post(opcodes.CREATE, CreateRequest("/a", b"", OPEN, 0))
    event, reply = client.take()
    assert isinstance(event, Event)
    assert isinstance(reply, Reply)
    assert event.zxid == reply.zxid


def test_watch_at_one_member_fires_for_a_write_through_another(ensemble: Ensemble) -> None:
    watchers = [member.client() for member in ensemble.members]
    for watcher in watchers:
        watcher.exists("/a", watch=True)
    ensemble.members[2].client().create("/a")
    assert [watcher.events() for watcher in watchers] == [[(1, "/a")]] * 3


# --- sync ---------------------------------------------------------------------------------------------------------


def test_sync_is_answered_when_what_was_decided_before_it_is_here(ensemble: Ensemble) -> None:
    follower = ensemble.members[1]
    reader, writer = follower.client(), ensemble.leader.client()
    follower.is_behind = True
    writer.create("/a")
    assert reader.get("/a").err == errors.NONODE
    reader.send(sync(reader), get(reader, "/a"))
    assert reader.take() == []
    follower.catch_up()
    assert [err for _, err in answers(reader)] == [0, 0]


def test_sync_echoes_its_path(ensemble: Ensemble) -> None:
    for member in ensemble.members:
        client = member.client()
        assert SyncRequest.decode(client.call(opcodes.SYNC, SyncRequest("/nowhere")).body, 0)[0].path == "/nowhere"


def test_sync_at_the_leader_waits_for_what_is_proposed(ensemble: Ensemble) -> None:
    client, other = ensemble.leader.client(), ensemble.leader.client()
    ensemble.holds_commits = True
    other.post(opcodes.CREATE, CreateRequest("/a", b"", OPEN, 0))
    client.send(sync(client), get(client, "/a"))
    assert client.take() == []
    ensemble.release()
    assert [err for _, err in answers(client)] == [0, 0]


def test_syncs_of_several_clients_are_told_apart(ensemble: Ensemble) -> None:
    follower = ensemble.members[1]
    first, second = follower.client(), follower.client()
    ensemble.holds_requests = True
    first.send(sync(first))
    second.send(sync(second))
    second.send(sync(second))
    first.hang_up()
    ensemble.release()
    assert answers(second) == [(1, 0), (2, 0)]


# --- multi --------------------------------------------------------------------------------------------------------


def test_multi_through_a_follower_is_one_txn(ensemble: Ensemble) -> None:
    client = ensemble.members[1].client()
    reply = client.multi(
        create_op("/a"), set_op("/a", b"1", 0), check_op("/a", 1), create_op("/a/b"), delete_op("/a/b")
    )
    assert reply.err == 0
    assert client.stat("/a").czxid == client.stat("/a").mzxid == reply.zxid
    failed = client.multi(set_op("/a", b"2"), check_op("/a", 0), create_op("/c"))
    assert failed.err == 0
    assert client.data("/a") == b"1"
    assert ensemble.members[2].client().get("/c").err == errors.NONODE


# --- standing -----------------------------------------------------------------------------------------------------


def test_without_a_leader_all_clients_are_closed_and_none_is_taken(ensemble: Ensemble) -> None:
    clients = [member.client() for member in ensemble.members]
    idle = ensemble.members[1].open()
    ensemble.holds_requests = True
    clients[1].post(opcodes.CREATE, CreateRequest("/a", b"", OPEN, 0))
    ensemble.depose()
    assert all(client.is_closed for client in [*clients, idle])
    assert clients[1].take() == []
    for member in ensemble.members:
        assert not member.keeper.in_flight
        assert not member.keeper.connections
        late = member.open()
        assert late.connect() is None
        assert late.is_closed


def test_write_that_was_under_way_when_the_leader_was_lost_is_nobodys(ensemble: Ensemble) -> None:
    """It is committed by the next leader, as part of the history, and only the tree shows it."""
    client = ensemble.leader.client()
    ensemble.holds_commits = True
    client.post(opcodes.CREATE, CreateRequest("/a", b"", OPEN, 0))
    header = TxnHeader(client.session_id, 1, make_zxid(1, 2), ensemble.leader.wall_ms, opcodes.CREATE)
    txn = encode_txn(header, CreateTxn("/a", b"", OPEN, False, 1), None)
    ensemble.depose()
    ensemble.commit([(header.zxid, txn)])
    ensemble.run()
    ensemble.holds_commits = False
    ensemble.elect(ensemble.members[1])
    assert client.take() == []
    again = ensemble.leader.client()
    assert again.get("/a").err == 0
    assert again.create("/b").zxid == make_zxid(2, 2)


def test_every_member_can_lead(ensemble: Ensemble) -> None:
    for reign, leader in enumerate([*ensemble.members[::-1], *ensemble.members], 2):
        ensemble.depose()
        ensemble.elect(leader)
        for member in ensemble.members:
            client = member.client()
            assert client.create(f"/{reign}-{member.sid}").err == 0
            assert client.multi(create_op(f"/{reign}-{member.sid}/x", opcodes.EPHEMERAL)).err == 0
    ensemble.advance(40_000)
    assert not any(member.tree.ephemerals_count for member in ensemble.members)


def test_leader_that_serves_no_clients_serves_its_learners() -> None:
    ensemble = Ensemble(leader_serves=False)
    refused = ensemble.leader.open()
    assert refused.connect() is None
    assert refused.is_closed
    client = ensemble.members[1].client(timeout_ms=6000)
    assert client.create("/a", flags=opcodes.EPHEMERAL).err == 0
    client.hang_up()
    ensemble.advance(12_000)
    assert "/a" not in ensemble.leader.tree.nodes
    ensemble.check()


def test_observer_serves_like_a_follower() -> None:
    ensemble = Ensemble(followers=1, observers=1)
    client = ensemble.members[2].client()
    assert client.create("/a", flags=opcodes.EPHEMERAL).err == 0
    assert GetDataResponse.decode(client.get("/a").body, 0)[0].stat.ephemeral_owner == client.session_id
    client.close_session()
    ensemble.check()


def test_tree_that_differs_from_the_leaders_is_noticed() -> None:
    ensemble = Ensemble(followers=1)
    follower = ensemble.members[1]
    client = follower.client()
    client.create("/a")
    follower.tree.digest ^= 1
    client.set("/a", b"1")
    client.set("/a", b"2")
    assert follower.keeper.statistics.digest_mismatches == 2
    noted = [event for _, event, _ in follower.keeper.take_notes()]
    assert noted.count("digests do not match") == 1


def test_digest_of_a_tree_that_came_while_its_leader_went_on_says_nothing_until_it_is_served() -> None:
    ensemble = Ensemble(followers=1)
    ensemble.depose()
    follower = ensemble.members[1]
    follower.install_copy_of(ensemble.leader.tree)
    follower.tree.is_fuzzy = True
    header = TxnHeader(1, 1, make_zxid(1, 128), 0, opcodes.CREATE)
    entry = encode_txn(header, CreateTxn("/a", b"", OPEN, False, 1), 0x666)
    follower.wire.next().committed.append((header.zxid, entry))
    ensemble.run()
    assert "/a" in follower.tree.nodes
    assert follower.keeper.statistics.digest_mismatches == 0
    assert not follower.tree.digest_log
    ensemble.leader.install_copy_of(follower.tree)
    ensemble.elect(ensemble.leader)
    client = follower.client()
    assert client.set("/a", b"1").err == 0
    ensemble.check()
    follower.tree.digest ^= 1
    client.set("/a", b"2")
    assert follower.keeper.statistics.digest_mismatches == 1


def test_client_that_has_seen_more_than_a_member_is_turned_away(ensemble: Ensemble) -> None:
    follower = ensemble.members[1]
    client = ensemble.leader.client()
    follower.is_behind = True
    seen = client.create("/a").zxid
    ahead = follower.open()
    assert ahead.connect(zxid=seen) is None
    assert ahead.is_closed
    follower.catch_up()
    again = follower.open()
    assert again.connect(zxid=seen) is not None


def test_pipelined_writes_are_answered_each(ensemble: Ensemble) -> None:
    client = ensemble.members[1].client()
    client.create("/a")
    client.send(*(client.request(opcodes.SET_DATA, SetDataRequest("/a", b"x", -1)) for _ in range(100)))
    assert answers(client) == [(xid, 0) for xid in range(2, 102)]


def test_tree_may_be_replaced_while_nobody_is_served(ensemble: Ensemble) -> None:
    follower, leader = ensemble.members[1], ensemble.leader
    client = leader.client()
    client.create("/a")
    ensemble.depose()
    follower.install_copy_of(leader.tree)
    ensemble.elect(leader)
    again = follower.client()
    assert again.create("/a/b").err == 0
    assert again.names("/a") == ["b"]
