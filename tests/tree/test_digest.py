"""The tree digest: known numbers, what counts, and that order does not."""

import random
from struct import pack
from zlib import crc32

import pytest

from zkpy.tree.acl import OPEN
from zkpy.tree.datatree import DataTree
from zkpy.tree.digest import MASK, node_digest, signed
from zkpy.tree.znode import ZNode


def node(data: bytes | None = b"data", **fields: int) -> ZNode:
    made = ZNode(data, OPEN, 1, 2, 3, 4, 5, 6, 7, 8, 9)
    for name, value in fields.items():
        setattr(made, name, value)
    return made


def test_digest_of_a_node_is_the_crc_of_path_data_and_numbers() -> None:
    # czxid mzxid pzxid ctime mtime version cversion aversion owner
    numbers = pack(">qqqqqiiiq", 1, 2, 9, 3, 4, 5, 6, 7, 8)
    assert len(numbers) == 60
    assert node_digest("/a", node()) == crc32(b"/a" + b"data" + numbers)
    assert node_digest("/a", node(None)) == node_digest("/a", node(b"")) == crc32(b"/a" + numbers)
    assert node_digest("/\u4e2d", node()) == crc32("/\u4e2d".encode() + b"data" + numbers)


@pytest.mark.parametrize(
    "field", ["czxid", "mzxid", "pzxid", "ctime", "mtime", "version", "cversion", "aversion", "owner"]
)
def test_every_number_counts(field: str) -> None:
    assert node_digest("/a", node(**{field: 77})) != node_digest("/a", node())


def test_root_counts_under_the_empty_path() -> None:
    assert node_digest("/", node()) == node_digest("", node()) != node_digest("/a", node())


@pytest.mark.parametrize(
    ("path", "counts"),
    [("/zookeeper", True), ("/zookeeper/", False), ("/zookeeper/quota", False), ("/zookeeperx/a", True)],
)
def test_what_is_under_zookeeper_does_not_count(path: str, counts: bool) -> None:
    assert (node_digest(path, node()) != 0) is counts


def test_empty_tree_has_its_digest() -> None:
    # The root and /zookeeper, every number zero.
    zeros = bytes(60)
    assert DataTree().digest == crc32(zeros) + crc32(b"/zookeeper" + zeros)


def test_digest_is_the_sum_whatever_the_order_nodes_come_in() -> None:
    nodes = {f"/{name}": node(version=number) for number, name in enumerate("abcdefgh")}
    seen = set()
    for seed in range(5):
        order = list(nodes)
        random.Random(seed).shuffle(order)
        tree = DataTree()
        tree.clear()
        tree.load("", node())
        for path in order:
            assert tree.load(path, nodes[path])
        tree.finish_load()
        seen.add(tree.digest)
    zookeeper = crc32(b"/zookeeper" + bytes(60))
    assert seen == {sum(node_digest(path, each) for path, each in nodes.items()) + node_digest("", node()) + zookeeper}


def test_sum_stays_within_64_bits_and_can_be_signed() -> None:
    assert signed(0) == 0
    assert signed(MASK) == -1
    assert signed(1 << 63) == -(1 << 63)
    assert signed((1 << 63) - 1) == (1 << 63) - 1
