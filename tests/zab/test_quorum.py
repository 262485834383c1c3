"""Quorums: which sets are enough, held to the rule by counting; and that any two of them meet."""

from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zkpy.zab.quorum import Ensemble, Hierarchical, Majority


@pytest.mark.parametrize(("voters", "enough"), [(1, 1), (2, 2), (3, 2), (4, 3), (5, 3), (6, 4), (7, 4)])
def test_majority_is_more_than_half(voters: int, enough: int) -> None:
    quorum = Majority(range(1, voters + 1))
    for count in range(voters + 1):
        assert quorum.has_quorum(range(1, count + 1)) == (count >= enough)


def test_strangers_do_not_count() -> None:
    assert not Majority([1, 2, 3]).has_quorum([1, 7, 8, 9])
    assert not Hierarchical({1: [1, 2, 3]}, {}).has_quorum([1, 7, 8, 9])
    assert Majority([1, 2, 3]).weight(7) == 0
    assert Hierarchical({1: [1, 2, 3]}, {}).weight(7) == 0


def test_hierarchy_needs_most_of_most_groups() -> None:
    quorum = Hierarchical({1: [1, 2, 3], 2: [4, 5, 6], 3: [7, 8, 9]}, {})
    assert quorum.has_quorum([1, 2, 4, 5])
    assert not quorum.has_quorum([1, 2, 3, 4, 7])
    assert not quorum.has_quorum([1, 4, 7])
    assert not quorum.has_quorum([])


def test_weight_counts_instead_of_heads() -> None:
    quorum = Hierarchical({1: [1, 2, 3]}, {1: 3, 2: 1})
    assert quorum.has_quorum([1])
    assert not quorum.has_quorum([2, 3])
    assert (quorum.weight(1), quorum.weight(2), quorum.weight(3)) == (3, 1, 1)


def test_group_without_weight_does_not_count() -> None:
    quorum = Hierarchical({1: [1, 2, 3], 2: [4, 5]}, {4: 0, 5: 0})
    assert quorum.has_quorum([1, 2])
    assert quorum.weight(4) == 0


def test_server_in_two_groups_is_our_own_error() -> None:
    with pytest.raises(AssertionError, match="two groups"):
        Hierarchical({1: [1, 2], 2: [2, 3]}, {})


def test_observers_do_not_vote() -> None:
    ensemble = Ensemble(Majority([1, 2, 3]), frozenset([4]), b"")
    assert [ensemble.has_voter(sid) for sid in (1, 3, 4, 5)] == [True, True, False, False]


@given(
    st.lists(st.integers(1, 3), min_size=1, max_size=3),
    st.lists(st.integers(0, 4), min_size=9, max_size=9),
)
def test_any_two_quorums_of_a_hierarchy_meet(sizes: list[int], weights: list[int]) -> None:
    groups: dict[int, list[int]] = {}
    sid = 1
    for number, size in enumerate(sizes):
        groups[number] = list(range(sid, sid + size))
        sid += size
    quorum = Hierarchical(groups, dict(enumerate(weights)))
    everybody = sorted(quorum.voters)
    enough = [set(some) for n in range(len(everybody) + 1) for some in combinations(everybody, n)]
    enough = [some for some in enough if quorum.has_quorum(some)]
    assert all(one & other for one, other in combinations(enough, 2))
    assert all(any(quorum.weight(sid) for sid in one) for one in enough)
