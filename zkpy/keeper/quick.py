"""The usual setData and create, judged and worked out in one piece, at half the price of the general way.

Where anything is not as usual (a shadow on the path, a version that does not fit, an ACL that has to be looked at) the
answer is None and nothing is done: `Preparer` then goes through the checks in Apache's order.
"""

from typing import TYPE_CHECKING, Final
from zlib import crc32

from zkpy.keeper.outstanding import Shadow
from zkpy.keeper.requests import Request
from zkpy.proto import opcodes
from zkpy.proto.paths import is_plain_name
from zkpy.tree.acl import Acl
from zkpy.tree.digest import FIELDS, MASK
from zkpy.tree.prepared import PreparedCreate, PreparedSet
from zkpy.tree.znode import ZNode

if TYPE_CHECKING:
    from zkpy.keeper.prepare import Preparer

#: The version after which they begin anew, below zero.
_LAST_VERSION: Final = 0x7FFFFFFF
#: The length of the shortest path that is not the root's.
_SHORTEST: Final = 2
#: Where the nodes are that no digest covers and that quotas are kept in.
_SYSTEM: Final = "/zookeeper"


def prepare_set(
    preparer: "Preparer", request: Request, path: str, encoded: bytes, data: bytes, expected: int
) -> PreparedSet | None:
    """A setData of `path` (as bytes: `encoded`) that expects this version of it."""
    outstanding = preparer.outstanding
    tree = preparer.tree
    node = tree.nodes.get(path)
    session = preparer.sessions.by_id.get(request.client_id)
    if (
        node is None
        or path in outstanding.shadows
        or session is None
        or session.is_closing
        or not node.acl.world & opcodes.PERM_WRITE
        or (expected != -1 and expected != node.version)
        or node.version >= _LAST_VERSION
        or node.digest < 0
        or len(path) < _SHORTEST
        or path.startswith(_SYSTEM)
        or preparer.is_careful
    ):
        return None
    zxid = request.zxid
    time_ms = request.time
    version = node.version + 1
    digest = crc32(
        encoded
        + data
        + FIELDS.pack(
            node.czxid, zxid, node.pzxid, node.ctime, time_ms, version, node.cversion, node.aversion, node.owner
        )
    )
    txn = PreparedSet(path, data, version, time_ms, zxid, digest)
    outstanding.shadows[path] = txn
    outstanding.changes.append((zxid, path))
    outstanding.digest = outstanding.digest - node.digest + digest & MASK
    return txn


def prepare_create(
    preparer: "Preparer", request: Request, encoded: bytes, data: bytes, acl: Acl, flags: int
) -> PreparedCreate | None:
    """A create of the path `encoded` with these flags."""
    session = preparer.sessions.by_id.get(request.client_id)
    if (
        not encoded.isascii()
        or session is None
        or session.is_closing
        or not 0 <= flags <= opcodes.EPHEMERAL_SEQUENTIAL
        or request.op == opcodes.CREATE_CONTAINER
        or preparer.is_careful
    ):
        return None
    path = encoded.decode()
    at = path.rfind("/")
    if at < 0 or at == 1:  # no path, or "//x": the root's other name is no parent
        return None
    parent_path = path[:at]
    outstanding = preparer.outstanding
    shadows = outstanding.shadows
    parent = shadows.get(parent_path)
    if type(parent) is not Shadow:
        known = preparer.tree.nodes.get(parent_path) if parent is None else None
        if known is None or known.digest < 0:
            return None
        parent = Shadow(request.zxid, known, len(known.children) if known.children else 0, known.digest)
    if flags in opcodes.SEQUENTIAL_FLAGS:
        path = f"{path}{parent.cversion:010d}"
        encoded = path.encode()
    name = path[at + 1 :]
    if (
        not parent.exists
        or parent.owner
        or not parent.acl.world & opcodes.PERM_CREATE
        or not 0 <= parent.cversion < _LAST_VERSION
        or not is_plain_name(name)
        or path.startswith(_SYSTEM)
        or path in shadows
        or path in preparer.tree.nodes
    ):
        return None
    zxid = request.zxid
    time_ms = request.time
    ephemeral = flags in opcodes.EPHEMERAL_FLAGS
    owner = request.client_id if ephemeral else 0
    node = ZNode(data, acl, zxid, zxid, time_ms, time_ms, 0, 0, 0, owner, zxid)
    node.digest = digest = crc32(encoded + data + FIELDS.pack(zxid, zxid, zxid, time_ms, time_ms, 0, 0, 0, owner))
    shadows[parent_path] = parent
    outstanding.add_child(parent, parent_path, parent.cversion + 1, zxid)
    shadows[path] = node
    outstanding.changes.append((zxid, path))
    outstanding.digest = outstanding.digest + digest & MASK
    return PreparedCreate(path, data, acl, ephemeral, parent.cversion, parent_path, name, node)
