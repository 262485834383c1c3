"""The judge of locks speaks, about each thing that it looks at."""

from typing import NoReturn

import pytest

from tests.sim.locks import LOCK, Locks
from tests.sim.world import Violation, World

ONE, OTHER = f"{LOCK}/1.0-0000000000", f"{LOCK}/2.0-0000000001"


def fail(law: str, text: str) -> NoReturn:
    raise Violation(law, text)


@pytest.fixture
def world() -> World:
    return World(1)


@pytest.fixture
def locks(world: World) -> Locks:
    """Session 11 holds by the znode of txn 5, and session 12 waits with that of txn 6."""
    locks = Locks(world, fail, slack_ms=100)
    locks.created(5, ONE, 11)
    locks.created(6, OTHER, 12)
    return locks


def test_one_holder_after_the_other_is_in_order(locks: Locks) -> None:
    locks.granted(1, 11, ONE, 5, 7)
    locks.renewed(1, 1_000, 500)
    locks.written(8, 11, ONE.encode())
    locks.given_up(1)
    locks.removed(9, ONE)
    locks.granted(2, 12, OTHER, 6, 9)
    locks.written(10, 12, OTHER.encode())
    # What is heard late was so when it was said.
    locks.granted(1, 11, ONE, 5, 8)


def test_who_waits_may_not_write(locks: Locks) -> None:
    with pytest.raises(Violation, match=r"is written for /lock/2\.0-0000000001, and /lock/1\.0-0000000000 holds"):
        locks.written(7, 12, OTHER.encode())


def test_nobody_writes_in_the_name_of_another(locks: Locks) -> None:
    with pytest.raises(Violation, match="by 0xc, it is 0xb's"):
        locks.written(7, 12, ONE.encode())


def test_who_waits_may_not_be_granted_the_lock(locks: Locks) -> None:
    with pytest.raises(Violation, match=r"client 2 holds by .* at 0\.6"):
        locks.granted(2, 12, OTHER, 6, 6)


def test_a_token_grows_from_grant_to_grant(locks: Locks) -> None:
    locks.granted(1, 11, ONE, 5, 7)
    locks.removed(8, ONE)
    with pytest.raises(Violation, match="the token 0x4"):
        locks.granted(2, 12, OTHER, 4, 8)


def test_nobody_is_granted_what_another_believes_to_hold(world: World, locks: Locks) -> None:
    world.now_ms = 2_000
    locks.granted(1, 11, ONE, 5, 7)
    locks.renewed(1, 2_000, 500)
    locks.removed(8, ONE)
    with pytest.raises(Violation, match="client 2 is granted it while 1 believes so"):
        locks.granted(2, 12, OTHER, 6, 8)
    world.now_ms = 2_400
    locks.granted(2, 12, OTHER, 6, 8)
