"""Stories of whole ensembles: what a server was brought by a synchronization, the next one gets from it; and more."""

import pytest

from tests.zab.network import Server, World
from zkpy.proto.notification import LEADING
from zkpy.zab.peer import Peer
from zkpy.zab.quorum import Hierarchical


def begin(voters: int = 3, **more: object) -> tuple[World, list[Server]]:
    """All servers, serving."""
    world = World(voters, **more)  # type: ignore[arg-type]
    for server in world.servers.values():
        server.start()
    world.run_until(world.has_converged)
    return world, list(world.servers.values())


def write(world: World, count: int) -> None:
    """Txns that all servers have applied."""
    leader = world.leader()
    assert leader is not None
    leader.propose(count)
    world.run(50)
    world.run_until(world.has_converged)


@pytest.mark.parametrize("keep", [1, 500])
def test_what_a_server_got_by_diff_it_passes_on_when_it_leads(keep: int) -> None:
    """Committed txns that a learner was brought were not in its memory, and the next server missed them."""
    world, (one, two, three) = begin(commit_log_count=keep)
    write(world, 2)
    one.crash()
    two.crash()
    one.start()
    world.run_until(lambda: one.is_serving and three.is_serving)
    write(world, 5)
    one.crash()
    one.start()
    write(world, 1)
    three.crash()
    two.start()
    world.run_until(world.has_converged)
    world.check_trees()
    assert len(two.tree) == 8


@pytest.mark.parametrize("after_ms", range(200, 232, 2))
def test_leader_that_dies_while_it_makes_its_reign_takes_nothing_with_it(after_ms: int) -> None:
    world, (one, two, three) = begin()
    write(world, 3)
    three.crash()
    world.run(after_ms)
    if two.peer is not None:
        two.crash()
    three.start()
    world.run_until(lambda: one.is_serving and three.is_serving)
    write(world, 2)
    two.start()
    world.run_until(world.has_converged)
    world.check_trees()
    assert len(two.tree) == 5


@pytest.mark.parametrize("is_observer", [False, True])
def test_a_snapshot_of_what_was_never_committed_is_replaced_by_one_of_the_leader(is_observer: bool) -> None:
    """A leader died before its reign began, and one server had got its tail as a snapshot, with nothing older."""
    world, servers = begin(voters=3 if is_observer else 5, observers=1 if is_observer else 0)
    last = servers[-1] if is_observer else servers[0]
    write(world, 3)
    for server in servers:
        server.crash()
    last.disk.restore((*last.disk.history, (0x100000004, b"a tail"), (0x100000005, b"a tail")))
    last.disk.accepted = last.disk.current = 2
    others = [server for server in servers if server is not last]
    for server in others:
        server.start()
    world.run_until(lambda: all(server.is_serving for server in others))
    last.start()
    world.run_until(world.has_converged)
    world.check_trees()
    assert len(last.tree) == 3
    write(world, 1)
    for server in servers:
        server.crash()
    for server in servers:
        server.start()
    world.run_until(world.has_converged)
    world.check_trees()
    assert len(last.tree) == 4


def test_leader_that_cannot_go_on_says_so_and_another_one_leads() -> None:
    world, servers = begin()
    leader = world.leader()
    assert leader is not None
    leader.tell(lambda peer: peer.resign("the quorum port cannot be bound"))
    world.run_until(world.has_converged)
    assert world.leader() is not None
    assert {server.disk.current for server in servers} == {2}


def test_follower_that_cannot_go_on_finds_its_leader_again() -> None:
    world, (one, *_) = begin()
    one.tell(lambda peer: peer.resign("a reason"))
    assert not one.is_serving
    world.run_until(world.has_converged)
    assert {server.disk.current for server in world.servers.values()} == {1}


def test_server_without_weight_follows_and_never_leads() -> None:
    groups = Hierarchical({1: [1, 2, 3]}, {3: 0})
    world, (_, _, three) = begin(quorum=groups)
    leader = world.leader()
    assert leader is not None
    assert leader.sid == 2
    write(world, 2)
    three.crash()
    write(world, 1)
    three.start()
    world.run_until(world.has_converged)
    assert three.role != LEADING


def test_one_voter_leads_observers() -> None:
    world, (one, two, three) = begin(1, observers=2)
    assert one.role == LEADING
    write(world, 3)
    assert two.tree == three.tree == one.tree
    two.crash()
    three.crash()
    write(world, 1)
    two.start()
    world.run_until(world.has_converged)
    assert len(two.tree) == 4


def test_learner_s_write_and_sync_go_through_the_leader_and_come_back_in_order() -> None:
    world, (one, *_) = begin()
    leader = world.leader()
    assert leader is not None
    one.tell(lambda peer: peer.forward(77, 1, 1, b"create", None))
    one.tell(lambda peer: peer.forward(77, 2, 9, b"sync", None))
    world.run(20)
    assert [(session, cxid, body) for _, session, cxid, body in leader.requests] == [
        (77, 1, b"create"),
        (77, 2, b"sync"),
    ]
    assert one.syncs == 1


def test_sessions_that_learners_hear_of_are_known_to_the_leader_within_a_ping() -> None:
    world, (one, two, _) = begin()
    leader = world.leader()
    assert leader is not None
    world.run(60)
    assert {session for session, _ in leader.touches} == {one.sid, two.sid}
    one.tell(lambda peer: peer.revalidate(77, 4000))
    one.tell(lambda peer: peer.revalidate(78, 0))
    world.run(10)
    assert one.revalidated == [(77, True), (78, False)]


def test_words_are_held_for_the_disk_work_that_is_decided_and_for_no_later_one() -> None:
    peer = Peer.standalone(0)
    peer.hold(1, b"at once")
    assert peer.ready().send == [(1, b"at once")]
    peer.propose([(1, b"")])
    peer.hold(1, b"after the first")
    first = peer.ready()
    peer.hold(1, b"after the first, too")
    peer.propose([(2, b"")])
    second = peer.ready()
    peer.hold(1, b"after the second")
    assert not peer.ready()
    assert (first.send, second.send) == ([], [])
    peer.synced(first.token)
    assert peer.ready().send == [(1, b"after the first")]
    peer.synced(second.token)
    assert peer.ready().send == [(1, b"after the first, too"), (1, b"after the second")]
