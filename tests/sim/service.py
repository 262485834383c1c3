"""The judges of the service: what clients hear, compared with the one order of txns.

From `order` they make their own account of every znode, the slow and plain way: what it was at which zxid. Then each
answer can be checked by itself, whichever member gave it:

    acknowledged     a write that was answered is in the order, as that session's, once
    session order    a session's writes are in the order as it asked for them, wherever it did
    linearizable     a write that begins after another was answered has the greater zxid
    reads            show the znode as it is at the zxid that the answer names
    watches          the event comes before any answer of a later zxid than the change
    ephemerals       are gone with their session, all of them, by the same txn, and no session makes one after its end
    sessions         expire when nothing was heard of them for their timeout, and never else
    locks            have one holder at a time (`locks.py`)
    digests          two members' trees are equal at equal zxids
"""

from __future__ import annotations

from bisect import bisect_right
from typing import TYPE_CHECKING, Any

import attrs

from tests.sim.disk import Image
from tests.sim.judges import Judges
from tests.sim.locks import LOCK, Locks
from tests.sim.tale import short
from tests.sim.world import World
from zkpy.proto import opcodes
from zkpy.proto.notification import LEADING
from zkpy.proto.records import CloseSessionTxn, CreateTxn, DeleteTxn, SetDataTxn, TxnHeader
from zkpy.tree.datatree import TXN_RECORDS, DataTree
from zkpy.tree.txns import decode_txn
from zkpy.zab.ready import Entry, Standing

if TYPE_CHECKING:
    from tests.sim.clients import Call


@attrs.frozen
class State:
    """A znode from some zxid on; None stands for its absence."""

    data: bytes | None
    mzxid: int
    version: int
    owner: int


class ServiceJudges(Judges):
    """Judges of ZAB and of what is built on it."""

    def __init__(self, world: World, slack_ms: int) -> None:
        """`slack_ms`: how much less than its leader a learner's client may have been heard of, undisturbed."""
        super().__init__(world)
        self._slack_ms = slack_ms
        self.locks = Locks(world, self.fail, slack_ms)
        # session → (when it asked what was answered, its timeout)
        self._alive: dict[int, tuple[int, int]] = {}
        #: The greatest zxid of a write that was answered.
        self.floor = 0
        self.reads = self.writes = self.events = 0
        # path → the zxids of its changes, and what it was from there on
        self._zxids: dict[str, list[int]] = {"/": [0]}
        self._states: dict[str, list[State | None]] = {"/": [State(b"", 0, 0, 0)]}
        # path → every child that it ever had
        self._children: dict[str, list[str]] = {}
        self._owned: dict[int, dict[str, None]] = {}
        self._sessions: dict[int, int] = {}
        self._ended: dict[int, int] = {}
        self._closing: dict[int, None] = {}
        # zxid → (session, cxid); and back
        self._authors: dict[int, tuple[int, int]] = {}
        self._by_author: dict[tuple[int, int], int] = {}
        # session → the last of its requests that is in the order
        self._cxids: dict[int, int] = {}
        self._digests: dict[int, tuple[int, int]] = {}

    # --- the order

    def logged(self, sid: int, entries: list[Entry], standing: Standing) -> None:
        super().logged(sid, entries, standing)
        if standing.role == LEADING and standing.is_serving:
            for _, txn in entries:
                header = TxnHeader.decode(txn, 0)[0]
                if header.type == opcodes.CLOSE_SESSION:
                    if header.cxid == 0:
                        self._check_expiry(header.client_id)
                    self._closing[header.client_id] = None

    def _extend(self, sid: int, entry: Entry) -> None:
        super()._extend(sid, entry)
        header, txn, _ = decode_txn(entry[1])
        zxid = entry[0]
        if header.zxid != zxid:
            self.fail("Integrity", f"the txn {short(zxid)} says that it is {short(header.zxid)}")
        author = (header.client_id, header.cxid)
        self._authors[zxid] = author
        if header.cxid > 0:
            if author in self._by_author:
                self.fail("Once", f"{author} is both {short(self._by_author[author])} and {short(zxid)}")
            self._by_author[author] = zxid
        self._apply(zxid, header, header.type, txn)

    def _check_turn(self, zxid: int, header: TxnHeader) -> None:
        """Whoever has left a member may have left requests there: late ones are refused, and change nothing.

        Only the end of a session may be asked for anywhere.
        """
        last = self._cxids.get(header.client_id, 0)
        if header.cxid < last:
            asked = f"by {header.client_id:#x} as {header.cxid}"
            self.fail("SessionOrder", f"{short(zxid)} was asked {asked}, before {last}")
        self._cxids[header.client_id] = header.cxid

    def _apply(self, zxid: int, header: TxnHeader, type_: int, txn: Any) -> None:
        if isinstance(txn, CreateTxn | DeleteTxn | SetDataTxn):
            self._check_turn(zxid, header)
        if type_ == opcodes.MULTI:
            subs = txn.txns or ()
            # One that fails takes all others with it.
            if all(sub.type != opcodes.ERROR for sub in subs):
                for sub in subs:
                    self._apply(zxid, header, sub.type, TXN_RECORDS[sub.type].decode(sub.data, 0)[0])
        elif isinstance(txn, CreateTxn):
            owner = header.client_id if txn.ephemeral else 0
            if owner:
                if owner not in self._sessions:
                    self.fail("Ephemerals", f"{short(zxid)} makes {txn.path} for the session {owner:#x}, which is over")
                self._owned.setdefault(owner, {})[txn.path or ""] = None
                if (txn.path or "").startswith(LOCK):
                    self.locks.created(zxid, txn.path or "", owner)
            self._change(zxid, txn.path or "", State(txn.data, zxid, 0, owner))
        elif isinstance(txn, DeleteTxn):
            self._remove(zxid, txn.path or "")
        elif isinstance(txn, SetDataTxn):
            state = self._now(txn.path or "")
            if state is None:
                self.fail("Integrity", f"{short(zxid)} sets {txn.path}, which is not there")
            self._change(zxid, txn.path or "", State(txn.data, zxid, txn.version, state.owner))
            if txn.path == LOCK:
                self.locks.written(zxid, header.client_id, txn.data or b"")
        elif type_ == opcodes.CREATE_SESSION:
            self._sessions[header.client_id] = zxid
        elif type_ == opcodes.CLOSE_SESSION:
            self._close(zxid, header.client_id, txn)

    def _close(self, zxid: int, session_id: int, txn: CloseSessionTxn | None) -> None:
        self._sessions.pop(session_id, None)
        self._ended[session_id] = zxid
        owned = self._owned.pop(session_id, {})
        listed = set((txn.paths2_delete if txn is not None else None) or ())
        if set(owned) != listed:
            self.fail("Ephemerals", f"{short(zxid)} ends {session_id:#x} with {sorted(listed)}, it has {sorted(owned)}")
        for path in owned:
            self._remove(zxid, path)

    def _now(self, path: str) -> State | None:
        states = self._states.get(path)
        return states[-1] if states else None

    def _change(self, zxid: int, path: str, state: State | None) -> None:
        if path not in self._zxids:
            self._zxids[path] = []
            self._states[path] = []
            self._children.setdefault(path[: path.rindex("/")] or "/", []).append(path)
        self._zxids[path].append(zxid)
        self._states[path].append(state)

    def _remove(self, zxid: int, path: str) -> None:
        state = self._now(path)
        if state is None:
            self.fail("Integrity", f"{short(zxid)} deletes {path}, which is not there")
        if state.owner:
            self._owned.get(state.owner, {}).pop(path, None)
            if path.startswith(LOCK):
                self.locks.removed(zxid, path)
        self._change(zxid, path, None)

    def _at(self, path: str, zxid: int) -> State | None:
        zxids = self._zxids.get(path)
        at = bisect_right(zxids, zxid) if zxids else 0
        return self._states[path][at - 1] if at else None

    # --- trees

    def _content(self, image: Image) -> tuple[Entry, ...]:
        return getattr(image, "history", ())

    def history(self, sid: int, zxid: int) -> tuple[Entry, ...]:
        """What a member has applied up to here."""
        return tuple([entry for entry in self.sequences[sid].entries if entry[0] <= zxid])

    def tree_seen(self, sid: int, zxid: int, digest: int, tree: DataTree) -> None:
        """A member that serves has this tree at this zxid."""
        first = self._digests.setdefault(zxid, (sid, digest))
        if first[1] != digest:
            self.fail("Digests", f"at {short(zxid)} the trees of {first[0]} and {sid} are not equal")

    # --- clients

    def written(self, session_id: int, call: Call, zxid: int, err: int) -> None:
        """A write was answered."""
        self.writes += 1
        author = (session_id, call.xid)
        if err:
            return
        found = self._by_author.get(author)
        if found != zxid:
            self.fail("Acknowledged", f"{author} was told {short(zxid)}, in the order it is {found and short(found)}")
        if zxid <= call.floor:
            self.fail("Linearizable", f"{author} is {short(zxid)}, asked when {short(call.floor)} was answered")
        self.floor = max(self.floor, zxid)
        self._last_acknowledged = max(self._last_acknowledged, zxid)
        self.acknowledgements += 1

    def created(self, call: Call, zxid: int, path: str | None) -> None:
        """A create was answered with this path."""
        state = self._at(path or "", zxid)
        if state is None or state.data != call.data or not (path or "").startswith(call.path):
            self.fail("Acknowledged", f"{call} was told {path} at {short(zxid)}, there is {state}")

    def answered(self, session_id: int, asked_ms: int, timeout_ms: int) -> None:
        """What a session asked at that time was answered, so a member has heard of it since."""
        self._alive[session_id] = (asked_ms, timeout_ms)

    def _check_expiry(self, session_id: int) -> None:
        """A leader lets this session expire."""
        if session_id not in self._alive:
            return
        alive_ms, timeout_ms = self._alive[session_id]
        if alive_ms < self.world.disturbed_ms + self._slack_ms:
            return
        silent_ms = self.world.now_ms - alive_ms
        if silent_ms < timeout_ms - self._slack_ms:
            self.fail("Sessions", f"{session_id:#x} expires, with {timeout_ms} ms to live and {silent_ms} ms silent")

    def lost(self, session_id: int, call: Call) -> None:
        """A request's connection ended before its answer came."""

    def refused(self, session_id: int) -> None:
        """A member has said that this session is over."""
        # A leader that has proposed its end refuses it from then on, whatever becomes of the proposal.
        if session_id in self._sessions and session_id not in self._closing:
            self.fail("Sessions", f"the session {session_id:#x} is refused, but nobody has ended it")

    def read(
        self, number: int, call: Call, zxid: int, node: tuple[bytes | None, int, int] | None, children: list[str] | None
    ) -> None:
        """A read was answered at this zxid."""
        self.reads += 1
        state = self._at(call.path, zxid)
        if call.op == opcodes.GET_CHILDREN2 and children is not None:
            paths = self._children.get(call.path, ())
            expected = sorted([path[path.rindex("/") + 1 :] for path in paths if self._at(path, zxid)])
            if expected != children:
                self.fail("Read", f"client {number} sees {children} in {call.path} at {short(zxid)}, not {expected}")
            return
        if (node is None) != (state is None):
            self.fail("Read", f"client {number} sees {node} at {call.path} at {short(zxid)}, there is {state}")
        if node is not None and state is not None:
            data, mzxid, version = node
            is_same = (mzxid, version) == (state.mzxid, state.version)
            if not is_same or (call.op == opcodes.GET_DATA and data != state.data):
                self.fail("Read", f"client {number} sees {node} at {call.path} at {short(zxid)}, there is {state}")

    def check_watch(self, number: int, path: str, since: int, zxid: int) -> None:
        """An answer of this zxid has come, and a watch that was set at `since` has not fired."""
        zxids = self._zxids.get(path, ())
        at = bisect_right(zxids, since)
        if at < len(zxids) and zxids[at] <= zxid:
            self.fail(
                "Watch",
                f"client {number} sees {short(zxid)}, and no event has come of {path} changing at {short(zxids[at])}",
            )

    def check_absence(self, number: int, path: str, zxid: int) -> None:
        """A watch for the creation of a znode was set again at this zxid, and has not fired."""
        if self._at(path, zxid) is not None:
            self.fail("Watch", f"client {number} is not told of {path}, which is there at {short(zxid)}")
