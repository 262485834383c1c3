"""The network: links between members as TCP gives them, the election port, and what may go wrong on the way.

    quorum port     dial ─→ two ends; what is put in at one comes out at the other, in order, some time later
    election port   one wire per pair; the newest word replaces an unsent one, and the last is said again on a new wire

- A way from one member to another may be *cut*, in one direction or both. Nothing is lost by that: as TCP would, it
  comes when the cut is healed, unless the link has ended meanwhile. Nobody can dial across a cut of either direction.
- A link may *break*: of what is on the way some arrives, from the front and maybe half a packet, and then the end. Each
  side hears of the end on its own, behind what arrives, and not across a cut.
- A way may be *slow*, and bytes come in pieces that do not heed where packets begin.

No reordering inside a link: TCP does not do it, and ZAB relies on that.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from tests.sim.disk import Image
from tests.sim.world import World
from zkpy.proto.packets import SNAP, PacketStream

if TYPE_CHECKING:
    from tests.sim.member import Member

#: What a pipe carries: bytes, a piece of an image that is not its last, an image (its last piece), the end.
Piece = bytes | Image | None
#: Stands for image bytes that complete nothing.
PART = b""


class Pipe:
    """One direction of a link."""

    __slots__ = ("arrival_ms", "is_shut", "pieces", "target")

    def __init__(self, target: End) -> None:
        self.target = target
        #: (when it arrives at the earliest, piece): in order.
        self.pieces: deque[tuple[int, Piece]] = deque()
        self.arrival_ms = 0
        #: Nothing more goes in.
        self.is_shut = False


class End:
    """One end of a link, at its owner's."""

    __slots__ = (
        "disk",
        "far",
        "is_known",
        "is_open",
        "number",
        "offered",
        "out",
        "owner",
        "packet",
        "patient",
        "sid",
        "stream",
    )

    def __init__(self, owner: Member, number: int, sid: int | None) -> None:
        self.owner = owner
        self.number = number
        #: What the owner kept then: another disk knows nothing of what is said here.
        self.disk = owner.disk
        #: Who was dialed, None at the side that accepted.
        self.sid = sid
        self.is_open = True
        #: The owner has been told that it stands.
        self.is_known = False
        self.stream = PacketStream()
        #: What the owner has put aside to go with its next word.
        self.patient: list[bytes] = []
        #: The epoch that came in LEADERINFO.
        self.offered = 0
        #: A SNAP packet whose image has not come.
        self.packet = None
        self.far: End = self
        self.out: Pipe


class Network:
    """All the ways between members."""

    def __init__(self, world: World, *, delay_ms: tuple[int, int], split_odds: float, image_ms: int) -> None:
        """`delay_ms`: the least and the most that a piece takes; `split_odds`: how often it comes in two; `image_ms`:
        the most that an image takes beside that."""
        self.world = world
        self.delay_ms = delay_ms
        self.split_odds = split_odds
        self.image_ms = image_ms
        self.members: dict[int, Member] = {}
        #: (from, to): nothing arrives.
        self.cuts: set[tuple[int, int]] = set()
        #: (from, to): so many times as slow.
        self.slowness: dict[tuple[int, int], int] = {}
        self._ends: dict[End, None] = {}
        # election port: (from, to) → the word not sent yet, the last one sent; pairs that are connected; arrivals
        self._unsent: dict[tuple[int, int], bytes] = {}
        self._last: dict[tuple[int, int], bytes] = {}
        self._wires: dict[tuple[int, int], int] = {}
        self._dialing: set[tuple[int, int]] = set()
        self._wire_number = 0
        self._arrival_ms: dict[tuple[int, int], int] = {}

    # --- the weather

    def cut(self, source: int, target: int) -> None:
        """Nothing arrives this way any more."""
        self.cuts.add((source, target))

    def slow(self, source: int, target: int, delay_ms: int) -> None:
        """What goes this way takes so long, or somewhat less."""
        self.slowness[source, target] = max(1, delay_ms // max(1, self.delay_ms[1]))

    @property
    def longest_ms(self) -> int:
        """How long a piece takes at most where it takes longest."""
        return self.delay_ms[1] * max(self.slowness.values(), default=1)

    def heal(self) -> None:
        """Everything arrives again, and at its usual pace."""
        self.cuts.clear()
        self.slowness.clear()
        for end in list(self._ends):
            self._pump(end.out)

    def is_cut(self, source: int, target: int) -> bool:
        """Does nothing arrive this way?"""
        return (source, target) in self.cuts

    def delay(self, source: int, target: int) -> int:
        """How long the next piece takes."""
        least, most = self.delay_ms
        delay = least if least == most else self.world.dice.randint(least, most)
        return delay * self.slowness.get((source, target), 1)

    def links(self) -> list[End]:
        """One end of every link that is open."""
        return [end for end in self._ends if end.sid is not None]

    # --- the quorum port

    def dial(self, member: Member, sid: int, tries: int) -> None:
        """`member` wants a link to `sid`: so many more tries."""
        life = member.life
        self.world.after(self.delay(member.sid, sid), self._reach, member, life, sid, tries)

    def _reach(self, member: Member, life: int, sid: int, tries: int) -> None:
        if member.life != life:
            return
        target = self.members[sid]
        if target.is_listening and not self.is_cut(member.sid, sid) and not self.is_cut(sid, member.sid):
            near, far = member.new_end(sid), target.new_end(None)
            near.far, far.far = far, near
            near.out, far.out = Pipe(far), Pipe(near)
            self._ends[near] = self._ends[far] = None
            far.is_known = True
            target.link_up(far)
            # The one who dialed hears of it when the answer is back.
            self.world.after(self.delay(sid, member.sid), self._answer, near)
        elif tries > 1:
            self.world.after(100 + self.delay(member.sid, sid), self._reach, member, life, sid, tries - 1)
        else:
            member.dial_failed(sid)

    def _answer(self, near: End) -> None:
        if near.is_open:
            near.is_known = True
            near.owner.link_up(near)
            self._pump(near.far.out)

    def send(self, end: End, piece: bytes | Image) -> None:
        """Put a piece into the link."""
        if not end.is_open or end.out.is_shut:
            return
        dice = self.world.dice
        if isinstance(piece, Image):
            # A large tree takes its time, and the leader does not stand still meanwhile.
            parts = dice.randint(0, 3)
            for _ in range(parts):
                self._put(end, PART)
                end.out.arrival_ms += dice.randint(0, self.image_ms) // parts
        elif len(piece) > 1 and self.split_odds and dice.random() < self.split_odds:
            at = dice.randrange(1, len(piece))
            self._put(end, piece[:at])
            piece = piece[at:]
        self._put(end, piece)

    def _put(self, end: End, piece: Piece) -> None:
        pipe = end.out
        delay = self.delay(end.owner.sid, end.far.owner.sid)
        pipe.arrival_ms = max(pipe.arrival_ms, self.world.now_ms + delay)
        pipe.pieces.append((pipe.arrival_ms, piece))
        self.world.at(pipe.arrival_ms, self._pump, pipe)

    def _pump(self, pipe: Pipe) -> None:
        """Hand over what has arrived."""
        target = pipe.target
        if (target.far.owner.sid, target.owner.sid) in self.cuts or not target.is_known:
            return
        pieces = pipe.pieces
        now_ms = self.world.now_ms
        while pieces and pieces[0][0] <= now_ms and target.is_open:
            piece = pieces.popleft()[1]
            if piece is None:
                self._drop(target)
                target.owner.link_down(target)
            elif isinstance(piece, Image):
                packet, target.packet = target.packet, None
                target.owner.receive_snap(target, packet, piece)
                if target.far.is_open:
                    target.far.owner.snap_sent(target.far)
            elif not piece:
                target.owner.heard(target)
            else:
                self._feed(target, piece)

    def _feed(self, target: End, piece: bytes) -> None:
        received = target.stream.feed(piece)
        if received and received[-1].type == SNAP:
            target.packet = received.pop()
            if received:
                target.owner.receive(target, received)
            target.owner.heard(target)
        elif received:
            target.owner.receive(target, received)
        else:
            target.owner.heard(target)

    def close(self, end: End) -> None:
        """Its owner ends the link, in good order: what is on the way still arrives."""
        if end.is_open:
            self._drop(end)
            self._put_end(end)

    def vanish(self, end: End, *, silently: bool) -> None:
        """The owner is gone. Its kernel says so, or (silently) nobody does until the far end says something."""
        if not end.is_open:
            return
        self._drop(end)
        self._keep_some(end.out)
        if silently:
            end.out.is_shut = True
        else:
            self._put_end(end)

    def break_link(self, end: End) -> None:
        """The link ends in the middle of things: each side hears it in its own time."""
        for one in (end, end.far):
            if one.is_open and not one.out.is_shut:
                self._keep_some(one.out)
                self._put_end(one)

    def _keep_some(self, pipe: Pipe) -> None:
        """Some of what is on the way arrives: a part of it, from the front."""
        dice = self.world.dice
        pieces = pipe.pieces
        if not pieces:
            return
        kept = dice.randint(0, len(pieces))
        last = pieces[kept][1] if kept < len(pieces) else None
        while len(pieces) > kept:
            pieces.pop()
        if isinstance(last, bytes) and len(last) > 1:
            pieces.append((pipe.arrival_ms, last[: dice.randrange(1, len(last))]))

    def _put_end(self, end: End) -> None:
        self._put(end, None)
        end.out.is_shut = True

    def _drop(self, end: End) -> None:
        end.is_open = False
        self._ends.pop(end, None)

    def answer_dead(self, sid: int) -> None:
        """A machine is back: who still talks to its last life is told that nobody is there."""
        for end in list(self._ends):
            if end.far.owner.sid == sid and not end.far.is_open:
                self._put_end(end.far)

    # --- the election port

    def notify(self, source: int, target: int, message: bytes) -> None:
        """The newest word of one member for another."""
        self._unsent[source, target] = message
        pair = (min(source, target), max(source, target))
        if pair in self._wires:
            # A moment in which a newer word may take its place.
            self.world.after(self.delay(source, target) // 2, self._leave, source, target)
        elif pair not in self._dialing:
            self._dialing.add(pair)
            self.world.after(2 * self.delay(source, target), self._connect, pair)

    def _connect(self, pair: tuple[int, int]) -> None:
        one, other = pair
        self._dialing.discard(pair)
        if pair in self._wires or self.is_cut(one, other) or self.is_cut(other, one):
            return
        if not (self.members[one].is_running and self.members[other].is_running):
            for source, target in (pair, (other, one)):
                is_refused = not self.members[target].is_running and not self.members[target].is_gone
                if self.members[source].is_running and is_refused and (source, target) in self._unsent:
                    self.members[source].unreachable(target)
            return
        self._wire_number += 1
        self._wires[pair] = self._wire_number
        for source, target in (pair, (other, one)):
            if (source, target) not in self._unsent and (source, target) in self._last:
                self._unsent[source, target] = self._last[source, target]
            self._leave(source, target)

    def _leave(self, source: int, target: int) -> None:
        """What is unsent leaves, when what left before has made room."""
        way = (source, target)
        wire = self._wires.get((min(way), max(way)))
        if way not in self._unsent or wire is None:
            return
        delay = self.delay(source, target)
        arrival_ms = max(self._arrival_ms.get(way, 0), self.world.now_ms + delay)
        self._arrival_ms[way] = arrival_ms
        message = self._unsent.pop(way)
        self._last[way] = message
        self.world.at(arrival_ms, self._arrive, source, target, message, wire)

    def _arrive(self, source: int, target: int, message: bytes, wire: int) -> None:
        pair = (min(source, target), max(source, target))
        if self._wires.get(pair) != wire:
            return
        if self.is_cut(source, target):
            # Lost with its wire, which both sides make anew when they have something to say.
            del self._wires[pair]
            return
        self.members[target].notified(source, message)

    def break_wire(self, one: int, other: int) -> None:
        """The connection between two election ports ends, with what is on the way."""
        self._wires.pop((min(one, other), max(one, other)), None)

    def forget(self, sid: int) -> None:
        """A member's process is gone: its wires, and what it wanted to say."""
        for other in self.members:
            self._wires.pop((min(sid, other), max(sid, other)), None)
            self._unsent.pop((sid, other), None)
            self._last.pop((sid, other), None)
