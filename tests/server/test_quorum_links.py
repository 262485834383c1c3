"""The quorum port on real sockets: links, trees on their way, slow learners, and strangers of every kind."""

import random
import struct
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

import pytest
import trio

from tests.ports import free_ports
from tests.server.members import Inlet
from tests.storage.histories import History, dump
from zkpy.proto import packets
from zkpy.proto.packets import encode
from zkpy.proto.records import QuorumPacket
from zkpy.server import quorum_links
from zkpy.server.quorum_links import SIGNATURE, QuorumLinks, QuorumOptions
from zkpy.server.sockets import bind
from zkpy.storage import LogReader
from zkpy.tree.datatree import DataTree
from zkpy.tree.image import ImageWriter
from zkpy.zab.peer import Peer
from zkpy.zab.settings import Settings

LIMIT_S = 60
LOCAL = "127.0.0.1"


class FakePeer:
    """Keeps what it is told."""

    def __init__(self, sid: int) -> None:
        self.settings = Settings(sid)
        self.words: list[tuple[Any, ...]] = []
        self.received: dict[int, list[QuorumPacket]] = {}

    def __getattr__(self, name: str) -> Callable[..., None]:
        def tell(*arguments: Any) -> None:
            self.words.append((name, *arguments))

        return tell

    def receive(self, link: int, received: list[QuorumPacket]) -> None:
        self.received.setdefault(link, []).extend(received)
        self.words.append(("receive", link, len(received)))

    def named(self, name: str) -> list[tuple[Any, ...]]:
        return [word[1:] for word in self.words if word[0] == name]


class Side:
    """One server's quorum port; server 1 is where everybody dials to."""

    def __init__(self, nursery: trio.Nursery, sid: int, ports: list[int], log_dir: Path, **options: Any) -> None:
        self.peer = FakePeer(sid)
        self.links = QuorumLinks(
            nursery,
            cast(Peer, self.peer),
            lambda word: word(),
            Inlet(nursery, lambda word: word()),
            [(LOCAL, ports[sid - 1])],
            {number: [(LOCAL, port)] for number, port in enumerate(ports, 1)},
            lambda: DataTree(extended_types=True),
            lambda first, last: LogReader(log_dir, log_dir, first, last, 0),
            QuorumOptions(**{"retry_pause_s": 0.01, "introduction_timeout_s": LIMIT_S, **options}),
        )

    def send(self, words: list[tuple[int, bytes]]) -> None:
        """What a turn sends."""
        self.links.send(words)
        self.links.flush()

    async def told(self, name: str, count: int = 1) -> list[tuple[Any, ...]]:
        """Wait until the Peer was told this so many times."""
        while len(self.peer.named(name)) < count:
            await trio.sleep(0.002)
        return self.peer.named(name)

    async def has_received(self, link: int, count: int) -> list[QuorumPacket]:
        while len(self.peer.received.get(link, ())) < count:
            await trio.sleep(0.002)
        return self.peer.received[link]


@asynccontextmanager
async def sides(tmp_path: Path, count: int = 2, **options: Any) -> AsyncIterator[list[Side]]:
    """A leader that listens, and others."""
    ports = free_ports(count)
    with trio.fail_after(LIMIT_S):
        async with trio.open_nursery() as nursery:
            made = [Side(nursery, sid, ports, tmp_path, **options) for sid in range(1, count + 1)]
            made[0].links.listen()
            try:
                yield made
                nursery.cancel_scope.cancel()
            finally:
                for side in made:
                    side.links.close_all()


async def connect(leader: Side, learner: Side) -> tuple[int, int]:
    """The numbers of a link at its two ends; it has said something."""
    before = len(leader.peer.named("link_up"))
    learner.links.dial(1)
    ((near, sid),) = await learner.told("link_up")
    assert sid == 1
    far, nobody = (await leader.told("link_up", before + 1))[-1]
    assert nobody is None
    learner.send([(near, encode(packets.FOLLOWERINFO, 0, b"12345678"))])
    await leader.has_received(far, 1)
    return far, near


async def stranger(leader: Side, data: bytes = b"") -> trio.SocketStream:
    ((host, port),) = leader.links._own
    stream = await trio.open_tcp_stream(host, port)
    if data:
        await stream.send_all(data)
    return stream


async def is_closed(stream: trio.SocketStream) -> bool:
    try:
        return await stream.receive_some(100) == b""
    except trio.BrokenResourceError:
        return True


def history_of(steps: int, seed: int = 4) -> History:
    history = History(seed)
    for _ in range(steps):
        history.step()
    return history


# --- links ---------------------------------------------------------------------------------------------------------


def test_packets_go_both_ways_in_order(tmp_path: Path) -> None:
    async def main() -> None:
        async with sides(tmp_path) as (leader, learner):
            far, near = await connect(leader, learner)
            leader.send([(far, encode(packets.PROPOSAL, n, bytes(n))) for n in range(1, 400)])
            received = await learner.has_received(near, 399)
            assert [(packet.type, packet.zxid, len(packet.data or b"")) for packet in received] == [
                (packets.PROPOSAL, n, n) for n in range(1, 400)
            ]
            learner.send([(near, encode(packets.ACK, n)) for n in range(1, 400)])
            received = await leader.has_received(far, 400)
            assert [packet.zxid for packet in received] == list(range(400))

    trio.run(main)


def test_a_patient_word_goes_with_the_next_one_to_its_link_and_before_it(tmp_path: Path) -> None:
    async def main() -> None:
        async with sides(tmp_path) as (leader, learner):
            far, near = await connect(leader, learner)
            links = leader.links
            commit = (far, encode(packets.COMMIT, 1))
            links.send([commit], [commit])
            links.flush()
            assert links.is_patient
            assert not links.has_rest, "its task has nothing to do with that"
            links.send([(far, encode(packets.PROPOSAL, 2, b"2"))])
            assert not links.flush()
            assert not links.is_patient
            received = await learner.has_received(near, 2)
            assert [packet.zxid for packet in received] == [1, 2]
            assert ("receive", near, 2) in learner.peer.words, "one read has brought both"

    trio.run(main)


def test_a_patient_word_is_sent_alone_when_no_other_comes_and_when_its_link_is_closed(tmp_path: Path) -> None:
    async def main() -> None:
        async with sides(tmp_path) as (leader, learner):
            far, near = await connect(leader, learner)
            links = leader.links
            for zxid in (1, 2):
                word = (far, encode(packets.COMMIT, zxid))
                links.send([word], [word])
                assert not links.flush()
                if zxid == 1:
                    assert not links.hasten()
                    await learner.has_received(near, 1)
            links.close(far)
            assert not links.is_patient
            assert [packet.zxid for packet in await learner.has_received(near, 2)] == [1, 2]

    trio.run(main)


def test_a_leader_that_does_not_listen_yet_is_dialed_again(tmp_path: Path) -> None:
    async def main() -> None:
        async with sides(tmp_path, retry_pause_s=0.2) as (leader, learner):
            leader.links.stop_listening()
            learner.links.dial(1)
            await trio.sleep(0.1)
            leader.links.listen()
            assert await learner.told("link_up") == [(1, 1)]

    trio.run(main)


def test_a_leader_that_never_listens_is_given_up(tmp_path: Path) -> None:
    async def main() -> None:
        async with sides(tmp_path) as (leader, learner):
            leader.links.stop_listening()
            learner.links.dial(1)
            assert await learner.told("dial_failed") == [(1,)]
            learner.links.dial(77)
            assert await learner.told("dial_failed", 2) == [(1,), (77,)]

    trio.run(main)


def test_the_port_is_free_for_the_next_reign_at_once(tmp_path: Path) -> None:
    async def main() -> None:
        async with sides(tmp_path) as (leader, learner):
            for _ in range(5):
                leader.links.stop_listening()
                leader.links.listen()
            assert leader.peer.named("resign") == []
            await connect(leader, learner)

    trio.run(main)


def test_a_port_in_use_makes_the_leader_resign(tmp_path: Path) -> None:
    async def main() -> None:
        async with sides(tmp_path) as (leader, _):
            leader.links.stop_listening()
            ((host, port),) = leader.links._own
            with bind(host, port):
                leader.links.listen()
                assert leader.peer.named("resign") == [("the quorum port cannot be bound",)]

    trio.run(main)


def test_either_end_hears_when_the_other_is_gone(tmp_path: Path) -> None:
    async def main() -> None:
        async with sides(tmp_path) as (leader, learner):
            far, near = await connect(leader, learner)
            learner.links.close(near)
            assert await leader.told("link_down") == [(far,)]
            assert learner.peer.named("link_down") == []
            leader.send([(far, encode(packets.PING, 0))])

    trio.run(main)


def test_a_link_is_closed_after_its_last_words(tmp_path: Path) -> None:
    async def main() -> None:
        async with sides(tmp_path) as (leader, learner):
            far, near = await connect(leader, learner)
            leader.send([(far, encode(packets.PROPOSAL, 1, bytes(100_000))) for _ in range(30)])
            leader.links.close(far)
            leader.send([(far, encode(packets.PROPOSAL, 2))])
            await learner.told("link_down")
            assert [packet.zxid for packet in learner.peer.received[near]] == [1] * 30

    trio.run(main)


@pytest.mark.slow
def test_a_learner_that_reads_nothing_is_cut_off_and_holds_up_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(quorum_links, "OUT_LIMIT", 10_000_000)

    async def main() -> None:
        async with sides(tmp_path) as (leader, learner):
            far, near = await connect(leader, learner)
            slow = await stranger(leader, encode(packets.FOLLOWERINFO, 0))
            stuck = (await leader.told("link_up", 2))[-1][0]
            await leader.has_received(stuck, 1)
            proposal = encode(packets.PROPOSAL, 1, bytes(100_000))
            for sent in range(1, 400):
                leader.send([(stuck, proposal), (far, proposal)])
                await learner.has_received(near, sent)
                link = leader.links.links.get(stuck)
                assert link is None or link.out_size <= 10_000_000
            assert leader.peer.named("link_down") == [(stuck,)]
            await slow.aclose()

    trio.run(main)


# --- trees ---------------------------------------------------------------------------------------------------------


def wide_history(count: int, size: int) -> History:
    history = History(3)
    for n in range(count):
        history.create(f"/{n}", random.Random(n).randbytes(size))
    return history


@pytest.mark.slow
@pytest.mark.parametrize(("count", "size"), [(0, 0), (50, 100), (3000, 2000)])
def test_a_tree_arrives_whole_and_what_follows_it_too(tmp_path: Path, count: int, size: int) -> None:
    async def main() -> None:
        async with sides(tmp_path) as (leader, learner):
            far, near = await connect(leader, learner)
            history = wide_history(count, size)
            leader.links.send_snap(far, encode(packets.SNAP, history.zxid), history.tree)
            leader.send([(far, encode(packets.NEWLEADER, 1)), (far, encode(packets.UPTODATE, 2))])
            ((link, packet, tree),) = await learner.told("receive_snap")
            assert (link, packet.zxid) == (near, history.zxid)
            assert dump(tree) == dump(history.tree)
            received = await learner.has_received(near, 2)
            assert [packet.type for packet in received] == [packets.NEWLEADER, packets.UPTODATE]
            assert await leader.told("snap_sent") == [(far,)]
            assert history.tree.old_acls == []

    trio.run(main)


@pytest.mark.slow
def test_a_large_tree_is_sent_in_slices_while_it_changes_and_to_several_at_once(tmp_path: Path) -> None:
    async def main() -> None:
        async with sides(tmp_path, 3) as (leader, one, other):
            ends = [await connect(leader, side) for side in (one, other)]
            history = wide_history(2000, 2000)
            begin = history.zxid
            for far, _ in ends:
                leader.links.send_snap(far, encode(packets.SNAP, begin), history.tree)
            while len(leader.peer.named("snap_sent")) < 2:
                assert leader.links.has_rest
                for _ in range(3):
                    history.step()
                await trio.sleep(0)
            assert not leader.links.has_rest
            for side in (one, other):
                ((_, _, tree),) = await side.told("receive_snap")
                for _, entry in history.entries[begin:]:
                    from zkpy.tree.txns import decode_txn

                    header, txn, _ = decode_txn(entry)
                    tree.apply(header, txn)
                assert dump(tree)["nodes"] == dump(history.tree)["nodes"]
            assert history.tree.old_acls == []

    trio.run(main)


def test_a_link_that_ends_in_the_middle_of_a_tree_burdens_nobody(tmp_path: Path) -> None:
    async def main() -> None:
        async with sides(tmp_path) as (leader, learner):
            far, near = await connect(leader, learner)
            history = wide_history(2000, 2000)
            leader.links.send_snap(far, encode(packets.SNAP, history.zxid), history.tree)
            await learner.told("heard")
            learner.links.close(near)
            await leader.told("link_down")
            assert history.tree.old_acls == []
            assert leader.peer.named("snap_sent") == learner.peer.named("receive_snap") == []

    trio.run(main)


def image(history: History) -> bytes:
    writer = ImageWriter(history.tree)
    return writer.next_slice(1 << 30)


BAD_TREES = {
    "a wrong end mark": lambda tree: tree + b"\0\0\0\x0aBenWasHerf",
    "a node without its parent": lambda tree: bytes(8) + b"\0\0\0\4/a/b" + bytes(72) + b"\0\0\0\1/" + SIGNATURE,
    "a name of two gigabytes": lambda tree: bytes(8) + b"\x7f\xff\xff\xff" + bytes(100),
    "data of two gigabytes": lambda tree: bytes(8) + b"\0\0\0\0" + b"\x7f\xff\xff\xff" + bytes(100),
}


@pytest.mark.parametrize("what", BAD_TREES)
def test_a_bad_tree_costs_the_link(tmp_path: Path, what: str) -> None:
    async def main() -> None:
        async with sides(tmp_path) as (leader, learner):
            far, near = await connect(leader, learner)
            bad = BAD_TREES[what](image(history_of(50)))
            leader.send([(far, encode(packets.SNAP, 50) + bad)])
            assert await learner.told("link_down") == [(near,)]
            assert learner.peer.named("receive_snap") == []

    trio.run(main)


# --- the log -------------------------------------------------------------------------------------------------------


def test_the_log_is_read_in_chunks_for_a_learner(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from tests.storage.test_txnlog import entry_of, write_log

    monkeypatch.setattr(quorum_links, "READ_CHUNK", 100)
    write_log(tmp_path, *range(1, 11))

    async def main() -> None:
        async with sides(tmp_path) as (leader, learner):
            far, _ = await connect(leader, learner)
            first, found, is_end = 2, [], False
            while not is_end:
                leader.links.read(far, first, 8)
                answers = await leader.told("log_read", len(leader.peer.named("log_read")) + 1)
                link, entries, is_end = answers[-1]
                assert link == far
                assert entries[0][0] == first
                assert len(entries) <= 4
                found += entries
                first = entries[-1][0]
            assert sorted(set(found)) == [(zxid, entry_of(zxid)) for zxid in range(2, 9)]
            leader.links.read(far, 0, 8)
            assert (await leader.told("log_read", len(leader.peer.named("log_read")) + 1))[-1] == (far, None, True)

    trio.run(main)


def test_a_damaged_log_is_as_good_as_none_for_a_learner(tmp_path: Path) -> None:
    from tests.storage.test_txnlog import write_log

    path = write_log(tmp_path, *range(1, 11))
    data = bytearray(path.read_bytes())
    data[16 + 53 * 5 + 30] ^= 1
    path.write_bytes(data)

    async def main() -> None:
        async with sides(tmp_path) as (leader, learner):
            far, _ = await connect(leader, learner)
            leader.links.read(far, 2, 10)
            assert await leader.told("log_read") == [(far, None, True)]

    trio.run(main)


# --- strangers -----------------------------------------------------------------------------------------------------

BAD_BYTES = {
    "a first packet that is too long": struct.pack(">iqi", packets.FOLLOWERINFO, 0, 5000),
    "data of two gigabytes": struct.pack(">iqi", packets.FOLLOWERINFO, 0, 0x7FFFFFFF),
    "data of a negative length": struct.pack(">iqi", packets.FOLLOWERINFO, 0, -2),
    "a thousand million identities": struct.pack(">iqii", packets.FOLLOWERINFO, 0, -1, 1_000_000_000),
    "a request of HTTP": b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "a tree": encode(packets.SNAP, 1),
}


@pytest.mark.parametrize("what", BAD_BYTES)
def test_bad_bytes_cost_the_link(tmp_path: Path, what: str, caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        async with sides(tmp_path) as (leader, learner):
            assert await is_closed(await stranger(leader, BAD_BYTES[what]))
            assert len(leader.peer.named("link_down")) == 1
            await connect(leader, learner)

    trio.run(main)
    assert len(caplog.records) == 1


def test_who_says_nothing_is_hung_up_on_in_the_end(tmp_path: Path) -> None:
    async def main() -> None:
        async with sides(tmp_path, introduction_timeout_s=0.2) as (leader, _):
            assert await is_closed(await stranger(leader))
            assert await is_closed(await stranger(leader, encode(packets.FOLLOWERINFO, 0)[:7]))
            assert len(leader.peer.named("link_down")) == 2

    trio.run(main)


@pytest.mark.slow
def test_a_flood_of_silent_links_keeps_no_learner_out(tmp_path: Path) -> None:
    async def main() -> None:
        async with sides(tmp_path) as (leader, learner):
            silent = [await stranger(leader) for _ in range(4 * quorum_links.UNKNOWN_LIMIT)]
            await connect(leader, learner)
            assert len(leader.links._unknown) <= quorum_links.UNKNOWN_LIMIT
            assert len(leader.links.links) <= quorum_links.UNKNOWN_LIMIT + 1
            assert await is_closed(silent[0])

    trio.run(main)


@pytest.mark.slow
def test_random_bytes_never_do_more_than_end_their_link(tmp_path: Path) -> None:
    dice = random.Random(5)

    async def main() -> None:
        async with sides(tmp_path) as (leader, learner):
            good = encode(packets.FOLLOWERINFO, 0, bytes(20)) + encode(packets.ACKEPOCH, 0, bytes(4))
            for _ in range(150):
                data = bytearray(good if dice.random() < 0.7 else dice.randbytes(60))
                for _ in range(dice.randrange(1, 4)):
                    data[dice.randrange(len(data))] = dice.randrange(256)
                stream = await stranger(leader, bytes(data))
                await stream.send_eof()
                assert await is_closed(stream)
            await connect(leader, learner)

    trio.run(main)
