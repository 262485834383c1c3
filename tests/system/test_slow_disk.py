"""Servers whose disk is slow, or stands still for a while: what has to wait for it, and what does not."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.system.clients import Client, connected, request
from tests.system.ensembles import EnsembleProcesses, until
from tests.system.processes import ServerProcess
from tests.system.slow_sync import SlowSync
from zkpy.proto import opcodes
from zkpy.proto.records import SetDataRequest

SYNC_MS = 10.0
#: A slow disk is told from a quick one by some syncs.
MANY = 200
WRITERS = 20


def set_request(xid: int, path: str) -> bytes:
    return request(xid, opcodes.SET_DATA, SetDataRequest(path, b"%d" % xid, -1))


def write_until(client: Client, server: ServerProcess, line: str) -> None:
    """Write, one by one, until there is one more such line in the server's log."""
    before = len(server.log_lines(line))
    for _ in range(MANY):
        if len(server.log_lines(line)) > before:
            return
        assert client.set("/a", b"").err == 0
    raise AssertionError(f"it does not come to {line!r}")


@contextmanager
def standing_still(disk: SlowSync, client: Client) -> Iterator[None]:
    """The disk does not finish a sync that is under way in the server, if need be of a write of this client."""
    with disk.standing_still():
        client.send(set_request(1, "/a"))
        until(lambda: disk.is_busy)
        yield


def test_reads_and_new_sessions_do_not_wait_for_a_slow_sync_and_writes_share_the_next(tmp_path: Path) -> None:
    disk = SlowSync(tmp_path / "disk")
    with ServerProcess(tmp_path / "data", disk=disk) as server, connected(server.port) as client:
        assert client.create("/a").err == 0
        disk.set(SYNC_MS)
        write_until(client, server, "they leave the turn")
        reader, writer = connected(server.port), connected(server.port)
        writers = [connected(server.port) for _ in range(WRITERS)]
        with standing_still(disk, writer):
            for number, one in enumerate(writers):
                one.send(set_request(number, "/a"))
                assert reader.get("/a") == b"", "before any of the writes"
            assert reader.ping().err == 0
            for one in (writer, *writers):
                one.sock.settimeout(0.01)
                with pytest.raises(TimeoutError):
                    one.packet()
                one.sock.settimeout(60)
            before = disk.count
        assert [one.reply().err for one in (writer, *writers)] == [0] * (WRITERS + 1)
        # One for all of them; and one more if some of them had not been read yet.
        assert disk.count - before <= 2
        assert reader.get("/a") == b"%d" % (WRITERS - 1)


def test_the_pace_follows_a_disk_that_gets_slow_and_quick_while_clients_write(tmp_path: Path) -> None:
    disk = SlowSync(tmp_path / "disk")
    with ServerProcess(tmp_path / "data", disk=disk) as server, connected(server.port) as client:
        assert client.create("/a").err == 0
        for _ in range(2):
            disk.set(SYNC_MS)
            write_until(client, server, "they leave the turn")
            disk.set(0)
            until(lambda: client.set("/a").err or server.log_lines("back in the turn"))
        for line in server.log_lines("they leave the turn"):
            assert "last_ms=1" in line, "ten milliseconds and a little"


@pytest.mark.parametrize("mode", ["follower", "leader"])
def test_a_quorum_does_not_wait_for_the_disk_of_a_third(tmp_path: Path, mode: str) -> None:
    # Nobody gives up on the one whose disk stands still.
    ensemble = EnsembleProcesses(tmp_path, initLimit="240", syncLimit="240")
    disks = {sid: SlowSync(tmp_path / f"disk{sid}") for sid in ensemble.members}
    for sid, member in ensemble.members.items():
        member.disk = disks[sid]
    with ensemble:
        leader = ensemble.agree()
        slow = leader if mode == "leader" else min(sid for sid in ensemble.members if sid != leader)
        others = [sid for sid in ensemble.members if sid != slow]
        clients = {sid: ensemble.client(sid) for sid in ensemble.members}
        assert clients[leader].create("/a").err == 0
        disks[slow].set(SYNC_MS)
        write_until(clients[slow], ensemble.members[slow], "they leave the turn")
        writer = ensemble.client(others[0])
        with standing_still(disks[slow], writer):
            before = disks[slow].count
            assert writer.reply().err == 0
            for sid in (*others, slow):
                for number in range(MANY):
                    assert clients[sid].set("/a", b"%d" % number).err == 0
                assert clients[sid].get("/a") == b"%d" % (MANY - 1)
            assert disks[slow].count == before, "all this without that disk"
        until(lambda: len({ensemble.state(sid) for sid in ensemble.members}) == 1)
        assert ensemble.agree() == leader, "nobody has looked for another leader"
        # What that one has now taken in one piece is on its disk as well.
        until(lambda: disks[slow].count > before)
        assert disks[slow].count - before < MANY
        ensemble.members[slow].kill()
        ensemble.members[slow].start()
        ensemble.agree()
        assert ensemble.client(slow).get("/a") == b"%d" % (MANY - 1)
