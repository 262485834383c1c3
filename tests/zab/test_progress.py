"""The plan for a learner, row by row of the table; and the history that it is made from."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zkpy.proto.packets import DIFF, SNAP, TRUNC
from zkpy.zab.history import Entry, History
from zkpy.zab.progress import Progress, plan, plan_from_log


def txns(*zxids: int) -> list[Entry]:
    return [(zxid, b"") for zxid in zxids]


def history_of(*zxids: int, keep: int = 500) -> History:
    """A history of these txns, all committed, in memory as far as it is kept."""
    history = History(0, keep)
    for zxid in zxids:
        history.propose(txns(zxid))
        history.commit(zxid)
    history.take()
    history.check()
    return history


E1, E2, E3 = 0x100000000, 0x200000000, 0x300000000


@pytest.mark.parametrize(
    ("peer", "op", "zxid", "after"),
    [
        (E2 + 2, DIFF, E2 + 2, E2 + 2),  # the same
        (E2 + 5, TRUNC, E2 + 2, E2 + 2),  # it has too much
        (E3, DIFF, E2 + 2, E2 + 2),  # the start of an epoch is no txn
        (E3 + 1, TRUNC, E2 + 2, E2 + 2),
        (E1 + 2, DIFF, E2 + 2, E1 + 2),  # it lacks some
        (E2 + 1, DIFF, E2 + 2, E2 + 1),
        (0, DIFF, E2 + 2, 0),
        (E2, DIFF, E2 + 2, E2),  # at the start of an epoch that is in the history
        (E1 + 4, SNAP, 0, 0),  # it has too much of an older epoch
    ],
)
def test_plan_follows_from_where_the_learner_ends(peer: int, op: int, zxid: int, after: int) -> None:
    history = history_of(E1 + 1, E1 + 2, E1 + 3, E2 + 1, E2 + 2)
    found = plan(history, history.committed, peer)
    assert found is not None
    assert (found.op, found.zxid, found.after) == (op, zxid, after)


def test_learner_that_ends_before_memory_needs_the_log() -> None:
    history = history_of(E1 + 1, E1 + 2, E1 + 3, E1 + 4, keep=2)
    assert plan(history, history.committed, E1 + 1) is None
    found = plan(history, history.committed, E1 + 2)
    assert found is not None, "the txn right before memory is as good as in it"
    assert (found.op, found.after) == (DIFF, E1 + 2)


def test_outstanding_proposals_are_no_part_of_the_plan() -> None:
    history = history_of(E1 + 1, E1 + 2)
    history.propose(txns(E1 + 3))
    found = plan(history, history.committed, E1 + 3)
    assert found is not None
    assert (found.op, found.zxid) == (TRUNC, E1 + 2)


@pytest.mark.parametrize(
    ("peer", "op", "after"),
    [(E1 + 2, DIFF, E1 + 2), (E1 + 4, SNAP, 0), (E2, DIFF, E2)],
)
def test_plan_from_the_log_is_the_same_as_from_memory(peer: int, op: int, after: int) -> None:
    found = plan_from_log(txns(E1 + 2, E1 + 3, E2 + 1), E2 + 7, peer)
    assert (found.op, found.after) == (op, after)


@given(st.data())
def test_plan_makes_the_learner_what_its_leader_is(data: st.DataObject) -> None:
    """Leader and learner have a common history and then each its own; the plan is carried out as a learner does."""
    common = data.draw(st.integers(0, 5))
    more = data.draw(st.integers(0, 4))
    stale = data.draw(st.integers(0, 4))
    shared = [E1 + n for n in range(1, common + 1)]
    leader = [*shared, *(E2 + n for n in range(1, more + 1))]
    learner = [*shared, *(E1 + common + n for n in range(1, stale + 1))]
    history = history_of(*leader, keep=data.draw(st.integers(1, 10)))
    found = plan(history, history.committed, learner[-1] if learner else 0)
    if found is None or found.op == SNAP:
        return
    if found.op == TRUNC:
        assert found.zxid in (0, *learner), "a cut must be behind a txn that is there"
        learner = [zxid for zxid in learner if zxid <= found.zxid]
    learner += [zxid for zxid, _ in history.entries(found.after, history.committed)]
    assert learner == leader


def test_one_proposal_is_timed_and_then_the_newest() -> None:
    progress = Progress(1, 0, 0)
    assert not progress.is_late(1000, 400)
    progress.track(1, 0)
    progress.track(2, 100)
    progress.track(3, 200)
    assert not progress.is_late(400, 400)
    assert progress.is_late(401, 400)
    progress.ack(1)
    assert not progress.is_late(600, 400)
    assert progress.is_late(601, 400)
    progress.ack(3)
    assert not progress.is_late(9999, 400)
    assert progress.acked == 3


# --- the history


def test_history_begins_with_the_tail_of_the_log() -> None:
    history = History(5, 2, txns(2, 3, 4, 5))
    history.check()
    assert (history.before, history.entries(history.before, 5)) == (3, txns(4, 5))
    assert history.take() == []


def test_tail_that_is_not_the_log_s_is_our_own_error() -> None:
    with pytest.raises(AssertionError, match="its tail"):
        History(5, 2, txns(3, 4))


def test_cut_takes_from_what_is_outstanding_and_from_what_is_committed() -> None:
    history = history_of(1, 2, 3)
    history.propose(txns(4, 5))
    history.take()
    history.truncate(4)
    assert (history.proposed, history.committed, history.reign) == (4, 3, 1)
    history.truncate(2)
    assert (history.proposed, history.committed, history.reign) == (2, 2, 2)
    history.check()
    assert history.entries(0, 9) == txns(1, 2)


def test_cut_before_memory_leaves_nothing_in_it() -> None:
    history = history_of(1, 2, 3, 4, keep=1)
    history.truncate(2)
    history.check()
    assert (history.before, history.proposed) == (2, 2)
    history.propose(txns(3))
    history.commit(3)
    assert history.entries(2, 3) == txns(3)


def test_cut_that_cuts_nothing_is_our_own_error() -> None:
    with pytest.raises(AssertionError, match="nothing to cut"):
        history_of(1, 2).truncate(2)


def test_cut_of_what_was_not_handed_to_the_disk_is_our_own_error() -> None:
    history = history_of(1, 2)
    history.propose(txns(3))
    with pytest.raises(AssertionError, match="before it was written"):
        history.truncate(1)


def test_snapshot_in_place_of_the_history_leaves_nothing_before_it() -> None:
    history = history_of(1, 2)
    history.restore(E2)
    history.check()
    assert (history.before, history.proposed, history.committed) == (E2, E2, E2)
    history.propose(txns(E2 + 1))
    with pytest.raises(AssertionError, match="not in memory"):
        history.entries(2, E2 + 1)


def test_epoch_may_begin_anywhere_behind_the_last_one() -> None:
    history = history_of(E1 + 1)
    assert history.is_next(E1 + 2)
    assert history.is_next(E2 + 7)
    assert not history.is_next(E1 + 3)
    assert not history.is_next(E1)
