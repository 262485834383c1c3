"""Request + the changes outstanding → txn, or the error txn: the leader's judgement of every write.

Checks come in Apache's order, because clients see which one failed. A refused write takes a zxid too and is logged as
an error txn, so that zxids stay without holes; only a request that cannot be decoded takes none (except a multi).
Source: PrepRequestProcessor.
"""

from collections.abc import Callable
from struct import Struct
from struct import error as StructError
from typing import Any, Final

from jute import JuteError
from zkpy.keeper.auth import AclRules, Identities, each_once, permits
from zkpy.keeper.multis import decode_multi
from zkpy.keeper.outstanding import ROOT, Outstanding
from zkpy.keeper.quick import KNOWN_TAILS_LIMIT
from zkpy.keeper.requests import Refusal, Request, Undecodable
from zkpy.keeper.sessions import LiveSessions
from zkpy.keeper.settings import Settings
from zkpy.proto import errors, opcodes
from zkpy.proto.paths import is_plain_name, path_error
from zkpy.proto.records import (
    ACL,
    CheckVersionTxn,
    CloseSessionTxn,
    CreateContainerTxn,
    CreateRequest,
    CreateSessionTxn,
    CreateTTLRequest,
    CreateTTLTxn,
    CreateTxn,
    DeleteRequest,
    DeleteTxn,
    ErrorTxn,
    MultiTxn,
    ReconfigRequest,
    SetACLRequest,
    SetACLTxn,
    SetDataRequest,
    SetDataTxn,
    Txn,
)
from zkpy.tree import quota
from zkpy.tree.acl import Acl
from zkpy.tree.datatree import PROTECTED_PATHS, DataTree
from zkpy.tree.digest import VERSION as DIGEST_VERSION
from zkpy.tree.prepared import PreparedMulti
from zkpy.tree.txns import TXN_HEADER, encode_txn
from zkpy.tree.znode import CONTAINER_OWNER, NORMAL, TTL_MASK, TTL_MAX_MS, ZNode, kind_of, wrap_int

#: How many encoded ACLs are known by their bytes.
KNOWN_ACLS_LIMIT: Final = 1024

_INT: Final = Struct(">i")
#: The ends of a CreateTxn and of a SetDataTxn, with the TxnDigest behind them.
_CREATE_TAIL: Final = Struct(">?iiQ")
_SET_DATA_TAIL: Final = Struct(">iiQ")


class Preparer:
    """Turns writes into txns, one at a time, in order of arrival."""

    def __init__(
        self,
        tree: DataTree,
        outstanding: Outstanding,
        sessions: LiveSessions,
        rules: AclRules,
        settings: Settings,
    ) -> None:
        self.tree = tree
        self.outstanding = outstanding
        self.sessions = sessions
        self.rules = rules
        self.settings = settings
        # Encoded ACL → the ACL, for those that normalise to themselves whoever sends them.
        self._acls: dict[bytes, Acl] = {}
        #: The end of a create, its ACL and flags, as bytes → that ACL, is it ephemeral, is it sequential; only for the
        #: ACLs that are known, and for what `zkpy.keeper.quick` makes.
        self.known_tails: dict[bytes, tuple[Acl, bool, bool]] = {}
        #: (text for the log, was it refused) of limits that a write would pass; taken by the keeper.
        self.quota_notes: list[tuple[str, bool]] = []

    def prepare(self, request: Request, zxid: int, time_ms: int) -> bool:
        """Judge `request` as txn `zxid` at wall time `time_ms`; sets what a proposed one has. True if `zxid` was taken.

        False: the request could not be decoded; its `error` is set and nothing is to be logged.
        """
        request.zxid = zxid
        request.time = time_ms
        try:
            request.txn = _PREPARE[request.op](self, request)
        except Refusal as refusal:
            self.refuse(request, refusal.code)
            return True
        except (JuteError, Undecodable) as error:
            if isinstance(error, Undecodable) and error.takes_zxid:
                self.refuse(request, errors.MARSHALLINGERROR)
                return True
            request.zxid = 0
            request.error = errors.MARSHALLINGERROR
            return False
        if self.tree.digest_enabled:
            request.digest = self.outstanding.digest
            if not request.entry:
                request.entry = encode_txn(request, request.txn, request.digest)
        else:
            request.entry = encode_txn(request, request.txn, None)
        return True

    def refuse(self, request: Request, code: int) -> None:
        """Make the request's txn, whose zxid and time are set, an error txn."""
        request.type = opcodes.ERROR
        request.txn = ErrorTxn(code)
        request.entry = encode_txn(request, request.txn, None)

    # --- single operations: decode, then the rule that multi shares ----------------------------------------------

    def _on_create(self, request: Request) -> Any:
        frame = request.frame
        # The usual create is decoded here: its fields one by one cost more than all that is done with them. The ACL is
        # whatever lies between the data and the last four bytes; one that was decoded before is known by its bytes.
        try:
            path_end = 12 + _INT.unpack_from(frame, 8)[0]
            size = _INT.unpack_from(frame, path_end)[0]
            data_end = path_end + 4 + size
            acl = self._acls.get(frame[data_end:-4]) if size >= 0 and path_end >= 12 else None
        except StructError:
            path_end = size = -1
            acl = None
        if acl is not None:
            encoded = frame[12:path_end]
            data = frame[path_end + 4 : data_end]
            flags = _INT.unpack_from(frame, len(frame) - 4)[0]
            path = str(encoded, "utf-8", "replace")
            txn = self._create(request, request.op, path, data, acl, flags, -1)
            if isinstance(txn, CreateTxn):
                # Data and ACL stand in the txn as they stood in the request, and the path unless it got a number.
                start = frame[8:path_end]
                if flags in opcodes.SEQUENTIAL_FLAGS:
                    start = (txn.path or "").encode()
                    start = _INT.pack(len(start)) + start
                request.entry = (
                    TXN_HEADER.pack(request.client_id, request.cxid, request.zxid, request.time, request.type)
                    + start
                    + frame[path_end:-4]
                    + _CREATE_TAIL.pack(txn.ephemeral, txn.parent_c_version, DIGEST_VERSION, self.outstanding.digest)
                )
                if len(self.known_tails) >= KNOWN_TAILS_LIMIT:
                    self.known_tails.clear()
                is_sequential = flags in opcodes.SEQUENTIAL_FLAGS
                self.known_tails[frame[data_end:]] = acl, txn.ephemeral, is_sequential
            return txn
        if path_end >= 12 and size >= 0:
            frame = each_once(frame, path_end + 4 + size)
        body, end = CreateRequest.decode(frame, 8)
        if end == len(frame) and body.data is not None and body.acl and all(_is_plain(entry) for entry in body.acl):
            try:
                normal = self.rules.normalise(body.acl, ())
            except ValueError:
                normal = None
            # Only an ACL that normalising leaves as it is, so that its bytes may go into txns.
            if normal is not None and normal == body.acl:
                if len(self._acls) >= KNOWN_ACLS_LIMIT:
                    self._acls.clear()
                out = bytearray(_INT.pack(len(normal)))
                for entry in normal:
                    entry.encode(out)
                self._acls[bytes(out)] = normal
        return self._create(request, request.op, body.path, body.data, body.acl, body.flags, -1)

    def _on_create_ttl(self, request: Request) -> Any:
        body = CreateTTLRequest.decode(request.frame, 8)[0]
        return self._create(request, request.op, body.path, body.data, body.acl, body.flags, body.ttl)

    def _on_delete(self, request: Request) -> Any:
        body = DeleteRequest.decode(request.frame, 8)[0]
        return self._delete(request, body.path, body.version)

    def _on_set_data(self, request: Request) -> Any:
        frame = request.frame
        # Decoded here for the same reason as in `_on_create`; whatever is unusual goes the long way.
        try:
            path_end = 12 + _INT.unpack_from(frame, 8)[0]
            size = _INT.unpack_from(frame, path_end)[0]
            data_end = path_end + 4 + size
            expected = _INT.unpack_from(frame, data_end)[0]
            path = str(frame[12:path_end], "utf-8")
        except (StructError, UnicodeDecodeError):
            size = path_end = -1
        if size < 0 or path_end < 12:
            body = SetDataRequest.decode(frame, 8)[0]
            return self._set_data(request, body.path, body.data, body.version)
        data = frame[path_end + 4 : data_end]
        txn = self._set_data(request, path, data, expected)
        request.entry = (
            TXN_HEADER.pack(request.client_id, request.cxid, request.zxid, request.time, request.type)
            + frame[8:data_end]
            + _SET_DATA_TAIL.pack(txn.version, DIGEST_VERSION, self.outstanding.digest)
        )
        return txn

    def _on_set_acl(self, request: Request) -> Any:
        frame = request.frame
        path_end = 12 + int.from_bytes(frame[8:12], "big")
        body = SetACLRequest.decode(each_once(frame, path_end), 8)[0]
        self._check_session(request.client_id)
        path = _valid(body.path)
        acl = self._normalise(body.acl, request.identities)
        key = path if path != "/" else ROOT
        node = self._find(key)
        self._permit(node.acl, opcodes.PERM_ADMIN, request.identities)
        version = _next_version(node.aversion, body.version)
        shadow = self.outstanding.change(key, request.zxid)
        shadow.aversion = version
        shadow.acl = acl
        self.outstanding.changed(key, shadow)
        return SetACLTxn(path, acl, version)

    def _on_delete_container(self, request: Request) -> Any:
        """The server's own request to remove an empty container or an outlived TTL node; no session, no ACL."""
        path = request.frame.decode()
        node = self._find(path)
        if self.outstanding.child_count(node):
            raise Refusal(errors.NOTEMPTY)
        if kind_of(node.owner, self.tree.extended_types) == NORMAL:
            raise Refusal(errors.BADVERSION)
        return self._remove(path, path[: path.rindex("/")], request.zxid)

    def _on_reconfig(self, request: Request) -> Any:
        ReconfigRequest.decode(request.frame, 8)
        # A standalone server has no ensemble to change.
        raise Refusal(errors.UNIMPLEMENTED if self.settings.reconfig_enabled else errors.RECONFIGDISABLED)

    def _on_create_session(self, request: Request) -> Any:
        assert request.txn is not None, "the session's timeout comes with the request"
        assert type(request.txn) is CreateSessionTxn
        return request.txn

    def _on_close_session(self, request: Request) -> Any:
        outstanding = self.outstanding
        paths = outstanding.ephemerals_of(request.client_id)
        for path in paths:
            parent_path = path[: path.rindex("/")]
            parent = outstanding.change(parent_path, request.zxid)
            parent.pzxid = request.zxid
            parent.children -= 1
            outstanding.changed(parent_path, parent)
            outstanding.remove(path, request.zxid)
        self.sessions.set_closing(request.client_id)
        return CloseSessionTxn(list(paths)) if self.settings.close_session_txn_enabled else None

    # --- the rules ---------------------------------------------------------------------------------------------

    def _create(
        self,
        request: Request,
        type_: int,
        path: str | None,
        data: bytes | None,
        entries: list[ACL] | None,
        flags: int,
        ttl_ms: int,
    ) -> Any:
        if flags not in opcodes.CREATE_FLAGS:
            raise Refusal(errors.BADARGUMENTS)
        if flags in opcodes.TTL_FLAGS:
            if not self.tree.extended_types:
                raise Refusal(errors.UNIMPLEMENTED)
            if not 0 < ttl_ms <= TTL_MAX_MS:
                raise Refusal(errors.BADARGUMENTS)
        elif ttl_ms >= 0 or type_ == opcodes.CREATE_TTL:
            # Apache lets createTTL with another mode and ttl -1 pass here and then fails while applying it.
            raise Refusal(errors.BADARGUMENTS)
        session = self.sessions.by_id.get(request.client_id)
        if session is None or session.is_closing or session.is_local:
            self._check_session(request.client_id)
            if flags in opcodes.EPHEMERAL_FLAGS:  # which only a session that all know can own
                is_told = session is not None and request.op == opcodes.MULTI
                raise Refusal(errors.EPHEMERALONLOCALSESSION if is_told else errors.SESSIONEXPIRED)
        if path is None:
            raise Refusal(errors.MARSHALLINGERROR)
        at = path.rfind("/")
        if at < 0 or "\0" in path:
            raise Refusal(errors.BADARGUMENTS)
        parent_path = path[:at]
        acl = entries if type(entries) is Acl else self._normalise(entries, request.identities)
        outstanding = self.outstanding
        parent = outstanding.find(parent_path)
        if parent is None:
            raise Refusal(errors.NONODE)
        if not parent.acl.world & opcodes.PERM_CREATE:
            self._permit(parent.acl, opcodes.PERM_CREATE, request.identities)
        if flags in opcodes.SEQUENTIAL_FLAGS:
            path = f"{path}{parent.cversion:010d}"
        # The parent is a znode, so its path is legal (but "/", the root's other name, is no parent: "//x").
        if (at == 1 or not is_plain_name(path[at + 1 :])) and path_error(path) is not None:
            raise Refusal(errors.BADARGUMENTS)
        if outstanding.find(path) is not None:
            raise Refusal(errors.NODEEXISTS)
        if parent.owner and kind_of(parent.owner, self.tree.extended_types) == NORMAL:
            raise Refusal(errors.NOCHILDRENFOREPHEMERALS)
        if self.settings.enforce_quota and self.tree.quotas.paths:
            self._check_quota(path, len(data) if data else 0, 1)
        zxid = request.zxid
        shadow = outstanding.change(parent_path, zxid)
        cversion = wrap_int(shadow.cversion + 1)
        if cversion > shadow.cversion:  # else it has wrapped, and applying the txn leaves the parent as it was
            shadow.cversion = cversion
            shadow.pzxid = zxid
        shadow.children += 1
        outstanding.changed(parent_path, shadow)
        # What the node becomes follows from the opcode; the flags only say ephemeral and sequential.
        txn: Any
        if type_ == opcodes.CREATE_CONTAINER:
            owner = CONTAINER_OWNER
            txn = CreateContainerTxn(path, data, acl, cversion)
        elif type_ == opcodes.CREATE_TTL:
            owner = TTL_MASK | ttl_ms
            txn = CreateTTLTxn(path, data, acl, cversion, ttl_ms)
        else:
            ephemeral = flags in opcodes.EPHEMERAL_FLAGS
            owner = request.client_id if ephemeral else 0
            txn = CreateTxn(path, data, acl, ephemeral, cversion)
        time_ms = request.time
        request.made = node = ZNode(data, acl, zxid, zxid, time_ms, time_ms, 0, 0, 0, owner, zxid)
        outstanding.add(path, node, zxid)
        return txn

    def _delete(self, request: Request, path: str | None, version: int) -> Any:
        self._check_session(request.client_id)
        if path is None:
            raise Refusal(errors.MARSHALLINGERROR)
        at = path.rfind("/")
        if at < 0 or "\0" in path or path in PROTECTED_PATHS:
            raise Refusal(errors.BADARGUMENTS)
        parent_path = path[:at]
        self._permit(self._find(parent_path).acl, opcodes.PERM_DELETE, request.identities)
        node = self._find(path)
        _next_version(node.version, version)
        if self.outstanding.child_count(node):
            raise Refusal(errors.NOTEMPTY)
        return self._remove(path, parent_path, request.zxid)

    def _remove(self, path: str, parent_path: str, zxid: int) -> DeleteTxn:
        outstanding = self.outstanding
        parent = outstanding.change(parent_path, zxid)
        parent.children -= 1
        parent.pzxid = zxid
        outstanding.changed(parent_path, parent)
        outstanding.remove(path, zxid)
        return DeleteTxn(path)

    def _set_data(self, request: Request, path: str | None, data: bytes | None, version: int) -> SetDataTxn:
        session = self.sessions.by_id.get(request.client_id)
        if session is None or session.is_closing:
            self._check_session(request.client_id)
        if not path:
            raise Refusal(errors.BADARGUMENTS)
        key = path if path != "/" else ROOT
        node = self.outstanding.find(key)
        if node is None:
            _valid(path)
            raise Refusal(errors.NONODE)
        if not node.acl.world & opcodes.PERM_WRITE:
            self._permit(node.acl, opcodes.PERM_WRITE, request.identities)
        if self.settings.enforce_quota and self.tree.quotas.paths:
            self._check_quota(path, (len(data) if data else 0) - (len(node.data) if node.data else 0), 0)
        version = _next_version(node.version, version)
        zxid = request.zxid
        shadow = self.outstanding.change(key, zxid)
        shadow.version = version
        shadow.mtime = request.time
        shadow.mzxid = zxid
        shadow.data = data
        self.outstanding.changed(key, shadow)
        return SetDataTxn(path, data, version)

    def _check(self, request: Request, path: str | None, version: int) -> Any:
        self._check_session(request.client_id)
        path = _valid(path)
        node = self._find(path if path != "/" else ROOT)
        self._permit(node.acl, opcodes.PERM_READ, request.identities)
        return CheckVersionTxn(path, _next_version(node.version, version))

    # --- multi -------------------------------------------------------------------------------------------------

    def _on_multi(self, request: Request) -> Any:
        """All operations or none; one zxid, one time, each judged by what the ones before it left."""
        operations = decode_multi(request.frame)
        outstanding = self.outstanding
        mark = outstanding.begin()
        txns: list[Txn] = []
        records: list[Any] = []
        failed = False
        for type_, body in operations:
            if failed:
                txns.append(_NOT_REACHED)
                continue
            try:
                txn = self._multi_step(request, type_, body)
            except Refusal as refusal:
                failed = True
                outstanding.roll_back(mark)
                if refusal.code == errors.MARSHALLINGERROR:
                    # What Apache stumbles over is the whole request's error, not the operation's.
                    raise Undecodable(takes_zxid=True) from None
                txns.append(_error(refusal.code))
            else:
                txns.append(Txn(type_, txn.to_bytes()))
                records.append(txn)
        request.made = None  # there may be several, or none after all
        if failed:
            return MultiTxn(txns)
        outstanding.keep()
        return PreparedMulti(txns, records)

    def _multi_step(self, request: Request, type_: int, body: Any) -> Any:
        if type_ == opcodes.SET_DATA:
            return self._set_data(request, body.path, body.data, body.version)
        if type_ == opcodes.DELETE:
            return self._delete(request, body.path, body.version)
        if type_ == opcodes.CHECK:
            return self._check(request, body.path, body.version)
        ttl_ms = body.ttl if type_ == opcodes.CREATE_TTL else -1
        return self._create(request, type_, body.path, body.data, body.acl, body.flags, ttl_ms)

    # --- parts -------------------------------------------------------------------------------------------------

    def _check_session(self, session_id: int) -> None:
        code = self.sessions.state(session_id)
        if code:
            raise Refusal(code)

    def _find(self, path: str) -> Any:
        node = self.outstanding.find(path)
        if node is None:
            raise Refusal(errors.NONODE)
        return node

    def _permit(self, acl: Acl, perms: int, identities: Identities) -> None:
        if not (acl.world & perms or self.settings.skip_acl or permits(acl, perms, identities)):
            raise Refusal(errors.NOAUTH)

    def _normalise(self, entries: list[ACL] | None, identities: Identities) -> Acl:
        try:
            acl = self.rules.normalise(entries, identities)
        except ValueError:
            raise Refusal(errors.MARSHALLINGERROR) from None
        if acl is None:
            raise Refusal(errors.INVALIDACL)
        return acl

    def _check_quota(self, path: str, bytes_added: int, nodes_added: int) -> None:
        """With enforceQuota on: refuse what passes a hard limit, and note what passes a soft one.

        Judged by the usage that is committed, as Apache does (ZooKeeperServer.checkQuota).
        """
        prefix = self.tree.quotas.longest_prefix(path)
        if prefix is None:
            return
        nodes = self.tree.nodes
        limits = nodes.get(quota.limits_path(prefix))
        usage = nodes.get(quota.stats_path(prefix))
        if limits is None or usage is None:
            return
        try:
            over = quota.exceeded(limits.data, usage.data, bytes_added, nodes_added)
        except ValueError:
            # No numbers in there: nothing may be written past a limit that cannot be read.
            raise Refusal(errors.MARSHALLINGERROR) from None
        for text, is_hard in over:
            self.quota_notes.append((f"{prefix} {text}", is_hard))
            if is_hard:
                raise Refusal(errors.QUOTAEXCEEDED)


def _valid(path: str | None) -> str:
    if path is None or path_error(path) is not None:
        raise Refusal(errors.BADARGUMENTS)
    return path


def _is_plain(entry: ACL) -> bool:
    """Does the entry mean the same whoever sends it?"""
    return entry.id.scheme != "auth"


def _next_version(current: int, expected: int) -> int:
    if expected not in (-1, current):
        raise Refusal(errors.BADVERSION)
    return wrap_int(current + 1)


def _error(code: int) -> Txn:
    return Txn(opcodes.ERROR, ErrorTxn(code).to_bytes())


#: What stands in a multi for each operation behind the one that failed.
_NOT_REACHED: Final = _error(errors.RUNTIMEINCONSISTENCY)


_PREPARE: Final[dict[int, Callable[[Preparer, Request], Any]]] = {
    opcodes.CREATE: Preparer._on_create,
    opcodes.CREATE2: Preparer._on_create,
    opcodes.CREATE_CONTAINER: Preparer._on_create,
    opcodes.CREATE_TTL: Preparer._on_create_ttl,
    opcodes.DELETE: Preparer._on_delete,
    opcodes.DELETE_CONTAINER: Preparer._on_delete_container,
    opcodes.SET_DATA: Preparer._on_set_data,
    opcodes.SET_ACL: Preparer._on_set_acl,
    opcodes.RECONFIG: Preparer._on_reconfig,
    opcodes.MULTI: Preparer._on_multi,
    opcodes.CREATE_SESSION: Preparer._on_create_session,
    opcodes.CLOSE_SESSION: Preparer._on_close_session,
}
#: Opcodes that go through the log.
WRITES: Final = frozenset(_PREPARE)
#: Those that clients may send; the server makes the others itself.
CLIENT_WRITES: Final = WRITES - {opcodes.CREATE_SESSION, opcodes.DELETE_CONTAINER}
