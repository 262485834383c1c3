"""What is proposed and not applied yet: a program gives the same answers and the same log however the disk keeps up."""

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.keeper.harness import (
    OPEN,
    Client,
    Event,
    Packet,
    World,
    acl,
    check_op,
    create_op,
    delete_op,
    multi_body,
    set_op,
)
from zkpy.proto import opcodes
from zkpy.proto.records import (
    CreateRequest,
    DeleteRequest,
    GetACLRequest,
    GetDataRequest,
    GetDataResponse,
    SetACLRequest,
    SetDataRequest,
)

PATHS = ("/a", "/b", "/a/x", "/a/y", "/a/x/1", "/b/x")
ACLS = (OPEN, acl((31, "world", "anyone"), (1, "ip", "10.0.0.1")), acl((15, "world", "anyone")))

paths = st.sampled_from(PATHS)
versions = st.sampled_from((-1, -1, -1, 0, 1, 2))
data = st.sampled_from((b"", b"x", b"some more", None))
flags = st.sampled_from((0, 0, 0, 1, 2, 3))
creates = st.sampled_from((opcodes.CREATE, opcodes.CREATE, opcodes.CREATE2, opcodes.CREATE_CONTAINER))
writes = st.one_of(
    st.tuples(creates, st.builds(CreateRequest, paths, data, st.sampled_from(ACLS), flags)),
    st.tuples(st.just(opcodes.DELETE), st.builds(DeleteRequest, paths, versions)),
    st.tuples(st.just(opcodes.SET_DATA), st.builds(SetDataRequest, st.sampled_from((*PATHS, "/")), data, versions)),
    st.tuples(st.just(opcodes.SET_ACL), st.builds(SetACLRequest, paths, st.sampled_from(ACLS), versions)),
)
parts = st.one_of(
    st.builds(create_op, paths, flags, st.sampled_from((b"", b"m"))),
    st.builds(delete_op, paths, versions),
    st.builds(set_op, paths, st.sampled_from((b"", b"m")), versions),
    st.builds(check_op, paths, versions),
)
multis = st.lists(parts, max_size=4).map(lambda operations: (opcodes.MULTI, multi_body(*operations)))
reads = st.one_of(
    st.tuples(
        st.sampled_from((opcodes.EXISTS, opcodes.GET_DATA, opcodes.GET_CHILDREN2)),
        st.builds(GetDataRequest, paths, st.booleans()),
    ),
    st.tuples(st.just(opcodes.GET_ACL), st.builds(GetACLRequest, paths)),
)
programs = st.lists(st.one_of(writes, writes, multis, reads), max_size=25)


def run(program: list, held: list[bool]) -> tuple[list[Packet], World]:  # type: ignore[type-arg]
    """Carry out the program; a request that is `held` leaves its txn, and all after it, waiting for the disk."""
    world = World()
    client = world.client()
    for at, (op, body) in enumerate(program):
        world.holds_log = bool(held) and held[at % len(held)]
        client.post(op, body)
        if not world.holds_log:
            world.sync()
    world.holds_log = False
    world.sync()
    packets = client.take()
    world.check()
    return packets, world


@settings(max_examples=400, deadline=None)
@given(programs, st.lists(st.booleans(), min_size=1, max_size=7))
def test_answers_and_log_do_not_depend_on_how_the_disk_keeps_up(program: list, held: list[bool]) -> None:  # type: ignore[type-arg]
    at_once, one = run(program, [])
    late, other = run(program, held)
    all_late, third = run(program, [True])
    assert at_once == late == all_late
    assert one.log == other.log == third.log
    assert one.tree.digest == other.tree.digest == third.tree.digest


def pipeline(world: World, client: Client, *requests: bytes) -> list[Packet]:
    """What comes of requests whose txns are all in flight together."""
    world.holds_log = True
    client.send(*requests)
    world.holds_log = False
    world.sync()
    return client.take()


def test_node_made_gone_and_made_again_in_flight_is_each_time_its_own(world: World, client: Client) -> None:
    first, read, _, second, reread = pipeline(
        world,
        client,
        client.request(opcodes.CREATE2, CreateRequest("/a", b"first", OPEN, 0)),
        client.request(opcodes.GET_DATA, GetDataRequest("/a", False)),
        client.request(opcodes.DELETE, DeleteRequest("/a", -1)),
        client.request(opcodes.CREATE2, CreateRequest("/a", b"a second one", OPEN, 0)),
        client.request(opcodes.GET_DATA, GetDataRequest("/a", False)),
    )
    for made, shown, content in ((first, read, b"first"), (second, reread, b"a second one")):
        assert not isinstance(made, Event)
        assert not isinstance(shown, Event)
        answer = GetDataResponse.decode(shown.body, 0)[0]  # type: ignore[union-attr]
        assert answer.data == content
        assert made.body.endswith(answer.stat.to_bytes())  # type: ignore[union-attr]
        assert answer.stat.czxid == made.zxid  # type: ignore[union-attr]


def test_nothing_is_left_once_all_is_applied(world: World, client: Client) -> None:
    pipeline(
        world,
        client,
        *(client.request(opcodes.CREATE, CreateRequest(f"/{name}", b"", OPEN, 0)) for name in "abc"),
        client.request(opcodes.MULTI, multi_body(set_op("/a"), delete_op("/b"), set_op("/nope"))),
        client.request(opcodes.MULTI, multi_body(set_op("/a"), delete_op("/b"), create_op("/b"))),
    )
    outstanding = world.keeper.outstanding
    assert (outstanding.shadows, list(outstanding.changes), list(world.keeper.in_flight)) == ({}, [], [])
    assert outstanding.digest == world.tree.digest == world.tree.compute_digest()


def test_digest_of_a_parent_that_is_written_between_two_creates_in_flight(world: World, client: Client) -> None:
    """What was worked out for its first data must not be used for the second."""
    pipeline(
        world,
        client,
        client.request(opcodes.CREATE, CreateRequest("/a", b"first", OPEN, 0)),
        client.request(opcodes.SET_DATA, SetDataRequest("/a", b"second", -1)),
        client.request(opcodes.CREATE, CreateRequest("/a/x", b"", OPEN, 0)),
        client.request(opcodes.SET_DATA, SetDataRequest("/a", b"third", -1)),
        client.request(opcodes.CREATE, CreateRequest("/a/y", b"", OPEN, 0)),
    )
    assert world.tree.digest == world.tree.compute_digest()
