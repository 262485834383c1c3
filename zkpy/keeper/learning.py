"""Learning: what a follower or observer does with what only the leader decides.

    write, sync, session   forwarded, in the order of arrival; it waits in its connection's order for the txn that comes
                           of it: the next one with its session and cxid, an error txn if it is refused
    committed              decoded and applied; where the txn has a digest, the tree must have it now too
    coming back            the leader is asked whether the session lives; until it answers the client's requests wait
    being heard of         kept in a table, which goes to the leader with the answer to each of its pings

A server that looks for a leader, or does not serve yet, learns too: what is committed then is nobody's here.
Sources: FollowerRequestProcessor, CommitProcessor, LearnerSessionTracker, Learner.validateSession.
"""

from collections import deque
from struct import Struct
from struct import error as StructError
from typing import TYPE_CHECKING, Any, Final

from jute import JuteError
from zkpy.keeper import connection, handshake, local
from zkpy.keeper.auth import Identities
from zkpy.keeper.connection import Connection
from zkpy.keeper.member import UNDER_WAY, Member
from zkpy.keeper.multis import decode_multi
from zkpy.keeper.requests import Request, Undecodable
from zkpy.proto import errors, opcodes
from zkpy.proto.records import (
    CreateRequest,
    CreateTTLRequest,
    DeleteRequest,
    Id,
    ReconfigRequest,
    SetACLRequest,
    SetDataRequest,
)
from zkpy.proto.zxid import zxid_text
from zkpy.tree.txns import TXN_HEADER, decode_txn
from zkpy.tree.usual import prepare_usual

if TYPE_CHECKING:
    from zkpy.keeper.keeper import Keeper

_INT: Final = Struct(">i")

#: session id, cxid, opcode, body, identities
Forward = tuple[int, int, int, bytes, list[Id] | None]


class Learning(Member):
    """One leader's reign, as its learner; `forwards` and `questions` are taken by whoever carries them there."""

    __slots__ = ("_asking", "_has_mismatch", "_identities", "_ids", "_touched", "_writes", "forwards", "questions")

    def __init__(self, keeper: "Keeper") -> None:
        super().__init__(keeper)
        self.forwards: list[Forward] = []
        #: (session id, timeout in ms) of sessions that clients want to continue here.
        self.questions: list[tuple[int, int]] = []
        # session id → writes forwarded for it and not committed yet, oldest first; no empty ones
        self._writes: dict[int, deque[Request]] = {}
        # who waits for the answers to `questions`
        self._asking: deque[tuple[int, Connection]] = deque()
        self._touched: dict[int, int] = {}
        self._has_mismatch = False
        # The identities of the last request that was forwarded, as they are and as they travel: one list for all.
        self._identities: Identities = ()
        self._ids: list[Id] | None = None

    # --- to the leader -------------------------------------------------------------------------------------------

    def submit(self, request: Request) -> None:
        """A write or sync of a client here. One that cannot be decoded goes nowhere: its `error` is set."""
        if self.keeper.settings.local_sessions and local.settles(self.keeper, request):
            return
        op = request.op
        if op == opcodes.SYNC:
            if self._await_sync(request):
                self._forward(request, request.frame[8:])
            return
        session_id = request.client_id
        if op == opcodes.CREATE_SESSION:
            body = _INT.pack(request.txn.time_out)
        else:
            if not _is_decodable(op, request.frame):
                request.error = errors.MARSHALLINGERROR
                return
            body = request.frame[8:]
            if op == opcodes.CLOSE_SESSION:
                self.keeper.sessions.set_closing(session_id)
        request.zxid = UNDER_WAY
        writes = self._writes.get(session_id)
        if writes is None:
            self._writes[session_id] = deque((request,))
        else:
            writes.append(request)
        self.keeper.in_flight.append(request)
        self._forward(request, body)

    def _forward(self, request: Request, body: bytes) -> None:
        identities = request.identities
        if identities != self._identities:
            self._identities = identities
            self._ids = [Id(scheme, id_) for scheme, id_ in identities] or None
        self.forwards.append((request.client_id, request.cxid, request.op, body, self._ids))

    # --- from the leader -----------------------------------------------------------------------------------------

    def committed(self, entries: list[tuple[int, bytes]]) -> None:
        """These txns are decided: apply them in order, and answer whoever waits here for them."""
        keeper = self.keeper
        tree = keeper.tree
        now_ms = keeper.now_ms
        latencies = []
        for zxid, entry in entries:
            client_id, cxid, _, time_ms, type_ = TXN_HEADER.unpack_from(entry)
            usual = prepare_usual(tree, entry, client_id, zxid, time_ms, type_)
            request = self._take_own(client_id, cxid, type_)
            txn: Any
            said: int | None
            if usual is not None:
                txn, digest, said = usual
                if request is None:
                    keeper.take_over(txn, digest)
                    self._compare(said, zxid)
                    continue
            else:
                _, txn, said = decode_txn(entry)
                digest = -1
                if request is None:
                    request = Request(None, client_id, cxid, type_, b"", (), now_ms)
            request.type = type_
            request.zxid = zxid
            request.time = time_ms
            request.txn = txn
            request.digest = digest
            latency_ms = now_ms - request.received_ms
            if keeper.apply(request, latency_ms):
                latencies.append(latency_ms)
            if said is not None:
                self._compare(said, zxid)
        statistics = keeper.statistics
        statistics.commits += len(entries)
        if latencies:
            least, most, total = min(latencies), max(latencies), sum(latencies)
            statistics.add_latencies(total, len(latencies), least, most)
            statistics.observe_range("updatelatency", total, len(latencies), least, most)

    def _take_own(self, client_id: int, cxid: int, type_: int) -> Request | None:
        """The request of a client here that led to this txn, None if it is another server's."""
        writes = self._writes.get(client_id)
        if writes is None:
            return None
        request = writes[0]
        if request.cxid != cxid or type_ not in (request.op, opcodes.ERROR):
            return None
        writes.popleft()
        if not writes:
            del self._writes[client_id]
        in_flight = self.keeper.in_flight
        if in_flight[0] is request:
            in_flight.popleft()
        else:
            in_flight.remove(request)
        return request

    def _compare(self, digest: int, zxid: int) -> None:
        """Has the tree come to the digest that the leader's came to?"""
        keeper = self.keeper
        tree = keeper.tree
        has_mismatch = tree.digest_enabled and digest != tree.digest and not tree.is_fuzzy
        if has_mismatch:
            keeper.statistics.digest_mismatches += 1
            if not self._has_mismatch:  # all that follow will differ too
                keeper.note("error", "digests do not match", zxid=zxid_text(zxid))
        self._has_mismatch = has_mismatch

    # --- sessions ------------------------------------------------------------------------------------------------

    def ask(self, client: Connection, session_id: int) -> None:
        """`client` wants to go on with a session whose password it knows: let it wait for the leader's word."""
        client.phase = connection.ATTACHING
        self._asking.append((session_id, client))
        self.questions.append((session_id, client.timeout_ms))

    def revalidated(self, session_id: int, is_valid: bool) -> None:
        """The leader's word on a session that was asked about."""
        if not self._asking or self._asking[0][0] != session_id:
            self.keeper.note("warning", "answer about a session that nobody asked about", session=zxid_text(session_id))
            return
        client = self._asking.popleft()[1]
        if client.phase != connection.ATTACHING or client.closing:
            return
        keeper = self.keeper
        if not is_valid:
            handshake.refuse(keeper, client)
            return
        session = keeper.sessions.by_id.get(session_id)
        if session is None:
            session = keeper.sessions.adopt(session_id, client.timeout_ms)
        handshake.attach(keeper, client, session)
        keeper.resume(client)

    def touch(self, session_id: int, timeout_ms: int) -> None:
        """A client here was heard of."""
        self._touched[session_id] = timeout_ms

    def take_touched(self) -> list[tuple[int, int]]:
        """(session id, timeout in ms) of all that were heard of since the last call."""
        touched = list(self._touched.items())
        self._touched.clear()
        return touched


_BODIES: Final[dict[int, Any]] = {
    opcodes.CREATE: CreateRequest,
    opcodes.CREATE2: CreateRequest,
    opcodes.CREATE_CONTAINER: CreateRequest,
    opcodes.CREATE_TTL: CreateTTLRequest,
    opcodes.DELETE: DeleteRequest,
    opcodes.SET_DATA: SetDataRequest,
    opcodes.SET_ACL: SetACLRequest,
    opcodes.RECONFIG: ReconfigRequest,
}


def _is_decodable(op: int, frame: bytes) -> bool:
    """Will a txn come of it, if only an error txn? Of what Apache's leader cannot decode one never hears again."""
    if op == opcodes.SET_DATA and _is_plain_set(frame):
        return True
    try:
        if op == opcodes.MULTI:
            decode_multi(frame)
        elif op in _BODIES:
            _BODIES[op].decode(frame, 8)
    except JuteError:
        return False
    except Undecodable as error:
        return error.takes_zxid
    return True


def _is_plain_set(frame: bytes) -> bool:
    """Is it a setData with a path and data, and with nothing behind its version?"""
    try:
        path_end = 12 + _INT.unpack_from(frame, 8)[0]
        size = _INT.unpack_from(frame, path_end)[0]
        return path_end >= 12 and size >= 0 and path_end + size + 8 == len(frame) and frame[12:path_end].isascii()
    except StructError:
        return False
