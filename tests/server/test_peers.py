"""Members on real sockets: they elect, synchronize by DIFF, SNAP and TRUNC, and go on when one dies."""

from collections.abc import Callable
from pathlib import Path

import pytest
import trio

from tests.server.members import Member, Plan
from zkpy.proto.notification import FOLLOWING, LEADING, OBSERVING

#: Far above what anything here takes; a loaded machine may need it.
LIMIT_S = 60


async def until(condition: Callable[[], bool]) -> None:
    with trio.fail_after(LIMIT_S):
        while not condition():
            await trio.sleep(0.01)


def the_leader(members: list[Member]) -> Member:
    (leader,) = [member for member in members if member.is_leading]
    return leader


async def start(nursery: trio.Nursery, members: list[Member]) -> Member:
    """Run these and wait until all of them serve; the one that leads."""
    for member in members:
        nursery.start_soon(member.run)
    await until(lambda: all(member.is_serving for member in members))
    return the_leader(members)


async def settle(members: list[Member]) -> None:
    """Wait until all have all that the leader among them has proposed, and compare the trees."""
    last = the_leader(members).next_zxid - 1
    await until(lambda: all(member.tree.last_zxid == last for member in members))
    assert len({member.tree.digest for member in members}) == 1
    assert len({len(member.tree.nodes) for member in members}) == 1


def make(plan: Plan, tmp_path: Path) -> list[Member]:
    return [Member(plan, sid, tmp_path / str(sid)) for sid in plan.sids]


@pytest.mark.slow
def test_three_members_elect_a_leader_and_have_the_same_tree(tmp_path: Path) -> None:
    async def main() -> None:
        members = make(Plan(3), tmp_path)
        async with trio.open_nursery() as nursery:
            leader = await start(nursery, members)
            assert sorted(member.role for member in members) == [FOLLOWING, FOLLOWING, LEADING]
            for _ in range(20):
                leader.write(50)
                await trio.sleep(0)
            await settle(members)
            assert len(leader.tree.nodes) > 1000
            nursery.cancel_scope.cancel()

    trio.run(main)


@pytest.mark.slow
def test_the_others_go_on_when_the_leader_dies_and_it_comes_back_by_diff(tmp_path: Path) -> None:
    async def main() -> None:
        members = make(Plan(3), tmp_path)
        async with trio.open_nursery() as nursery:
            first = await start(nursery, members)
            first.write(30)
            await settle(members)
            first.kill()
            others = [member for member in members if member is not first]
            await until(lambda: any(member.is_leading for member in others))
            await until(lambda: all(member.is_serving for member in others))
            second = the_leader(others)
            second.write(30)
            await settle(others)
            nursery.start_soon(first.run)
            await until(lambda: first.is_serving)
            assert first.role == FOLLOWING
            await settle(members)
            assert first.restored == 0
            second.write(10)
            await settle(members)
            nursery.cancel_scope.cancel()

    trio.run(main)


@pytest.mark.slow
@pytest.mark.parametrize("size", [10, 100_000])
def test_a_member_that_lacks_too_much_gets_the_tree(tmp_path: Path, size: int) -> None:
    async def main() -> None:
        members = make(Plan(3), tmp_path)
        async with trio.open_nursery() as nursery:
            leader = await start(nursery, members)
            late = next(member for member in members if member is not leader)
            others = [member for member in members if member is not late]
            late.kill()
            for _ in range(60):
                leader.write(10, size)
                await trio.sleep(0)
            await settle(others)
            nursery.start_soon(late.run)
            await until(lambda: late.is_serving)
            for _ in range(5):
                leader.write(10)
                await trio.sleep(0)
            await settle(members)
            assert late.restored == 1
            late.kill()
            await until(lambda: not late.is_serving)
            # What came is durable: the next start finds it.
            leader.write(5)
            nursery.start_soon(late.run)
            await until(lambda: late.is_serving)
            await settle(members)
            assert late.restored == 1
            nursery.cancel_scope.cancel()

    trio.run(main)


@pytest.mark.slow
def test_a_member_that_lacks_much_gets_it_from_the_log_where_that_costs_less(tmp_path: Path) -> None:
    async def main() -> None:
        members = make(Plan(3), tmp_path)
        for member in members:
            member.factor = 0  # whatever it costs
        async with trio.open_nursery() as nursery:
            leader = await start(nursery, members)
            leader.write(5)
            await settle(members)
            late = next(member for member in members if member is not leader)
            late.kill()
            for _ in range(80):
                leader.write(50, 1000)
                await trio.sleep(0)
            await settle([member for member in members if member is not late])
            nursery.start_soon(late.run)
            await until(lambda: late.is_serving)
            await settle(members)
            assert late.restored == 0
            nursery.cancel_scope.cancel()

    trio.run(main)


@pytest.mark.slow
def test_a_leader_alone_with_its_proposals_has_them_cut(tmp_path: Path) -> None:
    async def main() -> None:
        members = make(Plan(3), tmp_path)
        async with trio.open_nursery() as nursery:
            first = await start(nursery, members)
            first.write(5)
            await settle(members)
            others = [member for member in members if member is not first]
            for member in others:
                member.kill()
            first.write(7)  # on its own disk, and nowhere else
            first.kill()
            await until(lambda: not any(member.is_serving for member in members))
            for member in others:
                nursery.start_soon(member.run)
            await until(lambda: all(member.is_serving for member in others))
            nursery.start_soon(first.run)
            await until(lambda: first.is_serving)
            assert first.truncated == 1
            the_leader(others).write(3)
            await settle(members)
            assert first.restored == 0
            nursery.cancel_scope.cancel()

    trio.run(main)


@pytest.mark.slow
def test_an_observer_sees_everything_and_its_absence_changes_nothing(tmp_path: Path) -> None:
    async def main() -> None:
        members = make(Plan(3, observers=1), tmp_path)
        async with trio.open_nursery() as nursery:
            leader = await start(nursery, members)
            observer = members[-1]
            assert observer.role == OBSERVING
            leader.write(20)
            await settle(members)
            observer.kill()
            leader.write(20)
            await settle(members[:-1])
            nursery.start_soon(observer.run)
            await until(lambda: observer.is_serving)
            await settle(members)
            nursery.cancel_scope.cancel()

    trio.run(main)
