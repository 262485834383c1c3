"""The requests of a shape, encoded once, before anything is measured: afterwards they are cut off by the yard.

    position   0          1          2          ...   length - 1  │ 0 again
    requests   [xid 1   ] [xid 2   ] [xid 3   ]       [xid length]
    replies    [xid 1   ] ...                                          each of a length known beforehand

Any run of requests is one slice of `block`, so sending many costs what sending one does. All connections share one
block, each begins somewhere else in it. Only a create must be new each time: there a connection has a block of its own,
and gets the next one when it is through, with another number in all its names.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Final

from jute.record import Record
from zkpy.proto import opcodes
from zkpy.proto import records as r
from zkpy.proto.frames import frame

#: Bytes of a reply's header (xid, zxid, error), and of a Stat.
HEADER: Final = 16
STAT: Final = 68
PARENTS: Final = 16
#: One in so many of `mixed` is a set.
MIXED: Final = 10
OPEN_ACL: Final = (r.ACL(opcodes.PERM_ALL, r.Id("world", "anyone")),)

#: Requests in a block: each node several times, but not without limit.
_LEAST: Final = 1024
_TIMES_EACH_NODE: Final = 4
_BLOCK_BYTES: Final = 1 << 22
#: The same for the blocks of creates, of which each connection has one.
_CREATES: Final = 64
_CREATE_BYTES: Final = 1 << 20
#: Where the number of a block goes; no path may contain such a character, and no length or xid is made of it.
_MARK: Final = "\x01" * 8


class Names:
    """Where everything is, below the node that is ours."""

    def __init__(self, root: str, nodes: int) -> None:
        self.root = root
        self.watched = f"{root}/w"
        self.parents = [f"{root}/c{number:02}" for number in range(PARENTS)]
        width = len(str(nodes - 1))
        self.nodes = [f"{root}/n{number:0{width}}" for number in range(nodes)]


class Requests:
    """What connections send in a shape, and which replies they must get."""

    def __init__(self, frames: Sequence[bytes], reply_lengths: Sequence[int], *, renewed: bool = False) -> None:
        """`renewed`: each frame has _MARK in it, for the number of a block."""
        assert len(frames) == len(reply_lengths) > 0
        self.length = len(frames)
        #: Where each request begins in a block, and the end of the last one.
        self.at = [0]
        for one in frames:
            self.at.append(self.at[-1] + len(one))
        self.reply_lengths = list(reply_lengths)
        self._bytes = b"".join(frames)
        self._block = memoryview(self._bytes)
        self._is_renewed = renewed
        self._mark = _MARK.encode()
        self._blocks = 0

    def start(self) -> int:
        """The position where one more connection begins."""
        return 0 if self._is_renewed else random.randrange(self.length)

    def block(self) -> memoryview:
        """The next block for a connection."""
        if not self._is_renewed:
            return self._block
        self._blocks += 1
        return memoryview(self._bytes.replace(self._mark, b"%08d" % self._blocks))


def encode(xid: int, opcode: int, record: Record | None = None) -> bytes:
    """A request as it is sent."""
    return frame(r.RequestHeader(xid, opcode).to_bytes() + (b"" if record is None else record.to_bytes()))


def requests_for(op: str, names: Names, size: int, in_flight: int) -> Requests:
    """For a shape of get, set, create or mixed."""
    data = b"x" * size

    def get(xid: int) -> tuple[bytes, int]:
        path = random.choice(names.nodes)
        return encode(xid, opcodes.GET_DATA, r.GetDataRequest(path, False)), get_reply_length(size)

    def set_(xid: int) -> tuple[bytes, int]:
        path = random.choice(names.nodes)
        return encode(xid, opcodes.SET_DATA, r.SetDataRequest(path, data, -1)), HEADER + STAT

    def mixed(xid: int) -> tuple[bytes, int]:
        return get(xid) if random.randrange(MIXED) else set_(xid)

    def create(xid: int) -> tuple[bytes, int]:
        path = f"{names.parents[xid % PARENTS]}/{_MARK}-{xid:04}"
        record = r.CreateRequest(path, data, list(OPEN_ACL), opcodes.PERSISTENT)
        return encode(xid, opcodes.CREATE, record), HEADER + 4 + len(path.encode())

    kinds: dict[str, Callable[[int], tuple[bytes, int]]] = {"get": get, "set": set_, "mixed": mixed, "create": create}
    make = kinds[op]
    longest = len(set_(1)[0] if op == "mixed" else make(1)[0])
    if op == "create":
        wanted, room = _CREATES, _CREATE_BYTES
    else:
        wanted, room = max(_LEAST, _TIMES_EACH_NODE * len(names.nodes)), _BLOCK_BYTES
    # As many as may be under way at least, or two of them would have the same xid.
    count = max(in_flight, min(wanted, room // longest))
    made = [make(xid) for xid in range(1, count + 1)]
    return Requests([one for one, _ in made], [length for _, length in made], renewed=op == "create")


def get_reply_length(size: int) -> int:
    """Of a getData of so many bytes, without the length in front."""
    return HEADER + 4 + size + STAT
