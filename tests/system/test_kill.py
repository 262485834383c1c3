"""kill -9 under load, again and again over one data directory: what was acknowledged is there, and nothing twice.

Some connections write as fast as they are answered; one session stays and comes back after each restart, the others die
with the server. A `Record` keeps what each connection sent and what was acknowledged of it.
"""

import os
import random
import threading
import time
from pathlib import Path

import pytest

from jute.record import Record as JuteRecord
from tests.system.clients import EPHEMERAL, OPEN, Client, Reply, connected, request
from tests.system.ensembles import until
from tests.system.processes import ServerProcess, Waiting
from zkpy.proto import opcodes
from zkpy.proto.records import CreateRequest, DeleteRequest, GetEphemeralsRequest, GetEphemeralsResponse, SetDataRequest

KILLS = 20
WRITERS = 4
#: Requests in flight on each connection.
WINDOW = 16
SEQUENTIAL = 2
#: Sessions of writers that are not coming back: gone within this and a tick.
DEAD_TIMEOUT_MS = 300
LIVING_TIMEOUT_MS = 30_000
TICK_MS = 100


class Record:
    """What is known of the data: names that must be there, may be there, and must not be there."""

    def __init__(self) -> None:
        self.sent: dict[str, set[str]] = {"/plain": set(), "/seq": set()}
        #: By directory: names whose create is acknowledged and whose delete was never sent.
        self.there: dict[str, set[str]] = {"/plain": set(), "/seq": set()}
        self.deleted: set[str] = set()
        #: By writer: the highest number sent and acknowledged for its counter, over all rounds.
        self.counter_sent = [0] * WRITERS
        self.counter_acked = [0] * WRITERS
        #: Names of the living session's ephemerals that are acknowledged.
        self.living: set[str] = set()
        self.acknowledged = 0


class Writer(threading.Thread):
    """One connection that keeps WINDOW requests in flight until the server is gone."""

    def __init__(self, record: Record, client: Client, number: int, tag: str, ephemerals: str) -> None:
        super().__init__(daemon=True)
        self.record = record
        self.client = client
        self.number = number
        self.tag = f"{tag}-{number}"
        self.ephemerals = ephemerals
        self.turn = 0
        self.pending: list[tuple[str, str, int]] = []
        self.acked_ephemerals: set[str] = set()
        self.acked_plain: list[str] = []
        self.failed: Reply | None = None

    def run(self) -> None:
        """Write until the connection ends."""
        taken = 0
        try:
            for _ in range(WINDOW):
                self.client.send(self.next_request())
            while self.failed is None:
                reply = self.client.reply()
                self.acknowledge(reply, *self.pending[taken])
                taken += 1
                self.client.send(self.next_request())
        except (EOFError, OSError):
            return

    def next_request(self) -> bytes:
        """One more request, of the five kinds in turn, entered in the record as sent."""
        record, turn = self.record, self.turn
        self.turn += 1
        name = f"{self.tag}-{turn}"
        kind = ("plain", "ephemeral", "seq", "counter", "delete")[turn % 5]
        if kind == "delete" and not self.acked_plain:
            kind = "counter"
        count = 0
        op = opcodes.CREATE
        body: JuteRecord
        if kind == "plain":
            record.sent["/plain"].add(name)
            body = CreateRequest(f"/plain/{name}", name.encode(), OPEN, 0)
        elif kind == "ephemeral":
            body = CreateRequest(f"{self.ephemerals}/{name}", b"", OPEN, EPHEMERAL)
        elif kind == "seq":
            record.sent["/seq"].add(name)
            body = CreateRequest(f"/seq/{name}-", name.encode(), OPEN, SEQUENTIAL)
        elif kind == "counter":
            count = record.counter_sent[self.number] = record.counter_sent[self.number] + 1
            op = opcodes.SET_DATA
            body = SetDataRequest(f"/counter/{self.number}", str(count).encode(), -1)
        else:
            name = self.acked_plain.pop()
            record.there["/plain"].discard(name)
            op = opcodes.DELETE
            body = DeleteRequest(f"/plain/{name}", -1)
        self.pending.append((kind, name, count))
        return request(turn + 1, op, body)

    def acknowledge(self, reply: Reply, kind: str, name: str, count: int) -> None:
        """Enter in the record what the server has promised."""
        record = self.record
        if reply.err:
            self.failed = reply
            return
        record.acknowledged += 1
        if kind == "plain":
            record.there["/plain"].add(name)
            self.acked_plain.append(name)
        elif kind == "ephemeral":
            self.acked_ephemerals.add(name)
        elif kind == "seq":
            record.there["/seq"].add(reply.body[4:].decode().removeprefix("/seq/"))
        elif kind == "counter":
            record.counter_acked[self.number] = count
        else:
            record.deleted.add(name)


def verify(record: Record, client: Client) -> None:
    """Compare what the server has with the record."""
    plain = set(client.children("/plain"))
    assert not record.there["/plain"] - plain, "acknowledged creates are gone"
    assert not record.deleted & plain, "acknowledged deletes are undone"
    assert not plain - record.sent["/plain"], "nobody ever created these"
    sequential = client.children("/seq")
    assert not record.there["/seq"] - set(sequential), "acknowledged sequential creates are gone"
    tags = [name.rpartition("-")[0] for name in sequential]
    assert len(set(tags)) == len(tags), "one request has made two znodes"
    assert not set(tags) - record.sent["/seq"], "nobody ever created these"
    numbers = [name.rpartition("-")[2] for name in sequential]
    assert len(set(numbers)) == len(numbers), "two requests were given one number"
    for number in range(WRITERS):
        count = int(client.get(f"/counter/{number}") or b"0")
        assert record.counter_acked[number] <= count <= record.counter_sent[number]
        record.counter_sent[number] = record.counter_acked[number] = count


def ephemerals_of(client: Client) -> set[str]:
    """The paths of this session's ephemerals."""
    reply = client.call(opcodes.GET_EPHEMERALS, GetEphemeralsRequest("/"))
    assert reply.err == 0
    return {path or "" for path in GetEphemeralsResponse.decode(reply.body, 0)[0].ephemerals or []}


def wait_until_empty(client: Client, path: str, server: ServerProcess, within_s: float) -> float:
    """Until a directory has no children any more; how long that took, less what the machine kept us waiting."""
    assert server.process is not None
    began, waiting = time.monotonic(), Waiting(server.process.pid, os.getpid())
    while left := client.children(path):
        assert time.monotonic() - began - waiting.seconds() < within_s, f"{len(left)} of dead sessions are still there"
        time.sleep(0.02)
    return time.monotonic() - began - waiting.seconds()


@pytest.mark.slow
def test_no_acknowledged_write_is_lost_or_doubled_over_twenty_kills(tmp_path: Path) -> None:
    dice = random.Random(20)
    record = Record()
    server = ServerProcess(tmp_path / "data", tickTime=str(TICK_MS), maxSessionTimeout="60000", snapCount="4000")
    server.start()
    try:
        with connected(server.port) as client:
            for path in ("/plain", "/seq", "/counter", "/living", "/dead", *(f"/counter/{n}" for n in range(WRITERS))):
                assert client.create(path, b"0").err == 0
        with connected(server.port, LIVING_TIMEOUT_MS) as client:
            living_id, living_password = client.session_id, client.password

        starts_s, gone_s, killed_at_snapshot = [], [], 0
        for kill in range(KILLS):
            dead = f"/dead/{kill}"
            living = Client(server.port)
            assert living.connect(LIVING_TIMEOUT_MS, living_id, living_password).session_id == living_id
            with connected(server.port) as client:
                assert client.create(dead).err == 0
                # A session that says good-bye takes its ephemerals with it, and they do not come back.
                assert client.create(f"{dead}/closed", b"", EPHEMERAL).err == 0
                assert client.call(opcodes.CLOSE_SESSION).err == 0
            writers = [Writer(record, living, 0, str(kill), "/living")]
            writers += [
                Writer(record, connected(server.port, DEAD_TIMEOUT_MS), number, str(kill), dead)
                for number in range(1, WRITERS)
            ]
            for writer in writers:
                writer.start()
            # From then on at any moment: each has had WINDOW answers, however slow the machine is.
            until(lambda: all(writer.turn > 2 * WINDOW or not writer.is_alive() for writer in writers))  # noqa: B023
            time.sleep(dice.uniform(0.0, 0.4))
            server.kill()
            for writer in writers:
                writer.join(10)
                assert not writer.is_alive()
                writer.client.close()
                assert writer.failed is None
                assert writer.turn > 2 * WINDOW
            record.living |= writers[0].acked_ephemerals
            killed_at_snapshot += any((tmp_path / "data" / "version-2").glob(".unfinished*"))

            server.start()
            starts_s.append(server.start_s)
            with Client(server.port) as client:
                assert client.connect(LIVING_TIMEOUT_MS, living_id, living_password).session_id == living_id
                verify(record, client)
                gone_s.append(wait_until_empty(client, dead, server, (DEAD_TIMEOUT_MS + 2 * TICK_MS) / 1000 + 1))
                kept = set(client.children("/living"))
                assert not record.living - kept, "a living session has lost ephemerals"
                assert {f"/living/{name}" for name in kept} == ephemerals_of(client)
                assert "closed" not in client.children(dead)
        assert not [line for line in server.log().splitlines() if " ERROR " in line or "Traceback" in line]
        assert "Digests are not matching" not in server.log()
        assert record.acknowledged > KILLS * WRITERS * WINDOW
        print(
            f"\n{KILLS} kills, {killed_at_snapshot} of them while a snapshot was written; {record.acknowledged}"
            f" acknowledged writes, none lost; slowest start {max(starts_s):.2f} s; ephemerals of dead sessions gone"
            f" {max(gone_s):.2f} s after the restart at the latest"
        )
    finally:
        server.kill()
