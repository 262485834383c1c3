"""Whole replicas, Peer and Keeper joined: an ensemble elects its leader, serves, loses members and gets them back.

The network loses nothing and takes no time, and what is written is synced at once; what peers do when it is not like
that has its tests elsewhere (`tests/zab`).
"""

from collections import deque
from collections.abc import Callable

from tests.keeper.ensemble import copy_of, move
from tests.keeper.harness import OPEN, START_MS, Client, World
from zkpy.proto import errors, opcodes
from zkpy.proto.notification import LEADING
from zkpy.proto.packets import PacketStream
from zkpy.proto.records import CreateRequest, SyncRequest
from zkpy.proto.zxid import epoch_of
from zkpy.tree.datatree import DataTree
from zkpy.tree.txns import decode_txn
from zkpy.zab.peer import Peer
from zkpy.zab.quorum import Ensemble, Majority
from zkpy.zab.ready import Ready
from zkpy.zab.settings import Settings

TICK_MS = 100
#: How long a server is dialed that does not listen.
DIAL_MS = 50


class Server(World):
    """One member: it drives a replica as the real driver does."""

    def __init__(self, network: "Network", sid: int, log: list[tuple[int, bytes]], epochs: tuple[int, int]) -> None:
        self.network = network
        self.sid = sid
        self.epochs = epochs
        self.streams: dict[int, PacketStream] = {}
        tree = DataTree()
        for _, entry in log:
            tree.apply(*decode_txn(entry)[:2])
        peer = Peer.member(
            Settings(sid, tick_ms=TICK_MS, init_limit=20, sync_limit=10),
            network.ensemble,
            epochs,
            tree.last_zxid,
            log[-network.tail :],
            network.now_ms,
        )
        super().__init__(
            tree,
            peer,
            server_id=sid,
            tick_time_ms=TICK_MS,
            min_session_timeout_ms=1000,
            four_letter_words=frozenset("*"),
        )
        self.now_ms = network.now_ms
        self.replica.begin(self.now_ms, self.wall_ms)
        self.log = list(log)

    def run(self) -> None:
        self.network.run()

    def run_alone(self) -> None:
        while True:
            ready = self.replica.ready()
            if ready:
                self.carry_out(ready)
            elif not self._deliver():
                return

    def carry_out(self, ready: Ready) -> None:
        network, replica = self.network, self.replica
        if isinstance(ready.restore, DataTree):
            self.tree = ready.restore
            self.log = []
            replica.install(self.tree)
        if ready.truncate >= 0:
            self.log = [entry for entry in self.log if entry[0] <= ready.truncate]
        self.log += ready.append
        if ready.epochs is not None:
            self.epochs = ready.epochs
        for link, packet in ready.snaps:
            network.send_snap(self, link, packet, copy_of(self.keeper.tree))
        for link, data in ready.send:
            network.send(self, link, data)
        for sid, message in ready.notify:
            network.notify(self.sid, sid, message)
        for sid in ready.dial:
            network.dial(self, sid)
        for link in ready.close:
            network.close(self, link)
        for link, _, _ in ready.reads:
            replica.log_read(link, None, True)
        if ready.has_disk_work:
            replica.synced(ready.token)

    @property
    def is_leader(self) -> bool:
        """Does it lead, and serve?"""
        return self.keeper.leading is not None


class Network:
    """The servers that are up, and the links between them."""

    def __init__(self, size: int = 3, observers: int = 0, tail: int = 500) -> None:
        self.now_ms = START_MS
        self.tail = tail
        voters = range(1, size + 1)
        text = "\n".join(f"server.{sid}=h{sid}:1:2:participant" for sid in voters) + "\nversion=0"
        watching = frozenset(range(size + 1, size + observers + 1))
        self.ensemble = Ensemble(Majority(voters), watching, text.encode())
        self.up: dict[int, Server] = {}
        #: (sid, link) → the other end
        self.ends: dict[tuple[int, int], tuple[int, int]] = {}
        self._links = 0
        # who dials whom, and until when
        self._dials: list[tuple[int, Server, int]] = []
        self._words: deque[Callable[[], None]] = deque()
        for sid in (*voters, *sorted(watching)):
            self.start(sid)
        self.settle()

    # --- life

    def start(self, sid: int, log: list[tuple[int, bytes]] | None = None, epochs: tuple[int, int] = (0, 0)) -> Server:
        server = self.up[sid] = Server(self, sid, log or [], epochs)
        return server

    def stop(self, server: Server) -> None:
        """It is gone at once, and its links with it."""
        del self.up[server.sid]
        for sid, link in [end for end in self.ends if end[0] == server.sid]:
            other = self.ends.pop((sid, link))
            self.ends.pop(other, None)
            self.say(other[0], lambda to, other=other: to.replica.link_down(other[1]))  # type: ignore[misc]
        self.run()

    def settle(self) -> "Server":
        """Let time pass until all that are up serve; the leader."""
        for _ in range(400):
            self.advance(10)
            if all(server.keeper.is_serving for server in self.up.values()):
                (leader,) = [server for server in self.up.values() if server.is_leader]
                return leader
        raise AssertionError("no leader")

    # --- time

    def advance(self, ms: int) -> None:
        for _ in range(ms):
            self.now_ms += 1
            self._redial()
            for server in list(self.up.values()):
                server.now_ms += 1
                server.wall_ms += 1
                server.replica.begin(server.now_ms, server.wall_ms)
                deadline = server.replica.deadline_ms()
                if deadline is not None and deadline <= server.now_ms:
                    server.replica.wake()
            self.run()

    def run(self) -> None:
        """Until nobody has anything to say."""
        while True:
            for server in list(self.up.values()):
                server.run_alone()
            if not self._words:
                return
            while self._words:
                self._words.popleft()()

    # --- words

    def say(self, sid: int, word: Callable[[Server], None]) -> None:
        def deliver() -> None:
            if sid in self.up:
                word(self.up[sid])

        self._words.append(deliver)

    def notify(self, sender: int, sid: int, message: bytes) -> None:
        self.say(sid, lambda to: to.replica.notified(sender, message))

    def dial(self, dialer: Server, sid: int) -> None:
        self._dials.append((self.now_ms + DIAL_MS, dialer, sid))

    def _redial(self) -> None:
        dials, self._dials = self._dials, []
        for until_ms, dialer, sid in dials:
            target = self.up.get(sid)
            if target is not None and target.replica.peer.standing.role == LEADING:
                self._link(dialer, target)
            elif self.now_ms < until_ms:
                self._dials.append((until_ms, dialer, sid))
            else:
                self.say(dialer.sid, lambda to, sid=sid: to.replica.dial_failed(sid))  # type: ignore[misc]

    def _link(self, dialer: Server, target: Server) -> None:
        sid = target.sid
        self._links += 2
        mine, theirs = self._links, self._links + 1
        self.ends[dialer.sid, mine] = (sid, theirs)
        self.ends[sid, theirs] = (dialer.sid, mine)
        dialer.streams[mine], target.streams[theirs] = PacketStream(), PacketStream()
        self.say(sid, lambda to: to.replica.link_up(theirs, None))
        self.say(dialer.sid, lambda to: to.replica.link_up(mine, sid))

    def send(self, sender: Server, link: int, data: bytes) -> None:
        end = self.ends.get((sender.sid, link))
        if end is not None:
            self.say(end[0], lambda to: to.replica.receive(end[1], to.streams[end[1]].feed(data)))

    def send_snap(self, sender: Server, link: int, packet: bytes, tree: DataTree) -> None:
        end = self.ends.get((sender.sid, link))
        if end is not None:
            snap = PacketStream().feed(packet)[0]
            tree.last_zxid = snap.zxid
            self.say(end[0], lambda to: to.replica.receive_snap(end[1], snap, tree))
            self.say(sender.sid, lambda to: to.replica.snap_sent(link))

    def close(self, closer: Server, link: int) -> None:
        end = self.ends.pop((closer.sid, link), None)
        if end is not None:
            self.ends.pop(end, None)
            self.say(end[0], lambda to: to.replica.link_down(end[1]))


def check(network: Network) -> None:
    """All members that are up have the same tree, and never found a digest that was not theirs."""
    servers = list(network.up.values())
    for server in servers:
        server.check()
        assert not server.keeper.statistics.digest_mismatches
    assert len({(server.keeper.tree.last_zxid, server.keeper.tree.digest) for server in servers}) == 1


def learners(network: Network) -> list[Server]:
    return [server for server in network.up.values() if not server.is_leader]


def test_ensemble_serves_at_every_member() -> None:
    network = Network(observers=1)
    clients = [server.client() for server in network.up.values()]
    for number, writer in enumerate(clients):
        assert writer.create(f"/n{number}").err == 0
        assert writer.call(opcodes.SYNC, SyncRequest("/")).err == 0
    assert [client.names("/") for client in clients] == [["n0", "n1", "n2", "n3", "zookeeper"]] * 4
    check(network)


def test_session_outlives_the_leader_it_began_under() -> None:
    network = Network()
    old = network.settle()
    client = learners(network)[0].client()
    client.create("/e", flags=opcodes.EPHEMERAL)
    network.stop(old)
    assert client.is_closed
    leader = network.settle()
    assert epoch_of(leader.client().create("/a").zxid) == 2
    moved = move(client, learners(network)[0])
    assert moved.set("/e", b"x").err == 0
    check(network)
    moved.hang_up()
    network.advance(12_000)
    assert "/e" not in leader.keeper.tree.nodes
    check(network)


def test_session_lives_as_long_as_pings_tell_of_it() -> None:
    network = Network()
    follower = learners(network)[0]
    kept, lost = follower.client(timeout_ms=1000), follower.client(timeout_ms=1000)
    for _ in range(6):
        network.advance(400)
        kept.call(opcodes.PING)
    assert not kept.is_closed
    assert lost.is_closed
    assert list(network.settle().keeper.tree.sessions.timeouts) == [kept.session_id]


def test_member_that_was_away_catches_up_by_what_is_missing() -> None:
    network = Network()
    follower = learners(network)[0]
    client = network.settle().client()
    client.create("/a")
    network.stop(follower)
    client.create("/b")
    again = network.start(follower.sid, follower.log, follower.epochs)
    network.settle()
    assert again.client().names("/") == ["a", "b", "zookeeper"]
    check(network)


def test_member_that_lost_everything_gets_the_whole_tree() -> None:
    network = Network(tail=3)
    follower = learners(network)[0]
    client = network.settle().client()
    for number in range(600):
        client.set("/", str(number).encode())
    client.create("/e", flags=opcodes.EPHEMERAL)
    network.stop(follower)
    again = network.start(follower.sid)
    network.settle()
    assert again.client().stat("/e").ephemeral_owner == client.session_id
    assert again.client().data("/") == b"599"
    check(network)


def test_leader_without_a_quorum_serves_nobody() -> None:
    network = Network()
    leader = network.settle()
    client = leader.client()
    for follower in learners(network):
        network.stop(follower)
    network.advance(4000)
    assert client.is_closed
    assert not leader.keeper.is_serving
    refused: Client = leader.open()
    assert refused.connect() is None
    assert refused.is_closed


def test_write_under_way_when_the_quorum_is_lost_is_decided_by_the_next_one() -> None:
    network = Network()
    leader = network.settle()
    client = leader.client()
    first, second = learners(network)
    network.stop(first)
    network.stop(second)
    client.post(opcodes.CREATE, CreateRequest("/a", b"", OPEN, 0))
    assert client.take() == []
    network.start(first.sid, first.log, first.epochs)
    network.start(second.sid, second.log, second.epochs)
    network.advance(5000)
    network.settle()
    assert client.take() == []
    assert network.up[first.sid].client().get("/a").err == 0
    assert network.up[first.sid].client().get("/b").err == errors.NONODE
    check(network)
