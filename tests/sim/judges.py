"""The judges of ZAB: what every member delivers, compared with what any member ever delivered.

`order` is the one sequence of txns that there must be. Whoever delivers a txn first puts it there; whoever delivers it
later must find it at his place. With that, the seven properties of the protocol's specification are checked as they
happen, at constant cost:

    PrefixConsistency    two members' sequences: one begins with the other      ┐
    Agreement            what one delivers, all who come as far deliver too      │ each member's sequence is a prefix of
    TotalOrder           in the same order                                       ┘ `order`
    Integrity            what is delivered was broadcast by the leader of its epoch
    LocalPrimaryOrder    a leader's txns are delivered in the order of broadcast, none left out
    GlobalPrimaryOrder   an epoch's txns are delivered before a later epoch's
    PrimaryIntegrity     a leader that broadcasts has delivered all that is ever delivered of earlier epochs

and beside them: at most one leader an epoch; nothing delivered, acknowledged or promised is undone. A member that
starts has the whole log in its tree, of which the end may not be committed: that counts as delivered when it serves, or
when something behind it is delivered. The judges know nothing of how the machines work, only what they show.
"""

from __future__ import annotations

from typing import NoReturn

from tests.sim.disk import Image
from tests.sim.tale import short
from tests.sim.world import Violation, World
from zkpy.proto.notification import LEADING
from zkpy.proto.zxid import counter_of, epoch_of
from zkpy.zab.ready import Entry, Standing


class Sequence:
    """One member's tree: `entries` as they were applied, of which the first `settled` are as in `order`."""

    __slots__ = ("entries", "settled")

    def __init__(self, entries: list[Entry]) -> None:
        self.entries = entries
        self.settled = 0


class Judges:
    """They are told what members do, and raise `Violation`."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.order: list[Entry] = []
        self.sequences: dict[int, Sequence] = {}
        self.standings: dict[int, Standing] = {}
        #: epoch → its leader; epoch → the txns it broadcast, in order.
        self.leaders: dict[int, int] = {}
        self.broadcasts: dict[int, dict[int, bytes]] = {}
        #: The greatest epoch of a leader that may broadcast.
        self.newest_epoch = 0
        #: sid → the greatest epoch that it promised, as its leader heard it.
        self._promises: dict[int, int] = {}
        self.acknowledgements = 0
        self._last_acknowledged = 0
        self._syncs: dict[tuple[int, int], int] = {}

    def fail(self, law: str, text: str) -> NoReturn:
        """This law is broken."""
        raise Violation(law, text)

    # --- what members do

    def started(self, sid: int, image: Image, entries: list[Entry]) -> None:
        """A member begins with this on its disk, all of it in its tree."""
        self.replaced(sid, image, entries)

    def ended(self, sid: int) -> None:
        """A member's process is gone."""
        self.sequences.pop(sid, None)
        self.standings.pop(sid, None)

    def replaced(self, sid: int, image: Image, entries: list[Entry]) -> None:
        """A member's tree was loaded from its disk."""
        sequence = Sequence([*self._content(image), *entries])
        self.sequences[sid] = sequence
        order = self.order
        both = min(len(order), len(sequence.entries))
        while sequence.settled < both and order[sequence.settled] == sequence.entries[sequence.settled]:
            sequence.settled += 1

    def stood(self, sid: int, standing: Standing) -> None:
        """A member's place in the ensemble has changed."""
        self.standings[sid] = standing
        if not standing.is_serving:
            return
        self._settle(sid)
        if standing.role == LEADING:
            leader = self.leaders.setdefault(standing.epoch, sid)
            if leader != sid:
                self.fail("OneLeaderAnEpoch", f"{leader} and {sid} both lead in epoch {standing.epoch}")
            self._check_primary_integrity(sid, standing.epoch)

    def logged(self, sid: int, entries: list[Entry], standing: Standing) -> None:
        """A member logs txns; a leader's own log shows what it broadcasts."""
        if standing.role != LEADING or not standing.is_serving:
            return
        epoch = standing.epoch
        broadcast = self.broadcasts.setdefault(epoch, {})
        for zxid, txn in entries:
            if epoch_of(zxid) != epoch or counter_of(zxid) != len(broadcast) + 1:
                self.fail(
                    "LocalPrimaryOrder", f"{sid} broadcasts {short(zxid)} as number {len(broadcast) + 1} of {epoch}"
                )
            broadcast[zxid] = txn

    def applied(self, sid: int, entries: list[Entry]) -> None:
        """A member delivers txns."""
        sequence = self.sequences[sid]
        if sequence.settled < len(sequence.entries):
            self._settle(sid)
        for entry in entries:
            sequence.entries.append(entry)
            self._deliver(sid, sequence)

    def acknowledged(self, sid: int, entry: Entry) -> None:
        """A client of a member was told that its write is done."""
        self.acknowledgements += 1
        self._last_acknowledged = max(self._last_acknowledged, entry[0])

    def promised(self, sid: int, epoch: int) -> None:
        """A leader hears that this member follows nobody of an older epoch any more."""
        self._promises[sid] = max(epoch, self._promises.get(sid, 0))

    def remembered(self, sid: int, accepted: int) -> None:
        """A member begins with this acceptedEpoch on its disk."""
        if accepted < self._promises.get(sid, 0):
            self.fail("Promise", f"{sid} has promised the epoch {self._promises[sid]}, and remembers {accepted}")

    def forgotten(self, sid: int) -> None:
        """A member's disk was lost, or is an older one: it cannot remember."""
        self._promises.pop(sid, None)

    def sync_asked(self, question: tuple[int, int], floor: int) -> None:
        """A leader takes up a sync when this txn is the last one proposed."""
        self._syncs[question] = floor

    def sync_answered(self, question: tuple[int, int], reached: int) -> None:
        """A sync is answered by a member whose tree reaches to here."""
        floor = self._syncs.pop(question)
        if reached < floor:
            self.fail("Sync", f"{question} is answered at {short(reached)}, but asked when {short(floor)} was proposed")

    def revalidated(self, sid: int, asked: int, answered: int, is_right: bool) -> None:
        """A learner hears whether a session is alive."""
        if asked != answered or not is_right:
            self.fail("Revalidation", f"{sid} asks about {asked} and hears about {answered}, rightly: {is_right}")

    # --- in the end

    def converged(self, sids: list[int]) -> None:
        """All faults are over, and these members serve: they must have everything."""
        for sid in sids:
            sequence = self.sequences[sid]
            if sequence.entries != self.order:
                self.fail("Convergence", f"{sid} has {len(sequence.entries)} txns of {len(self.order)}")
        if self.order and self._last_acknowledged > self.order[-1][0]:
            self.fail("Durability", f"{short(self._last_acknowledged)} was acknowledged and is lost")

    # --- parts

    def _content(self, image: Image) -> tuple[Entry, ...]:
        return image.content or ()

    def _settle(self, sid: int) -> None:
        """All that is in the member's tree counts as delivered."""
        sequence = self.sequences[sid]
        while sequence.settled < len(sequence.entries):
            self._deliver(sid, sequence)

    def _deliver(self, sid: int, sequence: Sequence) -> None:
        at = sequence.settled
        entry = sequence.entries[at]
        order = self.order
        if at < len(order):
            if order[at] != entry:
                self.fail(
                    "TotalOrder",
                    f"{sid} delivers {short(entry[0])} as number {at}, where others have {short(order[at][0])}",
                )
        else:
            self._extend(sid, entry)
        sequence.settled = at + 1

    def _extend(self, sid: int, entry: Entry) -> None:
        """This txn is delivered for the first time."""
        zxid, txn = entry
        order = self.order
        last = order[-1][0] if order else 0
        epoch = epoch_of(zxid)
        if zxid <= last:
            self.fail("GlobalPrimaryOrder", f"{sid} delivers {short(zxid)} after {short(last)}")
        if self.broadcasts.get(epoch, {}).get(zxid) != txn:
            self.fail("Integrity", f"{sid} delivers {short(zxid)}, which no leader of {epoch} broadcast like that")
        if zxid != last + 1 and (epoch == epoch_of(last) or counter_of(zxid) != 1):
            self.fail("LocalPrimaryOrder", f"{sid} delivers {short(zxid)} right after {short(last)}")
        if epoch < self.newest_epoch:
            self.fail(
                "PrimaryIntegrity",
                f"{sid} delivers {short(zxid)} when there is a leader of {self.newest_epoch} already, without it",
            )
        order.append(entry)

    def _check_primary_integrity(self, sid: int, epoch: int) -> None:
        """A leader may broadcast from now on: it must have delivered all of earlier epochs."""
        self.newest_epoch = max(self.newest_epoch, epoch)
        delivered = self.sequences[sid].settled
        if delivered < len(self.order) and epoch_of(self.order[delivered][0]) < epoch:
            missing = short(self.order[delivered][0])
            self.fail("PrimaryIntegrity", f"{sid} leads in {epoch} without having delivered {missing}")
