"""Quota texts as StatsTrack reads and writes them; prefixes; what would be exceeded."""

import pytest

from tests.storage.histories import History, dump
from zkpy.tree.datatree import DataTree
from zkpy.tree.image import ImageWriter, load_image
from zkpy.tree.quota import QuotaPaths, Usage, exceeded, limits_path, quota_of, stats_path


@pytest.mark.parametrize(
    ("text", "values"),
    [
        (b"", {}),
        (b"count=1,bytes=2", {"count": 1, "bytes": 2}),
        (b"count=1;bytes=-1", {"count": 1, "bytes": -1}),
        (
            b"count=2,bytes=20=;byteHardLimit=20;countHardLimit=3",
            {"count": 2, "bytes": 20, "byteHardLimit": 20, "countHardLimit": 3},
        ),
        (b"count=1,,;;bytes=2,", {"count": 1, "bytes": 2}),
        (b"count==5", {"count": -1}),
        (b"count=1=5", {"count": 1}),
        (b"count=+7", {"count": 7}),
        (b"=1", {"": 1}),
        (b"count=1,count=2", {"count": 2}),
        (b",", {}),
        (b"x=9223372036854775807", {"x": (1 << 63) - 1}),
    ],
)
def test_text_is_read_as_apache_reads_it(text: bytes, values: dict[str, int]) -> None:
    assert Usage(text).values == values


@pytest.mark.parametrize(
    "text",
    [
        None,
        b"rubbish",
        b"count",
        b"count=",
        b"=",
        b"count=x",
        b"count= 1",
        b"count=1_0",
        b"count=1.0",
        b"count=0x1",
        b",count=1",
        b"x=9223372036854775808",
    ],
)
def test_text_that_apache_cannot_read_is_an_error(text: bytes | None) -> None:
    with pytest.raises(ValueError, match=r"quota|number"):
        Usage(text)


@pytest.mark.parametrize(
    ("text", "written"),
    [
        (b"", b"count=-1,bytes=-1"),
        (b"bytes=2,count=1", b"count=1,bytes=2"),
        (b"countHardLimit=3,byteHardLimit=4", b"count=-1,bytes=-1=;byteHardLimit=4;countHardLimit=3"),
    ],
)
def test_text_is_written_as_apache_writes_it(text: bytes, written: bytes) -> None:
    assert Usage(text).to_bytes() == written
    assert Usage(written).to_bytes() == written


def test_paths_of_the_two_nodes() -> None:
    assert limits_path("/a/b") == "/zookeeper/quota/a/b/zookeeper_limits"
    assert stats_path("/a/b") == "/zookeeper/quota/a/b/zookeeper_stats"
    assert quota_of("/zookeeper/quota/a/b") == "/a/b"
    assert quota_of("/zookeeper/quota") is None
    assert quota_of("/a") is None


@pytest.mark.parametrize(
    ("path", "prefix"),
    [("/a", "/a"), ("/a/x", "/a"), ("/a/b", "/a/b"), ("/a/b/c/d", "/a/b"), ("/ab", None), ("/", None), ("", None)],
)
def test_longest_prefix_is_found_by_whole_names(path: str, prefix: str | None) -> None:
    quotas = QuotaPaths()
    quotas.paths = {"/a": None, "/a/b": None}
    assert quotas.longest_prefix(path) == prefix


@pytest.mark.parametrize(
    ("limits", "added", "found"),
    [
        (b"count=3,bytes=10", (1, 1), []),
        (b"count=2,bytes=10", (1, 1), [("[current count=3, softCountLimit=2]", False)]),
        (b"count=3,bytes=5", (1, 1), [("[current bytes=6, softByteLimit=5]", False)]),
        (b"count=3,bytes=5", (0, 1), []),
        (b"count=2,bytes=0", (0, 0), []),
        (b"count=0,bytes=-1", (-1, 0), []),
        (b"count=-1,bytes=-1=;countHardLimit=2", (0, 1), [("[current count=3, hardCountLimit=2]", True)]),
        (b"count=1,bytes=-1=;countHardLimit=9", (0, 1), []),
        (
            b"count=0,bytes=0=;byteHardLimit=5",
            (1, 1),
            [
                ("[current count=3, softCountLimit=0]", False),
                ("[current bytes=6, hardByteLimit=5]", True),
            ],
        ),
        (b"", (1, 1), []),
    ],
)
def test_limits_are_compared_with_usage_and_change(
    limits: bytes, added: tuple[int, int], found: list[tuple[str, bool]]
) -> None:
    assert exceeded(limits, b"count=2,bytes=5", *added) == found


def test_usage_is_not_read_without_a_limit_to_compare() -> None:
    assert exceeded(b"count=-1,bytes=5", b"rubbish", 0, 1) == []
    with pytest.raises(ValueError, match="number"):
        exceeded(b"count=-1,bytes=5", b"rubbish", 1, 1)


def quota_tree() -> History:
    history = History()
    history.create("/a", b"12")
    history.create("/zookeeper/quota/a")
    history.create("/zookeeper/quota/a/zookeeper_limits", b"count=9,bytes=9")
    history.create("/zookeeper/quota/a/zookeeper_stats", b"whatever")
    return history


def test_usage_is_counted_afresh_when_the_stats_node_comes() -> None:
    tree = quota_tree().tree
    assert tree.nodes[stats_path("/a")].data == b"count=1,bytes=2"
    assert list(tree.quotas.paths) == ["/a"]
    tree.check()


def test_usage_is_rebuilt_at_load_and_never_trusted() -> None:
    history = quota_tree()
    tree = history.tree
    history.create("/a/b", b"345")
    node = tree.nodes[stats_path("/a")]
    tree.data_size += len(b"count=99,bytes=99") - len(node.data or b"")
    node.data = b"count=99,bytes=99"
    tree.finish_load()
    assert node.data == b"count=2,bytes=5"
    tree.check()


def test_an_image_brings_quotas_ahead_of_what_they_limit_so_that_nothing_is_walked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    history = quota_tree()
    for path, data in (("/a/b", b"345"), ("/a/b/c", b"6"), ("/ab", b"7"), ("/d", b"89")):
        history.create(path, data)
    for path in ("/a/b", "/d"):  # one beneath another, and one that is alone
        history.create(f"/zookeeper/quota{path}")
        history.create(f"/zookeeper/quota{path}/zookeeper_limits", b"count=1,bytes=1")
        history.create(f"/zookeeper/quota{path}/zookeeper_stats", b"")
    image = ImageWriter(history.tree).next_slice(1 << 20)
    # As Apache's servers may order it: the root's other children ahead of /zookeeper.
    begin, end = image.index(b"\0\0\0\x0a/zookeeper"), image.index(b"\0\0\0\x02/a")
    other_order = image[:begin] + image[end:-5] + image[begin:end] + image[-5:]
    walked = load(other_order)
    monkeypatch.setattr(DataTree, "_measure", None)
    for tree in (load(image), load(ImageWriter(walked).next_slice(1 << 20))):
        tree.check()
        usage = {path: tree.nodes[stats_path(path)].data for path in tree.quotas.paths}
        assert usage == {"/a": b"count=3,bytes=6", "/a/b": b"count=2,bytes=4", "/d": b"count=1,bytes=2"}
        assert dump(tree) == dump(walked)


def load(image: bytes) -> DataTree:
    tree = DataTree(extended_types=True)
    load_image(tree, image)
    tree.last_zxid = 1000
    tree.finish_load()
    return tree


def test_unreadable_usage_is_left_alone() -> None:
    history = quota_tree()
    history.set_data(stats_path("/a"), b"rubbish")
    history.create("/a/b", b"1")
    assert history.tree.nodes[stats_path("/a")].data == b"rubbish"
    history.tree.check()


def test_quota_of_a_path_that_is_not_there_counts_nothing() -> None:
    history = History()
    history.create("/zookeeper/quota/x")
    history.create("/zookeeper/quota/x/zookeeper_limits", b"count=9,bytes=9")
    history.create("/zookeeper/quota/x/zookeeper_stats", b"")
    assert history.tree.nodes[stats_path("/x")].data == b"count=0,bytes=0"
    history.create("/x", b"1")
    assert history.tree.nodes[stats_path("/x")].data == b"count=1,bytes=1"
