"""How much is read and written, by the first name of paths: read_per_namespace and write_per_namespace.

    read     a getData, exists or getChildren that was answered: the path, what it holds (data, names), and a stat
    write    a create, setData or delete, alone or in a multi or by the end of a session: the path and the data

Exact, for people add it up, and nearly free, for it is counted at every request: a getData raises a number beside the
encoded answer that it sends (`CachedReply`), and writes are counted a turn at a time. Source: DataTree.updateReadStat.
"""

from collections.abc import Iterable
from struct import Struct
from typing import Any, Final

from zkpy.keeper.metrics import Summary
from zkpy.keeper.requests import Usual
from zkpy.proto import opcodes
from zkpy.proto.paths import namespace_of
from zkpy.proto.records import (
    CloseSessionTxn,
    CreateContainerTxn,
    CreateTTLTxn,
    CreateTxn,
    DeleteTxn,
    MultiTxn,
    SetDataTxn,
)
from zkpy.tree.prepared import PreparedCreate, PreparedSet
from zkpy.tree.znode import ZNode

#: What a stat counts for (DataTree.STAT_OVERHEAD_BYTES).
STAT_SIZE: Final = 68
#: First names that are told apart. Who makes that many has no use for them; each takes ten lines of mntr.
NAMESPACES_LIMIT: Final = 1000

_INT: Final = Struct(">i")
#: Txns that begin with a path and data, by class and in a multi, and those with a path alone.
_PUTS: Final = frozenset((PreparedSet, PreparedCreate, SetDataTxn, CreateTxn, CreateContainerTxn, CreateTTLTxn))
_WITH_DATA: Final = frozenset(
    (opcodes.SET_DATA, opcodes.CREATE, opcodes.CREATE2, opcodes.CREATE_CONTAINER, opcodes.CREATE_TTL)
)
_DELETES: Final = frozenset((opcodes.DELETE, opcodes.DELETE_CONTAINER))


class CachedReply:
    """The encoded answer to a getData of a znode, and how often it was sent since that was last asked for."""

    __slots__ = ("body", "node", "path", "reads", "size")

    def __init__(self, path: str, node: ZNode, body: bytes) -> None:
        self.path = path
        self.node = node
        self.body = body
        self.size = len(path) + (len(node.data) if node.data else 0) + STAT_SIZE
        self.reads = 0


class Namespaces:
    """First name → what was read and written below it."""

    __slots__ = ("reads", "writes")

    def __init__(self) -> None:
        self.reads: dict[str, Summary] = {}
        self.writes: dict[str, Summary] = {}

    def reset(self) -> None:
        """Start again with the same names, as Apache does."""
        for summaries in (self.reads, self.writes):
            for name in summaries:
                summaries[name] = Summary()

    def add_read(self, path: str, size: int, count: int = 1) -> None:
        """`count` reads of `path` that found `size` bytes each beside the path and the stat."""
        self.add_replies(path, len(path) + size + STAT_SIZE, count)

    def add_replies(self, path: str, size: int, count: int) -> None:
        """`count` reads of `path` of `size` bytes in all."""
        _add(self.reads, namespace_of(path), size * count, count, size, size)

    def add_writes(self, txns: Iterable[Any]) -> None:
        """These have been applied."""
        # Most writes of a turn go where the one before went: what is below `prefix` is added up first.
        prefix = "\0"
        name: str | None = None
        count = total = least = most = 0
        for txn in txns:
            if type(txn) in _PUTS:
                path = txn.path
                size = len(path) + len(txn.data) if txn.data else len(path)
                if not path.startswith(prefix):
                    _add(self.writes, name, total, count, least, most)
                    name = namespace_of(path)
                    prefix = f"/{name}/" if name else "\0"
                    count = total = 0
                    least = most = size
                count += 1
                total += size
                if size < least:
                    least = size
                elif size > most:
                    most = size
            elif isinstance(txn, DeleteTxn):
                self._add_write(txn.path or "", 0)
            elif isinstance(txn, MultiTxn):
                parts = txn.txns or []
                if all(part.type != opcodes.ERROR for part in parts):  # one fails all
                    for part in parts:
                        self._add_part(part.type, part.data)
            elif isinstance(txn, CloseSessionTxn):
                for path in txn.paths2_delete or ():
                    self._add_write(path, 0)
        _add(self.writes, name, total, count, least, most)

    def add_usual(self, writes: list[Usual]) -> None:
        """The same of these alone."""
        while writes:
            # Nearly always all of a turn go where the first one goes.
            name = namespace_of(writes[0].path)
            prefix = f"/{name}/"
            sizes = [len(write.path) + len(write.data) for write in writes if write.path.startswith(prefix)]
            rest: list[Usual] = []
            if len(sizes) < len(writes):
                sizes.clear()
                for write in writes:
                    if namespace_of(write.path) == name:
                        sizes.append(len(write.path) + len(write.data))
                    else:
                        rest.append(write)
            _add(self.writes, name, sum(sizes), len(sizes), min(sizes), max(sizes))
            writes = rest

    def lines(self) -> list[tuple[str, str]]:
        """What mntr shows: (key, text) pairs."""
        pairs = []
        for kind, summaries in (("read", self.reads), ("write", self.writes)):
            for name, summary in summaries.items():
                pairs += summary.lines(f"{name}_{kind}_per_namespace", advanced=False)
        return pairs

    def _add_write(self, path: str, size: int) -> None:
        size += len(path)
        _add(self.writes, namespace_of(path), size, 1, size, size)

    def _add_part(self, type_: int, record: bytes | None) -> None:
        """One operation of a multi, as bytes."""
        if record is None or (type_ not in _WITH_DATA and type_ not in _DELETES):
            return
        end = 4 + _INT.unpack_from(record)[0]
        size = max(0, _INT.unpack_from(record, end)[0]) if type_ in _WITH_DATA else 0
        self._add_write(str(record[4:end], "utf-8"), size)


def _add(summaries: dict[str, Summary], name: str | None, total: int, count: int, least: int, most: int) -> None:
    if not name:  # the root
        return
    summary = summaries.get(name)
    if summary is None:
        if len(summaries) >= NAMESPACES_LIMIT:
            return
        summary = summaries[name] = Summary()
    summary.add_total(total, count, least, most)
