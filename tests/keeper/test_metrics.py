"""Metrics: the names that tools look up, and numbers that follow what happens (mntr)."""

import pytest

from tests.keeper.harness import OPEN, Client, World, check_op, create_op, delete_op, set_op
from zkpy.keeper import metrics, namespaces, reads
from zkpy.keeper.commands import monitor
from zkpy.keeper.metrics import RESERVOIR, Summary
from zkpy.proto import opcodes
from zkpy.proto.records import CreateRequest, GetACLRequest


@pytest.fixture
def world() -> World:
    """A server that answers mntr."""
    return World(four_letter_words=frozenset(("mntr", "srst")))


def values(world: World) -> dict[str, str]:
    """All metrics by name."""
    pairs = monitor(world.keeper)
    found = dict(pairs)
    assert len(found) == len(pairs), "a name twice"
    return found


def test_mntr_is_a_line_for_each_with_version_and_state_first(world: World) -> None:
    lines = world.word(b"mntr").splitlines()
    assert lines[0].startswith("zk_version\t")
    assert lines[1] == "zk_server_state\tstandalone"
    assert all(line.startswith("zk_") and line.count("\t") == 1 for line in lines)


def test_every_name_of_apache_is_there_from_the_start(world: World) -> None:
    names = set(values(world))
    expected = {"version", "server_state", *metrics.GAUGES, *metrics.COUNTERS}
    for name in (*metrics.BASIC_SUMMARIES, *metrics.ADVANCED_SUMMARIES):
        expected |= {f"{part}_{name}" for part in ("avg", "min", "max", "cnt", "sum")}
    for name in metrics.ADVANCED_SUMMARIES:
        expected |= {f"{part}_{name}" for part in ("p50", "p95", "p99", "p999")}
    assert names == expected


def test_no_counter_that_is_kept_has_a_name_of_its_own(world: World) -> None:
    assert set(world.keeper.statistics.counters()) <= set(metrics.COUNTERS)


def test_gauges_follow_the_state(world: World) -> None:
    client = world.client()
    client.create("/a", b"12345")
    client.create("/e", flags=opcodes.EPHEMERAL)
    client.exists("/a", watch=True)
    client.children("/a", watch=True)
    world.advance(2500)
    found = values(world)
    assert found["znode_count"] == "7"
    assert found["ephemerals_count"] == "1"
    assert found["watch_count"] == "2"
    assert found["num_alive_connections"] == "1"
    assert found["global_sessions"] == "1"
    assert found["uptime"] == "2500"
    paths = ("/", "/zookeeper", "/zookeeper/config", "/zookeeper/quota", "/a", "/e")
    assert found["approximate_data_size"] == str(sum(map(len, paths)) + 5)


def test_counters_follow_what_happens(world: World) -> None:
    client = world.client()
    client.exists("/a", watch=True)
    client.post(opcodes.CREATE, CreateRequest("/a", b"", OPEN, 0))
    client.post(opcodes.AUTH, b"\0\0\0\0\0\0\0\4none\0\0\0\0")
    world.advance(20000)
    found = values(world)
    assert found["commit_count"] == "3"
    assert found["connection_request_count"] == "1"
    assert found["auth_failed_count"] == "1"
    assert found["stale_sessions_expired"] == "1"
    assert found["watch_bytes"] == str(4 + 16 + 4 + 4 + 4 + len("/a"))
    assert int(found["bytes_received_count"]) > 100


def test_latencies_of_reads_and_updates_are_summed_up(world: World) -> None:
    client = world.client()
    for _ in range(3):
        client.exists("/")
    world.holds_log = True
    client.post(opcodes.CREATE, CreateRequest("/a", b"", OPEN, 0))
    world.advance(40)
    world.sync()
    found = values(world)
    assert (found["cnt_readlatency"], found["sum_readlatency"]) == ("3", "0")
    assert (found["cnt_updatelatency"], found["max_updatelatency"]) == ("2", "40")
    assert found["sum_updatelatency"] == "40"


def quota_client(world: World) -> Client:
    client = world.client()
    for path in ("/a", "/zookeeper/quota/a"):
        client.create(path)
    client.create("/zookeeper/quota/a/zookeeper_limits", b"count=5,bytes=-1=;byteHardLimit=20")
    client.create("/zookeeper/quota/a/zookeeper_stats")
    return client


def test_quotas_show_under_the_first_name_of_their_path() -> None:
    world = World(enforce_quota=True)
    client = quota_client(world)
    client.create("/a/b", b"1234")
    client.create("/a/c", bytes(100))
    found = values(world)
    assert found["a_quota_count_limit_per_namespace"] == "5"
    assert found["a_quota_bytes_limit_per_namespace"] == "20"
    assert found["a_quota_count_usage_per_namespace"] == "2"
    assert found["a_quota_bytes_usage_per_namespace"] == "4"
    assert found["a_quota_exceeded_error_per_namespace"] == "1"


def test_quotas_of_one_first_name_are_summed_up_and_need_no_limit_to_show_usage(world: World) -> None:
    client = world.client()
    client.create("/a")
    client.create("/zookeeper/quota/a")
    for name, data in (("x", b"12"), ("y", b"345")):
        client.create(f"/a/{name}", data)
        client.create(f"/zookeeper/quota/a/{name}")
        client.create(f"/zookeeper/quota/a/{name}/zookeeper_limits", b"count=7,bytes=9=;byteHardLimit=5")
        client.create(f"/zookeeper/quota/a/{name}/zookeeper_stats")
    client.create("/zookeeper/quota/a/unreadable")
    client.create("/zookeeper/quota/a/unreadable/zookeeper_limits", b"nonsense")
    client.create("/zookeeper/quota/a/unreadable/zookeeper_stats", None)
    client.delete("/zookeeper/quota/a/y/zookeeper_limits")
    found = {key: number for key, number in values(world).items() if "quota" in key}
    assert found == {
        "a_quota_count_limit_per_namespace": "7",
        "a_quota_bytes_limit_per_namespace": "5",
        "a_quota_count_usage_per_namespace": "2",
        "a_quota_bytes_usage_per_namespace": "5",
    }


def test_soft_limit_before_another_error_is_no_exceeded_quota() -> None:
    world = World(enforce_quota=True)
    client = quota_client(world)
    client.set("/zookeeper/quota/a/zookeeper_limits", b"count=1,bytes=1")
    client.set("/a", b"12345", 99)
    assert "a_quota_exceeded_error_per_namespace" not in values(world)


def test_summary_keeps_extremes_sum_and_percentiles() -> None:
    summary = Summary()
    for value in range(1, 101):
        summary.add_range(value, 1, value, value)
    assert dict(summary.lines("x", advanced=True)) == {
        "avg_x": "50.5",
        "min_x": "1",
        "max_x": "100",
        "cnt_x": "100",
        "sum_x": "5050",
        "p50_x": "51",
        "p95_x": "96",
        "p99_x": "100",
        "p999_x": "100",
    }
    assert len(summary.lines("x", advanced=False)) == 5


def test_summary_does_not_grow_with_what_it_sees() -> None:
    summary = Summary()
    for value in range(3 * RESERVOIR):
        summary.add_range(value, 1, value, value)
    assert len(summary._samples) == RESERVOIR
    assert summary.count == 3 * RESERVOIR
    assert max(summary._samples) > RESERVOIR, "later values get in too"


# --- namespaces -----------------------------------------------------------------------------------------------------


def summary(world: World, name: str) -> tuple[int, int, int, int]:
    """Count, sum, min and max of a namespace's reads or writes, all 0 while there are none."""
    found = values(world)
    count, total, least, most = (
        int(found.get(f"{part}_{name}_per_namespace", 0)) for part in ("cnt", "sum", "min", "max")
    )
    return count, total, least, most


def test_reads_are_summed_up_by_the_first_name_of_their_paths(world: World) -> None:
    client = world.client()
    client.create("/a", b"12345")
    client.create("/a/bb")
    client.create("/a/c")
    stat = 68
    assert summary(world, "a_read") == (0, 0, 0, 0)
    client.data("/a")
    client.data("/a")
    assert summary(world, "a_read") == (2, 2 * (2 + 5 + stat), 75, 75)
    client.exists("/a/bb")
    client.children("/a")
    client.names("/a")
    assert summary(world, "a_read") == (5, 150 + 5 + stat + 2 * (2 + 3 + stat), 73, 75)
    client.set("/a", b"1")
    client.data("/a")
    assert summary(world, "a_read") == (6, 150 + 73 + 146 + 71, 71, 75)
    client.exists("/none")
    client.get("/none")
    client.data("/")
    client.children("/")
    client.call(opcodes.GET_ACL, GetACLRequest("/a"))
    assert summary(world, "a_read")[0] == 6
    assert not any(name.startswith("cnt_none_") for name in values(world))


def test_reads_of_more_znodes_than_answers_are_kept_are_all_counted(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reads, "CACHED_REPLIES_LIMIT", 10)
    client = world.client()
    client.create("/a")
    for n in range(30):
        client.create(f"/a/{n:02}")
    for _ in range(3):
        for n in range(30):
            client.data(f"/a/{n:02}")
            client.exists(f"/a/{n:02}")
    assert summary(world, "a_read") == (180, 180 * (5 + 68), 73, 73)


def test_writes_are_summed_up_by_the_first_name_of_their_paths(world: World) -> None:
    client = world.client()
    client.create("/a", b"12345")
    client.create("/a/b", op=opcodes.CREATE2)
    client.set("/a/b", b"x" * 100)
    client.create("/b")
    assert summary(world, "a_write") == (3, 7 + 4 + 104, 4, 104)
    assert summary(world, "b_write") == (1, 2, 2, 2)
    client.delete("/a/b")
    client.multi(create_op("/a/m", data=b"123"), set_op("/a/m", b"1"), check_op("/a", 0), delete_op("/a/m"))
    assert summary(world, "a_write") == (7, 115 + 4 + 7 + 5 + 4, 4, 104)
    client.create("/a")
    client.multi(create_op("/a/m"), create_op("/a/m"))
    client.set("/")
    assert summary(world, "a_write")[0] == 7
    client.create("/a/e", flags=opcodes.EPHEMERAL)
    client.close_session()
    assert summary(world, "a_write") == (9, 135 + 4 + 4, 4, 104)


def test_namespaces_stay_when_they_are_reset(world: World) -> None:
    client = world.client()
    client.create("/a", b"12345")
    client.data("/a")
    world.word(b"srst")
    assert (summary(world, "a_read"), summary(world, "a_write")) == ((0, 0, 0, 0), (0, 0, 0, 0))
    assert "cnt_a_read_per_namespace" in values(world)
    client.data("/a")
    assert summary(world, "a_read")[0] == 1


def test_only_so_many_namespaces_are_told_apart(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(namespaces, "NAMESPACES_LIMIT", 3)
    client = world.client()
    for name in "abcd":
        client.create(f"/{name}")
        client.create(f"/{name}/x")
    assert [summary(world, f"{name}_write")[0] for name in "abcd"] == [2, 2, 2, 0]
