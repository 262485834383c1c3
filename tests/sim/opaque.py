"""A core that is a Peer and little else: the tree is the list of its txns, and a txn is who asked, and bytes.

It does for the Peer what a Keeper would: proposes, forwards, answers revalidations and pings, asks for syncs. So the
protocol can be tried at several times the speed of whole Replicas, and two trees can be compared by looking.
"""

from __future__ import annotations

from collections import deque
from struct import Struct
from typing import TYPE_CHECKING

from tests.sim.disk import Image
from tests.sim.judges import Judges
from zkpy.proto import opcodes
from zkpy.proto.notification import LEADING
from zkpy.proto.zxid import make_zxid
from zkpy.zab.peer import Peer
from zkpy.zab.ready import OWN, Entry, LearnerRequest, Ready

if TYPE_CHECKING:
    from tests.sim.ensemble import Simulation
    from tests.sim.member import Member

#: Who asked (its sid) and the how-many-eth of its requests: a txn's first bytes.
ORIGIN = Struct(">qi")


def is_alive(session_id: int) -> bool:
    """What a leader knows of sessions here."""
    return session_id % 3 != 0


class OpaqueKind:
    """Members that are opaque cores, and the work for them."""

    pace = 1

    def __init__(self, simulation: Simulation) -> None:
        self.simulation = simulation
        self._written = 0

    def make_judges(self, simulation: Simulation) -> Judges:
        return Judges(simulation.world)

    def make_core(self, member: Member, image: Image, entries: list[Entry]) -> Opaque:
        simulation = self.simulation
        disk = member.disk
        peer = Peer.member(
            simulation.settings[member.sid],
            simulation.ensemble,
            disk.epochs(),
            disk.last_zxid(),
            disk.tail(simulation.swarm.tail),
            member.now_ms,
        )
        core = Opaque(peer, member.sid, member.life, simulation.judges)
        core.load(image, entries)
        return core

    def ended(self, member: Member) -> None:
        pass

    def work(self) -> None:
        """A step of the workload: somebody is asked for something."""
        dice = self.simulation.world.dice
        member = self.simulation.members[dice.choice(list(self.simulation.members))]
        core = member.core
        if not isinstance(core, Opaque):
            return
        what = dice.random()
        if what < 0.8:
            for _ in range(dice.randint(1, self.simulation.swarm.burst)):
                self._write(member, core)
        elif what < 0.9:
            member.give(core.sync)
        else:
            member.give(core.revalidate, dice.randrange(100))

    def push(self, member: Member, count: int) -> None:
        """So many writes, of this member's clients."""
        if isinstance(member.core, Opaque):
            for _ in range(count):
                self._write(member, member.core)

    def drain(self) -> None:
        """Everybody writes once more."""
        for member in self.simulation.members.values():
            assert isinstance(member.core, Opaque)
            self._write(member, member.core)
        self.simulation.world.run(self.simulation.world.now_ms + 100)

    def _write(self, member: Member, core: Opaque) -> None:
        self._written += 1
        member.give(core.write, b"%d" % self._written)


class Opaque:
    """A Peer, a list as tree, and requests that wait for their commit."""

    def __init__(self, peer: Peer, sid: int, life: int, judges: Judges) -> None:
        self.peer = peer
        self.sid = sid
        self.judges = judges
        self.tree: list[Entry] = []
        # a request is told from those of earlier lives
        self._cxid = life * 10_000
        self._waiting: deque[int] = deque()
        self._syncs: deque[tuple[int, int]] = deque()
        self._questions: deque[int] = deque()
        self._is_leading = self._is_serving = False
        self._next_zxid = 0
        self._proposals: list[Entry] = []

    # --- what clients would do

    def write(self, body: bytes) -> None:
        """A client here wants something written."""
        if not self._is_serving:
            return
        self._cxid += 1
        self._waiting.append(self._cxid)
        if self._is_leading:
            self._propose(self.sid, self._cxid, body)
        else:
            self.peer.forward(self.sid, self._cxid, opcodes.SET_DATA, body, None)

    def sync(self) -> None:
        """A client here wants to see all that is committed."""
        if not self._is_serving:
            return
        self._cxid += 1
        self._syncs.append((self.sid, self._cxid))
        if self._is_leading:
            self._flush()
            self.judges.sync_asked((self.sid, self._cxid), self._last_proposed())
            self.peer.sync(OWN)
        else:
            self.peer.forward(self.sid, self._cxid, opcodes.SYNC, b"", None)

    def revalidate(self, session_id: int) -> None:
        """A client has come here with a session."""
        if self._is_serving and not self._is_leading:
            self._questions.append(session_id)
            self.peer.revalidate(session_id, 1000)

    # --- the core

    def begin(self, now_ms: int, wall_ms: int) -> None:
        self.peer.begin(now_ms)

    def wake(self) -> None:
        self.peer.wake()

    def deadline_ms(self) -> int | None:
        return self.peer.deadline_ms()

    def synced(self, token: int) -> None:
        self.peer.synced(token)

    def settle(self) -> None:
        pass

    def last_zxid(self) -> int:
        return self.tree[-1][0] if self.tree else 0

    def begin_image(self) -> Image:
        zxid = self.last_zxid()
        return Image(zxid, tuple(self.tree), zxid)

    def label(self, image: Image, zxid: int) -> Image:
        """The image that came with this zxid: replay of what follows makes up for all in it that is later."""
        return Image(zxid, tuple([entry for entry in image.content if entry[0] <= zxid]), zxid)

    def load(self, image: Image, entries: list[Entry]) -> None:
        """The tree is what the disk holds."""
        self.tree = [*(image.content or ()), *entries]

    def ready(self) -> Ready:
        self._flush()
        ready = self.peer.ready()
        if ready.standing is not None:
            self._is_leading = ready.standing.role == LEADING
            self._is_serving = ready.standing.is_serving
            self._next_zxid = make_zxid(ready.standing.epoch, 1)
            self._waiting.clear()
            self._syncs.clear()
            self._questions.clear()
        for entry in ready.committed:
            self._apply(entry)
        for request in ready.requests:
            self._take(request)
        for link, session_id, _ in ready.revalidations:
            self.peer.revalidated(link, session_id, is_alive(session_id))
        for session_id, is_valid in ready.revalidated:
            self.judges.revalidated(self.sid, self._questions.popleft(), session_id, is_valid == is_alive(session_id))
        for _ in range(ready.syncs):
            self.judges.sync_answered(self._syncs.popleft(), self.last_zxid())
        if ready.pinged:
            self.peer.pong([(self.sid, 1000)])
        return ready

    # --- parts

    def _take(self, request: LearnerRequest) -> None:
        if not (self._is_leading and self._is_serving):
            return
        if request.type == opcodes.SYNC:
            self._flush()
            self.judges.sync_asked((request.session_id, request.cxid), self._last_proposed())
            self.peer.sync(request.link)
        else:
            self._propose(request.session_id, request.cxid, request.body)

    def _propose(self, sid: int, cxid: int, body: bytes) -> None:
        self._proposals.append((self._next_zxid, ORIGIN.pack(sid, cxid) + body))
        self._next_zxid += 1

    def _last_proposed(self) -> int:
        return self.peer.history.proposed

    def _flush(self) -> None:
        if self._proposals:
            proposals, self._proposals = self._proposals, []
            self.peer.propose(proposals)

    def _apply(self, entry: Entry) -> None:
        self.tree.append(entry)
        sid, cxid = ORIGIN.unpack_from(entry[1])
        if sid == self.sid and self._waiting and self._waiting[0] == cxid:
            self._waiting.popleft()
            self.judges.acknowledged(self.sid, entry)
