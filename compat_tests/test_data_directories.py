"""A data directory passes from Apache's server to zkpy and back, and each serves just what the other has served.

"Just what" is `served.Served`: last zxid, every node with its stat and ACL, sessions and their ephemerals. Both also
check the digest in every txn they replay, and must count no mismatch; one test plants one, to see that they do count.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from compat_tests.datadirs import files, tools
from compat_tests.datadirs.client import Client, Refused
from compat_tests.datadirs.exchange import Exchange, Run
from compat_tests.datadirs.load import write_until
from compat_tests.datadirs.served import (
    Node,
    Served,
    differences,
    digest_mismatches,
    last_zxid,
    read_served,
    without_own_session,
)
from compat_tests.datadirs.story import (
    TTL_MS,
    OpenSession,
    acl,
    await_true,
    continue_chapter,
    write_chapter,
)
from compat_tests.peers import require

pytestmark = pytest.mark.slow

KINDS = ("apache", "zkpy")
OTHER = {"apache": "zkpy", "zkpy": "apache"}
#: Writer, then reader.
WAYS = [("apache", "zkpy"), ("zkpy", "apache")]

#: What may differ between two directories: the first server and how many take turns, configuration, -D options.
LAYOUTS: dict[str, tuple[str, int, dict[str, str], str]] = {
    "one log": ("apache", 3, {}, ""),
    "many snapshots": ("zkpy", 4, {"snapCount": "10"}, ""),
    "many logs": ("apache", 3, {"txnLogSizeLimitInKb": "2"}, ""),
    "gz": ("zkpy", 3, {"snapshot.compression.method": "gz", "snapCount": "20"}, ""),
    "snappy": ("apache", 3, {"snapCount": "20"}, "-Dzookeeper.snapshot.compression.method=snappy"),
    "no digests": ("zkpy", 3, {"digest.enabled": "false", "snapCount": "40"}, ""),
    "no zxid in snapshots": ("apache", 3, {"serializeLastProcessedZxid.enabled": "false", "snapCount": "40"}, ""),
    "closeSession without paths": ("zkpy", 3, {"closeSessionTxn.enabled": "false"}, ""),
    "no preallocation": ("apache", 3, {"preAllocSize": "0"}, ""),
}


@pytest.fixture(autouse=True)
def _apache() -> None:
    require("apache")


def check_same(left: Served, right: Served) -> None:
    """Fail with the first differences."""
    found = differences(left, right)
    assert not found, "\n".join(line[:500] for line in found[:20])


def check_serves(run: Run, expected: Served) -> None:
    """The server has just been started and serves just this."""
    zxid = last_zxid(run.server)
    check_same(expected, without_own_session(read_served(run.server), zxid))
    assert digest_mismatches(run.server) == 0


def check_sessions(run: Run, left: list[OpenSession]) -> None:
    """Sessions can be taken up again, by those who know the password only; a closed one takes its ephemerals along."""
    for one in left:
        with pytest.raises(Refused):
            Client(run.server, session=one.session, password=bytes(16))
        client = Client(run.server, session=one.session, password=one.password)
        assert set(client.do("getEphemerals", prefixPath="/")["ephemerals"]) == one.paths
        client.leave()
    first = left[0]
    Client(run.server, session=first.session, password=first.password).close()
    with Client(run.server) as client:
        assert not any(client.has(path) for path in first.paths)
        assert all(client.has(path) for one in left[1:] for path in one.paths)


NODE = Node(b"", (("version", 0),), ((31, "world", "anyone"),), ())
SERVED = Served(7, {"/": NODE}, frozenset((1,)), {1: frozenset("/e")}, {"znode_count": "5"})


@pytest.mark.parametrize(
    "changed",
    [
        replace(SERVED, zxid=8),
        replace(SERVED, nodes={}),
        replace(SERVED, nodes={"/": NODE, "/a": NODE}),
        replace(SERVED, nodes={"/": replace(NODE, data=None)}),
        replace(SERVED, nodes={"/": replace(NODE, stat=(("version", 1),))}),
        replace(SERVED, nodes={"/": replace(NODE, acl=((1, "world", "anyone"),))}),
        replace(SERVED, nodes={"/": replace(NODE, children=("a",))}),
        replace(SERVED, sessions=frozenset()),
        replace(SERVED, ephemerals={2: frozenset("/e")}),
        replace(SERVED, figures={"znode_count": "6"}),
    ],
)
def test_every_difference_between_two_servers_is_found(changed: Served) -> None:
    assert len(differences(SERVED, changed)) == 1
    assert differences(SERVED, SERVED) == []


# The whole tree, round after round.


@pytest.mark.parametrize("layout", LAYOUTS)
def test_each_serves_what_the_other_has_served_round_after_round(layout: str, tmp_path: Path) -> None:
    first, rounds, config, flags = LAYOUTS[layout]
    exchange = Exchange(tmp_path / "data", config, flags)
    pass_around(exchange, first, rounds, kill=True)
    if "snapCount" in config:
        assert len(exchange.snapshots()) >= 3
    if "txnLogSizeLimitInKb" in config:
        assert len(exchange.logs()) > 8
    method = config.get("snapshot.compression.method") or flags.rpartition("=")[2]
    assert {path.suffixes[1:] == [f".{method}"] for path in exchange.snapshots()} == {bool(method)}


@pytest.mark.parametrize(("first", "snap_count"), [("zkpy", "100000"), ("apache", "10")])
def test_a_server_that_is_stopped_leaves_no_less(first: str, snap_count: str, tmp_path: Path) -> None:
    pass_around(Exchange(tmp_path / "data", {"snapCount": snap_count}), first, 3, kill=False)


def test_logs_may_stand_in_a_directory_of_their_own(tmp_path: Path) -> None:
    exchange = Exchange(tmp_path / "data", {"dataLogDir": str(tmp_path / "logs"), "snapCount": "30"})
    pass_around(exchange, "zkpy", 3, kill=True)
    assert exchange.logs()
    assert {path.name.split(".")[0] for path in exchange.snap_dir.iterdir() if path.name[0] != "."} == {"snapshot"}
    assert {path.name.split(".")[0] for path in exchange.log_dir.iterdir() if path.name[0] != "."} == {"log"}


def pass_around(exchange: Exchange, first: str, rounds: int, *, kill: bool) -> None:
    """The two servers take turns; each must serve what the one before it did, and writes a chapter more."""
    before: Served | None = None
    left: list[OpenSession] = []
    for round_ in range(rounds):
        with exchange.serving(OTHER[first] if round_ % 2 else first, kill=kill) as run:
            if before is not None:
                check_serves(run, before)
                check_sessions(run, left)
                continue_chapter(run.server, f"/chapter{round_ - 1}")
            left = write_chapter(run.server, f"/chapter{round_}")
            before = read_served(run.server)
            assert {one.session for one in left} <= before.sessions
            assert len(before.nodes) > 50 * (round_ + 1)
            assert digest_mismatches(run.server) == 0


@pytest.mark.parametrize(("writer", "reader"), WAYS)
def test_sessions_that_nobody_takes_up_again_expire_and_take_their_ephemerals_along(
    writer: str, reader: str, tmp_path: Path
) -> None:
    exchange = Exchange(tmp_path / "data")
    with exchange.serving(writer, kill=True) as run:
        with Client(run.server) as client:
            client.do("create", path="/parent")
        lasting = Client(run.server)
        lasting.do("create", path="/parent/lasting", flags=1)
        brief = Client(run.server, timeout_ms=1000)
        brief.do("create", path="/parent/brief", flags=1)
        zxid = last_zxid(run.server)
    with exchange.serving(reader) as run:
        with Client(run.server) as client:
            await_true(lambda: not client.has("/parent/brief"), "the brief session is over")
        served = read_served(run.server)
        assert served.ephemerals == {lasting.session: frozenset(("/parent/lasting",))}
        assert served.sessions == {lasting.session}
        # It was there when the reader started, and went with a txn.
        assert served.nodes["/parent"].field("pzxid") > zxid
        with pytest.raises(Refused):
            Client(run.server, session=brief.session, password=brief.password)
    with exchange.serving(writer) as run:
        check_serves(run, served)


@pytest.mark.parametrize("writer", KINDS)
def test_what_a_restart_loses_by_apaches_ways_is_lost_in_both(writer: str, tmp_path: Path) -> None:
    """Where TTL nodes are no longer allowed their owner counts as a session that is gone, and a character beyond the
    first 65536 in an ACL comes back from Java's string encoding as two that say "unknown"."""
    exchange = Exchange(tmp_path / "data")
    with exchange.serving(writer, kill=True) as run, Client(run.server) as client:
        client.do("create", path="/beyond", acl=[acl(31, "digest", "\U0001f600:x"), acl(31, "world", "anyone")])
        client.do("createTTL", path="/ttl", ttl=TTL_MS)
        client.do("createContainer", path="/container")
    exchange.config["extendedTypesEnabled"] = "false"
    served = {}
    for kind in KINDS:
        with exchange.copy(tmp_path / kind).serving(kind) as run:
            served[kind] = read_served(run.server)
            assert digest_mismatches(run.server) == 0
    check_same(served["apache"], served["zkpy"])
    assert {"/ttl", "/container"} & served["zkpy"].nodes.keys() == {"/container"}
    assert (31, "digest", "\ufffd\ufffd:x") in served["zkpy"].nodes["/beyond"].acl


# What Apache says to zkpy's files.


#: A session that closes while a snapshot is taken may be in it without its ephemerals, whoever takes the snapshot: it
#: depends on the moment. Apache's server says so when it applies the closing txn again.
_FUZZY = "while removing ephemeral for dead session"


def test_apache_complains_no_more_about_zkpys_directory_than_about_its_own(tmp_path: Path) -> None:
    complaints = {}
    for writer in KINDS:
        exchange = Exchange(tmp_path / writer, {"snapCount": "25"})
        with exchange.serving(writer, kill=True) as run:
            write_chapter(run.server, "/chapter")
            served = read_served(run.server)
        with exchange.serving("apache") as run:
            check_serves(run, served)
            complaints[writer] = set(run.complaints())
    assert {line for line in complaints["zkpy"] if _FUZZY not in line} <= complaints["apache"]
    assert any("standalone" in line for line in complaints["apache"])  # it does say something


@pytest.mark.parametrize(("writer", "reader"), WAYS)
def test_a_wrong_digest_in_a_txn_does_not_go_unnoticed(writer: str, reader: str, tmp_path: Path) -> None:
    exchange = Exchange(tmp_path / "data")
    with exchange.serving(writer, kill=True) as run, Client(run.server) as client:
        for number in range(5):
            client.do("create", path=f"/n{number}")
    log = exchange.logs()[-1]
    files.spoil_digest(log, files.records(log)[3])
    with exchange.serving(reader) as run:
        assert digest_mismatches(run.server) == 1


def record_same_operations(tmp_path: Path) -> dict[str, Exchange]:
    """A directory of each kind in which the same has happened: one log, and a snapshot of the end of it."""
    exchanges = {}
    for kind in KINDS:
        exchanges[kind] = exchange = Exchange(tmp_path / kind)
        with exchange.serving(kind) as run:
            write_chapter(run.server, "/chapter")
            zxid = last_zxid(run.server)
        with exchange.serving(kind):
            exchange.await_snapshot(zxid)
        assert len(exchange.logs()) == 1
    return exchanges


def test_apaches_tools_read_in_zkpys_files_what_they_read_in_apaches(tmp_path: Path) -> None:
    exchanges = record_same_operations(tmp_path)
    apache, zkpy = (tools.dump_log(tmp_path, exchanges[kind].logs()[0]) for kind in KINDS)
    assert len(zkpy) > 100
    for kind in (
        *("createSession", "closeSession", "create", "createContainer", "createTTL", "delete", "deleteContainer"),
        *("setData", "setACL", "multi", "error"),
    ):
        assert any(f" {kind} " in txn for txn in zkpy), kind
    assert zkpy == apache
    theirs, ours = (tools.dump_snapshot(tmp_path, exchanges[kind].snapshots()[-1]) for kind in KINDS)
    assert len(ours) > 55
    assert "ephemeralOwner = 0xff000000001b7740" in ours["/chapter/ttl"]
    assert "ephemeralOwner = 0x80000000000000" in ours["/chapter/containers/kept"]
    assert ours == theirs


def test_apaches_comparer_finds_no_difference_between_snapshots_of_one_tree(tmp_path: Path) -> None:
    exchange = Exchange(tmp_path / "data")
    with exchange.serving("apache", kill=True) as run:
        write_chapter(run.server, "/chapter")
        zxid = last_zxid(run.server)
    twin = exchange.copy(tmp_path / "twin")
    for kind, one in (("apache", exchange), ("zkpy", twin)):
        with one.serving(kind):
            one.await_snapshot(zxid)
    left, right = exchange.snapshots()[-1], twin.snapshots()[-1]
    assert tools.compare_snapshots(tmp_path, left, right) == []
    assert tools.dump_snapshot(tmp_path, left) == tools.dump_snapshot(tmp_path, right)
    # It would have found one.
    assert tools.compare_snapshots(tmp_path, exchange.snapshots()[0], right) != []


def test_apaches_toolkit_chops_zkpys_log_and_zkpy_serves_what_is_left(tmp_path: Path) -> None:
    exchange = Exchange(tmp_path / "data")
    with exchange.serving("zkpy", kill=True) as run:
        write_chapter(run.server, "/chapter")
        before = read_served(run.server)
        with Client(run.server) as client:
            client.do("create", path="/chopped")
            client.do("setData", path="/chapter", data=b"chopped")
    log = exchange.logs()[0]
    tools.run(tmp_path, "persistence.TxnLogToolkit", "--chop", "--zxid", f"{before.zxid:#x}", log)
    (chopped,) = exchange.log_dir.glob("*.chopped*")
    chopped.rename(log)
    with exchange.serving("zkpy") as run:
        check_serves(run, before)


def test_apaches_purge_leaves_what_zkpy_needs_and_zkpys_what_apache_needs(tmp_path: Path) -> None:
    exchange = Exchange(tmp_path / "data", {"snapCount": "10", "autopurge.purgeInterval": "0"})
    with exchange.serving("zkpy", kill=True) as run:
        write_chapter(run.server, "/chapter")
        with Client(run.server) as client:
            client.do("create", path="/more")

            def has_several() -> bool:
                # The more is written, the more snapshots there are: whoever writes fast gets fewer.
                client.do("setData", path="/more", data=b"once more")
                return len(exchange.snapshots()) > 4

            await_true(has_several, "several snapshots are taken")
        served = read_served(run.server)
    twin = exchange.copy(tmp_path / "twin")
    tools.run(tmp_path, "PurgeTxnLog", exchange.log_dir.parent, exchange.data_dir, "-n", "3")
    assert len(exchange.snapshots()) == 3
    with exchange.serving("zkpy") as run:
        check_serves(run, served)
    twin.config["autopurge.purgeInterval"] = "1"
    with twin.serving("zkpy", kill=True) as run:
        await_true(lambda: len(twin.snapshots()) <= 4, "old snapshots are deleted")
        check_serves(run, served)
        served = read_served(run.server)
    with twin.serving("apache") as run:
        check_serves(run, served)


# Damage.


def write_for_damage(exchange: Exchange, kind: str) -> Served:
    """Two logs, the newer one of some length, and a snapshot between them."""
    with exchange.serving(kind) as run:
        write_chapter(run.server, "/chapter")
        zxid = last_zxid(run.server)
    with exchange.serving(kind, kill=True) as run:
        exchange.await_snapshot(zxid)
        with Client(run.server) as client:
            for number in range(8):
                client.do("create", path=f"/tail{number}", data=bytes(range(30 * number)))
        served = read_served(run.server)
    assert len(exchange.logs()) == 2
    return served


@pytest.mark.parametrize("writer", KINDS)
def test_both_load_a_torn_log_up_to_its_last_whole_txn_and_go_on(writer: str, tmp_path: Path) -> None:
    exchange = Exchange(tmp_path / "data")
    write_for_damage(exchange, writer)
    found = files.records(exchange.logs()[-1])
    last = found[-4]  # a create of 350 bytes; the session's end and the reader's session come after it
    # Between records, in the checksum, in the length, in the entry, before the mark at its end; half of that for each.
    cuts = {
        "apache": ((last.end, False), (last.start + 10, True), (last.end - 1, False)),
        "zkpy": ((last.start, True), (last.start + 5, False), (last.start + 100, True)),
    }
    for number, (size, zeros) in enumerate(cuts[writer]):
        zxid = last.zxid if size == last.end else last.zxid - 1
        served = {}
        for kind in KINDS:
            twin = exchange.copy(tmp_path / f"{kind}{number}")
            files.cut(twin.logs()[-1], size, zeros=zeros)
            with twin.serving(kind, kill=True) as run:
                assert last_zxid(run.server) == zxid, (kind, size)
                with Client(run.server) as client:
                    assert client.has("/tail7") == (zxid == last.zxid)
                served[kind] = read_served(run.server)
            if kind != writer and zxid < last.zxid:  # the other one goes on behind the tear
                with twin.serving(writer) as run:
                    check_serves(run, served[kind])
        check_same(served["apache"], served["zkpy"])


@pytest.mark.parametrize(("writer", "reader"), WAYS)
@pytest.mark.parametrize("looks_whole", [False, True])
def test_a_half_written_snapshot_is_skipped(writer: str, reader: str, looks_whole: bool, tmp_path: Path) -> None:
    exchange = Exchange(tmp_path / "data")
    expected = write_for_damage(exchange, writer)
    newest = exchange.snapshots()[-1]
    half = newest.read_bytes()[: newest.stat().st_size // 2]
    newest.write_bytes(half + files.END if looks_whole else half)
    with exchange.serving(reader) as run:
        check_serves(run, expected)


@pytest.mark.parametrize("writer", KINDS)
def test_neither_starts_on_a_log_damaged_in_its_middle(writer: str, tmp_path: Path) -> None:
    exchange = Exchange(tmp_path / "data")
    write_for_damage(exchange, writer)
    log = exchange.logs()[-1]
    record = files.records(log)[4]
    files.flip(log, record.entry.start + 40)
    with pytest.raises(RuntimeError, match="CRC check failed"), exchange.serving("apache"):
        pass
    with pytest.raises(RuntimeError) as refusal, exchange.serving("zkpy"):
        pass
    text = str(refusal.value)
    assert f"{log}, offset {record.start}: the checksum of a record is wrong" in text
    assert f"zxid seems to be {record.zxid:#x}" in text
    assert "Restore the file from a backup" in text


# kill -9 at work.


@pytest.mark.parametrize(("writer", "reader"), WAYS)
@pytest.mark.parametrize("snap_count", ["30", "100000"])
def test_what_was_acknowledged_before_a_kill_is_there_in_the_other_server(
    writer: str, reader: str, snap_count: str, tmp_path: Path
) -> None:
    exchange = Exchange(tmp_path / "data", {"snapCount": snap_count, "autopurge.purgeInterval": "0"})
    with exchange.serving(writer, kill=True) as run:
        with Client(run.server) as client:
            for number in range(20):  # a tree that takes a moment to write
                client.multi(*(("create", {"path": f"/n{number}-{at}", "data": bytes(500)}) for at in range(100)))
        writers = write_until(run.server, [f"/writer{number}" for number in range(4)], 150)
        if snap_count == "30":  # they write on: whoever is slow to take snapshots takes them all the same
            await_true(lambda: len(exchange.snapshots()) > 3, "several snapshots are taken")
    for one in writers:
        one.join()
    assert (len(exchange.snapshots()) > 3) == (snap_count == "30")
    twin = exchange.copy(tmp_path / "twin")
    with exchange.serving(reader) as run:
        served = read_served(run.server)
        assert digest_mismatches(run.server) == 0
    for one in writers:
        one.check(served)
    with twin.serving(writer) as run:
        check_same(served, read_served(run.server))
