"""Promises that were given to a leader who lost: whoever gave one must get back into a reign that began without it."""

import pytest

from tests.zab.network import World


@pytest.mark.parametrize("sid", [1, 3])
def test_a_voter_with_a_later_promise_makes_the_leader_begin_a_later_reign(sid: int) -> None:
    world = World(3)
    others = [server for server in world.servers.values() if server.sid != sid]
    for server in others:
        server.start()
    world.run_until(lambda: all(server.is_serving for server in others))
    late = world.servers[sid]
    late.disk.accepted = 7
    late.start()
    world.run_until(world.has_converged)
    assert {server.disk.current for server in world.servers.values()} == {8}
    world.check_trees()


def test_an_observer_may_go_back_on_its_promise() -> None:
    world = World(3, observers=1)
    voters = [world.servers[sid] for sid in (1, 2, 3)]
    for server in voters:
        server.start()
    world.run_until(lambda: all(server.is_serving for server in voters))
    late = world.servers[4]
    late.disk.accepted = 7
    late.start()
    world.run_until(world.has_converged)
    assert [server.disk.current for server in world.servers.values()] == [1, 1, 1, 1]
    assert late.disk.accepted == 7
