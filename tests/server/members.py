"""Members of an ensemble in this process: real directories and real sockets, and instead of a Keeper a few lines that
apply txns and make new ones. Each runs its turns as the driver does, with its disk in the turn."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import trio

from tests.ports import free_ports
from zkpy.proto import opcodes
from zkpy.proto.notification import LEADING, LOOKING
from zkpy.proto.records import ACL, CreateTxn, Id, TxnHeader
from zkpy.proto.zxid import make_zxid
from zkpy.server.election_links import ElectionLinks, ElectionOptions
from zkpy.server.peers import Peers
from zkpy.server.quorum_links import QuorumLinks, QuorumOptions
from zkpy.server.sockets import Address, bind
from zkpy.storage import Store, StoreOptions
from zkpy.tree.datatree import DataTree
from zkpy.tree.txns import decode_txn, encode_txn
from zkpy.zab.peer import Peer
from zkpy.zab.quorum import Ensemble, Majority
from zkpy.zab.settings import Settings

TICK_MS = 200
OPEN = [ACL(31, Id("world", "anyone"))]


class Plan:
    """Who the members are, and where."""

    def __init__(self, voters: int, observers: int = 0) -> None:
        self.sids = range(1, voters + observers + 1)
        ports = free_ports(2 * len(self.sids))
        self.quorum: dict[int, list[Address]] = {sid: [("127.0.0.1", ports[2 * sid - 2])] for sid in self.sids}
        self.election: dict[int, list[Address]] = {sid: [("127.0.0.1", ports[2 * sid - 1])] for sid in self.sids}
        roles = {sid: "participant" if sid <= voters else "observer" for sid in self.sids}
        lines = [f"server.{sid}=127.0.0.1:{ports[2 * sid - 2]}:{ports[2 * sid - 1]}:{roles[sid]}" for sid in self.sids]
        self.ensemble = Ensemble(
            Majority(range(1, voters + 1)),
            frozenset(sid for sid in self.sids if sid > voters),
            "\n".join([*lines, "version=0"]).encode(),
        )


class Inlet:
    """Waits for sockets in tasks, where a server has its hub."""

    def __init__(self, nursery: trio.Nursery, hear: Callable[[Callable[[], None]], None]) -> None:
        self.nursery = nursery
        self.hear = hear
        self.scopes: dict[int, trio.CancelScope] = {}

    def attach(self, fd: int, read: Callable[[], None]) -> None:
        scope = self.scopes[fd] = trio.CancelScope()
        self.nursery.start_soon(self._watch, fd, read, scope)

    def detach(self, fd: int) -> None:
        if fd in self.scopes:
            self.scopes.pop(fd).cancel()

    async def _watch(self, fd: int, read: Callable[[], None], scope: trio.CancelScope) -> None:
        with scope, contextlib.suppress(trio.ClosedResourceError):
            while not scope.cancel_called:
                await trio.lowlevel.wait_readable(fd)
                self.hear(read)


class Member:
    """One member; `run` it in a nursery, cancel that to kill it."""

    def __init__(self, plan: Plan, sid: int, directory: Path, **settings: Any) -> None:
        self.plan = plan
        self.sid = sid
        self.directory = directory
        self.settings = Settings(sid, tick_ms=TICK_MS, init_limit=25, sync_limit=10, **settings)
        self.scope: trio.CancelScope | None = None
        self.role = LOOKING
        self.is_serving = False
        self.next_zxid = 0
        #: Every role that was served in, and how often the tree came whole.
        self.history: list[int] = []
        self.restored = 0
        self.truncated = 0
        self.factor = 0.33

    async def run(self) -> None:
        """Take part until cancelled."""
        with trio.CancelScope() as self.scope:
            store_options = StoreOptions(self.directory, self.directory, pre_alloc=0, snapshot_size_factor=self.factor)
            with Store(store_options) as self.store:
                epochs = self.store.open_epochs()
                self.peer = Peer.member(
                    self.settings,
                    self.plan.ensemble,
                    (epochs.accepted, epochs.current),
                    self.store.tree.last_zxid,
                    self.store.tail(500),
                    self.now_ms(),
                )
                listeners = [bind(*self.plan.election[self.sid][0])]
                try:
                    async with trio.open_nursery() as nursery:
                        election = ElectionLinks(
                            nursery,
                            listeners,
                            self.sid,
                            self.plan.election[self.sid],
                            self.plan.election,
                            lambda sid, message: self.hear(lambda: self.peer.notified(sid, message)),
                            lambda sid: self.hear(lambda: self.peer.unreachable(sid)),
                            ElectionOptions(),
                        )
                        quorum = QuorumLinks(
                            nursery,
                            self.peer,
                            self.hear,
                            Inlet(nursery, self.hear),
                            self.plan.quorum[self.sid],
                            self.plan.quorum,
                            self.store.new_tree,
                            self.store.reader,
                            QuorumOptions(),
                        )
                        self.peers = Peers(election, quorum, lambda: self.store.tree)
                        self.hear(lambda: None)
                        while True:
                            await trio.sleep(0.01)
                            deadline = self.peer.deadline_ms()
                            if deadline is not None and deadline <= self.now_ms():
                                self.hear(self.peer.wake)
                finally:
                    self.peers.close()
                    for listener in listeners:
                        listener.close()
                    self.is_serving = False

    def kill(self) -> None:
        """Stop it wherever it stands."""
        assert self.scope is not None
        self.scope.cancel()

    @staticmethod
    def now_ms() -> int:
        return int(trio.current_time() * 1000)

    def hear(self, word: Callable[[], None]) -> None:
        """A turn."""
        peer = self.peer
        peer.begin(self.now_ms())
        word()
        while ready := peer.ready():
            standing = ready.standing
            if standing is not None:
                self.role, self.is_serving = standing.role, standing.is_serving
                if standing.is_serving:
                    self.history.append(standing.role)
                if standing.role == LEADING:
                    self.next_zxid = make_zxid(standing.epoch, 1)
            self.restored += ready.restore is not None
            self.truncated += ready.truncate >= 0
            for _, entry in ready.committed:
                header, txn, _ = decode_txn(entry)
                self.tree.apply(header, txn)
                self.tree.take_changes()
            self.peers.carry_out(ready)
            self.peers.hasten()
            if ready.has_disk_work:
                self.store.carry_out(ready)
                peer.synced(ready.token)
            for link, zxid in ready.cuts:
                peer.can_cut(link, self.store.can_cut(zxid))
            if ready.pinged:
                peer.pong([])

    @property
    def tree(self) -> DataTree:
        """The tree as it is now."""
        return self.store.tree

    @property
    def is_leading(self) -> bool:
        return self.role == LEADING and self.is_serving

    def write(self, count: int, size: int = 10) -> None:
        """Propose so many creates."""
        entries = []
        for _ in range(count):
            header = TxnHeader(0, 0, self.next_zxid, 1, opcodes.CREATE)
            txn = CreateTxn(f"/{self.next_zxid:x}", bytes(size), OPEN, False, -1)
            entries.append((self.next_zxid, encode_txn(header, txn, None)))
            self.next_zxid += 1
        self.hear(lambda: self.peer.propose(entries))
