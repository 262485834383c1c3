"""Several servers without I/O, as members of an ensemble whose network and disks are perfect.

    learner ─ forward ─→ leader ─ propose ─→ decided ─→ committed, in one order, at every member

`Wire` stands in for the Peer of each member: what one puts in comes out at the others at once, in order, all of it that
can in one Ready. Three holds make time visible: `Ensemble.holds_requests` keeps what learners send to the leader,
`Ensemble.holds_commits` what is decided, and `Member.is_behind` what is decided from that one member.
"""

from collections import deque
from collections.abc import Callable
from typing import Any, cast

from tests.keeper.harness import Client, World
from zkpy.proto.notification import FOLLOWING, LEADING, LOOKING, OBSERVING
from zkpy.proto.records import Id
from zkpy.tree.datatree import DataTree
from zkpy.tree.image import ImageWriter, load_image
from zkpy.zab.peer import Peer
from zkpy.zab.ready import OWN, Entry, LearnerRequest, Ready, Standing


class Wire:
    """One member's end of the ensemble: what its Keeper needs of a Peer."""

    def __init__(self, ensemble: "Ensemble") -> None:
        self.ensemble = ensemble
        self.readies: deque[Ready] = deque()
        #: The number of this learner's link to the leader; a new one for every reign.
        self.link = 0

    def next(self) -> Ready:
        """The Ready to put the next word in: as few of them as possible."""
        if not self.readies:
            self.readies.append(Ready())
        return self.readies[-1]

    def stand(self, role: int, is_serving: bool, epoch: int, leader: int) -> None:
        """The standing changes, which begins a new Ready."""
        self.readies.append(Ready())
        self.readies[-1].standing = Standing(role, is_serving, epoch, leader)

    # --- what the Replica says

    def begin(self, now_ms: int) -> None:
        pass

    def wake(self) -> None:
        pass

    def deadline_ms(self) -> int | None:
        return None

    def ready(self) -> Ready:
        return self.readies.popleft() if self.readies else Ready()

    def propose(self, entries: list[Entry]) -> None:
        self.ensemble.decide(lambda: self.ensemble.commit(entries))

    def sync(self, link: int) -> None:
        self.ensemble.decide(lambda: self.ensemble.answer_sync(link))

    def revalidated(self, link: int, session_id: int, is_valid: bool) -> None:
        self.ensemble.at(link).next().revalidated.append((session_id, is_valid))

    def forward(self, session_id: int, cxid: int, type_: int, body: bytes, identities: list[Id] | None) -> None:
        request = LearnerRequest(self.link, session_id, cxid, type_, body, identities)
        self.ensemble.send(lambda leader: leader.requests.append(request))

    def revalidate(self, session_id: int, timeout_ms: int) -> None:
        self.ensemble.send(lambda leader: leader.revalidations.append((self.link, session_id, timeout_ms)))

    def pong(self, touches: list[tuple[int, int]]) -> None:
        self.ensemble.send(lambda leader: leader.touches.extend(touches))


class Member(World):
    """A server of an ensemble, and its clients."""

    def __init__(self, ensemble: "Ensemble", sid: int, role: int, extended_types: bool, **settings: Any) -> None:
        self.ensemble = ensemble
        self.sid = sid
        self.learner_role = role
        self.wire = Wire(ensemble)
        self.behind: list[Callable[[], None]] = []
        self.is_behind = False
        tree = DataTree(extended_types=extended_types)
        super().__init__(tree, cast(Peer, self.wire), **{"server_id": sid, **settings})

    def run(self) -> None:
        """Let everybody carry out what is decided."""
        self.ensemble.run()

    def run_alone(self) -> None:
        """Carry out what this member knows of."""
        World.run(self)

    def reach(self, deliver: Callable[[Ready], None]) -> None:
        """The ensemble has a word for this member; it comes after all others."""
        if self.is_behind:
            self.behind.append(lambda: deliver(self.wire.next()))
        else:
            deliver(self.wire.next())

    def install_copy_of(self, tree: DataTree) -> None:
        """Get another member's tree, as a snapshot brings it."""
        copy = copy_of(tree)
        self.tree = copy
        self.replica.install(copy)

    def catch_up(self) -> None:
        """All that was held back from this member reaches it."""
        self.is_behind = False
        for deliver in self.behind:
            deliver()
        self.behind.clear()
        self.run()


class Ensemble:
    """The members; `leader` leads from the start, all others learn."""

    def __init__(
        self, followers: int = 2, observers: int = 0, epoch: int = 1, extended_types: bool = False, **settings: Any
    ) -> None:
        roles = [FOLLOWING] * (1 + followers) + [OBSERVING] * observers
        self.members = [Member(self, sid, role, extended_types, **settings) for sid, role in enumerate(roles, 1)]
        self.leader: Member = self.members[0]
        self.holds_requests = self.holds_commits = False
        self.epoch = epoch - 1
        #: All that was ever committed.
        self.history: list[Entry] = []
        self._links = 100
        self._sent: list[Callable[[Ready], None]] = []
        self._decided: list[Callable[[], None]] = []
        self.elect(self.leader)

    @property
    def learners(self) -> list[Member]:
        """All but the leader."""
        return [member for member in self.members if member is not self.leader]

    # --- reigns

    def depose(self) -> None:
        """The leader is lost, and with it whatever was on its way."""
        self._sent.clear()
        self._decided.clear()
        for member in self.members:
            member.behind.clear()
            member.is_behind = False
            member.wire.stand(LOOKING, False, self.epoch, 0)
        self.run()

    def elect(self, leader: Member) -> None:
        """A new reign, which finds all histories equal."""
        self.leader = leader
        self.epoch += 1
        for member in self.members:
            self._links += 1
            member.wire.link = self._links
            role = LEADING if member is leader else member.learner_role
            member.wire.stand(role, False, self.epoch, leader.sid)
            member.wire.stand(role, True, self.epoch, leader.sid)
        self.run()

    # --- the wires

    def at(self, link: int) -> Wire:
        """The learner's end of a link."""
        return next(member.wire for member in self.members if member.wire.link == link)

    def send(self, word: Callable[[Ready], None]) -> None:
        """From a learner to the leader."""
        if self.holds_requests:
            self._sent.append(word)
        else:
            word(self.leader.wire.next())

    def decide(self, outcome: Callable[[], None]) -> None:
        """From the leader to all."""
        if self.holds_commits:
            self._decided.append(outcome)
        else:
            outcome()

    def commit(self, entries: list[Entry]) -> None:
        self.history += entries
        for member in self.members:
            member.reach(lambda ready: ready.committed.extend(entries))

    def answer_sync(self, link: int) -> None:
        def count(ready: Ready) -> None:
            ready.syncs += 1

        member = self.leader if link == OWN else next(one for one in self.members if one.wire.link == link)
        member.reach(count)

    def release(self) -> None:
        """What was held goes on, first to the leader, then from there."""
        self.holds_requests = self.holds_commits = False
        sent, self._sent = self._sent, []
        for word in sent:
            word(self.leader.wire.next())
        decided, self._decided = self._decided, []
        for outcome in decided:
            outcome()
        self.run()

    def ping(self) -> None:
        """The leader asks all learners whom they have heard of."""
        for member in self.learners:
            member.wire.next().pinged = True
        self.run()

    # --- time

    def run(self) -> None:
        """Everybody carries out what there is, until there is nothing."""
        while True:
            for member in self.members:
                member.run_alone()
            if not any(member.wire.readies for member in self.members):
                return

    def advance(self, ms: int, step_ms: int = 500) -> None:
        """Let time pass, with a ping and whatever is due at every step."""
        end = self.leader.now_ms + ms
        while self.leader.now_ms < end:
            passed = min(step_ms, end - self.leader.now_ms)
            for member in self.members:
                member.now_ms += passed
                member.wall_ms += passed
                member.replica.begin(member.now_ms, member.wall_ms)
                member.replica.wake()
            self.ping()

    def check(self) -> None:
        """Assert every member's invariants, and that all trees are the same."""
        for member in self.members:
            member.check()
        assert len({(member.tree.last_zxid, member.tree.digest) for member in self.members}) == 1
        assert not any(member.keeper.statistics.digest_mismatches for member in self.members)


def move(client: Client, to: World, **changes: Any) -> Client:
    """A new connection to `to` that asks for the client's session."""
    moved = to.open()
    moved.connect(**{"session_id": client.session_id, "password": client.password, **changes})
    return moved


def copy_of(tree: DataTree) -> DataTree:
    """The tree as one gets it who is sent its image."""
    copy = DataTree()
    load_image(copy, ImageWriter(tree).next_slice(1 << 30))
    copy.last_zxid = tree.last_zxid
    copy.finish_load()
    return copy
