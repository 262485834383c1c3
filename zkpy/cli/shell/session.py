"""A ZooKeeper session with every operation that zkCli has: what a server answers, or a KeeperError that names the path.

    session = Session("127.0.0.1:2181/app", 30_000, print)      # connects in the background
    session.get("/config", watch=True)                          # (data, Stat)
    session.close()

Why not kazoo: it has no persistent watches, containers or TTL, drops the zxids of events, and keeps requests through an
outage where zkCli loses them; the shell must show all of these as they are.

Its law: paths that callers give and get are theirs, below the chroot of the connect string; those in `watches` and on
the wire are the server's. Raises BadPath before anything is sent.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Final

from jute.record import Record
from zkpy.cli.connecting import addresses_of
from zkpy.cli.shell.connection import Connection, Event, Request
from zkpy.cli.shell.paths import validate
from zkpy.cli.shell.watches import Watches
from zkpy.proto import errors, events, opcodes
from zkpy.proto import records as r

#: What everybody may do with a znode made without an ACL.
OPEN_ACL: Final = (r.ACL(opcodes.PERM_ALL, r.Id("world", "anyone")),)
#: How many parts of a `delete_all` may be under way.
PARTS_UNDER_WAY: Final = 10


class Session(Connection):
    """A session at the servers of a connect string; starts to connect at once."""

    def __init__(
        self,
        hosts: str,
        timeout_ms: int,
        on_event: Callable[[Event], None],
        *,
        read_only: bool = False,
        auth: Sequence[tuple[str, bytes | None]] = (),
    ) -> None:
        """`on_event` is called on the connection's thread. Raises click.BadParameter for a bad connect string."""
        chroot = hosts.partition("/")[2].rstrip("/")
        if chroot:
            validate("/" + chroot)
        super().__init__(addresses_of(hosts), timeout_ms, on_event, read_only=read_only, auth=auth)
        self.chroot = "/" + chroot if chroot else ""
        self._watches = Watches()
        self.start()

    # Reading.

    def get(self, path: str, *, watch: bool = False) -> tuple[bytes | None, r.Stat]:
        """Data (None if it has none) and stat."""
        reply = self._read(opcodes.GET_DATA, r.GetDataRequest, path, watch, self._watches.data)
        answer = r.GetDataResponse.from_bytes(reply)
        return answer.data, answer.stat

    def exists(self, path: str, *, watch: bool = False) -> r.Stat | None:
        """The stat, None if there is no such znode; a watch is left either way."""
        validate(path)
        server = self._server(path)

        def finish(code: int) -> int:
            if watch and code == errors.OK:
                self._watches.data[server] = None
            elif watch and code == errors.NONODE:
                self._watches.exist[server] = None
            return code

        try:
            reply = self.call(opcodes.EXISTS, r.ExistsRequest(server, watch), path, finish=finish)
        except errors.NoNodeError:
            return None
        return r.ExistsResponse.from_bytes(reply).stat

    def children(self, path: str, *, watch: bool = False) -> list[str]:
        """Names, in the order that Java gives strings."""
        reply = self._read(opcodes.GET_CHILDREN, r.GetChildrenRequest, path, watch, self._watches.children)
        return sorted(r.GetChildrenResponse.from_bytes(reply).children or [], key=_units)

    def children_and_stat(self, path: str, *, watch: bool = False) -> tuple[list[str], r.Stat]:
        """The same, with the stat of the znode itself."""
        reply = self._read(opcodes.GET_CHILDREN2, r.GetChildren2Request, path, watch, self._watches.children)
        answer = r.GetChildren2Response.from_bytes(reply)
        return sorted(answer.children or [], key=_units), answer.stat

    def _read(
        self, opcode: int, record: Callable[[str, bool], Record], path: str, watch: bool, kept: dict[str, None]
    ) -> bytes:
        validate(path)
        server = self._server(path)

        def finish(code: int) -> int:
            if watch and code == errors.OK:
                kept[server] = None
            return code

        return self.call(opcode, record(server, watch), path, finish=finish)

    def config(self, *, watch: bool = False) -> tuple[bytes | None, r.Stat]:
        """The ensemble's configuration; outside of every chroot."""
        path = "/zookeeper/config"

        def finish(code: int) -> int:
            if watch and code == errors.OK:
                self._watches.data[path] = None
            return code

        reply = self.call(opcodes.GET_DATA, r.GetDataRequest(path, watch), path, finish=finish)
        answer = r.GetDataResponse.from_bytes(reply)
        return answer.data, answer.stat

    def get_acl(self, path: str) -> tuple[list[r.ACL], r.Stat]:
        """Who may do what."""
        validate(path)
        reply = self.call(opcodes.GET_ACL, r.GetACLRequest(self._server(path)), path)
        answer = r.GetACLResponse.from_bytes(reply)
        return answer.acl or [], answer.stat

    def ephemerals(self, prefix: str | None = None) -> list[str]:
        """The session's ephemeral znodes below a path, by their paths on the server, in no promised order."""
        if prefix is not None:
            validate(prefix)
        reply = self.call(opcodes.GET_EPHEMERALS, r.GetEphemeralsRequest(prefix or "/"))
        return r.GetEphemeralsResponse.from_bytes(reply).ephemerals or []

    def count_below(self, path: str) -> int:
        """How many znodes there are below this one, at any depth."""
        validate(path)
        request = r.GetAllChildrenNumberRequest(self._server(path))
        reply = self.call(opcodes.GET_ALL_CHILDREN_NUMBER, request, path)
        return r.GetAllChildrenNumberResponse.from_bytes(reply).total_number

    def who_am_i(self) -> list[r.ClientInfo]:
        """The identities that the server sees in this connection."""
        return r.WhoAmIResponse.from_bytes(self.call(opcodes.WHO_AM_I, None)).client_info or []

    def sync(self, path: str) -> int:
        """Let the server catch up with its leader; 0, or the code of what went wrong."""
        validate(path)
        try:
            self.call(opcodes.SYNC, r.SyncRequest(self._server(path)), path)
        except errors.KeeperError as error:
            return error.code
        return errors.OK

    # Writing.

    def create(
        self, path: str, data: bytes | None, acl: Sequence[r.ACL] = OPEN_ACL, flags: int = 0, ttl_ms: int = 0
    ) -> str:
        """Make a znode (flags: opcodes.PERSISTENT and its kin); the path it got."""
        sequential = (opcodes.PERSISTENT_SEQUENTIAL, opcodes.EPHEMERAL_SEQUENTIAL, opcodes.PERSISTENT_SEQUENTIAL_TTL)
        validate(path, is_sequential=flags in sequential)
        if not acl:
            raise errors.InvalidACLError
        server = self._server(path)
        record: Record
        if flags in opcodes.TTL_FLAGS:
            opcode, record = opcodes.CREATE_TTL, r.CreateTTLRequest(server, data, list(acl), flags, ttl_ms)
        else:
            opcode = opcodes.CREATE_CONTAINER if flags == opcodes.CONTAINER else opcodes.CREATE
            record = r.CreateRequest(server, data, list(acl), flags)
        made = r.CreateResponse.from_bytes(self.call(opcode, record, path)).path or ""
        return self._client(made)

    def delete(self, path: str, version: int = -1) -> None:
        """Delete a znode without children."""
        validate(path)
        # The root stays the root, whatever the chroot: a server must refuse to delete it.
        server = path if path == "/" else self._server(path)
        self.call(opcodes.DELETE, r.DeleteRequest(server, version), path)

    def delete_all(self, paths: Iterable[str], batch: int) -> bool:
        """Delete these znodes, `batch` of them in each transaction; False, and an early end, if one failed."""
        waiting: list[Request] = []
        part: list[str] = []
        good = True

        def send() -> None:
            nonlocal good
            waiting.append(self._multi_delete(part))
            part.clear()
            if len(waiting) == PARTS_UNDER_WAY:
                good &= _is_good(waiting.pop(0))

        for path in paths:
            if not good:
                break
            part.append(path)
            if len(part) == batch:
                send()
        if part and good:
            send()
        for request in waiting:
            good &= _is_good(request)
        return good

    def _multi_delete(self, paths: Sequence[str]) -> Request:
        out = bytearray()
        for path in paths:
            r.MultiHeader(opcodes.DELETE, False, -1).encode(out)
            r.DeleteRequest(self._server(path), -1).encode(out)
        r.MultiHeader(-1, True, -1).encode(out)
        request = Request(opcodes.MULTI, bytes(out))
        self.submit(request)
        return request

    def set(self, path: str, data: bytes, version: int = -1) -> r.Stat:
        """Put other data into a znode; its new stat."""
        validate(path)
        reply = self.call(opcodes.SET_DATA, r.SetDataRequest(self._server(path), data, version), path)
        return r.SetDataResponse.from_bytes(reply).stat

    def set_acl(self, path: str, acl: Sequence[r.ACL], version: int = -1) -> r.Stat:
        """Let others do other things with a znode; its new stat."""
        validate(path)
        if not acl:
            raise errors.InvalidACLError
        reply = self.call(opcodes.SET_ACL, r.SetACLRequest(self._server(path), list(acl), version), path)
        return r.SetACLResponse.from_bytes(reply).stat

    def reconfig(
        self, joining: str | None, leaving: str | None, members: str | None, version: int
    ) -> tuple[bytes | None, r.Stat]:
        """Change the ensemble; its new configuration."""
        reply = self.call(opcodes.RECONFIG, r.ReconfigRequest(joining, leaving, members, version))
        answer = r.GetDataResponse.from_bytes(reply)
        return answer.data, answer.stat

    # Watches.

    def add_watch(self, path: str, mode: int) -> None:
        """A watch that stays: opcodes.ADD_WATCH_PERSISTENT or _RECURSIVE."""
        validate(path)
        server = self._server(path)
        recursive = mode == opcodes.ADD_WATCH_PERSISTENT_RECURSIVE
        kept = self._watches.recursive if recursive else self._watches.persistent

        def finish(code: int) -> int:
            if code == errors.OK:
                kept[server] = None
            return code

        self.call(opcodes.ADD_WATCH, r.AddWatchRequest(server, mode), path, finish=finish)

    def remove_watches(self, path: str, kind: int, *, is_local: bool) -> None:
        """Forget watches of a kind (opcodes.WATCHER_*); if local, here even where the server cannot be told."""
        validate(path)
        server = self._server(path)

        def finish(code: int) -> int:
            if code and not is_local:
                return code
            removed = self._watches.remove(server, kind)
            is_cut_off = code in (errors.CONNECTIONLOSS, errors.SESSIONEXPIRED)
            state = events.DISCONNECTED if is_cut_off else events.SYNC_CONNECTED
            for event in removed:
                self.tell(Event(event, state, path))
            return errors.OK if removed else errors.NOWATCHER

        self.call(opcodes.REMOVE_WATCHES, r.RemoveWatchesRequest(server, kind), path, finish=finish)

    def greeting(self, last_zxid: int) -> list[Request]:
        """The watches that a new server must be told of."""
        requests = []
        for opcode, record in self._watches.packets(last_zxid):
            request = Request(opcode, record.to_bytes())
            request.xid = opcodes.XID_SET_WATCHES
            requests.append(request)
        return requests

    def on_watch(self, event: Event) -> None:
        """Hand on what somebody waits for."""
        if event.path is not None and self._watches.fire(event.kind, event.path):
            self.tell(event._replace(path=self._client(event.path)))

    # Paths.

    def _server(self, path: str) -> str:
        return (self.chroot if path == "/" else self.chroot + path) or "/"

    def _client(self, path: str) -> str:
        if not self.chroot or not (path + "/").startswith(self.chroot + "/"):
            return path
        return path[len(self.chroot) :] or "/"


def _is_good(request: Request) -> bool:
    request.done.wait()
    # A transaction that fails is answered all the same: with errors in the places of the results.
    return request.code == errors.OK and r.MultiHeader.from_bytes(request.reply).type != opcodes.ERROR


def _units(name: str) -> bytes:
    return name.encode("utf-16-be", "surrogatepass")
