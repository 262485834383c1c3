"""The usual setData and create of a leader: its txn decoded, judged and worked out in one piece.

    entry ─→ PreparedSet or PreparedCreate, the digest after it ─→ `DataTree.put` or `DataTree.add`

That is what nearly all txns are, and at half the price of `decode_txn` and `DataTree.apply`, which do the same for
every kind. Where anything is not as usual the answer is None, nothing is done, and those two find out what it is.
"""

from struct import Struct
from struct import error as StructError
from typing import Final
from zlib import crc32

from jute import JuteError
from jute.wire import read_records
from zkpy.proto import opcodes
from zkpy.proto.records import ACL
from zkpy.tree.acl import Acl, intern
from zkpy.tree.datatree import DataTree
from zkpy.tree.digest import FIELDS, MASK, VERSION, node_digest
from zkpy.tree.prepared import PreparedCreate, PreparedSet
from zkpy.tree.txns import HEADER_SIZE
from zkpy.tree.znode import ZNode

#: Beneath it no digest counts, and quotas stand there.
_SYSTEM: Final = "/zookeeper"
#: Where the path's bytes begin: behind the header and the path's length.
_PATH_AT: Final = HEADER_SIZE + 4
_INT: Final = Struct(">i")
#: version (of a set), the digest's version, the digest.
_SET_TAIL: Final = Struct(">iiQ")
#: ephemeral, parentCVersion (of a create), the digest's version, the digest.
_CREATE_TAIL: Final = Struct(">?iiQ")
#: ACLs that were decoded before, by their bytes; there are few in a tree, and all is forgotten when there are more.
_KNOWN_ACLS: Final[dict[bytes, Acl]] = {}
_KNOWN_ACLS_LIMIT: Final = 1000

#: What is to be put into the tree, the digest that it will have then, and the one that the txn says.
Usual = tuple[PreparedSet | PreparedCreate, int, int]


def prepare_usual(tree: DataTree, entry: bytes, client_id: int, zxid: int, time_ms: int, type_: int) -> Usual | None:
    """What the txn `entry` with this header leads to in `tree` as it is now, if it is a usual one that goes through."""
    if not tree.digest_enabled or tree.is_fuzzy or zxid <= tree.last_zxid:
        return None
    try:
        path_end = _PATH_AT + _INT.unpack_from(entry, HEADER_SIZE)[0]
        data_end = path_end + 4 + _INT.unpack_from(entry, path_end)[0]
        if not _PATH_AT <= path_end < path_end + 4 <= data_end:
            return None
        encoded = entry[_PATH_AT:path_end]
        path = str(encoded, "utf-8")
        if path.startswith(_SYSTEM):
            return None
        data = entry[path_end + 4 : data_end]
        if type_ == opcodes.SET_DATA:
            return _prepare_set(tree, entry, path, encoded, data, data_end, zxid, time_ms)
        if type_ in (opcodes.CREATE, opcodes.CREATE2):
            return _prepare_create(tree, entry, path, encoded, data, data_end, client_id, zxid, time_ms)
    except (StructError, UnicodeDecodeError):
        pass
    return None


def _prepare_set(
    tree: DataTree, entry: bytes, path: str, encoded: bytes, data: bytes, data_end: int, zxid: int, time_ms: int
) -> Usual | None:
    version, digest_version, said = _SET_TAIL.unpack_from(entry, data_end)
    node = tree.nodes.get(path)
    if node is None or len(path) < 2 or digest_version != VERSION:
        return None
    if node.digest < 0:  # as a snapshot leaves it
        node.digest = node_digest(path, node)
    digest = crc32(
        encoded
        + data
        + FIELDS.pack(
            node.czxid, zxid, node.pzxid, node.ctime, time_ms, version, node.cversion, node.aversion, node.owner
        )
    )
    return PreparedSet(path, data, version, time_ms, zxid, digest), tree.digest - node.digest + digest & MASK, said


def _prepare_create(
    tree: DataTree,
    entry: bytes,
    path: str,
    encoded: bytes,
    data: bytes,
    data_end: int,
    client_id: int,
    zxid: int,
    time_ms: int,
) -> Usual | None:
    tail_at = len(entry) - _CREATE_TAIL.size
    ephemeral, parent_c_version, digest_version, said = _CREATE_TAIL.unpack_from(entry, tail_at)
    at = path.rfind("/")
    parent_path = path[:at]
    name = path[at + 1 :]
    parent = tree.nodes.get(parent_path)
    acl = _acl_of(entry[data_end:tail_at])
    if (
        at < 0
        or at == 1  # "//x": the root's other name
        or not name
        or parent is None
        or parent_c_version <= parent.cversion
        or zxid <= parent.pzxid
        or path in tree.nodes
        or acl is None
        or digest_version != VERSION
    ):
        return None
    owner = client_id if ephemeral else 0
    if parent.digest < 0:
        parent.digest = node_digest(parent_path, parent)
    node = ZNode(data, acl, zxid, zxid, time_ms, time_ms, 0, 0, 0, owner, zxid)
    node.digest = crc32(encoded + data + FIELDS.pack(zxid, zxid, zxid, time_ms, time_ms, 0, 0, 0, owner))
    parent_digest = crc32(
        encoded[: encoded.rfind(b"/")]
        + (parent.data or b"")
        + FIELDS.pack(
            parent.czxid,
            parent.mzxid,
            zxid,
            parent.ctime,
            parent.mtime,
            parent.version,
            parent_c_version,
            parent.aversion,
            parent.owner,
        )
    )
    txn = PreparedCreate(path, data, parent_c_version, parent_path, node, parent_digest)
    return txn, tree.digest - parent.digest + parent_digest + node.digest & MASK, said


def _acl_of(encoded: bytes) -> Acl | None:
    """The ACL of these bytes; None if they are anything else."""
    acl = _KNOWN_ACLS.get(encoded)
    if acl is None:
        try:
            entries, end = read_records(encoded, 0, "CreateTxn.acl", ACL.decode, 12)
        except JuteError:
            return None
        if not entries or end != len(encoded):
            return None
        if len(_KNOWN_ACLS) >= _KNOWN_ACLS_LIMIT:
            _KNOWN_ACLS.clear()
        acl = _KNOWN_ACLS[encoded] = intern(entries)
    return acl
