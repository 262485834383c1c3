"""One znode: its data, its ACL, its children's names and the numbers of its stat.

    cversion  as *stored*: children ever created. Clients see 2·cversion − children, which is creations plus deletions
    owner     0, a session id (ephemeral), CONTAINER_OWNER, or TTL_MASK | ttl in ms, as a signed 64-bit number

Sources: DataNode, EphemeralType.
"""

from struct import Struct
from typing import Any, Final

from zkpy.tree.acl import Acl

CONTAINER_OWNER: Final = -(1 << 63)
TTL_MASK: Final = -(1 << 56)  # 0xFF00000000000000, signed
TTL_MAX_MS: Final = (1 << 40) - 1
_RESERVED: Final = 0x00FFFF0000000000

#: What an owner number says of a znode (EphemeralType).
VOID: Final = 0
NORMAL: Final = 1
CONTAINER: Final = 2
TTL: Final = 3

STAT: Final = Struct(">qqqqiiiqiiq")


def kind_of(owner: int, extended: bool) -> int:
    """VOID, NORMAL (ephemeral), CONTAINER or TTL; `extended` says whether TTL nodes are enabled (EphemeralType.get)."""
    if not owner:
        return VOID
    if owner == CONTAINER_OWNER:
        return CONTAINER
    if extended and owner & TTL_MASK == TTL_MASK and not owner & _RESERVED:
        return TTL
    return NORMAL


class ZNode:
    """A znode. `children` is None until the first child comes: most znodes are leaves. It holds their whole paths, the
    same objects that the tree knows them by: names alone would take a string more for every znode.

    `digest` is the cached node digest (`zkpy.tree.digest`), or -1 when it is not known. `reply` is whatever encoding of
    data and stat a reader keeps here; whoever changes the node sets it to None.
    """

    __slots__ = (
        "acl",
        "aversion",
        "children",
        "ctime",
        "cversion",
        "czxid",
        "data",
        "digest",
        "mtime",
        "mzxid",
        "owner",
        "pzxid",
        "reply",
        "version",
    )

    def __init__(
        self,
        data: bytes | None,
        acl: Acl,
        czxid: int,
        mzxid: int,
        ctime: int,
        mtime: int,
        version: int,
        cversion: int,
        aversion: int,
        owner: int,
        pzxid: int,
    ) -> None:
        self.data = data
        self.acl = acl
        self.czxid = czxid
        self.mzxid = mzxid
        self.ctime = ctime
        self.mtime = mtime
        self.version = version
        self.cversion = cversion
        self.aversion = aversion
        self.owner = owner
        self.pzxid = pzxid
        self.children: dict[str, None] | None = None
        self.digest = -1
        self.reply: Any = None

    def stat(self, extended: bool) -> bytes:
        """The 68 bytes of the Stat that clients see (DataNode.copyStat)."""
        children = len(self.children) if self.children else 0
        owner = self.owner
        if owner and kind_of(owner, extended) != NORMAL:
            owner = 0
        return STAT.pack(
            self.czxid,
            self.mzxid,
            self.ctime,
            self.mtime,
            self.version,
            wrap_int(2 * self.cversion - children),
            self.aversion,
            owner,
            len(self.data) if self.data else 0,
            children,
            self.pzxid,
        )


def wrap_int(number: int) -> int:
    """`number` as a 32-bit Java int overflows."""
    if -0x80000000 <= number <= 0x7FFFFFFF:
        return number
    return (number + 0x80000000 & 0xFFFFFFFF) - 0x80000000
