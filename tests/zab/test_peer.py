"""A quorum of one: nothing is committed before it is synced, everything is committed in order, nothing is kept."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zkpy.proto.notification import LOOKING
from zkpy.zab.history import History
from zkpy.zab.peer import Peer
from zkpy.zab.ready import OWN, Ready, Standing

Entry = tuple[int, bytes]


def entries(first: int, last: int) -> list[Entry]:
    """Txns with these zxids; a txn is opaque bytes here."""
    return [(zxid, b"txn %d" % zxid) for zxid in range(first, last + 1)]


def test_idle_peer_has_nothing_to_do() -> None:
    ready = Peer.standalone(7).ready()
    assert not ready
    assert (ready.append, ready.committed) == ([], [])


def test_proposal_is_to_be_logged_and_not_yet_committed() -> None:
    peer = Peer.standalone(0)
    peer.propose(entries(1, 3))
    ready = peer.ready()
    assert ready
    assert (ready.append, ready.committed) == (entries(1, 3), [])
    assert not peer.ready(), "each thing is asked for once"


def test_proposal_is_committed_once_it_is_synced() -> None:
    peer = Peer.standalone(0)
    peer.propose(entries(1, 3))
    token = peer.ready().token
    peer.synced(token)
    ready = peer.ready()
    assert (ready.append, ready.committed) == ([], entries(1, 3))
    assert not peer.ready()


def test_what_is_proposed_during_a_sync_is_not_committed_by_it() -> None:
    peer = Peer.standalone(0)
    peer.propose(entries(1, 2))
    first = peer.ready().token
    peer.propose(entries(3, 4))
    second = peer.ready()
    assert (second.append, second.committed) == (entries(3, 4), [])
    peer.synced(first)
    assert peer.ready().committed == entries(1, 2)
    peer.synced(second.token)
    assert peer.ready().committed == entries(3, 4)


def test_sync_covers_all_batches_before_it() -> None:
    peer = Peer.standalone(0)
    peer.propose(entries(1, 1))
    peer.ready()
    peer.propose(entries(2, 2))
    peer.synced(peer.ready().token)
    assert peer.ready().committed == entries(1, 2)


def test_sync_that_is_reported_late_or_twice_changes_nothing() -> None:
    peer = Peer.standalone(0)
    peer.propose(entries(1, 1))
    old = peer.ready().token
    peer.propose(entries(2, 2))
    peer.synced(peer.ready().token)
    assert peer.ready().committed == entries(1, 2)
    peer.synced(old)
    assert not peer.ready()


def test_one_ready_may_hold_both_new_entries_and_commits() -> None:
    peer = Peer.standalone(0)
    peer.propose(entries(1, 2))
    token = peer.ready().token
    peer.synced(token)
    peer.propose(entries(3, 3))
    ready = peer.ready()
    assert (ready.append, ready.committed) == (entries(3, 3), entries(1, 2))


def test_peer_goes_on_from_the_zxid_its_disk_ends_with() -> None:
    peer = Peer.standalone(0x500000007)
    peer.propose(entries(0x500000008, 0x500000009))
    peer.synced(peer.ready().token)
    assert peer.ready().committed == entries(0x500000008, 0x500000009)


@pytest.mark.parametrize(
    "wrong", [entries(1, 1), entries(3, 3), entries(5, 6), [(2, b""), (4, b"")], [(2, b""), (2, b"")]]
)
def test_hole_in_the_history_is_our_own_error(wrong: list[Entry]) -> None:
    peer = Peer.standalone(0)
    peer.propose(entries(1, 1))
    with pytest.raises(AssertionError, match="hole"):
        peer.propose(wrong)


def test_sync_of_what_was_never_handed_out_is_our_own_error() -> None:
    peer = Peer.standalone(0)
    peer.propose(entries(1, 2))
    token = peer.ready().token
    with pytest.raises(AssertionError, match="before it was written"):
        peer.synced(token + 1)


def test_commit_beyond_what_was_proposed_is_our_own_error() -> None:
    history = History(0)
    history.propose(entries(1, 2))
    with pytest.raises(AssertionError):
        history.commit(3)


def test_history_keeps_only_what_is_not_committed() -> None:
    history = History(0)
    for round_ in range(1000):
        history.propose(entries(2 * round_ + 1, 2 * round_ + 2))
        history.take()
        history.sync(2 * round_ + 1)
        history.commit(2 * round_ + 1)
        assert len(history._outstanding) == 1
        assert len(history._untaken) == 0
        history.commit(2 * round_ + 2)
        assert len(history._outstanding) == 0


def test_part_of_a_batch_can_be_committed() -> None:
    history = History(0)
    history.propose(entries(1, 5))
    assert history.commit(2) == entries(1, 2)
    assert history.commit(1) == []
    assert history.commit(5) == entries(3, 5)


#: What the Keeper or the disk may answer at once.
LEADING_ON = (
    "standing",
    "snaps",
    "dial",
    "close",
    "reads",
    "cuts",
    "requests",
    "revalidations",
    "revalidated",
    "pinged",
)


@pytest.mark.parametrize(
    ("field", "work"),
    [
        ("standing", Standing(LOOKING, False, 0, 0)),
        ("restore", "a snapshot"),
        ("truncate", 0),
        ("append", entries(1, 1)),
        ("epochs", (1, 0)),
        ("committed", entries(1, 1)),
        ("snaps", [(1, b"")]),
        ("send", [(1, b"")]),
        ("notify", [(1, b"")]),
        ("dial", [1]),
        ("close", [1]),
        ("reads", [(1, 2, 3)]),
        ("cuts", [(1, 2)]),
        ("requests", ["a request"]),
        ("touches", [(1, 1)]),
        ("revalidations", [(1, 2, 3)]),
        ("revalidated", [(1, True)]),
        ("syncs", 1),
        ("pinged", True),
        ("notes", [("info", "event", {})]),
    ],
)
def test_ready_is_true_when_there_is_work(field: str, work: object) -> None:
    ready = Ready()
    assert not ready
    setattr(ready, field, work)
    assert ready
    assert ready.has_disk_work == (field in ("restore", "truncate", "append", "epochs"))
    assert ready.leads_on == (field in LEADING_ON)


def test_a_ready_with_work_for_the_disk_or_behind_another_one_leads_on() -> None:
    for field, value in (("token", 1), ("is_followed", True)):
        ready = Ready()
        setattr(ready, field, value)
        assert ready.leads_on


def test_every_field_of_a_ready_is_work_or_goes_with_it() -> None:
    cases = next(m for m in test_ready_is_true_when_there_is_work.pytestmark if m.name == "parametrize").args[1]
    assert {*Ready.__slots__} - {field for field, _ in cases} == {"held", "is_followed", "patient", "token"}


def test_client_sync_of_a_quorum_of_one_is_answered_at_once() -> None:
    peer = Peer.standalone(0)
    peer.sync(OWN)
    assert peer.ready().syncs == 1
    assert not peer.ready()


def test_quorum_of_one_has_no_use_for_links() -> None:
    peer = Peer.standalone(0)
    peer.link_up(7, None)
    assert peer.ready().close == [7]


@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("propose"), st.integers(1, 4)),
            st.tuples(st.just("sync"), st.just(0)),
            st.tuples(st.just("ready"), st.just(0)),
        )
    )
)
def test_commits_are_the_proposals_in_order_and_never_ahead_of_the_disk(steps: list[tuple[str, int]]) -> None:
    peer = Peer.standalone(0)
    proposed = 0
    logged: list[Entry] = []
    on_disk = 0
    token = 0
    committed: list[Entry] = []
    for step, count in [*steps, ("ready", 0), ("sync", 0), ("ready", 0)]:
        if step == "propose":
            peer.propose(entries(proposed + 1, proposed + count))
            proposed += count
        elif step == "sync":
            on_disk = len(logged)
            peer.synced(token)
        else:
            ready = peer.ready()
            logged += ready.append
            token = ready.token or token
            committed += ready.committed
            assert len(committed) <= on_disk
            assert peer.history.proposed >= peer.history.taken >= peer.history.synced >= peer.history.committed
    assert logged == entries(1, proposed)
    assert committed == logged
