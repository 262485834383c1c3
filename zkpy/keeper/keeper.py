"""The door of the service: bytes of clients, committed txns and time go in; packets and proposals come out.

    received ─ frames ─┬─ read: answered at once, unless this connection waits for a write of its own
                       └─ write: prepare ─→ `proposals` ┄ log, quorum ┄→ committed ─ apply ─ events, then the reply

Nothing here waits, opens or reads a clock: `begin` brings the time of the turn, `proposals` and `dirty` are what the
caller carries out. Events and replies of a connection share one list, so a client sees an event before any answer
that shows the change.
"""

from collections import deque
from collections.abc import Callable
from struct import Struct
from typing import Any, Final

from jute import JuteError
from zkpy.keeper import commands, connection, handshake, local, quick, replies
from zkpy.keeper.auth import AclRules, Identities, permits
from zkpy.keeper.connection import OPEN, Connection
from zkpy.keeper.expiry import ExpiryQueue
from zkpy.keeper.host import Host
from zkpy.keeper.leading import Leading
from zkpy.keeper.learning import Learning
from zkpy.keeper.member import Membership
from zkpy.keeper.outstanding import Outstanding
from zkpy.keeper.prepare import CLIENT_WRITES, Preparer
from zkpy.keeper.readonly import ReadOnly
from zkpy.keeper.reads import READS, Handler, Reads
from zkpy.keeper.reaper import Reaper
from zkpy.keeper.requests import Refusal, Request, Usual, UsualSet
from zkpy.keeper.sessions import OWN, LiveSessions, Session
from zkpy.keeper.settings import Settings
from zkpy.keeper.standing import serve_read_only
from zkpy.keeper.statistics import Statistics
from zkpy.keeper.throttle import ConnectionThrottle
from zkpy.proto import errors, opcodes
from zkpy.proto.errors import ProtocolError
from zkpy.proto.paths import namespace_of
from zkpy.proto.zxid import zxid_text
from zkpy.tree.datatree import Change, DataTree, Result
from zkpy.tree.prepared import PreparedCreate, PreparedSet
from zkpy.tree.watches import Watches

_HEADER: Final = Struct(">ii")
#: A frame's length, and the same behind it; how long that is.
_WHOLE_HEADER: Final = Struct(">iii").unpack_from
_HEADED: Final = 12
#: The head of a reply that is no error: the length of all behind it, xid, zxid, 0.
_REPLY: Final = Struct(">iiqi").pack
_INT: Final = Struct(">i")
_WRITE_NAMES: Final = {
    opcodes.CREATE: "CREA",
    opcodes.CREATE2: "CREA",
    opcodes.CREATE_CONTAINER: "CREA",
    opcodes.CREATE_TTL: "CREA",
    opcodes.DELETE: "DELE",
    opcodes.SET_DATA: "SETD",
    opcodes.SET_ACL: "SETA",
    opcodes.RECONFIG: "RECO",
    opcodes.MULTI: "MULT",
    opcodes.CREATE_SESSION: "SESS",
    opcodes.CLOSE_SESSION: "CLOS",
}

#: How much may be ready to send on one connection before its next requests wait: a client that asks for a thousand
#: large answers in one packet costs this much memory, not a thousand answers'.
OUT_LIMIT: Final = 1 << 20
#: How many requests may wait for the leader's word on their session; clients send none before they have it.
BACKLOG_LIMIT: Final = 1000
#: An answer from this size on is counted against OUT_LIMIT at once; smaller ones after every _CHUNK requests.
_LARGE: Final = 1 << 14
#: Sessions, and connections without one, that expire in one turn; the others follow in the next ones. Thousands may be
#: due at the same tick, and each takes some 30 us.
WAKE_LIMIT: Final = 256
_CHUNK: Final = 64
#: Usual writes are counted when so many have been applied, or when somebody asks. A turn of one write would pay a tenth
#: of its price for that each time; but what is not counted yet is held in memory, and each may be as large as a frame.
_UNCOUNTED_LIMIT: Final = 8
#: Prompt reads are counted when there are so many, or when somebody asks.
_COUNT_READS: Final = 1000

#: Why a connection was dropped, for the log: (level, event, fields).
Note = tuple[str, str, dict[str, object]]


class Keeper:
    """One server's service. Whoever drives it calls `begin` first in every turn."""

    __slots__ = (
        "_applied",
        "_is_strict",
        "_prompt_reads",
        "_usual",
        "connections",
        "dirty",
        "host",
        "in_flight",
        "is_serving",
        "large_bytes",
        "leading",
        "learning",
        "membership",
        "next_zxid",
        "notes",
        "now_ms",
        "outstanding",
        "preparer",
        "proposals",
        "quick_ways",
        "read_handlers",
        "read_only",
        "read_only_at_ms",
        "reads",
        "reaper",
        "role",
        "sessionless",
        "sessions",
        "settings",
        "statistics",
        "submit",
        "throttle",
        "trace_mask",
        "tree",
        "wall_ms",
        "watches",
        "write_ops",
    )

    def __init__(self, tree: DataTree, settings: Settings, now_ms: int, wall_ms: int, host: Host | None = None) -> None:
        """Serve `tree`, whose sessions get a full timeout from now."""
        self.settings = settings
        self.now_ms = now_ms
        self.wall_ms = wall_ms
        self.statistics = Statistics(now_ms)
        self.watches: Watches[Connection] = Watches()
        self.sessions = LiveSessions(settings.server_id, settings.tick_time_ms, wall_ms)
        self.serve_tree(tree)
        self.sessions.restore(tree.sessions.timeouts.items(), now_ms)
        #: None on a learner: the leader reaps.
        self.reaper: Reaper | None = Reaper(tree, settings, now_ms)
        self.throttle = ConnectionThrottle(
            settings.throttle_tokens, settings.throttle_fill_ms, settings.throttle_fill_count, now_ms
        )
        self.next_zxid = tree.last_zxid + 1
        #: What the process and the machine are, for four-letter words.
        self.host = Host.unknown() if host is None else host
        self.trace_mask = commands.TRACE_MASK
        #: What this server is, for four-letter words and metrics.
        self.role = "standalone"
        #: May clients be served?
        self.is_serving = True
        #: What this server does as a member of an ensemble, one of the two; neither for a server that is alone.
        self.leading: Leading | None = None
        self.learning: Learning | None = None
        #: While there is no leader: the learning that serves all the same; and when that begins, unless one is found.
        self.read_only: ReadOnly | None = None
        self.read_only_at_ms: int | None = None
        #: What the ensemble is like now, for four-letter words; None for a server that is alone.
        self.membership: Callable[[], Membership] | None = None
        #: Where writes go: to be judged here, or to the leader.
        self.submit: Callable[[Request], None] = self.propose
        #: By opcode: what is answered from the tree, and what `submit` takes.
        self.read_handlers = READS
        self.write_ops = CLIENT_WRITES
        #: By opcode: what takes a write that is as usual, ahead of `submit`.
        self.quick_ways: dict[int, quick.Way] = {}
        self.choose_ways()
        # Is each request to be looked at before it is served?
        self._is_strict = bool(settings.enforce_auth_schemes)
        self.connections: dict[Connection, None] = {}
        # Connections that have no session yet, by when they must have one; and those that are closing.
        self.sessionless: ExpiryQueue[Connection] = ExpiryQueue(1000)
        #: Bytes of large requests in flight (largeRequestMaxBytes).
        self.large_bytes = 0
        # Reads answered in the turns in which they came, to be counted at once for all of them.
        self._prompt_reads = 0
        # Txns applied since they were last counted, and those that went the quick ways.
        self._applied: list[Any] = []
        self._usual: list[Usual] = []

        #: Writes proposed and not applied yet, in zxid order.
        self.in_flight: deque[Request | Usual] = deque()
        #: (zxid, txn bytes) to be made durable; the caller takes the list.
        self.proposals: list[tuple[int, bytes]] = []
        #: Connections with something to send or to close; the caller takes the list.
        self.dirty: list[Connection] = []
        #: Lines for the log; the caller takes the list.
        self.notes: list[Note] = []

    def serve_tree(self, tree: DataTree) -> None:
        """Answer from this tree from now on; nothing is outstanding."""
        settings = self.settings
        self.tree = tree
        self.outstanding = Outstanding(tree)
        rules = AclRules(digest_enabled=settings.digest_auth_enabled)
        self.preparer = Preparer(tree, self.outstanding, self.sessions, rules, settings)
        self.reads = Reads(tree, self.watches, settings, self.statistics.namespaces)

    def choose_ways(self) -> None:
        """See to it that usual writes go the quick ways if, and only if, these do all that is to be done here."""
        settings = self.settings
        has_more_to_do = (
            self.learning is not None
            or not self.tree.digest_enabled
            or settings.enforce_quota
            or settings.local_sessions
            or settings.enforce_auth_schemes
            or settings.large_request_threshold > 0
        )
        self.quick_ways = {} if has_more_to_do else quick.WAYS

    # --- time --------------------------------------------------------------------------------------------------

    def begin(self, now_ms: int, wall_ms: int) -> None:
        """A turn begins: `now_ms` of a clock that only goes forward, `wall_ms` since 1970."""
        self.now_ms = now_ms
        self.wall_ms = wall_ms
        if self._prompt_reads >= _COUNT_READS:
            self._count_reads()
        if self._applied or len(self._usual) >= _UNCOUNTED_LIMIT:
            self._count_writes()

    def wake(self) -> None:
        """Do what is due: expire sessions and connections, reap containers and TTL nodes."""
        now_ms = self.now_ms
        for session in self.sessions.expiry.expired(now_ms, WAKE_LIMIT):
            self.statistics.stale_sessions_expired += 1
            self.note("info", "session expired", session=zxid_text(session.id), timeout_ms=session.timeout_ms)
            if session.is_local:
                local.expire(self, session)
                continue
            self.propose(Request(None, session.id, 0, opcodes.CLOSE_SESSION, b"", (), now_ms))
        for idle in self.sessionless.expired(now_ms, WAKE_LIMIT):
            if idle.closing:
                idle.is_abandoned = True
                self.mark(idle)
                continue
            self.statistics.sessionless_expired += 1
            self.drop(idle, "no session was set up in time")
        if self.watches.leaving:
            self.watches.drop_some()
        if self.read_only_at_ms is not None and now_ms >= self.read_only_at_ms:
            serve_read_only(self)
        if self.reaper is not None:
            for path in self.reaper.due(now_ms, self.wall_ms):
                self.propose(Request(None, 0, 0, opcodes.DELETE_CONTAINER, path.encode(), (), now_ms))

    def deadline_ms(self) -> int | None:
        """When `wake` has something to do, on the clock of `begin`; None for never."""
        deadlines = (
            self.sessions.expiry.next_deadline(),
            self.sessionless.next_deadline(),
            self.reaper.deadline_ms() if self.reaper is not None else None,
            self.read_only_at_ms,
            0 if self.watches.leaving else None,
        )
        return min((deadline for deadline in deadlines if deadline is not None), default=None)

    # --- connections -------------------------------------------------------------------------------------------

    def opened(self, ip: str, address: str) -> Connection:
        """A client has connected from `ip` (`address`: with its port)."""
        new = Connection(ip, address, self.settings.max_frame, self.now_ms)
        self.connections[new] = None
        self.sessionless.touch(new, self.settings.sessionless_timeout_ms, self.now_ms)
        return new

    def closed(self, gone: Connection) -> None:
        """The connection is closed, by whichever side; its session lives on until it expires."""
        if gone.phase == connection.CLOSED:
            return
        gone.phase = connection.CLOSED
        self.connections.pop(gone, None)
        self.sessionless.remove(gone)
        self.watches.drop(gone)
        session = gone.session
        if session is not None and session.connection is gone:
            session.connection = None
        gone.waiting.clear()
        gone.out.clear()

    def received(self, client: Connection, data: bytes) -> None:
        """Bytes from a client. Wrong ones close this connection and leave a note; they never raise."""
        if client.closing:
            return
        size = len(data)
        statistics = self.statistics
        statistics.bytes_received += size
        framer = client.framer
        phase = client.phase
        if phase == OPEN:
            # Nearly always a client waits for each answer, and sends one whole frame at a time. Taken here, a call less
            # each, is what is nearly always in it: a read that can be answered now, or a usual write.
            session = client.session
            if (
                size >= _HEADED
                and not (framer.held or client.backlog or self._is_strict)
                and session is not None
                and not session.is_closing
            ):
                length, xid, op = _WHOLE_HEADER(data)
                if length == size - 4 and length <= framer.limit and xid >= 0:
                    way = self.quick_ways.get(op)
                    if way is not None:
                        if session.owner or not way(self, client, session, xid, op, data[4:]):
                            self._write(client, xid, op, data[4:])
                        else:
                            session.owner = OWN
                    elif client.waiting or not self._answer(client, xid, op, data[4:]):
                        self._take_chunk(client, [data[4:]])
                        return
                    statistics.packets_received += 1
                    client.received += 1
                    if self.now_ms >= client.touch_again_ms:
                        self._touch(client)
                    return
        elif phase == connection.CLOSED:
            return
        if client.phase == connection.NEW and client.head is not None:
            head = client.head = client.head + data
            if len(head) < 4:
                return
            word = commands.WORDS.get(head[:4])
            if word is not None:
                self._run_word(client, word, head[4:])
                return
            client.head = None
            data = head
        try:
            frames = framer.feed(data)
        except ProtocolError as error:
            self.drop(client, str(error))
            return
        if frames:
            if client.backlog:
                client.backlog += frames
                if client.phase in connection.UNSETTLED and len(client.backlog) > BACKLOG_LIMIT:
                    self.drop(client, f"more than {BACKLOG_LIMIT} requests before it has its session")
            else:
                self._take_frames(client, frames)
        if framer.error is not None and not client.closing:
            self.drop(client, str(framer.error))

    def connection_deadline_ms(self, client: Connection) -> int:
        """When Apache would close it for silence, on the clock of `begin`: it rounds up to whole intervals, all of them
        as long as a connection may be without a session (NIOServerCnxnFactory.cnxnExpiryQueue)."""
        interval_ms = self.settings.sessionless_timeout_ms
        heard_ms = max(client.established_ms, client.last_response_ms)
        timeout_ms = client.timeout_ms if client.session is not None else interval_ms
        return ((heard_ms + timeout_ms) // interval_ms + 1) * interval_ms

    def take_dirty(self) -> list[Connection]:
        """The connections that have something to send or to close, each once."""
        dirty = self.dirty
        self.dirty = []
        for client in dirty:
            client.is_dirty = False
        return dirty

    def take_answered(self) -> list[Connection]:
        """Those of the dirty connections that wait for no write; the others stay dirty."""
        dirty = self.dirty
        if not dirty:
            return dirty
        answered = [client for client in dirty if not client.waiting]
        self.dirty = [client for client in dirty if client.waiting]
        for client in answered:
            client.is_dirty = False
        return answered

    def take_notes(self) -> list[Note]:
        """Lines for the log since the last call."""
        notes = self.notes
        if notes:
            self.notes = []
        return notes

    # --- frames ------------------------------------------------------------------------------------------------

    def resume(self, client: Connection) -> None:
        """What was ready to send has been sent: go on with the requests that had to wait for that."""
        self.answer_waiting(client)
        if client.backlog and not client.closing:
            frames = client.backlog
            client.backlog = []
            self._take_frames(client, frames)

    def _take_frames(self, client: Connection, frames: list[bytes]) -> None:
        """Take requests in order; those that would make too much to send stay behind in the backlog."""
        at = 0
        while at < len(frames) and not client.closing:
            if client.phase in connection.UNSETTLED or (at and client.out_size() > OUT_LIMIT):
                client.backlog = frames[at:]
                return
            at += self._take_chunk(client, frames[at : at + _CHUNK] if at or len(frames) > _CHUNK else frames)

    def _answer(self, client: Connection, xid: int, op: int, frame: bytes) -> bool:
        """Answer a read at once; False if it is none."""
        read = self.read_handlers.get(op)
        if read is None or op == opcodes.PING:
            return False
        handler, name = read
        zxid = self.tree.last_zxid
        try:
            body = handler(self.reads, client, frame, client.identities)
            packet = _REPLY(16 + len(body), xid, zxid, 0) + body
        except Refusal as refusal:
            packet = replies.error_reply(xid, zxid, refusal.code)
        except JuteError:
            packet = replies.error_reply(xid, zxid, errors.MARSHALLINGERROR)
        self._prompt_reads += 1
        client.out.append(packet)
        # As `Connection.answered` does it; a call costs as much as all of this.
        client.last_op = name
        client.last_cxid = xid
        client.last_zxid = zxid
        client.last_response_ms = self.now_ms
        client.last_latency_ms = client.latency_min_ms = 0
        client.latency_count += 1
        if not client.is_dirty:
            client.is_dirty = True
            self.dirty.append(client)
        return True

    def _take_chunk(self, client: Connection, frames: list[bytes]) -> int:
        """How many of `frames` were taken: all, but for large answers."""
        waiting = client.waiting
        out = client.out
        reads = self.read_handlers
        answered = taken = silent = 0
        xid = op = 0
        name = client.last_op
        for frame in frames:
            taken += 1
            if client.phase == connection.NEW:
                handshake.connect(self, client, frame)
                if client.closing or client.phase in connection.UNSETTLED:
                    break
                continue
            if len(frame) < 8:
                self.drop(client, f"a request of {len(frame)} bytes has no header")
                break
            xid, op = _HEADER.unpack_from(frame)
            session = client.session
            if session is not None and session.is_closing:
                break  # whatever follows a close is dropped without a reply
            if self.settings.enforce_auth_schemes and not handshake.is_authenticated(self, client, xid, op):
                break
            read = reads.get(op)
            if read is not None:
                if waiting:
                    waiting.append(Request(client, client.session_id, xid, op, frame, client.identities, self.now_ms))
                    continue
                answered += 1
                handler, name = read
                if op == opcodes.PING:
                    xid = opcodes.XID_PING
                packet = self._read(client, handler, xid, frame, client.identities)
                out.append(packet)
                if len(packet) >= _LARGE:
                    break
            elif op in self.write_ops:
                way = self.quick_ways.get(op)
                if (
                    way is not None
                    and session is not None
                    and not session.owner
                    and way(self, client, session, xid, op, frame)
                ):
                    session.owner = OWN
                    continue
                self._write(client, xid, op, frame)
                if client.closing:
                    break
            elif op == opcodes.AUTH:
                silent += 1
                handshake.authenticate(self, client, xid, frame)
                if client.closing:
                    break
            elif op == opcodes.SASL:
                silent += 1
                handshake.sasl(self, client, xid, frame)
                if client.closing:
                    break
            else:
                self.note("warning", "unknown request type", client=client.address, type=op)
                out.append(replies.error_reply(xid, -1, errors.UNIMPLEMENTED))
                self.close(client)
                break
        self.statistics.packets_received += taken
        client.received += taken
        # Who only proves who they are does not keep their session alive.
        if self.now_ms >= client.touch_again_ms and taken > silent:
            self._touch(client)
        if answered:
            self._prompt_reads += answered
            client.answered(xid, name, 0, answered, self.now_ms, self.tree.last_zxid)
        if out and not client.is_dirty:
            client.is_dirty = True
            self.dirty.append(client)
        return taken

    def _read(self, client: Connection, handler: Handler, xid: int, frame: bytes, identities: Identities) -> bytes:
        """The answer to a read, from the tree as it is now."""
        zxid = self.tree.last_zxid
        try:
            return replies.reply(xid, zxid, handler(self.reads, client, frame, identities))
        except Refusal as refusal:
            return replies.error_reply(xid, zxid, refusal.code)
        except JuteError:
            return replies.error_reply(xid, zxid, errors.MARSHALLINGERROR)

    def _touch(self, client: Connection) -> None:
        """Its client was heard of; until `touch_again_ms` hearing more of it would not change the deadline."""
        session = client.session
        if session is not None and not session.is_closing:
            if self.learning is not None and not session.is_local:
                self.learning.touch(session.id, client.timeout_ms)
                return
            deadline_ms = self.sessions.expiry.touch(session, client.timeout_ms, self.now_ms)
            client.touch_again_ms = deadline_ms - client.timeout_ms

    def _count_reads(self) -> None:
        count, self._prompt_reads = self._prompt_reads, 0
        self.statistics.add_latency(0, count)
        self.statistics.observe("readlatency", 0, count)
        if self.reads.has_many:
            self.reads.count()

    def _count_writes(self) -> None:
        self.statistics.namespaces.add_writes(self._applied)
        self._applied.clear()
        self.statistics.namespaces.add_usual(self._usual)
        self._usual.clear()

    def count(self) -> None:
        """Have the statistics know of all that was done so far."""
        if self._prompt_reads:
            self._count_reads()
        if self._applied or self._usual:
            self._count_writes()
        self.reads.count()

    # --- writes ------------------------------------------------------------------------------------------------

    def _write(self, client: Connection, xid: int, op: int, frame: bytes) -> None:
        threshold = self.settings.large_request_threshold
        if threshold > 0 and len(frame) > threshold:
            if self.large_bytes + len(frame) > self.settings.large_request_max_bytes:
                self.statistics.large_requests_rejected += 1
                self.drop(client, f"a request of {len(frame)} bytes would pass largeRequestMaxBytes")
                return
            self.large_bytes += len(frame)
        session = client.session
        session_id = session.id if session is not None else 0
        request = Request(client, session_id, xid, op, frame, client.identities, self.now_ms)
        self.submit(request)
        if request.error:
            if self.large_bytes:
                self._release(request)
            if not client.waiting:
                client.out.append(replies.error_reply(xid, self.tree.last_zxid, request.error))
                self.mark(client)
                return
        client.waiting.append(request)

    def propose(self, request: Request) -> None:
        """Judge a write and propose the txn it leads to; if it cannot even be decoded, its `error` is set."""
        zxid = self.next_zxid
        if not self.preparer.prepare(request, zxid, self.wall_ms):
            return
        self.next_zxid = zxid + 1
        self.proposals.append((zxid, request.entry))
        self.in_flight.append(request)
        if self.preparer.quota_notes:
            for text, is_refused in self.preparer.quota_notes:
                self.note("warning", "quota exceeded", quota=text)
                if is_refused:
                    namespace = namespace_of(text.partition(" ")[0]) or ""
                    counts = self.statistics.quota_exceeded
                    counts[namespace] = counts.get(namespace, 0) + 1
            self.preparer.quota_notes.clear()

    def propose_error(self, request: Request, code: int) -> None:
        """Propose that a write which has come from elsewhere failed: who sent it waits for its txn."""
        request.zxid = self.next_zxid
        request.time = self.wall_ms
        self.preparer.refuse(request, code)
        self.next_zxid += 1
        self.proposals.append((request.zxid, request.entry))
        self.in_flight.append(request)

    def committed(self, entries: list[tuple[int, bytes]]) -> None:
        """These txns are decided: apply them in order, fire watches, answer whoever waits here for them."""
        if self.learning is not None:
            self.learning.committed(entries)
            return
        in_flight = self.in_flight
        now_ms = self.now_ms
        oldest_ms = latency_ms = now_ms - in_flight[0].received_ms
        count = total_ms = 0
        tree = self.tree
        watches = self.watches
        put, add = tree.put, tree.add
        dirty, usual = self.dirty, self._usual
        for zxid, _ in entries:
            request = in_flight.popleft()
            assert request.zxid == zxid, f"{zxid_text(zxid)} committed, {zxid_text(request.zxid)} is next"
            latency_ms = now_ms - request.received_ms
            if type(request) is Request:
                if self.apply(request, latency_ms):
                    count += 1
                    total_ms += latency_ms
                continue
            # What `apply` does, for a usual write: of a thousand in one turn, or all by itself.
            client = request.connection
            if client is not None:
                if client.phase == connection.CLOSED or client.closing:
                    client = None
                else:
                    waiting = client.waiting
                    while waiting[0] is not request:
                        self._answer_late(client, waiting.popleft())
                    waiting.popleft()
            tree.tracks_changes = is_watched = bool(watches.data or watches.child)
            if type(request) is UsualSet:
                name = "SETD"
                put(request, request.tree_digest)
            else:
                name = "CREA"
                add(request, request.tree_digest)
            usual.append(request)
            if is_watched:
                self._fire(tree.take_changes(), zxid)
            if client is None:
                continue
            count += 1
            total_ms += latency_ms
            client.out.append(request.packet)
            if latency_ms:
                client.answered(request.cxid, name, latency_ms, 1, now_ms, zxid)
            else:  # the same at the price of half a call
                client.last_op = name
                client.last_cxid = request.cxid
                client.last_zxid = zxid
                client.last_response_ms = now_ms
                client.last_latency_ms = client.latency_min_ms = 0
                client.latency_count += 1
            if not client.is_dirty:
                client.is_dirty = True
                dirty.append(client)
            if waiting:
                self.answer_waiting(client)
        self.outstanding.applied(entries[-1][0])
        statistics = self.statistics
        statistics.commits += len(entries)
        if count:
            # Requests commit in order of arrival, so the first one waited longest.
            statistics.add_latencies(total_ms, count, latency_ms, oldest_ms)
            statistics.observe_range("updatelatency", total_ms, count, latency_ms, oldest_ms)

    def apply(self, request: Request, latency_ms: int) -> bool:
        """Apply one txn and do all that follows from it. True if a client here was answered."""
        tree = self.tree
        watches = self.watches
        client = request.connection
        if client is not None:
            if client.phase == connection.CLOSED or client.closing:
                client = None
            else:
                waiting = client.waiting
                # Reads ahead of this write that `OUT_LIMIT` held back must not see what it does.
                while waiting[0] is not request:
                    self._answer_late(client, waiting.popleft())
                waiting.popleft()
        tree.tracks_changes = is_watched = bool(watches.data or watches.child)
        txn = request.txn
        packet = None
        result = None
        if type(txn) is PreparedSet:
            packet = replies.stat_reply(request.cxid, request.zxid, tree.put(txn, request.digest), tree.extended_types)
        elif type(txn) is PreparedCreate:
            node = tree.add(txn, request.digest)
            if request.op == opcodes.CREATE:
                packet = replies.path_reply(request.cxid, request.zxid, txn.path)
            else:
                packet = replies.path_reply(request.cxid, request.zxid, txn.path, node.stat(tree.extended_types))
        else:
            result = tree.apply(request, txn, request.digest, request.made)
        self._applied.append(txn)
        if is_watched:
            self._fire(tree.take_changes(), request.zxid)
        if self.large_bytes:
            self._release(request)
        ended: Session | None = None
        if request.type == opcodes.CLOSE_SESSION:
            ended = self.sessions.close(request.client_id)
        if client is not None:
            if result is not None:
                packet = self._packet_of(client, request, result)
            if packet is not None:
                client.out.append(packet)
                name = _WRITE_NAMES[request.op] if request.type != opcodes.ERROR else "NA"
                client.answered(request.cxid, name, latency_ms, 1, self.now_ms, tree.last_zxid)
                if not client.is_dirty:
                    client.is_dirty = True
                    self.dirty.append(client)
                if request.type == opcodes.CLOSE_SESSION:
                    self.close(client)
            if waiting:
                self.answer_waiting(client)
        if ended is not None and ended.connection is not None:
            if client is None:  # it expired: whoever was silent for so long is not waited for
                ended.connection.is_abandoned = True
            self.close(ended.connection)
        return client is not None

    def take_over(self, txn: PreparedSet | PreparedCreate, digest: int) -> None:
        """Apply a usual txn that nobody here waits for."""
        tree = self.tree
        tree.tracks_changes = is_watched = bool(self.watches.data or self.watches.child)
        if type(txn) is PreparedSet:
            tree.put(txn, digest)
        elif type(txn) is PreparedCreate:
            tree.add(txn, digest)
        self._applied.append(txn)
        if is_watched:
            self._fire(tree.take_changes(), tree.last_zxid)

    def _fire(self, changes: list[Change], zxid: int) -> None:
        """Put the events of a txn's changes on the way to whoever watches and may read what changed."""
        for change in changes:
            for firing in self.watches.fire(change):
                packet = replies.event(firing.kind, firing.path, zxid)
                is_public = firing.acl.world & opcodes.PERM_READ
                for watcher in firing.watchers:
                    if is_public or self._may_read(firing.acl, watcher):
                        watcher.out.append(packet)
                        self.statistics.watch_bytes += len(packet)
                        if not watcher.is_dirty:
                            self.mark(watcher)

    def _packet_of(self, client: Connection, request: Request, result: Result) -> bytes | None:
        """The answer to a write that led to this, or None: then the connection is closed without one."""
        zxid = self.tree.last_zxid
        type_ = request.type
        if result.err == errors.SESSIONMOVED:
            self.close(client)  # without a word: the session goes on elsewhere
            return None
        if result.err and type_ != opcodes.MULTI:
            return replies.error_reply(request.cxid, zxid, result.err)
        if type_ == opcodes.CREATE_SESSION:
            return handshake.welcome(client)
        return replies.reply(request.cxid, zxid, replies.write_body(type_, result))

    def _release(self, request: Request) -> None:
        """A large request is done with (largeRequestMaxBytes)."""
        if len(request.frame) > self.settings.large_request_threshold:
            self.large_bytes -= len(request.frame)

    def answer_waiting(self, client: Connection) -> None:
        """Answer what waited for a write, up to the next one that is in flight."""
        waiting = client.waiting
        size = 0
        while waiting and not client.closing and not waiting[0].zxid:
            if size > OUT_LIMIT:
                break  # the driver calls `resume` once this is sent
            size += self._answer_late(client, waiting.popleft())
        if client.out:
            self.mark(client)

    def _answer_late(self, client: Connection, request: Request | Usual) -> int:
        """Answer a request that had to wait for a write of its own session; how many bytes that made."""
        assert type(request) is Request, "a write in flight is answered when it is applied"
        if request.op == opcodes.CLOSE_SESSION and not request.error:
            local.close_session(self, client, request.cxid)
            return 0
        name = "NA"
        xid = opcodes.XID_PING if request.op == opcodes.PING else request.cxid
        if request.error:
            packet = replies.error_reply(xid, self.tree.last_zxid, request.error)
        else:
            handler, name = READS[request.op]
            packet = self._read(client, handler, xid, request.frame, request.identities)
        client.out.append(packet)
        latency_ms = self.now_ms - request.received_ms
        self.statistics.add_latency(latency_ms)
        client.answered(request.cxid, name, latency_ms, 1, self.now_ms, self.tree.last_zxid)
        return len(packet)

    def _may_read(self, acl: Any, watcher: Connection) -> bool:
        return self.settings.skip_acl or permits(acl, opcodes.PERM_READ, watcher.identities)

    # --- parts -------------------------------------------------------------------------------------------------

    def _run_word(self, client: Connection, word: str, rest: bytes) -> None:
        if not client.received:  # it shows in its own answer
            client.received = 1
            self.statistics.packets_received += 1
        self.count()
        answer = commands.run(self, client, word, rest)
        if answer is None:
            return  # it needs more bytes
        if answer:
            self.statistics.packets_sent += 1
            client.out.append(answer)
        self.close(client)

    def mark(self, client: Connection) -> None:
        """`client` has something to send, or is to be closed."""
        if not client.is_dirty:
            client.is_dirty = True
            self.dirty.append(client)

    def close(self, client: Connection) -> None:
        """Send what is in `out`, then close; a client that does not take it gets as long as one without a session."""
        client.closing = True
        self.sessionless.touch(client, self.settings.sessionless_timeout_ms, self.now_ms)
        client.waiting.clear()
        self.watches.drop(client)
        self.mark(client)

    def drop(self, client: Connection, why: str) -> None:
        """Close because of what the other side did; one line in the log."""
        self.note("warning", "connection closed", client=client.address, session=zxid_text(client.session_id), why=why)
        self.close(client)

    def note(self, level: str, event: str, **fields: object) -> None:
        """Leave a line for the log."""
        self.notes.append((level, event, fields))
