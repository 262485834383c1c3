"""Names of contenders, and their order, from names alone."""

import random

import pytest

from zkpy.recipes.contenders import Queue, contender_of, in_order, marker_of, names_of, new_id
from zkpy.recipes.sequencer import Mode

UUID = "6f9cd2b1-0d0b-4a7e-9a3a-2f7e5f0c3b1d"


@pytest.mark.parametrize(
    ("name", "mode", "number", "contender_id"),
    [
        ("8a4f00c1b2d3e4f5a6b7c8d9e0f1a2b3__lock__0000000012", Mode.EXCLUSIVE, 12, ""),
        ("8a4f00c1b2d3e4f5a6b7c8d9e0f1a2b3__rlock__0000000013", Mode.SHARED, 13, ""),
        (f"_c_{UUID}-lock-0000000014", Mode.EXCLUSIVE, 14, f"_c_{UUID}"),
        (f"_c_{UUID}-shared-lock-0000000015", Mode.SHARED, 15, f"_c_{UUID}"),
        (f"_c_{UUID}__lock__0000000016", Mode.EXCLUSIVE, 16, f"_c_{UUID}"),
        ("lock-0000000017", Mode.EXCLUSIVE, 17, ""),
        ("x__lock__-2147483648", Mode.EXCLUSIVE, -(2**31), ""),
        ("x-lock--000000007", Mode.EXCLUSIVE, -7, ""),
    ],
)
def test_contenders_of_all_three_kinds_are_known_by_their_names(
    name: str, mode: Mode, number: int, contender_id: str
) -> None:
    contender = contender_of(name)
    assert contender is not None
    assert (contender.mode, contender.number, contender.contender_id) == (mode, number, contender_id)


@pytest.mark.parametrize("name", ["", "config", "lock-12", "__lock__", f"delay__c_{UUID}", "x__lock__0000000012.bak"])
def test_other_names_are_no_contenders(name: str) -> None:
    assert contender_of(name) is None


def test_our_own_names_are_read_back() -> None:
    contender_id = new_id()
    for mode in (Mode.EXCLUSIVE, Mode.SHARED):
        names = [f"{name}{number:010d}" for number, name in enumerate(names_of(contender_id, mode))]
        queue = Queue([marker_of(contender_id), *names])
        assert [contender.name for contender in queue.of(contender_id)] == names
        assert {contender.mode for contender in queue.contenders} == {mode}
        assert queue.orphans() == []
    assert Queue([marker_of(contender_id)]).orphans() == [marker_of(contender_id)]


def test_our_names_come_after_all_numbers_in_the_order_that_curator_sorts_by() -> None:
    name = names_of(new_id(), Mode.EXCLUSIVE)[0]
    assert "lock-" not in name, "Curator would take what follows for a number"
    assert min(name, marker_of(new_id())) > "9999999999"


def test_the_order_goes_on_when_the_sequence_numbers_run_over() -> None:
    numbers = ["2147483646", "2147483647", "-2147483648", "-2147483647"]
    names = [f"x{place}__lock__{number}" for place, number in enumerate(numbers)]
    shuffled = list(names)
    random.Random(7).shuffle(shuffled)
    queue = Queue(shuffled)
    assert [contender.name for contender in in_order(queue.contenders)] == names
    by_name = {contender.name: contender for contender in queue.contenders}
    blockers = [queue.in_the_way_of(by_name[name]) for name in names]
    assert [blocker and blocker.name for blocker in blockers] == [None, *names[:-1]]


def test_readers_wait_for_writers_alone_and_nobody_for_themselves() -> None:
    one, two = new_id(), new_id()
    queue = Queue(
        [
            f"{one}__rlock__0000000000",
            f"{one}-shared-lock-0000000001",
            "w__lock__0000000002",
            f"{two}__rlock__0000000003",
            f"{two}-shared-lock-0000000004",
        ]
    )
    first, second = queue.of(one)[0], queue.of(two)[0]
    writer = next(contender for contender in queue.contenders if contender.name == "w__lock__0000000002")
    assert queue.in_the_way_of(first) is None
    assert queue.in_the_way_of(second) == writer
    blocker = queue.in_the_way_of(writer)
    assert blocker is not None
    assert blocker.name == f"{one}-shared-lock-0000000001"
    without = Queue(contender.name for contender in queue.contenders if contender != writer)
    assert without.in_the_way_of(second) is None
