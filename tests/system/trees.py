"""Data directories with large trees in them: a snapshot and nothing else, made without a server."""

import time
from pathlib import Path

from tests.system.clients import OPEN
from zkpy.storage.snapshots import write_snapshot
from zkpy.tree.acl import intern
from zkpy.tree.datatree import DataTree
from zkpy.tree.znode import ZNode

IN_EACH = 1000
SIZE = 100


def data_of(directory: int, number: int) -> bytes:
    """The data of one znode: its own, so that a mix-up shows."""
    return f"{directory}/{number}".encode().ljust(SIZE, b".")


def make_data_dir(data_dir: Path, directories: int) -> Path:
    """A data directory whose snapshot has so many directories, with IN_EACH znodes in each; the snapshot."""
    version_dir = data_dir / "version-2"
    version_dir.mkdir(parents=True)
    tree = DataTree(digest_enabled=False)
    acl = intern(OPEN)
    zxid = 1
    now_ms = int(time.time() * 1000)
    for directory in range(directories):
        path = f"/d{directory:03}"
        tree.load(path, ZNode(b"", acl, zxid, zxid, now_ms, now_ms, 0, IN_EACH, 0, 0, zxid + IN_EACH))
        for number in range(IN_EACH):
            zxid += 1
            node = ZNode(data_of(directory, number), acl, zxid, zxid, now_ms, now_ms, 0, 0, 0, 0, zxid)
            tree.load(f"{path}/n{number:03}", node)
        zxid += 1
    tree.last_zxid = zxid
    return write_snapshot(version_dir, tree, with_digest=False)
