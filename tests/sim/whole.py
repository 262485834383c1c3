"""A core that is a whole Replica: the real tree, the real service, and clients that speak the real protocol to it.

The driver's part of it is here too, as production has it: the tree is loaded from the disk as recovery does it, and at
the end of a turn every dirty connection's output goes to its client.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.sim.clients import Client
from tests.sim.coup import LAG_MS
from tests.sim.disk import Image
from tests.sim.judges import Judges
from tests.sim.lockers import Locker
from tests.sim.service import ServiceJudges
from zkpy.keeper.connection import Connection
from zkpy.keeper.keeper import Keeper
from zkpy.keeper.settings import Settings
from zkpy.replica import Replica
from zkpy.tree.datatree import DataTree
from zkpy.tree.image import ImageWriter, load_image
from zkpy.tree.txns import decode_txn
from zkpy.zab.peer import Peer
from zkpy.zab.ready import Entry, Ready

if TYPE_CHECKING:
    from tests.sim.ensemble import Simulation
    from tests.sim.member import Member

#: One slice: all of it.
_ALL = 1 << 30


class FuzzyImage(Image):
    """An image of a real tree, written slice by slice while the tree goes on; with the history that it begins at.

    It is complete at the latest when somebody wants to have it.
    """

    __slots__ = ("_parts", "_writer", "history", "tree")

    def __init__(self, tree: DataTree, history: tuple[Entry, ...]) -> None:
        super().__init__(tree.last_zxid, None, tree.last_zxid)
        self.tree = tree
        self.history = history
        self._writer = ImageWriter(tree)
        self._parts: list[bytes] = []

    def step(self, budget: int) -> bool:
        """Write a slice; is that all?"""
        if self.content is None:
            self._parts.append(self._writer.next_slice(budget))
            if self._writer.is_done:
                self.content = b"".join(self._parts)
                self.end_zxid = max(self.end_zxid, self.tree.last_zxid)
        return self.content is not None

    def finish(self) -> None:
        """Write all that is left."""
        while not self.step(_ALL):
            pass


class LabelledImage(Image):
    """An image that came from a leader, under a zxid that may be older than it is."""

    __slots__ = ("history",)

    def __init__(self, zxid: int, content: bytes, end_zxid: int, history: tuple[Entry, ...]) -> None:
        super().__init__(zxid, content, end_zxid)
        self.history = history


def load_tree(image: Image, entries: list[Entry]) -> DataTree:
    """The tree as recovery makes it."""
    tree = DataTree()
    if image.content is not None:
        load_image(tree, image.content)
        tree.last_zxid = image.zxid
    tree.finish_load()
    for _, entry in entries:
        header, txn, _ = decode_txn(entry)
        tree.apply(header, txn)
    tree.take_changes()
    # Of one that came from a leader nobody knows when it was complete.
    tree.is_fuzzy = isinstance(image, LabelledImage) or image.end_zxid > tree.last_zxid
    for session_id in tree.sessions.orphans():
        tree.drop_ephemerals(session_id)
    return tree


class Whole:
    """A Replica, and the connections of its clients."""

    def __init__(self, member: Member, replica: Replica, judges: ServiceJudges, fuzzy_until: int) -> None:
        self.member = member
        self.replica = replica
        self.peer = replica.peer
        self.judges = judges
        self.clients: dict[Connection, Client] = {}
        # until the tree has come so far it is a mixture of moments
        self._fuzzy_until = fuzzy_until
        # what is being written, and how much of it in each turn
        self._image: FuzzyImage | None = None
        self._budget = 0

    # --- clients

    def open(self, client: Client, generation: int) -> None:
        """A client connects."""
        connection = self.replica.opened("127.0.0.1", f"127.0.0.1:{client.number}")
        self.clients[connection] = client
        client.connected(self, connection, generation)

    def receive(self, connection: Connection, data: bytes) -> None:
        """A client has sent bytes."""
        if connection in self.clients:
            self.replica.received(connection, data)

    def hang_up(self, connection: Connection) -> None:
        """A client is gone."""
        if self.clients.pop(connection, None) is not None:
            self.replica.closed(connection)

    # --- the core

    def begin(self, now_ms: int, wall_ms: int) -> None:
        self.replica.begin(now_ms, wall_ms)

    def wake(self) -> None:
        self.replica.wake()

    def deadline_ms(self) -> int | None:
        return self.replica.deadline_ms()

    def ready(self) -> Ready:
        return self.replica.ready()

    def synced(self, token: int) -> None:
        self.replica.synced(token)

    def last_zxid(self) -> int:
        return self.replica.keeper.tree.last_zxid

    def begin_image(self) -> Image:
        tree = self.replica.keeper.tree
        self._finish_image()
        self._image = FuzzyImage(tree, self.judges.history(self.member.sid, tree.last_zxid))
        self._image.end_zxid = max(tree.last_zxid, self._fuzzy_until)
        self._budget = self.member.world.dice.choice((50, 300, 2_000))
        return self._image

    def _finish_image(self) -> None:
        """One image at a time."""
        if self._image is not None:
            self._image.finish()
            self._image = None

    def label(self, image: Image, zxid: int) -> Image:
        """The image that came with this zxid: replay of what follows makes up for all in it that is later."""
        assert isinstance(image, FuzzyImage)
        image.finish()
        history = tuple([entry for entry in image.history if entry[0] <= zxid])
        return LabelledImage(zxid, image.content, image.end_zxid, history)

    def load(self, image: Image, entries: list[Entry]) -> None:
        self._finish_image()
        self._fuzzy_until = image.end_zxid
        self.replica.install(load_tree(image, entries))

    def settle(self) -> None:
        """The end of a turn: all goes to the clients, the judges look at the tree, an image gets a slice."""
        if self._image is not None and self._image.step(self._budget):
            self._image = None
        replica = self.replica
        keeper = replica.keeper
        while True:
            resumed = False
            for connection in keeper.take_dirty():
                client = self.clients.get(connection)
                if client is None:
                    continue
                data = b"".join(connection.out)
                connection.out.clear()
                if data:
                    client.sent_to(connection, data)
                if connection.closing:
                    self.clients.pop(connection, None)
                    replica.closed(connection)
                    client.sent_to(connection, None)
                elif connection.backlog or (connection.waiting and not connection.waiting[0].zxid):
                    replica.resume(connection)
                    resumed = True
            if not resumed:
                break
        for level, event, fields in keeper.take_notes():
            if self.member.world.is_telling:
                self.member.world.tell(f"{self.member.sid} {level}: {event} {fields}")
        tree = keeper.tree
        if keeper.statistics.digest_mismatches:
            self.judges.fail("Digests", f"{self.member.sid} has another digest than a txn up to {tree.last_zxid:#x}")
        if self.member.standing.is_serving and tree.last_zxid >= self._fuzzy_until:
            self.judges.tree_seen(self.member.sid, tree.last_zxid, tree.digest, tree)


class WholeKind:
    """Members that are whole Replicas, and their clients."""

    #: Clients take a while to find a member that serves, and to come to something there.
    pace = 2

    def __init__(self, simulation: Simulation) -> None:
        self.simulation = simulation
        self.clients: list[Client] = []

    def make_judges(self, simulation: Simulation) -> Judges:
        swarm = simulation.swarm
        # A learner that is cut off from its leader serves on for syncLimit; and it tells its touches every half tick.
        slack_ms = (swarm.sync_limit + 3) * swarm.tick_ms + 4 * swarm.delay_ms[1] + swarm.turn_ms
        if "coup" in swarm.odds:
            slack_ms += 4 * LAG_MS
        return ServiceJudges(simulation.world, slack_ms)

    def make_core(self, member: Member, image: Image, entries: list[Entry]) -> Whole:
        simulation = self.simulation
        swarm = simulation.swarm
        disk = member.disk
        tree = load_tree(image, entries)
        settings = Settings(
            server_id=member.sid,
            tick_time_ms=swarm.tick_ms,
            min_session_timeout_ms=2 * swarm.tick_ms,
            max_session_timeout_ms=100 * swarm.tick_ms,
        )
        keeper = Keeper(tree, settings, member.now_ms, member.wall_ms)
        peer = Peer.member(
            simulation.settings[member.sid],
            simulation.ensemble,
            disk.epochs(),
            tree.last_zxid,
            disk.tail(swarm.tail),
            member.now_ms,
        )
        assert isinstance(simulation.judges, ServiceJudges)
        return Whole(member, Replica(keeper, peer), simulation.judges, image.end_zxid)

    def ended(self, member: Member) -> None:
        for client in self.clients:
            client.server_ended(member)

    def work(self) -> None:
        """A step of the workload: some client does something."""
        dice = self.simulation.world.dice
        if not self.clients:
            count = dice.choice((1, 2, 4, 8))
            self.clients = [Client(self.simulation, number) for number in range(1, count + 1)]
            judges = self.simulation.judges
            assert isinstance(judges, ServiceJudges)
            for number in range(101, 101 + dice.choice((0, 2, 3))):
                self.clients.append(Locker(self.simulation, number, judges.locks))
        for _ in range(self.simulation.swarm.burst):
            dice.choice(self.clients).act()

    def push(self, member: Member, count: int) -> None:
        """So many writes, of this member's clients, if it has any."""
        here = [client for client in self.clients if client.member is member]
        for client in here:
            for _ in range(count):
                client.write()

    def drain(self) -> None:
        """Everybody gets an answer to a last write."""
        world = self.simulation.world
        if not self.clients:
            return
        for client in self.clients:
            client.is_ending = True
        limit_ms = 60_000
        if not world.run_until(self._are_done, limit_ms):
            late = [client for client in self.clients if not client.is_done]
            law = "Lock" if all(isinstance(client, Locker) for client in late) else "Liveness"
            who = "; ".join([client.describe() for client in late])
            self.simulation.judges.fail(law, f"not done in {limit_ms} ms: {who}")
        for client in self.clients:
            client.stop()
        world.run(world.now_ms + 200)

    def _are_done(self) -> bool:
        late = [client for client in self.clients if not client.is_done]
        for client in late:
            client.act()
        return not late
