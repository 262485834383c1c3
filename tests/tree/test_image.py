"""The tree as bytes: round trips, damage, and images written while the tree changes."""

import random
import subprocess
import sys

import pytest

from jute import JuteError
from tests.storage.histories import ACLS, History, dump
from zkpy.proto.records import ACL, Id
from zkpy.tree.acl import OPEN, READ_ONLY
from zkpy.tree.datatree import DataTree
from zkpy.tree.image import ImageLoader, ImageWriter, load_image
from zkpy.tree.txns import decode_txn


def image_of(tree: DataTree, budget: int = 1 << 16) -> bytes:
    writer = ImageWriter(tree)
    parts = []
    while not writer.is_done:
        parts.append(writer.next_slice(budget))
    return b"".join(parts)


def load(image: bytes, zxid: int) -> DataTree:
    tree = DataTree(extended_types=True)
    assert load_image(tree, image) == len(image)
    tree.last_zxid = zxid
    tree.finish_load()
    return tree


def replay(tree: DataTree, entries: list[tuple[int, bytes]]) -> None:
    for _, entry in entries:
        header, txn, _ = decode_txn(entry)
        tree.apply(header, txn)
    tree.take_changes()


def test_an_empty_tree_has_the_known_bytes() -> None:
    # In a process of its own: the ACL map lists the ACLs of all trees in the process.
    program = (
        "from zkpy.tree.datatree import DataTree\nfrom zkpy.tree.image import ImageWriter\n"
        "print(ImageWriter(DataTree()).next_slice(9999).hex())"
    )
    out = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True, text=True, timeout=30)
    anyone = "00000005" + b"world".hex() + "00000006" + b"anyone".hex()
    assert out.stdout.strip() == "".join(
        (
            "00000000",
            "0000000100000000000000010000000100000001" + anyone,
            "0000000000000000ffffffffffffffff" + "00" * 60,
            "0000000a" + b"/zookeeper".hex() + "00000000ffffffffffffffff" + "00" * 60,
            "00000011" + b"/zookeeper/config".hex() + "000000000000000000000001",
            "00" * 40 + "ffffffff" + "00" * 16,
            "00000010" + b"/zookeeper/quota".hex() + "00000000ffffffffffffffff" + "00" * 60,
            "000000012f",
        )
    )


@pytest.mark.parametrize("seed", range(5))
def test_a_tree_survives_the_round_trip(seed: int) -> None:
    history = History(seed)
    for _ in range(400):
        history.step()
    tree = load(image_of(history.tree, budget=1 + seed * 100), history.zxid)
    assert dump(tree) == dump(history.tree)
    tree.check()


def test_null_data_and_non_ascii_paths_survive_the_round_trip() -> None:
    history = History()
    history.create("/ünïcode-日本", b"")
    history.create("/null", None)  # type: ignore[arg-type]
    tree = load(image_of(history.tree), history.zxid)
    assert tree.nodes["/null"].data is None
    assert tree.nodes["/ünïcode-日本"].data == b""
    assert tree.digest == history.tree.digest


@pytest.mark.parametrize("seed", range(40))
def test_a_fuzzy_image_plus_replay_is_the_tree(seed: int) -> None:
    dice = random.Random(seed)
    history = History(seed)
    for _ in range(dice.randrange(300)):
        history.step()
    writer = ImageWriter(history.tree)
    start = len(history.entries)
    assert writer.start_zxid == history.zxid
    parts = []
    while not writer.is_done:
        parts.append(writer.next_slice(dice.choice([1, 200, 2000])))
        for _ in range(dice.randrange(6)):
            history.step()
    assert history.tree.old_acls == []
    done = len(history.entries)
    for _ in range(dice.randrange(30)):
        history.step()
    tree = load(b"".join(parts), writer.start_zxid)
    replay(tree, history.entries[start:done])
    tree.check()
    replay(tree, history.entries[done:])
    assert dump(tree) == dump(history.tree)
    # Once more from the start: what is applied twice changes nothing, except that nodes are born and die again.
    replay(tree, history.entries[start:])
    assert dump(tree)["nodes"].keys() == dump(history.tree)["nodes"].keys()


def test_an_acl_changed_meanwhile_is_written_as_it_was() -> None:
    history = History()
    old, new = ACLS[2], [ACL(3, Id("digest", "only:here"))]
    history.create("/a", b"", old)
    writer = ImageWriter(history.tree)
    history.set_acl("/a", new)
    tree = load(writer.next_slice(1 << 16), writer.start_zxid)
    assert tree.nodes["/a"].acl == old
    replay(tree, history.entries[1:])
    assert tree.nodes["/a"].acl == new


def test_each_of_two_images_has_the_acls_of_its_own_beginning() -> None:
    history = History()
    first, second, third = ACLS[2], ACLS[3], ACLS[4]
    history.create("/a", b"", first)
    one = ImageWriter(history.tree)
    history.set_acl("/a", second)
    other = ImageWriter(history.tree)
    history.set_acl("/a", third)
    assert load(one.next_slice(1 << 16), one.start_zxid).nodes["/a"].acl == first
    assert load(other.next_slice(1 << 16), other.start_zxid).nodes["/a"].acl == second


@pytest.mark.parametrize("step", [1, 7, 100, 5000])
def test_an_image_is_loaded_in_whatever_pieces_it_arrives(step: int) -> None:
    history = History(5)
    for _ in range(300):
        history.step()
    stream = image_of(history.tree) + b"what follows"
    tree = DataTree(extended_types=True)
    loader = ImageLoader(tree, limit=1000)
    buffer = b""
    for at in range(0, len(stream), step):
        buffer += stream[at : at + step]
        if not loader.is_done:
            buffer = buffer[loader.feed(buffer) :]
            assert loader.is_done or len(buffer) < 1000 + step
    assert loader.is_done
    assert buffer == b"what follows"
    tree.last_zxid = history.zxid
    tree.finish_load()
    assert dump(tree) == dump(history.tree)


def test_digest_and_size_are_there_as_soon_as_the_last_node_is() -> None:
    history = History(6)
    for _ in range(200):
        history.step()
    tree = DataTree(extended_types=True)
    load_image(tree, image_of(history.tree))
    assert tree.digest == history.tree.digest == tree.compute_digest(), "no walk over all nodes is left for the end"
    assert tree.data_size == tree._compute_size()
    tree.finish_load()
    tree.check()


def test_lengths_beyond_the_limit_are_refused_before_the_bytes_have_come() -> None:
    for image in (
        b"\0\0\0\0" * 2 + b"\0\0\0\x65",
        b"\0\0\0\0" * 3 + b"\0\0\0\x65",
        b"\0\0\0\0" + b"\0\0\0\1" + bytes(8) + b"\0\0\0\1" + b"\0\0\0\1" + b"\x7f\xff\xff\xff" + bytes(100),
    ):
        with pytest.raises(JuteError):
            ImageLoader(DataTree(), limit=100).feed(image)


def test_nodes_born_meanwhile_are_left_to_replay() -> None:
    history = History()
    history.create("/old")
    writer = ImageWriter(history.tree)
    history.create("/new", b"", [ACL(3, Id("digest", "new:x"))])
    history.create("/old/child")
    tree = load(writer.next_slice(1 << 16), writer.start_zxid)
    assert set(tree.nodes) == {"", "/", "/old", "/zookeeper", "/zookeeper/config", "/zookeeper/quota"}


def test_slices_keep_to_their_budget_in_a_wide_directory() -> None:
    history = History()
    for n in range(2000):
        history.create(f"/{n}", b"x" * 100)
    writer = ImageWriter(history.tree)
    sizes = [len(writer.next_slice(1000))]
    while not writer.is_done:
        sizes.append(len(writer.next_slice(1000)))
    assert max(sizes[1:]) < 1000 + 200
    assert writer.next_slice(1000) == b""


def test_a_closed_writer_lets_the_tree_forget_old_acls() -> None:
    tree = DataTree()
    writer = ImageWriter(tree)
    other = ImageWriter(tree)
    assert tree.old_acls == [{}, {}]
    writer.close()
    assert tree.old_acls == [{}]
    assert writer.next_slice(100) == b""
    other.close()
    assert tree.old_acls == []


def test_open_acls_need_no_entry_in_the_map() -> None:
    history = History()
    history.create("/open")
    tree = load(image_of(history.tree), history.zxid)
    assert tree.nodes["/open"].acl is OPEN
    assert tree.nodes["/zookeeper/config"].acl is READ_ONLY


def test_an_image_cut_at_any_byte_is_refused() -> None:
    history = History(3)
    for _ in range(40):
        history.step()
    image = image_of(history.tree)
    for end in range(len(image)):
        with pytest.raises(JuteError):
            load_image(DataTree(extended_types=True), image[:end])


def image_by_hand(*nodes: tuple[str, int]) -> bytes:
    out = b"\0\0\0\0" + b"\0\0\0\0"
    for path, key in nodes:
        out += len(path).to_bytes(4, "big") + path.encode() + b"\0\0\0\0" + key.to_bytes(8, "big", signed=True)
        out += bytes(60)
    return out + b"\0\0\0\1/"


@pytest.mark.parametrize(
    ("paths", "complaint"),
    [
        (["", "/a/b"], "comes before its parent"),
        (["/a"], "comes before its parent"),
        (["", "a"], "is not a path"),
        (["", "/a", "/a"], "comes twice"),
    ],
)
def test_a_false_tree_is_refused(paths: list[str], complaint: str) -> None:
    with pytest.raises(JuteError, match=complaint):
        load_image(DataTree(), image_by_hand(*((path, -1) for path in paths)))


def test_false_counts_and_lengths_are_refused() -> None:
    good = image_by_hand(("", -1))
    for at in (0, 4, 8, 12):
        for value in (b"\x7f\xff\xff\xff", b"\xff\xff\xff\xf0"):
            broken = good[:at] + value + good[at + 4 :]
            tree = DataTree()
            try:
                load_image(tree, broken)
            except JuteError:
                continue
            # A negative count of sessions or ACLs is taken for none, as Apache takes it.
            assert at < 8
            assert value[0] == 0xFF


def test_a_null_acl_is_refused() -> None:
    with pytest.raises(JuteError, match="a null ACL"):
        load_image(DataTree(), b"\0\0\0\0" + b"\0\0\0\1" + bytes(8) + b"\xff\xff\xff\xff")


def test_a_node_whose_acl_is_missing_is_closed_to_everybody() -> None:
    tree = DataTree()
    load_image(tree, image_by_hand(("", -1), ("/a", 77)))
    acl = tree.nodes["/a"].acl
    assert acl.world == 0
    assert len(acl) == 1


def test_a_load_reports_its_progress(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("zkpy.tree.image.PROGRESS_NODES", 10)
    history = History()
    for n in range(100):
        history.create(f"/{n}")
    reached: list[int] = []
    image = image_of(history.tree)
    load_image(DataTree(), image, 0, reached.append)
    assert len(reached) == 10
    assert reached == sorted(reached)
    assert 0 < reached[-1] < len(image)


def test_an_acl_replaced_by_a_create_that_comes_again_is_written_as_it_was() -> None:
    # A member that joined by a fuzzy SNAP applies creates whose nodes it has, perhaps while it writes a snapshot.
    history = History()
    history.create("/a", b"", ACLS[2])
    writer = ImageWriter(history.tree)
    later = [ACL(3, Id("digest", "later:x"))]
    history.create("/a", b"", later)
    tree = load(writer.next_slice(1 << 16), writer.start_zxid)
    assert tree.nodes["/a"].acl == ACLS[2]
    replay(tree, history.entries[1:])
    assert tree.nodes["/a"].acl == later
