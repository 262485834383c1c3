"""Leading: what the leader decides for the whole ensemble, beyond what a server alone does.

    requests of learners   judged in one order with those of clients here; a refused one is an error txn too, so that
                           the learner hears of it
    owners                 through which link (OWN: this server's clients) a session acts; the first to use it claims
                           it, a revalidation takes it over, and any other is told SESSIONMOVED
    touches                sessions that learners have heard of stay alive here, where alone they expire

Sources: LearnerHandler, SessionTrackerImpl.checkSession, LeaderSessionTracker, Leader.revalidateSession.
"""

from typing import TYPE_CHECKING, Final

from jute import JuteError
from jute.wire import read_int
from zkpy.keeper import local
from zkpy.keeper.auth import Identities
from zkpy.keeper.member import Member
from zkpy.keeper.prepare import CLIENT_WRITES
from zkpy.keeper.requests import Request
from zkpy.keeper.sessions import OWN, LiveSessions
from zkpy.proto import errors, opcodes
from zkpy.proto.records import CreateSessionTxn

if TYPE_CHECKING:
    from zkpy.keeper.keeper import Keeper

#: In front of a learner's request body, where a client's has its header.
_NO_HEADER: Final = bytes(8)


class Leading(Member):
    """One reign; `answers` and `syncs` are taken by whoever carries them to the learners."""

    __slots__ = ("_moved", "answers", "began_ms", "proposal_sizes", "syncs")

    def __init__(self, keeper: "Keeper") -> None:
        super().__init__(keeper)
        #: (link, session id, is it alive) in answer to `revalidate`.
        self.answers: list[tuple[int, int, bool]] = []
        #: Links of syncs that wait for what is proposed by now.
        self.syncs: list[int] = []
        self.began_ms = keeper.now_ms
        #: Bytes of the last, the smallest and the largest proposal, for four-letter words; -1 while there is none.
        self.proposal_sizes = (-1, -1, -1)
        # What the preparer looks at for a request through another link than the session's: no session is there.
        self._moved = LiveSessions(0, 1, 0)
        self._moved.unknown_code = errors.SESSIONMOVED

    def submit(self, request: Request) -> None:
        """A write or sync of a client here."""
        if self.keeper.settings.local_sessions and local.settles(self.keeper, request):
            return
        if request.op == opcodes.SYNC:
            if self._await_sync(request):
                self.syncs.append(OWN)
            return
        self._propose(request, OWN)

    def requested(self, link: int, session_id: int, cxid: int, op: int, body: bytes, identities: Identities) -> None:
        """A learner's client wants this; `body` is the request record without a header."""
        keeper = self.keeper
        if op == opcodes.SYNC:
            self.syncs.append(link)
            return
        frame = _NO_HEADER + body
        way = keeper.quick_ways.get(op)
        if way is not None:
            session = keeper.sessions.by_id.get(session_id)
            if (
                session is not None
                and not session.is_closing
                and session.owner in (link, None)
                and way(keeper, None, session, cxid, op, frame)
            ):
                session.owner = link
                return
        request = Request(None, session_id, cxid, op, frame, identities, keeper.now_ms)
        if op == opcodes.CREATE_SESSION:
            try:
                timeout_ms = read_int(body, 0, "CreateSessionTxn.timeOut")[0]
            except JuteError:
                keeper.propose_error(request, errors.MARSHALLINGERROR)
                return
            request.txn = CreateSessionTxn(timeout_ms)
            session = keeper.sessions.by_id.get(session_id)
            if session is None:
                session = keeper.sessions.open(session_id, timeout_ms, keeper.now_ms)
            session.owner = link
        elif op not in CLIENT_WRITES:
            keeper.propose_error(request, errors.UNIMPLEMENTED)
            return
        self._propose(request, link)
        if request.error:
            keeper.propose_error(request, request.error)

    def touch(self, touches: list[tuple[int, int]]) -> None:
        """Learners have heard of these sessions: (session id, timeout in ms)."""
        sessions, now_ms = self.keeper.sessions, self.keeper.now_ms
        for session_id, timeout_ms in touches:
            session = sessions.by_id.get(session_id)
            if session is not None and not session.is_closing:
                sessions.expiry.touch(session, timeout_ms, now_ms)

    def revalidate(self, link: int, session_id: int, timeout_ms: int) -> None:
        """A client has come to the learner at `link` with this session: from now on it acts through there."""
        sessions = self.keeper.sessions
        session = sessions.by_id.get(session_id)
        is_valid = session is not None and not session.is_closing and not session.is_local
        if session is not None and is_valid:
            session.owner = link
            sessions.expiry.touch(session, timeout_ms, self.keeper.now_ms)
        self.answers.append((link, session_id, is_valid))

    def proposed(self, sizes: list[int]) -> None:
        """Txns of these sizes are on their way."""
        _, least, most = self.proposal_sizes
        self.proposal_sizes = (sizes[-1], min(sizes if least < 0 else (least, *sizes)), max(most, *sizes))

    def _propose(self, request: Request, owner: int) -> None:
        """Judge a request that came through `owner`."""
        keeper = self.keeper
        session = keeper.sessions.by_id.get(request.client_id)
        # Whoever closes a session need not own it.
        if session is not None and session.owner != owner and request.op != opcodes.CLOSE_SESSION:
            if session.owner is None:
                session.owner = owner
            else:
                keeper.preparer.sessions = self._moved
                keeper.propose(request)
                keeper.preparer.sessions = keeper.sessions
                return
        keeper.propose(request)
