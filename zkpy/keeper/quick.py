"""The usual setData and create, judged and worked out in one piece: at half the price of the general way.

    frame ─→ UsualSet or UsualCreate: in flight as any request, with its txn's bytes proposed and its answer encoded

What it was judged against cannot change until it is applied, so all that follows from it is known by then: the znode,
the digests, the packet that answers it. Where anything is not as usual (another change of the znode under way, a
version that does not fit, an ACL that has to be looked at) the answer is False and nothing is done: `Preparer` then
goes through the checks in Apache's order. So in here conditions only have to be strict enough.
"""

from collections.abc import Callable
from struct import Struct
from struct import error as StructError
from typing import TYPE_CHECKING, Final
from zlib import crc32

from zkpy.keeper.outstanding import Shadow
from zkpy.keeper.requests import UsualCreate, UsualSet
from zkpy.keeper.sessions import Session
from zkpy.proto import opcodes
from zkpy.tree.digest import FIELDS, MASK
from zkpy.tree.digest import VERSION as DIGEST_VERSION
from zkpy.tree.txns import TXN_HEADER
from zkpy.tree.znode import NORMAL, ZNode, kind_of, wrap_int

if TYPE_CHECKING:
    from zkpy.keeper.connection import Connection
    from zkpy.keeper.keeper import Keeper

#: The version after which they begin anew, below zero.
_LAST_VERSION: Final = 0x7FFFFFFF
#: The length of the shortest path that is not the root's.
_SHORTEST: Final = 2
#: Where the nodes are that no digest covers and that quotas are kept in.
_SYSTEM: Final = "/zookeeper"
#: How many ends of creates (ACL and flags) are known by their bytes.
KNOWN_TAILS_LIMIT: Final = 1024
#: How many lengths of entries are told apart before all are forgotten.
SHAPES_LIMIT: Final = 1024


class Shapes(dict[int, Callable[..., bytes]]):
    """What packs an entry in one call, by the length of that part of it which stands in the request already.

    Whoever adds up three pieces pays twice as much.
    """

    def __init__(self, end: str) -> None:
        """`end`: what follows that part, as `struct` writes it."""
        super().__init__()
        self._end = end

    def __missing__(self, size: int) -> Callable[..., bytes]:
        if len(self) >= SHAPES_LIMIT:
            self.clear()
        pack = self[size] = Struct(f"{TXN_HEADER.format}{size}s{self._end}").pack
        return pack


_INT: Final = Struct(">i").unpack_from
#: Of creates and sets; the ends of a CreateTxn and of a SetDataTxn, with the TxnDigest behind them.
_CREATES: Final = Shapes("?iiQ")
_SETS: Final = Shapes("iiQ")
#: The numbers of a node that nobody has changed yet, as its digest has them: three times its zxid, and the rest.
_NEW_FIELDS: Final = Struct(">qqq36s").pack
_NEW_REST: Final = Struct(">qqiiiq").pack
#: The numbers of a znode that changes its children: pzxid and cversion between what stays as it is.
_PARENT_FIELDS: Final = Struct(">q20si12s").pack
#: A reply: its length, xid, zxid, error, and then a path's length, or a stat.
_PATH_REPLY: Final = Struct(">iiqii").pack
_STAT_REPLY: Final = Struct(">iiqiqqqqiiiqiiq").pack


def take_set(keeper: "Keeper", client: "Connection | None", session: Session, cxid: int, op: int, frame: bytes) -> bool:
    """A setData that may act for `session`; True if it is proposed."""
    try:
        path_end = 12 + _INT(frame, 8)[0]
        data_at = path_end + 4
        data_end = data_at + _INT(frame, path_end)[0]
        expected = _INT(frame, data_end)[0]
        encoded = frame[12:path_end]
        path = encoded.decode()
    except (StructError, UnicodeDecodeError):
        return False
    outstanding = keeper.outstanding
    node = keeper.tree.nodes.get(path)
    if (
        node is None
        or not 12 < path_end < data_at <= data_end
        or not node.acl.world & opcodes.PERM_WRITE
        or len(path) < _SHORTEST
    ):
        return False
    before = outstanding.shadows.get(path)
    if before is None:
        version = node.version
        digest = node.digest
    elif type(before) is UsualSet:
        version = before.version
        digest = before.digest
    else:
        return False
    if (expected != -1 and expected != version) or version >= _LAST_VERSION or digest <= 0:
        return False  # also where no digest is kept, beneath /zookeeper
    version += 1
    zxid = keeper.next_zxid
    time_ms = keeper.wall_ms
    data = frame[data_at:data_end]
    czxid, pzxid, ctime, cversion, aversion = node.czxid, node.pzxid, node.ctime, node.cversion, node.aversion
    owner = node.owner
    after = crc32(encoded + data + FIELDS.pack(czxid, zxid, pzxid, ctime, time_ms, version, cversion, aversion, owner))
    outstanding.digest = tree_digest = outstanding.digest - digest + after & MASK
    if owner and kind_of(owner, keeper.tree.extended_types) != NORMAL:
        owner = 0
    children = len(node.children) if node.children else 0
    packet = _STAT_REPLY(
        84,
        cxid,
        zxid,
        0,
        czxid,
        zxid,
        ctime,
        time_ms,
        version,
        wrap_int(2 * cversion - children),
        aversion,
        owner,
        len(data),
        children,
        pzxid,
    )
    request = UsualSet(client, cxid, keeper.now_ms, path, data, version, time_ms, zxid, after, tree_digest, packet)
    outstanding.shadows[path] = request
    outstanding.changes.append((zxid, path, None))
    keeper.next_zxid = zxid + 1
    keeper.in_flight.append(request)
    pack = _SETS[data_end - 8]
    keeper.proposals.append(
        (zxid, pack(session.id, cxid, zxid, time_ms, op, frame[8:data_end], version, DIGEST_VERSION, tree_digest))
    )
    if client is not None:
        client.waiting.append(request)
    return True


def take_create(
    keeper: "Keeper", client: "Connection | None", session: Session, cxid: int, op: int, frame: bytes
) -> bool:
    """A create or create2 that may act for `session`; True if it is proposed."""
    try:
        path_end = 12 + _INT(frame, 8)[0]
        data_at = path_end + 4
        data_end = data_at + _INT(frame, path_end)[0]
    except StructError:
        return False
    encoded = frame[12:path_end]
    tail = keeper.preparer.known_tails.get(frame[data_end:])
    if tail is None or not encoded.isascii() or not 12 < path_end < data_at <= data_end:
        return False
    acl, is_ephemeral, is_sequential = tail
    path = encoded.decode()
    at = path.rfind("/")
    if at < 0 or at == 1:  # no path, or "//x": the root's other name is no parent
        return False
    parent_path = path[:at]
    outstanding = keeper.outstanding
    shadows = outstanding.shadows
    nodes = keeper.tree.nodes
    parent = shadows.get(parent_path)
    if type(parent) is not Shadow:
        known = nodes.get(parent_path) if parent is None else None
        if known is None or known.digest <= 0:
            return False
        parent = outstanding.shadow_of_parent(parent_path, known)
    cversion = parent.cversion
    if is_sequential:
        path = f"{path}{cversion:010d}"
        encoded = path.encode()
    name = path[at + 1 :]
    if name < "/" or not name.isprintable() or path in nodes or path in shadows or not 0 <= cversion < _LAST_VERSION:
        return False  # among names that come before "/" are "", "." and ".."
    if parent.head < 0:
        # Any other change of the parent leads here again.
        if (
            not parent.exists
            or parent.owner
            or not parent.acl.world & opcodes.PERM_CREATE
            or parent_path.startswith(_SYSTEM)
        ):
            return False
        parent.work_out(parent_path)
    zxid = keeper.next_zxid
    time_ms = keeper.wall_ms
    session_id = session.id
    data = frame[data_at:data_end]
    owner = session_id if is_ephemeral else 0
    node = ZNode(data, acl, zxid, zxid, time_ms, time_ms, 0, 0, 0, owner, zxid)
    rest = _NEW_REST(time_ms, time_ms, 0, 0, 0, owner)
    node.digest = digest = crc32(encoded + data + _NEW_FIELDS(zxid, zxid, zxid, rest))
    shadows[parent_path] = parent
    cversion += 1
    parent_digest = crc32(_PARENT_FIELDS(zxid, parent.middle, cversion, parent.end), parent.head)
    outstanding.digest = tree_digest = outstanding.digest + digest - parent.digest + parent_digest & MASK
    parent.zxid = parent.pzxid = zxid
    parent.cversion = cversion
    parent.children += 1
    parent.digest = parent_digest
    shadows[path] = node
    outstanding.changes.append((zxid, path, parent_path))
    size = len(encoded)
    stat = node.stat(False) if op == opcodes.CREATE2 else b""
    request = UsualCreate(
        client,
        cxid,
        keeper.now_ms,
        path,
        data,
        cversion,
        parent_path,
        node,
        parent_digest,
        zxid,
        tree_digest,
        _PATH_REPLY(20 + size + len(stat), cxid, zxid, 0, size) + encoded + stat,
    )
    keeper.next_zxid = zxid + 1
    keeper.in_flight.append(request)
    # Data and ACL stand in the txn as they stood in the request, and the path unless it got a number.
    body = size.to_bytes(4, "big") + encoded + frame[path_end:-4] if is_sequential else frame[8:-4]
    pack = _CREATES[len(body)]
    keeper.proposals.append(
        (zxid, pack(session_id, cxid, zxid, time_ms, op, body, is_ephemeral, cversion, DIGEST_VERSION, tree_digest))
    )
    if client is not None:
        client.waiting.append(request)
    return True


Way = Callable[["Keeper", "Connection | None", Session, int, int, bytes], bool]

#: By opcode; for a server that judges writes itself and has nothing to look at beyond what is looked at here.
WAYS: Final[dict[int, Way]] = {
    opcodes.CREATE: take_create,
    opcodes.CREATE2: take_create,
    opcodes.SET_DATA: take_set,
}
