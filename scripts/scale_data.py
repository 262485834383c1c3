"""Data directories for scripts/scale: a tree as a snapshot, and txns behind it, written as a server writes them."""

from __future__ import annotations

import random
import time
from pathlib import Path

from zkpy.proto import opcodes
from zkpy.proto.records import CreateTxn, SetDataTxn, TxnHeader
from zkpy.storage.snapshots import write_snapshot
from zkpy.storage.txnlog import TxnLog
from zkpy.tree.acl import OPEN
from zkpy.tree.datatree import DataTree
from zkpy.tree.digest import VERSION, signed
from zkpy.tree.txns import TXN_HEADER
from zkpy.tree.znode import ZNode

#: Txns that are written to the log at once.
BATCH = 1000


def directory_of(number: int) -> str:
    return f"/d{number:04}"


def data_of(number: int, size: int) -> bytes:
    """The data of a znode, its own."""
    return f"{number}".encode().ljust(size, b".")


def fill(tree: DataTree, znodes: int, in_each: int, size: int) -> list[str]:
    """Load znodes, `in_each` into one directory; the paths of all but the directories."""
    paths = []
    now_ms = int(time.time() * 1000)
    zxid = 0
    for number in range(znodes):
        directory = directory_of(number // in_each)
        zxid += 1
        if not number % in_each:
            tree.load(directory, ZNode(b"", OPEN, zxid, zxid, now_ms, now_ms, 0, in_each, 0, 0, zxid + in_each))
            zxid += 1
        path = f"{directory}/n{number:07}"
        tree.load(
            path,
            ZNode(
                data_of(number, size), OPEN, zxid, zxid, now_ms + number // 50, now_ms + number // 50, 0, 0, 0, 0, zxid
            ),
        )
        paths.append(path)
    tree.last_zxid = zxid
    return paths


def write_log(version_dir: Path, tree: DataTree, paths: list[str], txns: int, size: int) -> None:
    """Log so many txns onto the tree: a set of a random node, a create, and so on."""
    dice = random.Random(1)
    log = TxnLog(version_dir, force_sync=False)
    now_ms = int(time.time() * 1000)
    parent = "/new"
    for number in range(txns):
        zxid = tree.last_zxid + 1
        txn: CreateTxn | SetDataTxn
        if number == 0:
            kind, txn = opcodes.CREATE, CreateTxn(parent, b"", OPEN, False, tree.nodes[""].cversion + 1)
        elif number % 2:
            kind, txn = (
                opcodes.CREATE,
                CreateTxn(f"{parent}/n{number:07}", data_of(number, size), OPEN, False, (number + 1) // 2),
            )
        else:
            path = dice.choice(paths)
            kind, txn = opcodes.SET_DATA, SetDataTxn(path, data_of(number, size), tree.nodes[path].version + 1)
        header = TxnHeader(1, number, zxid, now_ms + number, kind)
        tree.apply(header, txn)
        digest = VERSION.to_bytes(4, "big") + signed(tree.digest).to_bytes(8, "big", signed=True)
        log.append(zxid, TXN_HEADER.pack(1, number, zxid, now_ms + number, kind) + txn.to_bytes() + digest)
        if not number % BATCH:
            log.commit(log.take())
    log.commit(log.take())
    log.close()


def make(data_dir: Path, *, znodes: int, in_each: int, size: int, txns: int) -> Path:
    """A data directory with a snapshot of `znodes` and `txns` behind it; made once."""
    if not data_dir.exists():
        version_dir = data_dir / "version-2"
        version_dir.mkdir(parents=True)
        tree = DataTree()
        tree.tracks_changes = False
        paths = fill(tree, znodes, in_each, size)
        write_snapshot(version_dir, tree)
        write_log(version_dir, tree, paths, txns, size)
    return data_dir
