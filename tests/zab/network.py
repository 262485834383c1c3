"""Peers in one thread: an in-memory network, disks that lose what was not synced, and time that jumps.

What each fault means: a message of the election port may be lost while a way is cut; a link keeps its order and breaks
as a whole, losing what is in flight; a crash keeps a part, from the front, of the disk work that was not reported
durable. The disks hold histories and the trees are lists of txns, so that two servers can be compared by looking.

Every server's word is checked as it leaves: no ACK of what is not on its disk (see `Server.check_word`); and what is
delivered is compared with what any other server ever delivered (`World.deliver`).
"""

from __future__ import annotations

import heapq
import random
from collections import deque
from collections.abc import Callable, Iterable

from zkpy.proto import packets
from zkpy.proto.notification import LEADING, STATE_NAMES, Notification
from zkpy.proto.packets import PacketStream
from zkpy.proto.records import QuorumPacket
from zkpy.proto.zxid import counter_of, epoch_of, make_zxid
from zkpy.zab.following import Learning
from zkpy.zab.history import Entry
from zkpy.zab.leading import Leading
from zkpy.zab.peer import Peer
from zkpy.zab.quorum import Ensemble, Hierarchical, Majority
from zkpy.zab.ready import Ready
from zkpy.zab.settings import Settings

TICK_MS = 100


class Disk:
    """What a server finds when it starts again: its history, the part of it that is in the log, its epochs."""

    def __init__(self) -> None:
        self.history: list[Entry] = []
        #: How many txns, from the front, a snapshot holds instead of the log.
        self.in_snapshot = 0
        self.accepted = self.current = 0
        #: (token, steps): work that is not durable yet, oldest first.
        self.pending: deque[tuple[int, list[Callable[[], None]]]] = deque()

    def begin(self, ready: Ready) -> None:
        """Take over the disk work of a Ready, as steps that a crash may come between."""
        steps: list[Callable[[], None]] = []
        if ready.restore is not None:
            history = ready.restore
            assert isinstance(history, tuple)
            steps.append(lambda: self.restore(history))
        if ready.truncate >= 0:
            steps.append(lambda: self.truncate(ready.truncate))
        for entry in ready.append:
            steps.append(lambda entry=entry: self.append(entry))  # type: ignore[misc]
        if ready.epochs is not None:
            accepted, current = ready.epochs
            steps.append(lambda: self.write_epochs(accepted, self.current))
            steps.append(lambda: self.write_epochs(accepted, current))
        self.pending.append((ready.token, steps))

    def finish(self) -> int:
        """The oldest work is durable: its token."""
        token, steps = self.pending.popleft()
        for step in steps:
            step()
        return token

    def crash(self, keeps: int) -> None:
        """So many steps of the pending work, from the front, are on disk, and all other is lost."""
        steps = [step for _, steps in self.pending for step in steps]
        for step in steps[:keeps]:
            step()
        self.pending.clear()

    def restore(self, history: tuple[Entry, ...]) -> None:
        self.history = list(history)
        self.in_snapshot = len(history)

    def truncate(self, zxid: int) -> None:
        kept = [entry for entry in self.history if entry[0] <= zxid]
        assert (kept[-1][0] if kept else 0) == zxid, f"the history has no {zxid:#x} to be cut behind"
        assert len(kept) >= self.in_snapshot, f"{zxid:#x} is not in the log but in a snapshot"
        self.history = kept

    def append(self, entry: Entry) -> None:
        last = self.history[-1][0] if self.history else 0
        assert entry[0] == last + 1 or epoch_of(entry[0]) > epoch_of(last), f"{entry[0]:#x} after {last:#x}"
        self.history.append(entry)

    def write_epochs(self, accepted: int, current: int) -> None:
        assert accepted >= self.accepted
        assert current >= self.current
        assert accepted >= current
        self.accepted, self.current = accepted, current


class Link:
    """One end of a link; what is put in comes out at the other end, in order, until it breaks."""

    def __init__(self, owner: Server, number: int, is_dialed: bool) -> None:
        self.owner = owner
        self.number = number
        self.is_dialed = is_dialed
        self.far: Link | None = None
        self.is_open = True
        #: Nothing that is put in comes out any more, though neither end knows.
        self.is_torn = False
        self.stream = PacketStream()
        self.busy_until = 0


class Server:
    """A member: its disk, and while it runs a Peer and a tree."""

    def __init__(self, world: World, sid: int) -> None:
        self.world = world
        self.sid = sid
        self.disk = world.disk_class()
        self.peer: Peer | None = None
        self.tree: list[Entry] = []
        self.links: dict[int, Link] = {}
        self.is_serving = False
        self.role = 0
        self.next_zxid = 0
        #: Since the last start: what the Keeper would have got.
        self.requests: list[tuple[int, int, int, bytes]] = []
        self.touches: list[tuple[int, int]] = []
        self.revalidated: list[tuple[int, bool]] = []
        self.syncs = 0

    # --- life

    def start(self) -> None:
        assert self.peer is None
        world = self.world
        disk = self.disk
        self.tree = list(disk.history)
        self.requests, self.touches, self.revalidated, self.syncs = [], [], [], 0
        world.check_disk(disk)
        last = disk.history[-1][0] if disk.history else 0
        in_log = disk.history[disk.in_snapshot :]
        self.is_serving = False
        self.peer = world.peer_class.member(
            Settings(
                self.sid,
                tick_ms=TICK_MS,
                init_limit=10,
                sync_limit=4,
                commit_log_count=world.commit_log_count,
            ),
            world.ensemble,
            (disk.accepted, disk.current),
            last,
            in_log[-world.tail :] if world.tail else [],
            world.now,
        )
        self.act()

    def crash(self, keeps: int | None = None) -> None:
        """Stop without a word; of the pending disk work so many steps are done, or as many as chance will have it."""
        assert self.peer is not None
        self.world.trace(f"{self.sid} crashes")
        self.peer = None
        self.is_serving = False
        if keeps is None:
            keeps = self.world.dice.randint(0, sum(len(steps) for _, steps in self.disk.pending))
        self.disk.crash(keeps)
        for link in list(self.links.values()):
            self.world.break_link(link)
        self.links.clear()

    # --- the turn

    def tell(self, word: Callable[[Peer], None]) -> None:
        """One input, and all that follows from it here."""
        peer = self.peer
        if peer is not None:
            peer.begin(self.world.now)
            word(peer)
            self.act()

    def act(self) -> None:
        peer = self.peer
        assert peer is not None
        while ready := peer.ready():
            self.carry_out(ready)
        peer.history.check()
        deadline = peer.deadline_ms()
        if deadline is not None:
            self.world.wake_at(self, deadline)

    def carry_out(self, ready: Ready) -> None:
        world = self.world
        peer = self.peer
        assert peer is not None
        if ready.standing is not None:
            standing = ready.standing
            self.role, self.is_serving = standing.role, standing.is_serving
            serving = " serving" if standing.is_serving else ""
            world.trace(f"{self.sid} is {STATE_NAMES[standing.role]}{serving} leader={standing.leader}")
            if standing.role == LEADING and standing.is_serving:
                world.crown(self.sid, standing.epoch)
                self.next_zxid = make_zxid(standing.epoch, 1)
        if ready.has_disk_work:
            world.trace(f"{self.sid} disk {ready.token}: {describe_disk(ready)}")
            if ready.restore is not None:
                assert isinstance(ready.restore, tuple)
                self.tree = list(ready.restore)
            if ready.truncate >= 0:
                self.tree = [entry for entry in self.tree if entry[0] <= ready.truncate]
            self.disk.begin(ready)
            world.sync_later(self)
        for entry in ready.committed:
            world.deliver(self, entry)
            self.tree.append(entry)
        if ready.committed:
            world.trace(f"{self.sid} applies {span(ready.committed)}")
        for link, head in ready.snaps:
            world.send(self.links.get(link), head, tuple(self.tree))
        for link, data in ready.send:
            self.check_word(data)
            world.send(self.links.get(link), data, None)
        for sid, message in ready.notify:
            world.notify(self.sid, sid, message)
        for sid in ready.dial:
            world.dial(self, sid)
        for link in ready.close:
            end = self.links.pop(link, None)
            if end is not None:
                world.break_link(end)
        for link, first, last in ready.reads:
            world.read_later(self, link, first, last)
        for request in ready.requests:
            self.requests.append((request.link, request.session_id, request.cxid, request.body))
            if request.type == 9:
                peer.sync(request.link)
        for link, zxid in ready.cuts:
            world.cut_later(self, link, zxid)
        self.touches += ready.touches
        for link, session_id, timeout_ms in ready.revalidations:
            peer.revalidated(link, session_id, timeout_ms > 0)
        self.revalidated += ready.revalidated
        self.syncs += ready.syncs
        if ready.pinged:
            peer.pong([(self.sid, 1000)])
        for _, event, fields in ready.notes:
            world.trace(f"{self.sid} notes: {event} " + " ".join(f"{key}={value}" for key, value in fields.items()))

    def check_word(self, data: bytes) -> None:
        """No word that leaves may claim more than the disk has."""
        disk = self.disk
        for packet in PacketStream().feed(data):
            if packet.type == packets.ACK:
                epoch = epoch_of(packet.zxid)
                assert disk.current == epoch, "an ACK, but currentEpoch is another one on disk"
                if counter_of(packet.zxid):
                    assert any(zxid == packet.zxid for zxid, _ in disk.history), "an ACK of what is not on disk"
            elif packet.type == packets.LEADERINFO:
                assert disk.accepted >= epoch_of(packet.zxid), "an epoch is offered that is not accepted on disk"
            elif packet.type == packets.ACKEPOCH and self.peer is not None and isinstance(self.peer.role, Learning):
                assert disk.accepted >= self.peer.role.epoch, "an epoch is promised that is not accepted on disk"

    # --- what a Keeper does

    def propose(self, count: int, name: str = "") -> list[Entry]:
        """Propose so many txns, if this server leads and serves."""
        assert self.is_serving
        entries = [(self.next_zxid + n, f"{name or self.sid}:{self.next_zxid + n:x}".encode()) for n in range(count)]
        self.next_zxid += count
        self.tell(lambda peer: peer.propose(entries))
        return entries


class World:
    """All servers, the ways between them, the time, and what was ever delivered."""

    def __init__(
        self,
        voters: int,
        *,
        observers: int = 0,
        seed: int = 0,
        jitter_ms: int = 0,
        sync_ms: int = 1,
        commit_log_count: int = 500,
        tail: int = 500,
        chunk: int = 3,
        quorum: Majority | Hierarchical | None = None,
        peer_class: type[Peer] = Peer,
        disk_class: type[Disk] = Disk,
    ) -> None:
        """`peer_class` and `disk_class` are there to plant faults, for the judges to find."""
        self.peer_class = peer_class
        self.disk_class = disk_class
        self.dice = random.Random(seed)
        self.jitter_ms = jitter_ms
        self.sync_ms = sync_ms
        self.commit_log_count = commit_log_count
        self.tail = tail
        self.chunk = chunk
        self.now = 1000
        sids = range(1, voters + 1)
        watching = frozenset(range(voters + 1, voters + observers + 1))
        self.ensemble = Ensemble(quorum or Majority(sids), watching, b"version=0")
        self.servers = {sid: Server(self, sid) for sid in range(1, voters + observers + 1)}
        #: Pairs between which nothing passes, in this direction.
        self.cuts: set[tuple[int, int]] = set()
        self.lines: list[str] = []
        self.is_tracing = False
        self._events: list[tuple[int, int, Callable[[], None]]] = []
        self._sequence = 0
        self._links = 0
        # what was delivered anywhere: zxid → txn, and zxid → the zxid before it
        self.delivered: dict[int, bytes] = {}
        self.before: dict[int, int] = {}
        # epoch → who leads in it, and the last txn that was delivered before
        self.leaders: dict[int, int] = {}
        self.bases: dict[int, int] = {}

    # --- time

    def at(self, when: int, event: Callable[[], None]) -> None:
        self._sequence += 1
        heapq.heappush(self._events, (when, self._sequence, event))

    def run(self, duration_ms: int) -> None:
        """Let so much time pass."""
        until = self.now + duration_ms
        while self._events and self._events[0][0] <= until:
            when, _, event = heapq.heappop(self._events)
            self.now = max(self.now, when)
            event()
        self.now = until

    def run_until(self, condition: Callable[[], bool], limit_ms: int = 60_000) -> None:
        """Let time pass until this holds."""
        until = self.now + limit_ms
        while not condition():
            assert self._events, "nothing will happen any more"
            assert self._events[0][0] <= until, "it does not come to that"
            when, _, event = heapq.heappop(self._events)
            self.now = max(self.now, when)
            event()

    def wake_at(self, server: Server, deadline: int) -> None:
        peer = server.peer

        def wake() -> None:
            if server.peer is peer and peer is not None and peer.deadline_ms() == deadline:
                server.tell(Peer.wake)

        self.at(max(deadline, self.now + 1), wake)

    def _delay(self) -> int:
        return 1 + (self.dice.randrange(self.jitter_ms) if self.jitter_ms else 0)

    # --- the disk

    def sync_later(self, server: Server) -> None:
        peer = server.peer

        def finish() -> None:
            if server.peer is peer and peer is not None:
                token = server.disk.finish()
                self.trace(f"{server.sid} synced {token}")
                server.tell(lambda peer: peer.synced(token))

        self.at(self.now + self.sync_ms + (self.dice.randrange(self.jitter_ms) if self.jitter_ms else 0), finish)

    def read_later(self, server: Server, link: int, first: int, last: int) -> None:
        def answer(peer: Peer) -> None:
            entries = server.disk.history[server.disk.in_snapshot :]
            start = max((at for at, entry in enumerate(entries) if entry[0] <= first), default=None)
            if start is None:
                peer.log_read(link, None, True)
                return
            found = [entry for entry in entries[start:] if entry[0] <= last]
            size = max(2, self.chunk)
            peer.log_read(link, found[:size], len(found) <= size)

        self.at(self.now + self._delay(), lambda: server.tell(answer))

    def cut_later(self, server: Server, link: int, zxid: int) -> None:
        def answer(peer: Peer) -> None:
            kept = [entry for entry in server.disk.history if entry[0] <= zxid]
            is_there = (kept[-1][0] if kept else 0) == zxid
            peer.can_cut(link, is_there and len(kept) >= server.disk.in_snapshot)

        self.at(self.now + self._delay(), lambda: server.tell(answer))

    # --- the wire

    def is_cut(self, source: int, target: int) -> bool:
        return (source, target) in self.cuts

    def cut(self, some: Iterable[int], others: Iterable[int], *, silently: bool = False) -> None:
        """Nothing passes between these any more, and the links between them break, or only fall silent."""
        others = list(others)
        for one in some:
            for other in others:
                self.cuts |= {(one, other), (other, one)}
        for server in self.servers.values():
            for link in list(server.links.values()):
                if link.far is None or not self.is_cut(server.sid, link.far.owner.sid):
                    continue
                link.is_torn = True
                if not silently:
                    self.at(self.now + self._delay(), lambda link=link: self.break_link(link))  # type: ignore[misc]

    def heal(self) -> None:
        self.cuts.clear()

    def notify(self, source: int, target: int, message: bytes) -> None:
        self.trace(f"{source}→{target} {Notification.decode(message)!r}".replace(" config=b'version=0'", ""))

        def arrive() -> None:
            if self.servers[target].peer is None:
                # Nobody listens there, and a refused connection says so.
                self.servers[source].tell(lambda peer: peer.unreachable(target))
            elif not self.is_cut(source, target):
                self.servers[target].tell(lambda peer: peer.notified(source, message))

        self.at(self.now + self._delay(), arrive)

    def dial(self, server: Server, sid: int) -> None:
        peer = server.peer
        target = self.servers[sid]

        def arrive() -> None:
            if server.peer is not peer:
                return
            if target.peer is None or target.role != LEADING or self.is_cut(server.sid, sid):
                self.at(self.now + self._delay(), lambda: server.tell(lambda peer: peer.dial_failed(sid)))
                return
            near, far = self._link(server, True), self._link(target, False)
            near.far, far.far = far, near
            target.tell(lambda peer: peer.link_up(far.number, None))
            server.tell(lambda peer: peer.link_up(near.number, sid))

        self.at(self.now + self._delay() + 5, arrive)

    def _link(self, owner: Server, is_dialed: bool) -> Link:
        self._links += 1
        link = owner.links[self._links] = Link(owner, self._links, is_dialed)
        return link

    def send(self, near: Link | None, data: bytes, image: tuple[Entry, ...] | None) -> None:
        """Put whole packets on a link; with an image, they end with SNAP."""
        if near is None or near.far is None or not near.is_open:
            return
        far = near.far
        for packet in PacketStream().feed(data) if image is not None else near.stream.feed(data):
            self.trace(f"{near.owner.sid}→{far.owner.sid} {describe(packet)}")
        if near.is_torn:
            return
        near.busy_until = max(near.busy_until, self.now + self._delay())

        def arrive() -> None:
            if not far.is_open or near.is_torn:
                return
            received = PacketStream().feed(data)
            if image is None:
                far.owner.tell(lambda peer: peer.receive(far.number, received))
            else:
                far.owner.tell(lambda peer: peer.receive_snap(far.number, received[0], image))
                near.owner.tell(lambda peer: peer.snap_sent(near.number))

        self.at(near.busy_until, arrive)

    def break_link(self, end: Link) -> None:
        """Both ends are told, the far one a little later."""
        far = end.far
        for link in (end, far):
            if link is None or not link.is_open:
                continue
            link.is_open = False
            if link.owner.links.pop(link.number, None) is not None and link is end:
                end.owner.tell(lambda peer: peer.link_down(end.number))
            elif link is far:
                owner, number = link.owner, link.number
                self.at(
                    self.now + self._delay(),
                    lambda owner=owner, number=number: owner.tell(lambda peer: peer.link_down(number)),  # type: ignore[misc]
                )

    # --- the judges

    def trace(self, line: str) -> None:
        if self.is_tracing:
            self.lines.append(f"{self.now - 1000:>5} {line}")

    def crown(self, sid: int, epoch: int) -> None:
        assert self.leaders.setdefault(epoch, sid) == sid, f"{sid} and {self.leaders[epoch]} lead in epoch {epoch}"
        self.bases[epoch] = max((zxid for zxid in self.delivered if epoch_of(zxid) < epoch), default=0)

    def check_disk(self, disk: Disk) -> None:
        """Whoever says that an epoch is its current one must have what that epoch began with."""
        last = disk.history[-1][0] if disk.history else 0
        assert last >= self.bases.get(disk.current, 0), f"currentEpoch {disk.current} has outrun the history, {last:#x}"

    def deliver(self, server: Server, entry: Entry) -> None:
        zxid, txn = entry
        last = server.tree[-1][0] if server.tree else 0
        assert zxid > last, f"{server.sid} delivers {zxid:#x} after {last:#x}"
        assert self.delivered.setdefault(zxid, txn) == txn, f"{server.sid} delivers another {zxid:#x}"
        assert self.before.setdefault(zxid, last) == last, f"{server.sid} delivers {zxid:#x} after {last:#x}"

    def leader(self) -> Server | None:
        """The one that leads, serves and has the newest epoch, if there is one."""
        serving = [server for server in self.servers.values() if server.peer is not None and server.is_serving]
        leading = [server for server in serving if isinstance(server.peer and server.peer.role, Leading)]
        return max(leading, key=lambda server: server.next_zxid, default=None)

    def has_converged(self) -> bool:
        """Do all servers that run serve, with the same tree?"""
        running = [server for server in self.servers.values() if server.peer is not None]
        return (
            all(server.is_serving for server in running)
            and len({tuple(server.tree) for server in running}) == 1
            and all(not server.disk.pending for server in running)
        )

    def check_trees(self) -> None:
        """All that was ever delivered is in every tree, in the one order."""
        assert self.has_converged()
        for server in self.servers.values():
            tree = [entry for entry in server.tree if server.peer is not None]
            if server.peer is not None:
                assert dict(tree).items() >= self.delivered.items()
                assert [zxid for zxid, _ in tree] == sorted(zxid for zxid, _ in tree)
                assert server.disk.history == server.tree


def span(entries: list[Entry]) -> str:
    """The zxids of txns, in short."""
    first, last = entries[0][0], entries[-1][0]
    return f"{first:#x}" if first == last else f"{first:#x}..{last:#x}"


def describe_disk(ready: Ready) -> str:
    """A Ready's disk work, in short."""
    parts = []
    if ready.restore is not None:
        parts.append("restore")
    if ready.truncate >= 0:
        parts.append(f"truncate behind {ready.truncate:#x}")
    if ready.append:
        parts.append(f"append {span(ready.append)}")
    if ready.epochs is not None:
        parts.append("epochs accepted={} current={}".format(*ready.epochs))
    return ", ".join(parts)


def describe(packet: QuorumPacket) -> str:
    """A packet, in short."""
    zxid = f" {packet.zxid:#x}" if packet.zxid != -1 else ""
    data = packet.data
    more = ""
    if packet.type == packets.ACKEPOCH and data is not None:
        more = f" epoch={int.from_bytes(data, 'big', signed=True)}"
    elif packet.type == packets.ACKEPOCH or data is None or packet.type != packets.REQUEST:
        more = ""
    else:
        more = f" {data[16:]!r}"
    return packets.NAMES[packet.type] + zxid + more
