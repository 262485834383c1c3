"""A learner, rule by rule: what it promises, what it holds, what it acknowledges and when, and when it leaves."""

from struct import pack

import pytest

from tests.zab.lone import Lone
from zkpy.proto import opcodes, packets
from zkpy.proto.notification import FOLLOWING, LOOKING, OBSERVING
from zkpy.proto.packets import COMMIT, DIFF, INFORM, LEADERINFO, NEWLEADER, PING, PROPOSAL, TRUNC, UPTODATE
from zkpy.proto.records import Id, QuorumPacket
from zkpy.proto.zxid import make_zxid
from zkpy.zab.history import Entry

VERSION = pack(">i", 0x10000)


def txns(first: int, last: int) -> list[Entry]:
    return [(zxid, b"%x" % zxid) for zxid in range(first, last + 1)]


def following(sid: int = 1, **more: object) -> Lone:
    """A server that has elected 3 and has a link to it, number 1."""
    lone = Lone(sid, **more)  # type: ignore[arg-type]
    if sid == 4:
        lone.notify(2, 3, state=1, round=7)
        lone.notify(3, 3, state=2, round=7)
    else:
        lone.elect(3)
    lone.link(1, 3)
    return lone


def promised(epoch: int = 1, **more: object) -> Lone:
    """The same, when it has promised the epoch."""
    lone = following(**more)  # type: ignore[arg-type]
    lone.receive(1, (LEADERINFO, make_zxid(epoch, 0), VERSION))
    lone.sync()
    lone.heard()
    return lone


def serving(**more: object) -> Lone:
    """The same, when it serves in epoch 1."""
    lone = promised(**more)  # type: ignore[arg-type]
    lone.receive(1, (DIFF, 0), (NEWLEADER, make_zxid(1, 0)))
    lone.sync()
    lone.receive(1, (UPTODATE, -1))
    assert lone.standing.is_serving
    lone.heard()
    lone.readies.clear()
    return lone


# --- discovery


def test_follower_says_who_it_is_and_which_epoch_it_accepted() -> None:
    lone = following(epochs=(4, 3))
    ((link, packet),) = lone.said
    assert (link, packet.type, packet.zxid) == (1, packets.FOLLOWERINFO, make_zxid(4, 0))
    assert packet.data == pack(">qiq", 1, 0x10000, 0)


def test_observer_says_that_it_is_one() -> None:
    lone = following(4)
    assert lone.standing.role == OBSERVING
    assert lone.heard() == ["OBSERVERINFO 0x0"]


def test_promise_leaves_when_it_is_on_disk() -> None:
    lone = following(epochs=(4, 3), last=0x300000007)
    lone.heard()
    lone.receive(1, (LEADERINFO, make_zxid(6, 0), VERSION))
    assert [ready.epochs for ready in lone.disk] == [(6, 3)]
    assert lone.heard() == []
    lone.sync()
    ((_, packet),) = lone.said
    assert (packet.type, packet.zxid, packet.data) == (packets.ACKEPOCH, 0x300000007, pack(">i", 3))


def test_epoch_that_was_promised_before_is_not_promised_again() -> None:
    lone = following(epochs=(4, 3))
    lone.heard()
    lone.receive(1, (LEADERINFO, make_zxid(4, 0), VERSION))
    assert lone.disk == []
    assert lone.said[0][1].data == pack(">i", -1)


@pytest.mark.parametrize(
    "packet",
    [
        (LEADERINFO, make_zxid(3, 0), VERSION),
        (LEADERINFO, make_zxid(0x7FFFFFFF, 0), VERSION),
        (LEADERINFO, make_zxid(-1, 0), VERSION),
        (LEADERINFO, make_zxid(9, 0), pack(">i", 1)),
        (LEADERINFO, make_zxid(9, 0)),
        (NEWLEADER, make_zxid(9, 0)),
        (PROPOSAL, make_zxid(9, 1), b""),
    ],
)
def test_leader_of_an_older_epoch_or_protocol_is_left(packet: tuple[int, int]) -> None:
    lone = following(epochs=(4, 3))
    lone.receive(1, packet)
    assert lone.standing.role == LOOKING
    assert lone.readied("close") == [1]
    assert lone.disk == []


# --- synchronization


def test_newleader_is_acknowledged_when_the_diff_and_the_epoch_are_on_disk() -> None:
    lone = promised()
    lone.receive(1, (DIFF, 2))
    for zxid, txn in txns(0x100000001, 0x100000002):
        lone.receive(1, (PROPOSAL, zxid, txn), (COMMIT, zxid))
    assert lone.disk == [], "nothing touches the disk before NEWLEADER"
    lone.receive(1, (NEWLEADER, make_zxid(1, 0)))
    (ready,) = lone.disk
    assert (ready.append, ready.epochs) == (txns(0x100000001, 0x100000002), (1, 1))
    assert lone.heard() == []
    lone.sync()
    assert lone.heard() == ["ACK 0x100000000"]
    assert lone.committed == [], "a quorum may not have it yet"
    lone.receive(1, (UPTODATE, -1))
    assert lone.committed == [0x100000001, 0x100000002]
    assert lone.standing.is_serving
    assert lone.heard() == ["ACK 0x100000000"]


def test_uptodate_before_that_ack_breaks_the_protocol() -> None:
    lone = promised()
    lone.receive(1, (DIFF, 0), (NEWLEADER, make_zxid(1, 0)), (UPTODATE, -1))
    assert lone.standing.role == LOOKING


def test_proposal_without_its_commit_is_held_past_newleader_and_acknowledged_after_uptodate() -> None:
    lone = promised()
    one, two, three = txns(0x100000001, 0x100000003)
    lone.receive(1, (DIFF, 0), (PROPOSAL, *one), (COMMIT, one[0]), (PROPOSAL, *two), (NEWLEADER, make_zxid(1, 0)))
    assert lone.disk[0].append == [one]
    lone.sync()
    lone.receive(1, (COMMIT, two[0]), (PROPOSAL, *three))
    assert lone.disk == []
    lone.heard()
    lone.receive(1, (UPTODATE, -1))
    assert [ready.append for ready in lone.disk] == [[two, three]]
    assert lone.committed == [one[0], two[0]]
    assert lone.heard() == ["ACK 0x100000000"]
    lone.sync()
    assert lone.heard() == [f"ACK {two[0]:#x}", f"ACK {three[0]:#x}"]
    lone.receive(1, (COMMIT, three[0]))
    assert lone.committed[2:] == [three[0]]


def test_packets_behind_uptodate_in_the_same_read_are_broadcast() -> None:
    lone = promised()
    lone.receive(1, (DIFF, 0), (NEWLEADER, make_zxid(1, 0)))
    lone.sync()
    (one,) = txns(0x100000001, 0x100000001)
    lone.receive(1, (UPTODATE, -1), (PROPOSAL, *one), (COMMIT, one[0]))
    assert lone.committed == [one[0]]


def test_truncation_reaches_the_disk_with_what_follows_it_in_one_step() -> None:
    lone = promised(2, epochs=(1, 1), last=0x100000005, tail=txns(0x100000001, 0x100000005))
    lone.receive(1, (TRUNC, 0x100000003), (PROPOSAL, 0x200000001, b"x"), (COMMIT, 0x200000001))
    assert lone.disk == []
    lone.receive(1, (NEWLEADER, make_zxid(2, 0)))
    (ready,) = lone.disk
    assert (ready.truncate, ready.append, ready.epochs) == (0x100000003, [(0x200000001, b"x")], (2, 2))
    assert lone.peer.history.proposed == 0x200000001


def test_what_follows_a_truncation_waits_until_the_disk_has_said_that_it_can_cut() -> None:
    lone = promised(2, epochs=(1, 1), last=0x100000005)
    lone.can_cut = None
    lone.receive(1, (TRUNC, 0x100000003), (PROPOSAL, 0x200000001, b"x"))
    lone.receive(1, (COMMIT, 0x200000001), (NEWLEADER, make_zxid(2, 0)))
    assert lone.disk == []
    assert lone.readied("cuts") == [(1, 0x100000003)]
    lone.peer.can_cut(1, True)
    lone.take()
    (ready,) = lone.disk
    assert (ready.truncate, ready.append) == (0x100000003, [(0x200000001, b"x")])


def test_a_history_that_cannot_be_cut_is_replaced_by_a_snapshot_of_the_same_leader() -> None:
    lone = promised(2, epochs=(1, 1), last=0x100000005)
    lone.can_cut = False
    lone.receive(1, (TRUNC, 0x100000003), (NEWLEADER, make_zxid(2, 0)))
    assert lone.standing.leader == 3, "no election"
    assert lone.readied("close") == [1]
    assert lone.readied("dial") == [3, 3]
    lone.link(2, 3)
    lone.receive(2, (LEADERINFO, make_zxid(2, 0), VERSION))
    packet = lone.said[-1][1]
    assert (packet.type, packet.zxid, packet.data) == (packets.ACKEPOCH, -1, pack(">i", -1)), "no promise, no history"
    lone.peer.receive_snap(2, QuorumPacket(packets.SNAP, 0x100000003, None, None), "the tree")
    lone.receive(2, (NEWLEADER, make_zxid(2, 0)))
    (ready,) = [ready for ready in lone.disk if ready.restore]
    assert (ready.restore, ready.truncate, ready.epochs) == ("the tree", -1, (2, 2))
    assert lone.peer.history.proposed == 0x100000003


@pytest.mark.parametrize("op", [DIFF, TRUNC])
def test_a_leader_that_sends_no_snapshot_then_is_left(op: int) -> None:
    lone = promised(2, epochs=(1, 1), last=0x100000005)
    lone.can_cut = False
    lone.receive(1, (TRUNC, 0x100000003))
    lone.link(2, 3)
    lone.receive(2, (LEADERINFO, make_zxid(2, 0), VERSION), (op, 0x100000003))
    assert lone.standing.role == LOOKING


def test_a_later_reign_of_that_leader_gets_the_whole_promise() -> None:
    lone = promised(2, epochs=(1, 1), last=0x100000005)
    lone.can_cut = False
    lone.receive(1, (TRUNC, 0x100000003))
    lone.link(2, 3)
    lone.receive(2, (LEADERINFO, make_zxid(3, 0), VERSION))
    lone.sync()
    packet = lone.said[-1][1]
    assert (packet.type, packet.zxid, packet.data) == (packets.ACKEPOCH, 0x100000005, pack(">i", 1))


def test_word_on_a_cut_comes_too_late_when_the_link_has_ended() -> None:
    lone = promised(2, epochs=(1, 1), last=0x100000005)
    lone.can_cut = None
    lone.receive(1, (TRUNC, 0x100000003), (NEWLEADER, make_zxid(2, 0)))
    lone.peer.link_down(1)
    lone.peer.can_cut(1, False)
    lone.take()
    assert lone.standing.role == LOOKING
    assert lone.readied("dial") == [3]


@pytest.mark.parametrize("zxid", [-1, 0x100000005, 0x100000006])
def test_truncation_that_cuts_nothing_breaks_the_protocol(zxid: int) -> None:
    lone = promised(2, epochs=(1, 1), last=0x100000005)
    lone.receive(1, (TRUNC, zxid))
    assert lone.standing.role == LOOKING


def test_snapshot_replaces_everything_in_one_step() -> None:
    lone = promised(2, epochs=(1, 1), last=0x100000005)
    lone.peer.receive_snap(1, QuorumPacket(packets.SNAP, 0x100000009, None, None), "the tree")
    lone.receive(1, (PROPOSAL, 0x100000009, b"in it"), (COMMIT, 0x100000009))
    lone.receive(1, (PROPOSAL, 0x10000000A, b"x"), (COMMIT, 0x10000000A), (NEWLEADER, make_zxid(2, 0)))
    (ready,) = lone.disk
    assert (ready.restore, ready.append, ready.epochs) == ("the tree", [(0x10000000A, b"x")], (2, 2))


def test_snapshot_of_no_zxid_or_at_the_wrong_time_breaks_the_protocol() -> None:
    for lone, zxid in ((promised(), -1), (following(), 5), (serving(), 0x100000001)):
        lone.peer.receive_snap(1, QuorumPacket(packets.SNAP, zxid, None, None), "the tree")
        lone.take()
        assert lone.standing.role == LOOKING
        assert lone.readied("restore") == []


@pytest.mark.parametrize("op", ["snap", "trunc", "diff"])
def test_link_that_ends_before_newleader_leaves_no_trace(op: str) -> None:
    lone = promised(2, epochs=(1, 1), last=0x100000005, tail=txns(0x100000001, 0x100000005))
    if op == "snap":
        lone.peer.receive_snap(1, QuorumPacket(packets.SNAP, 0x100000009, None, None), "the tree")
    else:
        lone.receive(1, (TRUNC, 0x100000003) if op == "trunc" else (DIFF, 0))
    lone.receive(1, (PROPOSAL, 0x200000001, b"x"), (COMMIT, 0x200000001))
    lone.peer.link_down(1)
    lone.take()
    assert lone.standing.role == LOOKING
    assert lone.disk == []
    assert lone.peer.history.proposed == 0x100000005


def test_history_without_a_hole_is_asked_for_within_an_epoch() -> None:
    lone = promised()
    lone.receive(1, (DIFF, 0), (PROPOSAL, 0x100000001, b""), (PROPOSAL, 0x100000003, b""))
    assert lone.standing.role == LOOKING


def test_hole_behind_the_own_history_is_one_too() -> None:
    lone = promised(2, epochs=(1, 1), last=0x100000005)
    lone.receive(1, (DIFF, 0), (PROPOSAL, 0x100000007, b""))
    assert lone.standing.role == LOOKING


def test_new_epochs_may_begin_with_any_txn() -> None:
    lone = promised(3)
    for zxid in (0x100000004, 0x1FFFFFFFE, 0x200000001):
        if zxid != 0x1FFFFFFFE:
            lone.receive(1, *(((DIFF, 0),) if zxid < 0x200000000 else ()), (PROPOSAL, zxid, b""), (COMMIT, zxid))
    lone.receive(1, (NEWLEADER, make_zxid(3, 0)))
    assert [zxid for zxid, _ in lone.disk[0].append] == [0x100000004, 0x200000001]


def test_commit_out_of_order_breaks_the_protocol() -> None:
    lone = promised()
    lone.receive(1, (DIFF, 0), (PROPOSAL, 0x100000001, b""), (PROPOSAL, 0x100000002, b""), (COMMIT, 0x100000002))
    assert lone.standing.role == LOOKING


@pytest.mark.parametrize(
    "packet", [(NEWLEADER, make_zxid(2, 0)), (UPTODATE, -1), (DIFF, 0), (packets.SYNC, 0), (packets.REQUEST, -1)]
)
def test_packet_that_has_no_place_in_a_synchronization_ends_it(packet: tuple[int, int]) -> None:
    lone = promised()
    lone.receive(1, (DIFF, 0), packet)
    assert lone.standing.role == LOOKING
    assert lone.disk == []


def test_ping_before_uptodate_is_not_answered() -> None:
    lone = promised()
    lone.receive(1, (DIFF, 0), (PING, 0), (NEWLEADER, make_zxid(1, 0)), (PING, 0))
    assert lone.readied("pinged") == []
    assert lone.standing.role == FOLLOWING


# --- broadcast


def test_proposal_is_acknowledged_when_it_is_on_disk() -> None:
    lone = serving()
    lone.receive(1, *[(PROPOSAL, *entry) for entry in txns(0x100000001, 0x100000002)])
    assert [ready.append for ready in lone.disk] == [txns(0x100000001, 0x100000002)]
    assert lone.heard() == []
    lone.sync()
    assert lone.heard() == ["ACK 0x100000001", "ACK 0x100000002"]


def test_committed_txn_is_applied_though_it_is_not_on_this_disk_yet() -> None:
    lone = serving()
    lone.receive(1, (PROPOSAL, 0x100000001, b""), (COMMIT, 0x100000001))
    assert lone.committed == [0x100000001]
    assert len(lone.disk) == 1


def test_sync_of_an_earlier_reign_acknowledges_nothing_in_the_next() -> None:
    """Its disk work is done in the end; but what was held for the old leader is not said to the new one."""
    lone = serving()
    lone.receive(1, (PROPOSAL, 0x100000001, b""))
    lone.peer.link_down(1)
    lone.take()
    lone.elect(2)
    lone.link(2, 2)
    lone.receive(2, (LEADERINFO, make_zxid(2, 0), VERSION))
    lone.heard()
    lone.sync()
    assert lone.heard() == ["ACKEPOCH 0x100000001"]
    lone.receive(2, (TRUNC, 0), (NEWLEADER, make_zxid(2, 0)))
    assert [ready.truncate for ready in lone.disk] == [0]


def test_late_sync_of_what_has_been_cut_since_says_nothing_of_the_new_history() -> None:
    lone = serving()
    lone.receive(1, *[(PROPOSAL, *entry) for entry in txns(0x100000001, 0x100000005)])
    (old,) = lone.disk
    lone.peer.link_down(1)
    lone.take()
    lone.elect(2)
    lone.link(2, 2)
    lone.receive(2, (LEADERINFO, make_zxid(2, 0), VERSION), (TRUNC, 0x100000002), (NEWLEADER, make_zxid(2, 0)))
    lone.peer.synced(old.token)
    lone.take()
    history = lone.peer.history
    assert history.synced == 0, "the cut is not on disk yet"
    lone.disk.remove(old)
    lone.sync()
    assert history.synced == history.proposed == 0x100000002


def test_observer_applies_what_it_is_informed_of_and_acknowledges_nothing() -> None:
    lone = serving(sid=4)
    lone.receive(1, (INFORM, 0x100000001, b""), (INFORM, 0x100000002, b""))
    assert lone.committed == [0x100000001, 0x100000002]
    lone.sync()
    assert lone.heard() == []


@pytest.mark.parametrize(
    "packet",
    [
        (INFORM, 0x100000001, b""),
        (COMMIT, 0x100000001),
        (PROPOSAL, 0, b""),
        (UPTODATE, -1),
        (packets.REVALIDATE, -1, b"short"),
        (99, 0),
    ],
)
def test_leader_that_breaks_the_protocol_is_left(packet: tuple[int, int]) -> None:
    lone = serving(sid=1)
    lone.receive(1, (PING, 0), packet)
    assert lone.standing.role == LOOKING
    assert lone.readied("close") == [1]


def test_what_came_before_a_wrong_packet_stays() -> None:
    lone = serving()
    lone.receive(1, (PROPOSAL, 0x100000001, b""), (COMMIT, 0x100000001), (PROPOSAL, 0x100000003, b""))
    assert lone.standing.role == LOOKING
    assert lone.peer.history.proposed == 0x100000001
    assert lone.committed == [0x100000001]


def test_answers_of_the_leader_come_out_for_the_keeper() -> None:
    lone = serving()
    lone.peer.revalidate(77, 4000)
    lone.peer.forward(77, 5, opcodes.CREATE, b"body", [Id("world", "anyone")])
    lone.take()
    assert [(packet.type, packet.data) for _, packet in lone.said] == [
        (packets.REVALIDATE, pack(">qi", 77, 4000)),
        (packets.REQUEST, pack(">qii", 77, 5, opcodes.CREATE) + b"body"),
    ]
    assert lone.said[1][1].authinfo == [Id("world", "anyone")]
    lone.receive(1, (packets.REVALIDATE, -1, pack(">q?", 77, True)), (packets.SYNC, 0), (packets.SYNC, 0))
    assert lone.readied("revalidated") == [(77, True)]
    assert lone.readied("syncs") == [2]


def test_ping_is_answered_with_the_sessions_that_were_heard_of() -> None:
    lone = serving()
    lone.receive(1, (PING, 0x100000000))
    assert lone.readied("pinged") == [True]
    lone.peer.pong([(77, 4000), (78, 5000)])
    lone.take()
    ((_, packet),) = lone.said
    assert (packet.type, packet.zxid) == (PING, 0x100000000)
    assert packet.data == pack(">qiqi", 77, 4000, 78, 5000)


def test_words_of_the_keeper_are_dropped_when_there_is_no_leader_any_more() -> None:
    lone = serving()
    lone.peer.link_down(1)
    lone.peer.revalidate(77, 4000)
    lone.peer.forward(77, 5, opcodes.CREATE, b"body", None)
    lone.peer.pong([])
    lone.peer.sync(0)
    lone.take()
    assert lone.heard() == []
    assert lone.readied("syncs") == []


# --- time


def test_leader_that_is_silent_is_left() -> None:
    lone = serving(sync_limit=4)
    lone.wait(399)
    assert lone.standing.role == FOLLOWING
    lone.peer.heard(1)
    lone.wait(399)
    assert lone.standing.role == FOLLOWING
    lone.wait(1)
    assert lone.standing.role == LOOKING


def test_leader_has_longer_before_newleader() -> None:
    lone = promised(init_limit=10, sync_limit=4)
    lone.receive(1, (DIFF, 0))
    lone.wait(999)
    assert lone.standing.role == FOLLOWING
    lone.wait(1)
    assert lone.standing.role == LOOKING


def test_leader_that_cannot_be_dialed_is_given_up() -> None:
    lone = Lone(1)
    lone.elect(3)
    lone.peer.dial_failed(2)
    lone.take()
    assert lone.standing.role == FOLLOWING, "that was another dial"
    lone.peer.dial_failed(3)
    lone.take()
    assert lone.standing.role == LOOKING


def test_dial_that_never_ends_is_given_up_in_time() -> None:
    lone = Lone(1, connect_limit=3)
    lone.elect(3)
    lone.wait(299)
    assert lone.standing.role == FOLLOWING
    lone.wait(1)
    assert lone.standing.role == LOOKING


@pytest.mark.parametrize("sid", [None, 2])
def test_link_that_nobody_waits_for_is_ended(sid: int | None) -> None:
    lone = Lone(1)
    lone.elect(3)
    lone.link(5, sid)
    assert lone.readied("close") == [5]
    assert lone.standing.role == FOLLOWING


def test_second_link_to_the_leader_is_ended() -> None:
    lone = following()
    lone.link(2, 3)
    assert lone.readied("close") == [2]
    lone.peer.link_down(2)
    lone.take()
    assert lone.standing.role == FOLLOWING


def test_vote_has_the_last_txn_in_the_log_whether_committed_or_not() -> None:
    lone = serving()
    lone.receive(1, (PROPOSAL, 0x100000001, b""))
    lone.last_told()
    lone.peer.link_down(1)
    lone.take()
    assert {(note.zxid, note.peer_epoch) for _, note in lone.last_told()} == {(0x100000001, 1)}
