"""The quick ways of the usual set and create beside the general way that all writes can go: same answers, same log."""

import gc
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.keeper.harness import OPEN, Client, Packet, World, create_op, delete_op, multi_body, set_op
from tests.keeper.test_outstanding import ACLS, PATHS, creates, flags, multis, reads, versions, writes
from zkpy.keeper import quick
from zkpy.keeper.requests import Request, UsualCreate, UsualSet
from zkpy.proto import opcodes
from zkpy.proto.records import CreateRequest, DeleteRequest, SetACLRequest, SetDataRequest

#: Beside the usual paths those that are refused, that no digest covers, and that take longer to look at.
ODD_PATHS = (
    *("/", "", "a", "//x", "/a/", "/a/.", "/a/..", "/a//x", "/a/\x01", "/a/\x7f", "/nope/x"),
    *("/zookeeper/x", "/zookeeper/quota/x", "/zookeeperx", "/zookeeper"),
    *("/a/-", "/a/.x", "/a/x y", "/a/\u00e9", "/\u00e9", "/\u00e9/x"),
)
odd_paths = st.sampled_from(ODD_PATHS)
odd_writes = st.one_of(
    st.tuples(creates, st.builds(CreateRequest, odd_paths, st.just(b"odd"), st.sampled_from(ACLS), flags)),
    st.tuples(st.just(opcodes.SET_DATA), st.builds(SetDataRequest, odd_paths, st.just(b"odder"), versions)),
    st.tuples(st.just(opcodes.DELETE), st.builds(DeleteRequest, st.sampled_from((*ODD_PATHS, *PATHS)), versions)),
)
programs = st.lists(st.one_of(writes, writes, odd_writes, multis, reads), max_size=25)


def warm(world: World) -> Client:
    """A client of a server that has seen all the ACLs and flags: those that it has not go the general way."""
    client = world.client()
    for acl in ACLS:
        for flag in range(4):
            for name in "xy":
                client.call(opcodes.CREATE, CreateRequest(f"/{name}{flag}", b"", acl, flag))
    client.take()
    return client


def run(program: list, ways: dict[int, Any], held: list[bool]) -> tuple[list[Packet], World, int]:  # type: ignore[type-arg]
    """Carry out the program, with some of its txns waiting for the disk; and how many of them went a quick way."""
    world = World()
    world.keeper.quick_ways = ways
    client = warm(world)
    quick_ones = 0
    for at, (op, body) in enumerate(program):
        world.holds_log = held[at % len(held)]
        before = len(world.keeper.in_flight)
        client.post(op, body)
        quick_ones += sum(type(one) is not Request for one in list(world.keeper.in_flight)[before:])
        if not world.holds_log:
            world.sync()
    world.holds_log = False
    world.sync()
    world.check()
    return client.take(), world, quick_ones


@settings(max_examples=300, deadline=None)
@given(programs, st.lists(st.booleans(), min_size=1, max_size=7))
def test_both_ways_give_the_same_answers_and_the_same_log(program: list, held: list[bool]) -> None:  # type: ignore[type-arg]
    packets, one, _ = run(program, quick.WAYS, held)
    general, other, none = run(program, {}, held)
    assert packets == general
    assert one.log == other.log
    assert one.tree.digest == other.tree.digest
    assert none == 0


def kinds(world: World, client: Client, *requests: bytes) -> list[type]:
    """What the requests are while their txns are in flight."""
    world.holds_log = True
    client.send(*requests)
    found = [type(one) for one in world.keeper.in_flight]
    world.holds_log = False
    world.sync()
    world.check()
    return found


def usual(client: Client) -> list[bytes]:
    return [
        client.request(opcodes.CREATE, CreateRequest("/a", b"1", OPEN, 0)),
        client.request(opcodes.CREATE2, CreateRequest("/a/b", b"2", OPEN, 0)),
        client.request(opcodes.CREATE, CreateRequest("/a/e-", b"3", OPEN, opcodes.EPHEMERAL_SEQUENTIAL)),
    ]


def test_usual_writes_go_the_quick_ways() -> None:
    world = World()
    client = warm(world)
    # A znode that is only about to be made is no parent for them.
    assert kinds(world, client, *usual(client)) == [UsualCreate, Request, UsualCreate]
    sets = [client.request(opcodes.SET_DATA, SetDataRequest("/a", data, -1)) for data in (b"4", b"5")]
    made = client.request(opcodes.CREATE, CreateRequest("/a/c", b"6", OPEN, 0))
    assert kinds(world, client, *sets, made) == [UsualSet, UsualSet, Request]


def test_set_behind_any_other_change_of_its_znode_goes_the_general_way() -> None:
    world = World()
    client = warm(world)
    client.call(opcodes.CREATE, CreateRequest("/a", b"", OPEN, 0))
    for op, body in (
        (opcodes.SET_ACL, SetACLRequest("/a", ACLS[1], -1)),
        (opcodes.MULTI, multi_body(set_op("/a"))),
        (opcodes.MULTI, multi_body(delete_op("/a"), create_op("/a"))),
    ):
        set_ = client.request(opcodes.SET_DATA, SetDataRequest("/a", b"x", -1))
        assert kinds(world, client, client.request(op, body), set_) == [Request, Request]


@pytest.mark.parametrize(
    "settings",
    [{"enforce_quota": True}, {"local_sessions": True}, {"large_request_threshold": 1000}],
    ids=["quota", "local sessions", "large requests"],
)
def test_no_write_goes_a_quick_way_where_there_is_more_to_do(settings: dict[str, Any]) -> None:
    world = World(**settings)
    client = warm(world)
    assert kinds(world, client, *usual(client)) == [Request] * 3


def test_data_that_was_replaced_is_not_held_for_the_sake_of_counting() -> None:
    world = World()
    client = warm(world)
    client.call(opcodes.CREATE, CreateRequest("/a", b"", OPEN, 0))
    gc.collect()
    size = 100_000
    for number in range(60):
        client.call(opcodes.SET_DATA, SetDataRequest("/a", bytes([number]) * size, -1))
        world.advance(1)
    world.log.clear()
    client.take()
    held = {id(one.data) for one in gc.get_objects() if type(one) is UsualSet and len(one.data) == size}
    assert 1 <= len(held) <= 8
    world.keeper.count()
    assert world.keeper.statistics.namespaces.writes["a"].count == 61
