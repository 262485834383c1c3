"""Configuration: a cache that is never torn, changes in order over anything, and what it says while it is cut off."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from kazoo.client import KazooClient
from kazoo.protocol.states import WatchedEvent
from kazoo.security import ACL, Id

from tests.recipes.fixtures import PATIENCE_S, Connect, expire, until
from tests.recipes.proxy import DELETE, MULTI, Proxy
from zkpy.recipes import Change, Config, ConfigError, Conflict, Snapshot, Stale
from zkpy.recipes.config import ABSENT, BadKey, BadValue, Disconnected, NoKey, TooLarge, Unsure


@contextmanager
def following(client: KazooClient, root: str, **settings: float) -> Iterator[Config]:
    """A Config that waits as long as the tests do."""
    with Config(client, root, **{"timeout_s": PATIENCE_S, **settings}) as config:
        yield config


@pytest.fixture
def config(client: KazooClient, path: str) -> Iterator[Config]:
    """A configuration of which nothing exists yet, not even its root's parent."""
    with following(client, path) as started:
        yield started


@pytest.fixture
def other(connect: Connect, path: str) -> Iterator[Config]:
    """The same as seen by another client."""
    with following(connect(), path) as started:
        yield started


class Heard:
    """What one subscriber was told."""

    def __init__(self) -> None:
        self.changes: list[Change] = []

    def __call__(self, change: Change) -> None:
        self.changes.append(change)

    @property
    def steps(self) -> list[tuple[str, str]]:
        return [(change.kind, change.key) for change in self.changes]

    @property
    def numbers(self) -> list[int]:
        return [int(change.new.value) for change in self.changes if change.new is not None]


# --- the cache --------------------------------------------------------------------------------------------------------


def test_a_read_asks_no_server_and_a_change_by_another_client_shows(
    client: KazooClient, config: Config, other: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    config.set("checkout/limit", 10)
    until(lambda: other.get_int("checkout/limit", None) == 10)
    config.refresh()
    asked: list[str] = []
    for name in ("get_async", "get_children_async", "exists_async"):
        monkeypatch.setattr(client, name, lambda *args, **_: asked.append(args[0]))
    assert [config.get_int("checkout/limit") for _ in range(1000)] == [10] * 1000
    assert asked == []


def test_absence_is_cached_and_its_end_is_heard_of(config: Config, other: Config) -> None:
    assert config.entry("a/b") is None
    assert config.version("a/b") == ABSENT
    assert config.get_str("a/b", "none") == "none"
    with pytest.raises(NoKey, match="there is no key 'a/b'"):
        config.get_str("a/b")
    assert len(config.snapshot()) == 0
    other.set("a/b", "there")
    until(lambda: config.get_str("a/b", None) == "there")
    assert set(config.snapshot()) == {"", "a", "a/b"}
    other.delete("a/b")
    until(lambda: config.entry("a/b") is None)


def test_the_root_may_go_and_come_again(config: Config, client: KazooClient, other: Config) -> None:
    other.set("a/b", 1)
    until(lambda: config.get_int("a/b", 0) == 1)
    client.delete(config.root, recursive=True)
    until(lambda: len(config.snapshot()) == 0)
    other.set("a/c", 2)
    until(lambda: config.get_int("a/c", 0) == 2)
    assert "a/b" not in config.snapshot()


def test_what_one_wrote_shows_when_the_call_returns_and_a_refresh_shows_what_others_wrote(
    config: Config, other: Config
) -> None:
    for number in range(20):
        config.set("n", number)
        assert config.get_int("n") == number
        other.refresh()
        assert other.get_int("n") == number
    config.delete("n")
    assert config.entry("n") is None


def test_a_refresh_waits_for_events_that_kazoo_has_not_handed_over_yet(
    client: KazooClient, config: Config, other: Config, path: str
) -> None:
    other.set("key", "old")
    config.refresh()
    is_held_up, may_go_on = threading.Event(), threading.Event()

    def hold_up(_: WatchedEvent) -> None:
        is_held_up.set()
        may_go_on.wait(PATIENCE_S)

    client.exists(f"{path}-x", watch=hold_up)  # somebody else's watch on the same client
    client.create(f"{path}-x")
    assert is_held_up.wait(PATIENCE_S)
    other.set("key", "new")
    threading.Timer(0.3, may_go_on.set).start()
    config.refresh()
    assert config.get_str("key") == "new"


def test_a_node_that_is_deleted_and_made_again_is_still_followed(config: Config, other: Config) -> None:
    for number in range(20):
        other.set("x/y", number)
        other.change({"x/y": None, "x": None})
    other.set("x/y", "last")
    until(lambda: config.get_str("x/y", "") == "last")
    other.set("x/y", "later")
    until(lambda: config.get_str("x/y") == "later")


def test_many_keys_are_read_at_the_start(config: Config, connect: Connect) -> None:
    config.change({f"many/{number}": number for number in range(1200)})
    with following(connect(), config.root) as late:
        assert len(late.snapshot().below("many")) == 1201
        assert late.get_int("many/1199") == 1199


def test_a_node_that_must_not_be_read_counts_as_absent(config: Config, client: KazooClient, path: str) -> None:
    config.set("open", 1)
    client.create(f"{path}/shut", b"secret", acl=[ACL(0b11110, Id("world", "anyone"))])
    config.set("later", 2)
    assert config.entry("shut") is None
    assert config.get_int("later") == 2
    client.delete(f"{path}/shut")


# --- typed reads ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "read"),
    [
        (b"\x00\xff", Config.get_bytes),
        ("Grüße", Config.get_str),
        (-12, Config.get_int),
        (0.1, Config.get_float),
        (True, Config.get_bool),
        (False, Config.get_bool),
    ],
)
def test_a_value_is_read_as_it_was_written(config: Config, value: object, read: Callable[..., object]) -> None:
    config.set("key", value)  # type: ignore[arg-type]
    found = read(config, "key")
    assert (found, type(found)) == (value, type(value))


def test_a_value_of_another_type_is_an_error_and_never_the_default(config: Config) -> None:
    config.set("key", "ten")
    config.set("bytes", b"\xff")
    config.set("json", '{"a": [1, 2]}')
    for read, what in (
        (config.get_int, "'ten', which is no integer"),
        (config.get_float, "'ten', which is no number"),
        (config.get_bool, "'ten', which is neither true nor false"),
        (config.get_json, "no JSON"),
    ):
        with pytest.raises(BadValue, match=what):
            read("key", 5)
    with pytest.raises(BadValue, match="not UTF-8"):
        config.get_str("bytes")
    assert config.get_json("json") == {"a": [1, 2]}
    assert config.get_json("absent", None) is None


@pytest.mark.parametrize("key", ["/a", "a/", "a//b", "a/../b", "./a", "a\x00b"])
def test_what_cannot_be_a_key_is_refused_and_is_no_absence(config: Config, key: str) -> None:
    for use in (
        lambda: config.get_str(key, ""),
        lambda: config.set(key, 1),
        lambda: config.delete(key),
        lambda: config.change({key: 1}),
        lambda: config.change({}, if_versions={key: 1}),
        lambda: config.on_change(print, key),
    ):
        with pytest.raises(BadKey):
            use()


# --- compare-and-set, and several keys at once ------------------------------------------------------------------------


def test_compare_and_set_lets_one_of_two_writers_through(config: Config, other: Config) -> None:
    assert config.set("key", "mine", if_version=ABSENT) == 0
    with pytest.raises(Conflict, match=r"'key' was to be at version none \(absent\) and is at 0"):
        other.set("key", "theirs", if_version=ABSENT)
    assert other.set("key", "theirs", if_version=0) == 1
    with pytest.raises(Conflict) as caught:
        config.set("key", "mine", if_version=0)
    assert (caught.value.key, caught.value.expected, caught.value.found) == ("key", 0, 1)
    assert config.get_str("key") == "theirs"
    with pytest.raises(Conflict):
        config.delete("key", if_version=0)
    config.delete("key", if_version=1)
    with pytest.raises(Conflict) as caught:
        config.set("key", "mine", if_version=1)
    assert caught.value.found == ABSENT
    with pytest.raises(NoKey):
        config.delete("key")


def test_updates_by_many_clients_at_once_are_all_counted(connect: Connect, path: str) -> None:
    def count() -> None:
        with following(connect(), path) as mine:
            for _ in range(15):
                mine.update("count", lambda entry: 1 if entry is None else int(entry.value) + 1)

    threads = [threading.Thread(target=count) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with following(connect(), path) as after:
        assert after.get_int("count") == 60


def test_several_keys_change_all_or_none(config: Config) -> None:
    config.change({"a/x": 1, "b": 2, "c": 3})
    shown = config.change({"a/x": 10, "b": None, "new/deep/key": True}, if_versions={"a/x": 0, "c": 0})
    assert (shown.get_int("a/x"), shown.get_bool("new/deep/key"), "b" in shown) == (10, True, False)
    before = config.snapshot()
    with pytest.raises(Conflict) as caught:
        config.change({"a/x": 11, "c": 4}, if_versions={"c": 7})
    assert (caught.value.key, caught.value.expected) == ("c", 7)
    with pytest.raises(Conflict):
        config.change({"a/x": 11, "b": None}, if_versions={"b": 0})
    with pytest.raises(Conflict):
        config.change({"a/x": 11, "c": 4}, if_versions={"c": ABSENT})
    config.refresh()
    assert config.snapshot() == before


def test_a_change_that_cannot_be_is_refused_before_it_is_sent(config: Config) -> None:
    config.change({"a/x": 1})
    for wanted in ({"a": None}, {"a": None, "a/x": None, "a/y": 1}):
        with pytest.raises(ConfigError, match=r"'a' cannot be deleted alone: 'a/[xy]' is below it"):
            config.change(wanted)
    with pytest.raises(TooLarge, match="do not fit into a request"):
        config.change({f"big/{number}": b"x" * 200_000 for number in range(6)})
    with pytest.raises(ConfigError, match="there are keys below it"):
        config.delete("a")
    assert set(config.snapshot()) == {"", "a", "a/x"}
    assert set(config.change({"a": None, "a/x": None})) == {""}


# --- snapshots --------------------------------------------------------------------------------------------------------


def test_keys_that_are_changed_together_are_never_seen_apart(config: Config, connect: Connect) -> None:
    config.change({"left": 0, "deep/right": 0})
    seen: list[tuple[int, int]] = []
    is_over = threading.Event()

    def write() -> None:
        with following(connect(), config.root) as writer:
            for number in range(1, 120):
                # "extra" comes and goes with every second number.
                extra = {"deep/extra": 1} if number % 2 else {"deep/extra": None}
                writer.change({"left": number, "deep/right": number, **extra})
        is_over.set()

    thread = threading.Thread(target=write)
    thread.start()
    while not is_over.is_set():
        snapshot = config.snapshot()
        left = snapshot.get_int("left")
        assert snapshot.get_int("deep/right") == left
        assert ("deep/extra" in snapshot) == bool(left % 2)
        seen.append((left, snapshot.zxid))
        time.sleep(0.0005)
    thread.join()
    assert seen == sorted(seen)
    assert len(set(seen)) > 10
    config.refresh()
    assert config.get_int("left") == 119


def test_a_snapshot_is_of_one_zxid_that_all_clients_agree_on(config: Config, other: Config) -> None:
    first = config.change({"a": 1, "b/c": 2})
    assert {entry.mzxid for entry in first.entries.values()} == {first.zxid}
    second = config.change({"b/c": None})
    assert second.zxid > first.zxid  # a deletion leaves no node that tells of it but the one above
    config.set("a", 5)
    entry = config.entry("a")
    assert entry is not None
    other.refresh()
    for snapshot in (config.snapshot(), other.snapshot()):
        assert snapshot.zxid == entry.mzxid
        assert snapshot == {"": first[""], "a": entry, "b": first["b"]}
    assert first.get_int("a") == 1  # a snapshot stays what it is


# --- callbacks --------------------------------------------------------------------------------------------------------


def test_a_subscriber_hears_of_what_he_asked_for_in_order(config: Config, other: Config) -> None:
    of_all, of_some, closed = Heard(), Heard(), Heard()
    config.on_change(of_all)
    config.on_change(of_some, "some")
    config.on_change(closed).close()
    for act in (
        lambda: other.set("some/a", 1),
        lambda: other.set("somebody", 2),
        lambda: other.change({"some/a": 3, "some": "x"}),
        lambda: other.delete("some/a"),
    ):
        act()
        config.refresh()
    until(lambda: ("deleted", "some/a") in of_all.steps and ("deleted", "some/a") in of_some.steps)
    expected = [("created", "some"), ("created", "some/a"), ("changed", "some"), ("changed", "some/a")]
    assert of_some.steps == [*expected, ("deleted", "some/a")]
    assert of_all.steps == [
        ("created", ""),
        *expected[:2],
        ("created", "somebody"),
        *expected[2:],
        ("deleted", "some/a"),
    ]
    together = of_some.changes[2:4]
    assert together[0].snapshot is together[1].snapshot
    old, new = together[1].old, together[1].new
    assert old is not None
    assert new is not None
    assert (old.value, new.value) == (b"1", b"3")
    assert closed.changes == []


def test_a_subscriber_may_ask_for_what_there_is_and_for_what_came_since(config: Config) -> None:
    before = config.change({"a": 1})
    config.change({"a": 2, "b": 1})
    all_of_it, since = Heard(), Heard()
    config.on_change(all_of_it, since=Snapshot())
    config.on_change(since, since=before)
    until(lambda: len(all_of_it.changes) == 3 and len(since.changes) == 2)
    assert sorted(all_of_it.steps) == [("created", ""), ("created", "a"), ("created", "b")]
    assert since.steps == [("changed", "a"), ("created", "b")]


def test_a_subscriber_that_fails_or_is_slow_or_uses_the_configuration_harms_nobody(
    config: Config, other: Config, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(change: Change) -> None:
        raise RuntimeError("on purpose")

    def follow(change: Change) -> None:
        if change.key == "count":
            config.set("copy", change.new.value if change.new else b"")

    heard = Heard()
    for callback in (fail, follow, lambda _: time.sleep(0.02)):
        config.on_change(callback)
    config.on_change(heard, "count")
    config.on_change(heard, "copy")
    for number in range(1, 21):
        other.set("count", number)
    until(lambda: heard.changes and heard.changes[-1].key == "copy" and heard.numbers[-1] == 20)
    counted = [int(change.new.value) for change in heard.changes if change.key == "count" and change.new]
    assert counted == sorted(set(counted))
    assert counted[-1] == 20
    assert "a subscriber failed" in caplog.text


def test_over_cuts_and_lost_sessions_no_last_value_is_missed_and_none_is_out_of_order(
    connect: Connect, port: int, proxy: Proxy, path: str, other: Config
) -> None:
    other.set("count", 0)
    cut_off = connect(port=proxy.port)
    with following(cut_off, path) as config:
        heard, states = Heard(), list[bool]()
        config.on_change(heard, "count")
        config.on_following(states.append)
        for number in range(1, 121):
            if number in (20, 50, 80):
                proxy.drop()
            if number == 100:
                until(lambda: cut_off.client_id is not None)
                session = cut_off.client_id
                expire(cut_off, port)
                proxy.cut()
                until(lambda: not config.is_following)
            other.set("count", number)
        proxy.mend()
        until(lambda: heard.numbers and heard.numbers[-1] == 120)
        until(lambda: states and states[-1])
        assert cut_off.client_id != session
        assert heard.numbers == sorted(set(heard.numbers))
        assert states == [False, True] * (len(states) // 2)
        assert all(change.old is not None for change in heard.changes)  # never forgotten, and never made up


def test_over_restarts_of_the_server_no_last_value_is_missed_and_none_is_out_of_order(
    config: Config, other: Config, restart: Callable[[], None]
) -> None:
    other.set("count", 0)
    config.refresh()
    heard = Heard()
    config.on_change(heard, "count")
    is_over = threading.Event()
    failures: list[Exception] = []
    written = 0

    def write() -> None:
        nonlocal written
        while not is_over.is_set():
            try:
                other.set("count", written + 1)
            except (Disconnected, Unsure) as error:
                failures.append(error)
            written += 1
            time.sleep(0.01)

    writer = threading.Thread(target=write)
    writer.start()
    for _ in range(2):
        until(lambda: other.is_following and config.is_following and len(heard.changes) > 5)
        restart()
    is_over.set()
    writer.join()
    other.set("count", written + 1)
    until(lambda: heard.numbers[-1] == written + 1)
    assert heard.numbers == sorted(set(heard.numbers))
    assert all(isinstance(failure, Unsure) for failure in failures)


# --- while cut off ----------------------------------------------------------------------------------------------------


def test_while_cut_off_reads_serve_what_was_known_and_say_how_old_it_may_be(
    connect: Connect, proxy: Proxy, path: str, other: Config
) -> None:
    other.set("key", "old")
    with following(connect(port=proxy.port), path) as config:
        assert config.is_following
        proxy.cut()
        until(lambda: not config.is_following)
        other.set("key", "new")
        age_s = config.age_s
        time.sleep(0.2)
        assert config.get_str("key") == "old"
        assert config.age_s >= age_s + 0.2
        proxy.mend()
        until(lambda: config.get_str("key") == "new")
        assert config.is_following


def test_with_a_maximal_age_reads_raise_once_the_cache_is_older_also_over_a_link_that_only_hangs(
    connect: Connect, proxy: Proxy, path: str, other: Config
) -> None:
    other.set("key", "old")
    with following(connect(port=proxy.port), path, max_age_s=2.0) as config:
        proxy.freeze()

        until(lambda: config.age_s > 2.0)
        for read in (config.snapshot, lambda: config.get_str("absent", ""), lambda: config.version("key")):
            with pytest.raises(Stale, match=r"last confirmed \d+\.\d s ago, and 2 s are allowed") as caught:
                read()
            assert caught.value.age_s > 2.0
        other.set("key", "new")
        proxy.thaw()
        until(lambda: config.age_s <= 2.0)
        config.refresh()
        assert config.get_str("key") == "new"


def test_a_quiet_configuration_is_confirmed_and_does_not_grow_stale(connect: Connect, path: str, other: Config) -> None:
    other.set("key", 1)
    with following(connect(), path, max_age_s=1.5) as config:
        until(lambda: config.age_s > 0.3)
        for _ in range(2):
            before_s = config.age_s
            until(lambda: config.age_s < before_s)  # noqa: B023
            until(lambda: config.age_s > 0.3)


def test_writes_say_whether_they_can_have_happened(connect: Connect, proxy: Proxy, path: str, other: Config) -> None:
    other.change({"key": 1, "gone": 1})
    with following(connect(port=proxy.port), path) as config:
        proxy.lose_answer(DELETE)
        with pytest.raises(Unsure, match="it may or may not have happened"):
            config.delete("gone")
        until(lambda: config.is_following and config.entry("gone") is None)
        proxy.lose_answer(MULTI)
        with pytest.raises(Unsure):
            config.change({"key": 2})
        until(lambda: config.is_following and config.get_int("key") == 2)
        proxy.cut()
        until(lambda: not config.is_following)
        config.timeout_s = 0.2
        for write in (lambda: config.set("key", 3), lambda: config.change({"key": 3}), lambda: config.delete("key")):
            with pytest.raises(Disconnected, match="nothing was changed: there is no connection"):
                write()
        with pytest.raises(Disconnected):
            config.refresh()
    other.refresh()
    assert other.get_int("key") == 2


def test_a_start_without_a_server_says_so_and_leaves_no_thread(path: str) -> None:
    client = KazooClient("127.0.0.1:1")
    config = Config(client, path, timeout_s=0.3)
    with pytest.raises(Disconnected, match="there is no connection"):
        config.start()
    assert [thread.name for thread in threading.enumerate() if thread.name.startswith("zkpy-config")] == []
    with pytest.raises(Disconnected, match="has not been read yet"):
        config.get_str("key")


def test_after_the_end_the_last_snapshot_stays_and_nobody_is_told_any_more(connect: Connect, path: str) -> None:
    heard = Heard()
    with following(connect(), path) as writer:
        with following(connect(), path) as config:
            writer.set("key", 1)
            config.refresh()
            config.on_change(heard)
        writer.set("key", 2)
        assert config.get_int("key") == 1
    assert heard.changes == []
    assert [thread.name for thread in threading.enumerate() if thread.name.startswith("zkpy-config")] == []
