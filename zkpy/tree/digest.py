"""The tree digest, version 2: a number that is equal on equal trees and cheap to keep up to date.

    node digest = CRC-32 of path ‖ data ‖ czxid mzxid pzxid ctime mtime version cversion aversion owner
    tree digest = sum of the node digests, mod 2^64, over every node not under /zookeeper/

The root counts under the path "". Sources: DigestCalculator, AdHash, NodeHashMapImpl.
"""

from struct import Struct
from typing import Final, Protocol
from zlib import crc32

VERSION: Final = 2
MASK: Final = 0xFFFFFFFFFFFFFFFF
EXCLUDED: Final = "/zookeeper/"

#: The numbers of a node as its digest has them: the fields of `Digestible` from czxid to owner.
FIELDS: Final = Struct(">qqqqqiiiq")


class Digestible(Protocol):
    """What a digest is made of: a znode, or a znode as it will be."""

    data: bytes | None
    czxid: int
    mzxid: int
    pzxid: int
    ctime: int
    mtime: int
    version: int
    cversion: int
    aversion: int
    owner: int


def node_digest(path: str, node: Digestible) -> int:
    """The digest of one node, 0 … 2^32-1; 0 for nodes that do not count."""
    if path.startswith(EXCLUDED):
        return 0
    if path == "/":
        path = ""
    return crc32(
        path.encode()
        + (node.data or b"")
        + FIELDS.pack(
            node.czxid,
            node.mzxid,
            node.pzxid,
            node.ctime,
            node.mtime,
            node.version,
            node.cversion,
            node.aversion,
            node.owner,
        )
    )


def signed(digest: int) -> int:
    """The 64-bit digest as the signed long that goes to disk."""
    return digest - (1 << 64) if digest >> 63 else digest
