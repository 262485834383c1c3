"""A leader, rule by rule: epochs, promises, histories, acks, commits, pings, and when a reign ends."""

from struct import pack

import pytest

from tests.zab.lone import Lone
from zkpy.proto import packets
from zkpy.proto.notification import LEADING, LOOKING
from zkpy.proto.packets import ACK, ACKEPOCH, FOLLOWERINFO, OBSERVERINFO, PING, REQUEST, REVALIDATE, encode
from zkpy.proto.records import QuorumPacket
from zkpy.proto.zxid import make_zxid
from zkpy.zab.history import Entry
from zkpy.zab.ready import OWN


def txns(first: int, last: int) -> list[Entry]:
    return [(zxid, b"%x" % zxid) for zxid in range(first, last + 1)]


def info(sid: int, version: int = 0x10000, config: int = 0) -> bytes:
    return pack(">qiq", sid, version, config)


def epoch(number: int) -> bytes:
    return pack(">i", number)


def leading(**more: object) -> Lone:
    """Server 3, elected, with nobody connected."""
    lone = Lone(3, **more)  # type: ignore[arg-type]
    lone.elect(3)
    assert lone.standing.role == LEADING
    return lone


def register(lone: Lone, link: int, sid: int, accepted: int = 0, type_: int = FOLLOWERINFO) -> None:
    lone.link(link)
    lone.receive(link, (type_, make_zxid(accepted, 0), info(sid)))


def serving(**more: object) -> Lone:
    """Server 3, leading with follower 1 at link 1."""
    lone = leading(**more)
    register(lone, 1, 1)
    lone.sync()
    lone.receive(1, (ACKEPOCH, lone.peer.history.proposed, epoch(0)))
    lone.sync()
    lone.receive(1, (ACK, make_zxid(lone.peer.accepted_epoch, 0)))
    assert lone.standing.is_serving
    lone.heard()
    return lone


# --- discovery


def test_epoch_is_one_more_than_any_of_a_quorum_has_accepted() -> None:
    lone = leading(epochs=(4, 2))
    register(lone, 1, 1, accepted=7)
    assert [ready.epochs for ready in lone.disk] == [(8, 2)]


def test_epoch_is_offered_only_when_it_is_on_disk() -> None:
    lone = leading()
    register(lone, 1, 1)
    assert lone.heard() == []
    lone.sync()
    assert lone.heard(1) == ["LEADERINFO 0x100000000"]


def test_observer_raises_the_epoch_but_makes_no_quorum() -> None:
    lone = leading()
    register(lone, 1, 4, accepted=7, type_=OBSERVERINFO)
    assert lone.disk == []
    register(lone, 2, 1)
    assert [ready.epochs for ready in lone.disk] == [(8, 0)]


def test_learner_with_a_later_configuration_is_refused() -> None:
    lone = leading()
    lone.link(1)
    lone.receive(1, (FOLLOWERINFO, 0, info(1, config=5)))
    assert lone.readied("close") == [1]


@pytest.mark.parametrize("data", [b"", info(1)[:12], info(1, version=1)])
def test_learner_of_an_old_protocol_is_refused(data: bytes) -> None:
    lone = leading()
    lone.link(1)
    lone.receive(1, (FOLLOWERINFO, 0, data))
    assert lone.readied("close") == [1]


def test_learner_with_the_leader_s_own_sid_is_refused() -> None:
    lone = leading()
    register(lone, 1, 3)
    assert lone.readied("close") == [1]


@pytest.mark.parametrize("accepted", [-1, 0x7FFFFFFF])
def test_learner_whose_epoch_leaves_none_to_come_is_refused(accepted: int) -> None:
    lone = leading()
    register(lone, 1, 1, accepted=accepted)
    assert lone.readied("close") == [1]
    assert lone.disk == []


def test_learner_that_is_ahead_is_refused_before_the_reign_is_settled() -> None:
    lone = leading(epochs=(1, 1), last=0x100000005)
    register(lone, 1, 1, accepted=1)
    lone.sync()
    lone.receive(1, (ACKEPOCH, 0x100000006, epoch(1)))
    assert lone.readied("close") == [1]


def test_learner_that_promised_this_epoch_before_does_not_count_as_promising_it() -> None:
    lone = leading()
    register(lone, 1, 1)
    lone.sync()
    lone.receive(1, (ACKEPOCH, 0, epoch(-1)))
    assert lone.disk == []
    register(lone, 2, 2)
    lone.receive(2, (ACKEPOCH, 0, epoch(0)))
    assert [ready.epochs for ready in lone.disk] == [(1, 1)]


def test_same_sid_at_a_new_link_takes_the_place_of_the_old_one() -> None:
    lone = serving()
    register(lone, 2, 1, accepted=1)
    assert lone.readied("close") == [1]
    assert lone.standing.is_serving


# --- synchronization


def test_leader_counts_its_own_history_only_when_current_epoch_is_on_disk() -> None:
    lone = leading()
    register(lone, 1, 1)
    lone.sync()
    lone.receive(1, (ACKEPOCH, 0, epoch(0)))
    lone.receive(1, (ACK, make_zxid(1, 0)))
    assert not lone.standing.is_serving
    lone.sync()
    assert lone.standing.is_serving


def test_history_of_the_new_leader_is_committed_by_the_quorum_that_has_it() -> None:
    lone = leading(epochs=(1, 1), last=0x100000003, tail=txns(0x100000001, 0x100000003))
    assert lone.committed == []
    register(lone, 1, 1, accepted=1)
    lone.sync()
    lone.receive(1, (ACKEPOCH, 0x100000001, epoch(1)))
    assert lone.heard(1) == [
        "LEADERINFO 0x200000000",
        "DIFF 0x100000003",
        "PROPOSAL 0x100000002",
        "COMMIT 0x100000002",
        "PROPOSAL 0x100000003",
        "COMMIT 0x100000003",
        "NEWLEADER 0x200000000",
    ]


def test_clients_are_served_from_the_quorum_of_histories_on() -> None:
    lone = serving()
    standing = lone.standing
    assert (standing.role, standing.epoch, standing.leader) == (LEADING, 1, 3)


def test_newcomer_gets_outstanding_proposals_behind_newleader() -> None:
    """A follower of 3.8.0 that gets them before it fails at their commit."""
    lone = serving()
    register(lone, 2, 2)
    lone.peer.propose(txns(0x100000001, 0x100000002))
    lone.take()
    lone.receive(2, (ACKEPOCH, 0, epoch(0)))
    assert lone.heard(2) == [
        "LEADERINFO 0x100000000",
        "DIFF 0x0",
        "NEWLEADER 0x100000000",
        "PROPOSAL 0x100000001",
        "PROPOSAL 0x100000002",
    ]
    lone.receive(2, (ACK, make_zxid(1, 0)), (ACK, make_zxid(1, 0)), (ACK, 0x100000001))
    assert lone.heard(2) == ["UPTODATE -0x1"]
    assert lone.committed == []
    lone.sync()
    assert lone.committed == [0x100000001]
    assert lone.heard(2) == ["COMMIT 0x100000001"]


def test_acks_of_proposals_before_that_of_newleader_count_from_then_on() -> None:
    lone = serving()
    lone.peer.propose(txns(0x100000001, 0x100000001))
    lone.take()
    lone.sync()
    register(lone, 2, 2)
    lone.receive(2, (ACKEPOCH, 0, epoch(0)))
    lone.receive(2, (ACK, 0x100000001))
    assert lone.committed == []
    lone.receive(2, (ACK, make_zxid(1, 0)))
    assert lone.committed == [0x100000001]


def test_snapshot_is_of_the_tree_and_the_rest_follows() -> None:
    lone = serving(force_snap=True, commit_log_count=1)
    lone.peer.propose(txns(0x100000001, 0x100000003))
    lone.take()
    lone.sync()
    lone.receive(1, (ACK, 0x100000002))
    register(lone, 2, 2)
    lone.receive(2, (ACKEPOCH, 0, epoch(0)))
    assert lone.heard(2) == [
        "LEADERINFO 0x100000000",
        "SNAP 0x100000002",
        "NEWLEADER 0x100000000",
        "PROPOSAL 0x100000003",
    ]


def test_receiver_of_a_snapshot_need_not_answer_before_it_has_it() -> None:
    lone = serving(force_snap=True)
    register(lone, 2, 2)
    lone.receive(2, (ACKEPOCH, 0, epoch(0)))
    for _ in range(30):
        lone.wait(50)
        lone.receive(1, (PING, 0))
    assert lone.readied("close") == []
    lone.peer.snap_sent(2)
    for _ in range(30):
        lone.wait(50)
        lone.receive(1, (PING, 0))
    assert lone.readied("close") == [2]


def reading(peer_zxid: int) -> Lone:
    """A leader that remembers one txn of six, with a learner at link 2 that lacks more."""
    lone = serving(commit_log_count=1)
    lone.peer.propose(txns(0x100000001, 0x100000006))
    lone.take()
    lone.sync()
    lone.receive(1, (ACK, 0x100000006))
    register(lone, 2, 2)
    lone.receive(2, (ACKEPOCH, peer_zxid, epoch(0)))
    assert lone.readied("reads") == [(2, peer_zxid, 0x100000005)]
    assert lone.heard(2) == ["LEADERINFO 0x100000000"]
    return lone


def test_log_is_read_in_parts_up_to_what_is_in_memory() -> None:
    lone = reading(0x100000002)
    lone.peer.log_read(2, txns(0x100000002, 0x100000004), False)
    lone.take()
    assert lone.readied("reads")[1:] == [(2, 0x100000004, 0x100000005)]
    lone.peer.propose(txns(0x100000007, 0x100000007))
    lone.take()
    lone.sync()
    lone.receive(1, (ACK, 0x100000007))
    lone.peer.log_read(2, txns(0x100000004, 0x100000005), True)
    lone.take()
    assert lone.readied("reads")[2:] == [(2, 0x100000005, 0x100000006)], "memory has moved on meanwhile"
    lone.peer.log_read(2, txns(0x100000005, 0x100000006), True)
    lone.take()
    sent = lone.heard(2)
    assert sent[0] == "DIFF 0x100000006"
    assert [packet for packet in sent if "PROPOSAL" in packet] == [
        f"PROPOSAL {zxid:#x}" for zxid in range(0x100000003, 0x100000008)
    ]
    assert sent[-1] == "NEWLEADER 0x100000000"


@pytest.mark.parametrize(
    "entries",
    [
        None,
        [],
        txns(0x100000003, 0x100000005),
        txns(0x100000002, 0x100000002),
        [(0x100000001, b""), (0x100000004, b"")],
    ],
)
def test_log_that_does_not_reach_the_learner_is_no_use(entries: list[Entry] | None) -> None:
    lone = reading(0x100000002)
    lone.peer.log_read(2, entries, True)
    lone.take()
    assert lone.heard(2) == ["SNAP 0x100000006", "NEWLEADER 0x100000000"]


@pytest.mark.parametrize("is_end", [True, False])
@pytest.mark.parametrize("entries", [None, txns(0x100000003, 0x100000003), txns(0x100000004, 0x100000005)])
def test_gap_that_shows_late_ends_the_link_and_the_next_time_a_snapshot_is_sent(
    entries: list[Entry] | None, is_end: bool
) -> None:
    lone = reading(0x100000002)
    lone.peer.log_read(2, txns(0x100000002, 0x100000003), False)
    lone.peer.log_read(2, entries, is_end)
    lone.take()
    assert lone.readied("close") == [2]
    register(lone, 5, 2)
    lone.receive(5, (ACKEPOCH, 0x100000002, epoch(-1)))
    assert lone.heard(5) == ["LEADERINFO 0x100000000", "SNAP 0x100000006", "NEWLEADER 0x100000000"]


def test_old_log_read_for_a_learner_that_is_gone_is_dropped() -> None:
    lone = reading(0x100000002)
    lone.peer.link_down(2)
    lone.peer.log_read(2, txns(0x100000002, 0x100000005), True)
    lone.take()
    assert lone.heard(2) == []


# --- broadcast


def test_proposal_is_committed_by_the_disks_of_a_quorum_whichever_they_are() -> None:
    lone = serving()
    register(lone, 2, 2)
    lone.receive(2, (ACKEPOCH, 0, epoch(0)))
    lone.receive(2, (ACK, make_zxid(1, 0)))
    lone.peer.propose(txns(0x100000001, 0x100000001))
    lone.take()
    lone.receive(1, (ACK, 0x100000001))
    assert lone.committed == []
    lone.receive(2, (ACK, 0x100000001))
    assert lone.committed == [0x100000001], "though not on this disk yet"


def test_txns_are_committed_in_order_whatever_is_acknowledged_first() -> None:
    lone = serving()
    lone.peer.propose(txns(0x100000001, 0x100000003))
    lone.take()
    lone.sync()
    lone.receive(1, (ACK, 0x100000002))
    assert lone.committed == [0x100000001, 0x100000002]
    lone.receive(1, (ACK, 0x100000001), (ACK, 0x100000003))
    assert lone.committed == [0x100000001, 0x100000002, 0x100000003]


def test_observers_are_informed_and_followers_get_commits() -> None:
    lone = serving()
    register(lone, 2, 4, type_=OBSERVERINFO)
    lone.receive(2, (ACKEPOCH, 0, epoch(0)))
    lone.receive(2, (ACK, make_zxid(1, 0)))
    lone.heard()
    lone.peer.propose(txns(0x100000001, 0x100000002))
    lone.take()
    lone.sync()
    lone.receive(1, (ACK, 0x100000002))
    assert lone.heard(1)[2:] == ["COMMIT 0x100000001", "COMMIT 0x100000002"]
    assert lone.heard(2) == ["INFORM 0x100000001", "INFORM 0x100000002"]


def write(lone: Lone, zxid: int, at_ms: int) -> list[tuple[int, bytes]]:
    """Propose a txn and commit it at this time; the words of it that may wait."""
    lone.peer.begin(at_ms)
    lone.peer.propose(txns(zxid, zxid))
    lone.take()
    lone.sync()
    lone.readies.clear()
    lone.receive(1, (ACK, zxid))
    return lone.readied("patient")  # type: ignore[return-value]


def test_commits_may_wait_for_the_next_proposal_while_one_follows_the_other() -> None:
    lone = serving()
    now_ms = lone.peer.now_ms
    assert write(lone, 0x100000001, now_ms + 100) == [], "nothing says that another one will follow"
    word = (1, encode(packets.COMMIT, 0x100000002))
    assert write(lone, 0x100000002, now_ms + 101) == [word]
    assert word in lone.readied("send")
    assert write(lone, 0x100000003, now_ms + 200) == []


def test_commit_does_not_wait_where_a_client_of_the_learner_does() -> None:
    lone = serving()
    register(lone, 2, 2)
    lone.receive(2, (ACKEPOCH, 0, epoch(0)))
    lone.receive(2, (ACK, make_zxid(1, 0)))
    write(lone, 0x100000001, lone.peer.now_ms)
    lone.receive(1, (REQUEST, -1, pack(">qii", 77, 5, 1) + b"body"))
    assert [link for link, _ in write(lone, 0x100000002, lone.peer.now_ms)] == [2]
    assert [link for link, _ in write(lone, 0x100000003, lone.peer.now_ms)] == [1, 2]


def test_commit_does_not_wait_where_a_request_is_not_proposed_yet() -> None:
    lone = serving()
    write(lone, 0x100000001, lone.peer.now_ms)
    lone.peer.propose(txns(0x100000002, 0x100000002))
    lone.take()
    lone.peer.receive(1, [QuorumPacket(REQUEST, -1, pack(">qii", 77, 5, 1) + b"body", None)])
    # What this server's own clients have written comes first; the request is still on its way to the Keeper.
    lone.peer.propose(txns(0x100000003, 0x100000003))
    lone.take()
    lone.sync()
    lone.receive(1, (ACK, 0x100000003))
    assert lone.readied("patient") == []
    assert write(lone, 0x100000004, lone.peer.now_ms) == []
    assert write(lone, 0x100000005, lone.peer.now_ms) != []


def test_same_bytes_go_to_all_followers() -> None:
    lone = serving()
    register(lone, 2, 2)
    lone.receive(2, (ACKEPOCH, 0, epoch(0)))
    lone.receive(2, (ACK, make_zxid(1, 0)))
    lone.readies.clear()
    lone.peer.propose(txns(0x100000001, 0x100000002))
    lone.take()
    (_, one), (_, other) = lone.readied("send")
    assert one is other


def test_ack_of_what_was_never_proposed_ends_the_link() -> None:
    lone = serving()
    lone.receive(1, (ACK, 0x100000001))
    assert lone.readied("close") == [1]


def test_proposals_of_a_keeper_that_does_not_know_yet_are_dropped() -> None:
    lone = serving()
    lone.peer.resign("enough")
    lone.peer.propose(txns(0x100000001, 0x100000001))
    lone.take()
    assert lone.standing.role == LOOKING
    assert lone.disk == []


def test_used_up_epoch_ends_the_reign_before_its_last_zxid() -> None:
    lone = serving()
    last = 0x1FFFFFFFF
    lone.peer.history.restore(last - 2)
    lone.peer.propose(txns(last - 1, last))
    lone.take()
    assert [ready.append for ready in lone.disk] == [txns(last - 1, last - 1)]
    assert lone.standing.role == LOOKING
    assert lone.peer.history.proposed == last - 1


def test_sync_is_answered_when_all_that_was_proposed_before_is_committed() -> None:
    lone = serving()
    lone.peer.sync(OWN)
    lone.peer.sync(1)
    lone.take()
    assert lone.readied("syncs") == [1]
    assert lone.heard(1) == ["SYNC 0x0"]
    lone.peer.propose(txns(0x100000001, 0x100000001))
    lone.peer.sync(OWN)
    lone.peer.sync(1)
    lone.take()
    lone.sync()
    assert lone.heard(1) == ["PROPOSAL 0x100000001"]
    lone.receive(1, (ACK, 0x100000001))
    assert lone.heard(1) == ["COMMIT 0x100000001", "SYNC 0x0"]
    assert lone.readied("syncs") == [1, 1]


# --- sessions


def test_requests_touches_and_questions_of_learners_come_out_for_the_keeper() -> None:
    lone = serving()
    lone.receive(
        1,
        (REQUEST, -1, pack(">qii", 77, 5, 1) + b"body"),
        (PING, 0, pack(">qiqi", 77, 4000, 78, 5000)),
        (REVALIDATE, -1, pack(">qi", 77, 4000)),
    )
    (request,) = lone.readied("requests")
    assert (request.link, request.session_id, request.cxid, request.type, request.body) == (1, 77, 5, 1, b"body")
    assert lone.readied("touches") == [(77, 4000), (78, 5000)]
    assert lone.readied("revalidations") == [(1, 77, 4000)]
    lone.peer.revalidated(1, 77, True)
    lone.take()
    ((link, answer),) = lone.said
    assert (link, answer.type, answer.data) == (1, REVALIDATE, pack(">q?", 77, True))


@pytest.mark.parametrize(
    "wrong",
    [
        (REQUEST, -1, b"short"),
        (PING, 0, b"12345678901"),
        (REVALIDATE, -1, b"123"),
        (REQUEST, -1),
        (REVALIDATE, -1),
        (packets.COMMIT, 1),
        (FOLLOWERINFO, 0, info(1)),
        (ACKEPOCH, 0, epoch(0)),
        (99, 0),
    ],
)
def test_learner_that_breaks_the_protocol_loses_its_link_and_no_more(wrong: tuple[int, int]) -> None:
    lone = serving()
    lone.receive(1, (PING, 0), wrong, (PING, 0, pack(">qi", 1, 1)))
    assert lone.readied("close") == [1]
    assert lone.readied("touches") == []
    assert lone.standing.is_serving


def test_learner_must_say_who_it_is_first() -> None:
    lone = leading()
    for link, wrong in enumerate([(ACK, 0), (REQUEST, -1, bytes(16)), (ACKEPOCH, 0, epoch(0)), (packets.SNAP, 0)], 1):
        lone.link(link)
        lone.receive(link, wrong)  # type: ignore[arg-type]
        assert lone.readied("close")[-1] == link


# --- time


def test_learners_are_pinged_twice_a_tick() -> None:
    lone = serving()
    for _ in range(4):
        lone.wait(50)
        assert lone.heard(1) == ["PING 0x100000000"]
        lone.receive(1, (PING, 0x100000000))


def test_leader_whose_quorum_is_silent_gives_up() -> None:
    lone = serving(sync_limit=4)
    lone.wait(400)
    assert lone.standing.role == LEADING
    lone.wait(200)
    assert lone.standing.role == LOOKING
    assert 1 in lone.readied("close")


def test_leader_whose_followers_are_gone_gives_up_at_the_next_tick() -> None:
    lone = serving()
    lone.peer.link_down(1)
    lone.wait(100)
    assert lone.standing.role == LOOKING


@pytest.mark.parametrize("steps", [0, 1, 2])
def test_leader_that_gets_no_quorum_in_time_gives_up(steps: int) -> None:
    lone = leading(init_limit=10)
    if steps > 0:
        register(lone, 1, 1)
        lone.sync()
    if steps > 1:
        lone.receive(1, (ACKEPOCH, 0, epoch(0)))
        lone.sync()
    lone.wait(999)
    assert lone.standing.role == LEADING
    lone.wait(1)
    assert lone.standing.role == LOOKING


def test_follower_that_does_not_acknowledge_proposals_loses_its_link() -> None:
    lone = serving(sync_limit=4)
    lone.peer.propose(txns(0x100000001, 0x100000001))
    lone.take()
    for _ in range(10):
        lone.wait(50)
        lone.receive(1, (PING, 0x100000001))
    assert lone.readied("close") == [1]


def test_voter_that_looks_again_is_not_waited_for_if_so_configured() -> None:
    lone = leading(max_epoch_wait_ms=300)
    lone.wait(300)
    lone.notify(1, 1)
    assert lone.standing.role == LEADING
    lone.wait(1)
    lone.notify(1, 1)
    assert lone.standing.role == LOOKING


def test_established_epoch_is_what_latecomers_hear() -> None:
    lone = serving()
    lone.last_told()
    lone.notify(2, 2, round=9)
    ((_, note),) = lone.last_told()
    assert (note.state, note.leader, note.peer_epoch) == (LEADING, 3, 1)


def test_leader_dials_nobody_and_ends_a_link_that_it_dialed_before() -> None:
    lone = serving()
    lone.link(9, 1)
    assert lone.readied("close") == [9]
    assert lone.readied("dial") == []
