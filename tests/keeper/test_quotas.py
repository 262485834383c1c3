"""Quotas: usage kept in passing, limits enforced only where enforceQuota says so (client protocol, section 14)."""

import pytest

from tests.keeper.harness import OPEN, Client, Reply, World, create_op, set_op
from zkpy.proto import errors, opcodes
from zkpy.proto.records import CreateRequest, MultiHeader
from zkpy.tree.quota import LIMITS, STATS


def set_quota(client: Client, path: str, limits: str, stats: str = "") -> None:
    """What `setquota` of a client does."""
    at = "/zookeeper/quota"
    for name in path.strip("/").split("/"):
        at += "/" + name
        client.create(at)
    assert client.create(f"{at}/{LIMITS}", limits.encode()).err == 0
    assert client.create(f"{at}/{STATS}", stats.encode()).err == 0


def usage(client: Client, path: str) -> str:
    data = client.data(f"/zookeeper/quota{path}/{STATS}")
    assert data is not None
    return data.decode()


@pytest.fixture
def strict() -> World:
    """A server that enforces quotas."""
    return World(enforce_quota=True)


def quota_notes(world: World) -> list[object]:
    return [fields["quota"] for _, event, fields in world.keeper.take_notes() if event == "quota exceeded"]


# --- usage ---------------------------------------------------------------------------------------------------------


def test_usage_starts_with_what_is_there(client: Client) -> None:
    client.create("/a", b"123")
    client.create("/a/b", b"45")
    client.create("/a/b/c", None)
    client.create("/ab", b"not below /a")
    set_quota(client, "/a", "count=100,bytes=100")
    assert usage(client, "/a") == "count=3,bytes=5"


def test_usage_follows_every_kind_of_write(world: World, client: Client) -> None:
    client.create("/a")
    set_quota(client, "/a", "count=100,bytes=100")
    client.create("/a/b", b"12345")
    assert usage(client, "/a") == "count=2,bytes=5"
    client.create("/a/e", b"1", opcodes.EPHEMERAL)
    client.create("/a/c", b"1", op=opcodes.CREATE_CONTAINER)
    assert usage(client, "/a") == "count=4,bytes=7"
    client.set("/a/b", b"1")
    assert usage(client, "/a") == "count=4,bytes=3"
    client.set("/a/b", None)
    client.set("/a", b"self")
    assert usage(client, "/a") == "count=4,bytes=6"
    client.multi(create_op("/a/m", data=b"12"), set_op("/a/m", b"1"))
    assert usage(client, "/a") == "count=5,bytes=7"
    client.delete("/a/m")
    other = world.client()
    client.close_session()
    assert usage(other, "/a") == "count=3,bytes=5"


def test_usage_of_failed_writes_is_not_counted(client: Client) -> None:
    client.create("/a")
    set_quota(client, "/a", "count=100,bytes=100")
    client.create("/a", b"12345")
    client.set("/a", b"12345", 99)
    client.multi(create_op("/a/m"), set_op("/missing"))
    assert usage(client, "/a") == "count=1,bytes=0"


def test_only_the_deepest_quota_is_charged(client: Client) -> None:
    client.create("/a")
    client.create("/a/b")
    set_quota(client, "/a", "count=100,bytes=100")
    set_quota(client, "/a/b", "count=100,bytes=100")
    client.create("/a/b/c", b"123")
    assert usage(client, "/a/b") == "count=2,bytes=3"
    assert usage(client, "/a") == "count=2,bytes=0"
    client.delete(f"/zookeeper/quota/a/b/{LIMITS}")
    client.create("/a/b/d", b"1")
    assert usage(client, "/a") == "count=3,bytes=1"
    assert usage(client, "/a/b") == "count=2,bytes=3"


def test_usage_changes_without_version_time_or_watch(world: World, client: Client) -> None:
    client.create("/a")
    set_quota(client, "/a", "count=100,bytes=100")
    path = f"/zookeeper/quota/a/{STATS}"
    client.get(path, watch=True)
    before = client.stat(path)
    world.advance(5)
    client.create("/a/b", b"1234567890")
    after = client.stat(path)
    assert after.data_length == len("count=2,bytes=10") == before.data_length + 1
    after.data_length = before.data_length
    assert after == before


def test_usage_of_a_path_without_a_stats_node_is_nobodys(client: Client) -> None:
    client.create("/a")
    client.create("/zookeeper/quota/a")
    client.create(f"/zookeeper/quota/a/{LIMITS}", b"count=1,bytes=1")
    assert client.create("/a/b", b"123").err == 0


def test_answer_to_create2_of_a_stats_node_shows_what_was_written(client: Client) -> None:
    client.create("/a")
    client.create("/zookeeper/quota/a")
    client.create(f"/zookeeper/quota/a/{LIMITS}", b"count=1,bytes=1")
    path = f"/zookeeper/quota/a/{STATS}"
    answer = client.call(opcodes.CREATE2, CreateRequest(path, b"x", OPEN, 0))
    assert answer.body[-16:-12] == b"\0\0\0\1"
    assert usage(client, "/a") == "count=1,bytes=0"


# --- limits --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("limits", ["count=1,bytes=1", "count=1,bytes=1=;byteHardLimit=1;countHardLimit=1"])
def test_limits_mean_nothing_unless_enforced(world: World, client: Client, limits: str) -> None:
    client.create("/a")
    set_quota(client, "/a", limits)
    assert client.create("/a/b", b"much too much").err == 0
    assert client.set("/a", b"much too much").err == 0
    assert quota_notes(world) == []


def test_soft_limit_is_only_noted(strict: World) -> None:
    client = strict.client()
    client.create("/a")
    set_quota(client, "/a", "count=1,bytes=2")
    assert client.create("/a/b", b"123").err == 0
    assert quota_notes(strict) == [
        "/a [current count=2, softCountLimit=1]",
        "/a [current bytes=3, softByteLimit=2]",
    ]
    assert client.set("/a/b", b"123").err == 0
    assert quota_notes(strict) == [], "nothing was added"
    strict.check()


def test_hard_count_limit_refuses_creates_of_every_kind(strict: World) -> None:
    client = strict.client()
    client.create("/a")
    set_quota(client, "/a", "count=-1,bytes=-1=;countHardLimit=2")
    assert client.create("/a/1").err == 0
    zxid = strict.tree.last_zxid
    assert client.create("/a/2") == Reply(client.xid, zxid + 1, errors.QUOTAEXCEEDED)
    for flags, op in ((1, 1), (2, 1), (3, 15), (0, opcodes.CREATE_CONTAINER)):
        assert client.create("/a/2", b"", flags, op=op).err == errors.QUOTAEXCEEDED
    assert quota_notes(strict) == ["/a [current count=3, hardCountLimit=2]"] * 5
    client.delete("/a/1")
    assert client.create("/a/2").err == 0
    strict.check()


def test_hard_byte_limit_refuses_creates_and_writes_that_grow(strict: World) -> None:
    client = strict.client()
    client.create("/a", b"12345")
    set_quota(client, "/a", "count=-1,bytes=-1=;byteHardLimit=10")
    assert client.create("/a/b", b"123456").err == errors.QUOTAEXCEEDED
    assert client.create("/a/b", b"12345").err == 0
    assert client.set("/a/b", b"123456").err == errors.QUOTAEXCEEDED
    assert client.set("/a/b", b"54321").err == 0
    assert client.set("/a/b", b"").err == 0
    assert client.create("/a/empty").err == 0
    strict.check()


def test_hard_limit_takes_the_place_of_the_soft_one(strict: World) -> None:
    client = strict.client()
    client.create("/a")
    set_quota(client, "/a", "count=1,bytes=1=;byteHardLimit=10;countHardLimit=10")
    assert client.create("/a/b", b"123").err == 0
    assert quota_notes(strict) == []


def test_quota_comes_before_the_version_and_after_the_acl(strict: World) -> None:
    client = strict.client()
    client.create("/a")
    client.create("/a/b")
    set_quota(client, "/a", "count=-1,bytes=-1=;byteHardLimit=1")
    assert client.set("/a/b", b"12", 99).err == errors.QUOTAEXCEEDED
    assert client.set("/a/missing", b"12").err == errors.NONODE
    client.set_acl("/a/b", client_read_only())
    assert client.set("/a/b", b"12").err == errors.NOAUTH
    assert client.create("/a/b", b"12").err == errors.NODEEXISTS


def client_read_only() -> list:  # type: ignore[type-arg]
    entry = OPEN[0]
    return [type(entry)(opcodes.PERM_READ, entry.id)]


def test_limits_are_compared_with_what_is_committed(strict: World) -> None:
    client = strict.client()
    client.create("/a")
    set_quota(client, "/a", "count=-1,bytes=-1=;countHardLimit=2")
    strict.holds_log = True
    client.send(*(client.request(opcodes.CREATE, CreateRequest(f"/a/{name}", b"", OPEN, 0)) for name in "xyz"))
    strict.holds_log = False
    strict.sync()
    assert [packet.err for packet in client.take() if isinstance(packet, Reply)] == [0, 0, 0]
    assert usage(client, "/a") == "count=4,bytes=0"
    assert client.create("/a/w").err == errors.QUOTAEXCEEDED


def test_multi_past_a_hard_limit_fails_whole(strict: World) -> None:
    client = strict.client()
    client.create("/a")
    set_quota(client, "/a", "count=-1,bytes=-1=;byteHardLimit=3")
    reply = client.multi(create_op("/a/b", data=b"1"), create_op("/a/c", data=b"1234"))
    assert reply.err == 0
    assert MultiHeader.decode(reply.body, 13)[0] == MultiHeader(-1, False, errors.QUOTAEXCEEDED)
    assert "/a/b" not in strict.tree.nodes
    assert strict.keeper.statistics.quota_exceeded == {"a": 1}


@pytest.mark.parametrize("limits", ["rubbish", "count", "count=", "count=x", "count=1_0", "count= 1", ",count=1", "="])
def test_unreadable_limits_stop_every_write_below(strict: World, limits: str) -> None:
    client = strict.client()
    client.create("/a")
    set_quota(client, "/a", limits)
    assert client.create("/a/b").err == errors.MARSHALLINGERROR
    assert client.set("/a", b"x").err == errors.MARSHALLINGERROR
    assert client.delete("/a").err == 0


@pytest.mark.parametrize("limits", ["", "bytes=-1", "count==5,bytes=-1", "countHardLimit=9;;byteHardLimit=9,", "x=1"])
def test_limits_without_limits_stop_nothing(strict: World, limits: str) -> None:
    client = strict.client()
    client.create("/a")
    set_quota(client, "/a", limits)
    assert client.create("/a/b").err == 0
    assert quota_notes(strict) == []


def test_unreadable_usage_matters_only_where_there_is_a_limit(strict: World) -> None:
    client = strict.client()
    client.create("/a")
    set_quota(client, "/a", "count=-1,bytes=100")
    client.set(f"/zookeeper/quota/a/{STATS}", b"rubbish")
    assert client.create("/a/b").err == 0
    assert client.create("/a/c", b"1").err == errors.MARSHALLINGERROR


def test_root_has_no_quota(strict: World) -> None:
    client = strict.client()
    client.create(f"/zookeeper/quota/{LIMITS}", b"count=1,bytes=1=;countHardLimit=1")
    client.create(f"/zookeeper/quota/{STATS}", b"")
    assert client.create("/a", b"123").err == 0
