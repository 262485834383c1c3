"""The election, rule by rule: which votes win, who is answered, when a vote stands, and whom a latecomer believes."""

from struct import pack

import pytest

from tests.zab.lone import TEXT, Lone
from zkpy.proto.notification import FOLLOWING, LEADING, LOOKING, OBSERVING, Notification
from zkpy.zab.quorum import Hierarchical
from zkpy.zab.votes import Vote


def votes(lone: Lone) -> set[tuple[int, int]]:
    """To whom it has told whom it votes for, since the last look."""
    return {(sid, notification.leader) for sid, notification in lone.last_told()}


def test_server_begins_with_a_vote_for_itself() -> None:
    lone = Lone(1, epochs=(4, 3), last=0x300000007)
    assert votes(lone) == {(2, 1), (3, 1)}
    assert lone.standing.role == LOOKING
    assert not lone.standing.is_serving
    assert lone.peer.round == 1


def test_notification_says_epoch_and_zxid_and_configuration() -> None:
    lone = Lone(1, epochs=(4, 3), last=0x300000007)
    assert lone.last_told()[0][1] == Notification(LOOKING, 1, 0x300000007, 1, 3, TEXT)


@pytest.mark.parametrize(
    ("leader", "zxid", "epoch", "is_better"),
    [
        (3, 0x300000007, 3, True),  # the same history: the greater sid
        (1, 0x300000007, 3, False),
        (1, 0x300000008, 3, True),  # a longer history
        (3, 0x300000006, 3, False),
        (1, 0x200000001, 4, True),  # a newer epoch, however short the history
        (3, 0x300000009, 2, False),
    ],
)
def test_better_vote_is_the_one_of_greater_epoch_then_zxid_then_sid(
    leader: int, zxid: int, epoch: int, is_better: bool
) -> None:
    lone = Lone(2, epochs=(4, 3), last=0x300000007)
    lone.last_told()
    lone.notify(1, leader, zxid, epoch=epoch)
    # A worse one is answered, by telling its sender the better one.
    assert votes(lone) == ({(1, leader), (3, leader)} if is_better else {(1, 2)})


def test_vote_stands_when_nothing_better_comes_for_a_while() -> None:
    lone = Lone(1)
    lone.notify(2, 2)
    lone.wait(199)
    assert lone.standing.role == LOOKING
    lone.wait(1)
    assert (lone.standing.role, lone.standing.leader) == (FOLLOWING, 2)
    assert lone.readied("dial") == [2]


def test_better_vote_in_that_while_wins() -> None:
    lone = Lone(1)
    lone.notify(2, 2)
    lone.wait(150)
    lone.notify(3, 3)
    lone.wait(199)
    assert lone.standing.role == LOOKING
    lone.wait(1)
    assert lone.standing.leader == 3


def test_worse_vote_in_that_while_changes_nothing() -> None:
    lone = Lone(1)
    lone.notify(2, 2)
    lone.wait(150)
    lone.notify(3, 1)
    lone.wait(50)
    assert lone.standing.leader == 2


def test_server_that_a_quorum_votes_for_leads() -> None:
    lone = Lone(3)
    lone.notify(1, 3)
    lone.wait(200)
    assert (lone.standing.role, lone.standing.is_serving) == (LEADING, False)
    assert lone.readied("dial") == []


def test_server_that_all_voters_vote_for_leads_at_once_and_says_so() -> None:
    lone = Lone(3)
    lone.notify(1, 3)
    assert lone.standing.role == LOOKING
    lone.last_told()
    lone.notify(2, 3)
    assert (lone.standing.role, lone.standing.is_serving) == (LEADING, False)
    assert [(sid, note.state, note.leader, note.election_epoch) for sid, note in lone.last_told()] == [
        (1, LEADING, 3, 1),
        (2, LEADING, 3, 1),
    ]


@pytest.mark.parametrize("is_known_before", [True, False])
def test_voter_that_cannot_be_reached_is_not_waited_for(is_known_before: bool) -> None:
    lone = Lone(2)
    if is_known_before:
        lone.unreachable(3)
        assert lone.standing.role == LOOKING
        lone.notify(1, 2)
    else:
        lone.notify(1, 2)
        assert lone.standing.role == LOOKING
        lone.unreachable(3)
    assert lone.standing.role == LEADING


def test_voter_that_is_heard_of_again_is_waited_for() -> None:
    lone = Lone(3)
    lone.unreachable(2)
    lone.notify(2, 2, round=0)
    lone.notify(1, 3)
    assert lone.standing.role == LOOKING
    lone.wait(200)
    assert lone.standing.role == LEADING


def test_voters_that_cannot_be_reached_are_no_quorum() -> None:
    lone = Lone(1)
    for sid in (2, 3):
        lone.unreachable(sid)
    lone.wait(1000)
    assert lone.standing.role == LOOKING


def test_voter_of_another_mind_is_waited_for() -> None:
    lone = Lone(5, voters=5)
    for sid in (1, 2):
        lone.notify(sid, 5)
    lone.unreachable(3)
    lone.notify(4, 4)
    assert lone.standing.role == LOOKING
    lone.notify(4, 5)
    assert lone.standing.role == LEADING


def test_who_votes_for_another_waits_until_that_one_leads() -> None:
    """Whom it would find listening only then: Apache's servers wait, whoever can be reached."""
    lone = Lone(1)
    lone.notify(2, 2)
    lone.unreachable(3)
    lone.wait(150)
    assert lone.standing.role == LOOKING
    lone.notify(2, 2, round=7, state=LEADING)
    lone.notify(3, 2, state=LEADING)
    lone.notify(2, 2, state=FOLLOWING)
    assert lone.standing.role == LOOKING
    lone.notify(2, 2, state=LEADING)
    assert (lone.standing.role, lone.standing.leader) == (FOLLOWING, 2)
    assert lone.readied("dial") == [2]


def test_later_round_is_joined_with_the_better_of_both_first_votes() -> None:
    lone = Lone(2, voters=5)
    lone.notify(4, 4)
    lone.last_told()
    lone.notify(3, 1, round=5)
    assert lone.peer.round == 5
    assert {(sid, note.leader, note.election_epoch) for sid, note in lone.last_told()} == {
        (sid, 2, 5) for sid in (1, 3, 4, 5)
    }
    lone.notify(1, 2, round=5)
    lone.wait(200)
    assert lone.standing.role == LOOKING, "the vote of 4 was for an earlier round"


def test_older_round_is_answered_and_not_counted() -> None:
    lone = Lone(2)
    lone.notify(3, 3, round=7)
    lone.last_told()
    lone.notify(1, 3, round=6)
    assert [(sid, note.leader, note.election_epoch) for sid, note in lone.last_told()] == [(1, 3, 7)]


def test_better_vote_reaches_a_voter_that_came_to_the_round_after_it_was_told() -> None:
    lone = Lone(2, max_notification_ms=200)
    lone.notify(1, 2, round=0, state=LEADING)
    lone.last_told()
    # Words in shorter intervals than its own keep it from repeating its vote: only answers can bring the others along.
    for _ in range(3):
        lone.wait(199)
        assert lone.last_told() == []
        lone.notify(1, 1)
        assert votes(lone) == {(1, 2)}


def test_silence_is_answered_at_growing_intervals() -> None:
    lone = Lone(1, max_notification_ms=1000)
    times = []
    for _ in range(8000):
        lone.last_told()
        lone.wait(1)
        if lone.told:
            times.append(lone.now - 1000)
    assert times[:6] == [200, 600, 1400, 2400, 3400, 4400]


def test_observer_is_answered_and_not_counted() -> None:
    lone = Lone(1)
    lone.last_told()
    lone.notify(4, 4, 99, epoch=99)
    assert [(sid, note.state) for sid, note in lone.last_told()] == [(4, LOOKING)]
    lone.wait(150)
    assert votes(lone) == set()


def test_nobody_else_is_voted_for() -> None:
    lone = Lone(1)
    lone.last_told()
    lone.notify(2, 9, 99, epoch=99)
    assert votes(lone) == set()


def test_server_that_does_not_know_its_history_is_not_counted() -> None:
    lone = Lone(1)
    lone.notify(2, 2, -1)
    lone.wait(250)
    assert lone.standing.role == LOOKING


def test_server_without_weight_is_not_elected() -> None:
    lone = Lone(1, quorum=Hierarchical({1: [1, 2, 3]}, {3: 0}))
    lone.last_told()
    lone.notify(3, 3, 99, epoch=99)
    assert votes(lone) == set()


def test_malformed_notification_is_skipped_and_the_next_one_counts() -> None:
    lone = Lone(1)
    for message in (b"", b"x" * 27, pack(">iqqqqii", 9, 1, 1, 1, 1, 2, 0), pack(">iqqqqii", 0, 1, 1, 1, 1, 2, 77)):
        lone.peer.notified(2, message)
    lone.take()
    lone.notify(2, 2, round=(1 << 63) - 1)
    lone.notify(2, 2, round=-1)
    assert len(lone.readied("notes")) == 6
    assert lone.peer.round == 1
    lone.notify(2, 2)
    lone.wait(200)
    assert lone.standing.leader == 2


def test_latecomer_joins_a_leader_that_a_quorum_follows_whatever_the_round() -> None:
    lone = Lone(1)
    lone.notify(2, 3, 5, round=7, state=FOLLOWING, epoch=2)
    assert lone.standing.role == LOOKING
    lone.notify(3, 3, 9, round=7, state=LEADING, epoch=2)
    assert (lone.standing.role, lone.standing.leader) == (FOLLOWING, 3)
    assert lone.peer.round == 7


def test_leader_is_not_joined_on_the_word_of_its_followers_alone() -> None:
    """A leader that has crashed would be elected for ever: its followers do not know yet."""
    lone = Lone(1, voters=5)
    for sid in (2, 3, 4):
        lone.notify(sid, 5, state=FOLLOWING, round=7, epoch=2)
    assert lone.standing.role == LOOKING
    lone.notify(5, 5, state=LEADING, round=7, epoch=2)
    assert lone.standing.leader == 5


def test_leader_that_is_looking_itself_is_not_joined() -> None:
    lone = Lone(1, voters=5)
    for sid in (2, 3, 4):
        lone.notify(sid, 5, state=FOLLOWING)
    lone.notify(5, 5)
    assert lone.standing.role == LOOKING


def test_server_is_not_made_leader_by_those_that_followed_it_in_an_earlier_round() -> None:
    lone = Lone(1)
    lone.notify(2, 1, state=FOLLOWING, round=7)
    lone.notify(3, 1, state=FOLLOWING, round=7)
    assert lone.standing.role == LOOKING


def test_followers_may_tell_different_zxids_and_rounds_but_not_different_epochs() -> None:
    lone = Lone(1)
    lone.notify(2, 3, 5, round=7, state=FOLLOWING, epoch=1)
    lone.notify(3, 3, 9, round=8, state=LEADING, epoch=2)
    assert lone.standing.role == LOOKING
    lone.notify(2, 3, 5, round=6, state=FOLLOWING, epoch=2)
    lone.notify(3, 3, 9, round=8, state=LEADING, epoch=2)
    assert lone.standing.leader == 3


def test_server_before_3_4_6_is_compared_by_its_leader_only() -> None:
    old = Vote(3, 1, 1, 1, FOLLOWING, 0)
    assert old.agrees(Vote(3, 2, 2, 2, LEADING, 2))
    assert not old.agrees(Vote(2, 1, 1, 1, LEADING, 2))
    assert not Vote(3, 1, 1, 1, FOLLOWING, 2).agrees(Vote(3, 2, 2, 2, LEADING, 2))
    assert not Vote(3, 1, 1, 1, LOOKING).agrees(Vote(3, 2, 1, 1, LOOKING))


def test_observing_server_does_not_count() -> None:
    lone = Lone(1)
    lone.notify(2, 3, state=OBSERVING)
    lone.notify(3, 3, state=OBSERVING)
    lone.wait(250)
    assert lone.standing.role == LOOKING


def test_observer_votes_for_nobody_and_joins_whom_a_quorum_follows() -> None:
    lone = Lone(4)
    told = lone.last_told()
    assert {sid for sid, _ in told} == {1, 2, 3}
    assert {(note.leader, note.zxid, note.peer_epoch) for _, note in told} == {(-(1 << 63),) * 3}
    lone.notify(2, 3, state=FOLLOWING, round=7)
    lone.notify(3, 3, state=LEADING, round=7)
    assert (lone.standing.role, lone.standing.leader) == (OBSERVING, 3)


def test_observer_answers_nobody_or_two_would_answer_each_other_without_end() -> None:
    """A voter answers at once whoever is none, so an answer of an observer would be answered, and so on."""
    lone = Lone(4)
    lone.notify(2, 3)
    lone.last_told()
    lone.notify(1, 1)
    lone.notify(1, 1, round=0)
    assert votes(lone) == set()


def test_observer_rests_before_it_looks_again() -> None:
    lone = Lone(4, observer_rest_ms=150)
    lone.notify(2, 3, state=FOLLOWING, round=7)
    lone.notify(3, 3, state=LEADING, round=7)
    lone.last_told()
    lone.peer.dial_failed(3)
    lone.take()
    lone.wait(149)
    lone.notify(2, 2, state=LEADING)
    assert lone.standing.role == LOOKING
    assert lone.last_told() == []
    lone.wait(1)
    assert len(lone.last_told()) == 3


def test_looking_server_is_told_who_leads() -> None:
    lone = Lone(1)
    lone.elect(3)
    lone.last_told()
    lone.notify(2, 2, round=9)
    ((sid, note),) = lone.last_told()
    assert (sid, note.state, note.leader, note.election_epoch) == (2, FOLLOWING, 3, 1)
    lone.notify(3, 3, state=LEADING)
    assert lone.last_told() == []


def test_only_member_elects_itself() -> None:
    lone = Lone(1, voters=1)
    lone.wait(200)
    assert lone.standing.role == LEADING
    lone.sync()
    assert lone.standing.is_serving
    assert (lone.peer.accepted_epoch, lone.peer.current_epoch) == (1, 1)
