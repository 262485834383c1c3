"""`zkpy config` against a server: values, versions, documents both ways, and what is said of each mistake."""

import json
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from hypothesis import given
from hypothesis import strategies as st
from kazoo.client import KazooClient
from kazoo.security import make_acl

from tests.cli.test_serve import environ
from tests.system.processes import ServerProcess
from zkpy.cli import config_tree, main, yaml

PATIENCE_S = 60.0
BINARY = b"\x00\xff\xfe"
DOCUMENT = """\
name: shop
db:
  .: primary
  pool: 10
motd: |
  first
  second
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """One server for all tests here; each has a path of its own."""
    with ServerProcess(tmp_path_factory.mktemp("config") / "data") as running:
        yield running


@pytest.fixture
def zk(server: ServerProcess) -> Iterator[KazooClient]:
    """A client of it, to look at what the commands did."""
    client = KazooClient(f"127.0.0.1:{server.port}")
    client.start(PATIENCE_S)
    yield client
    client.stop()
    client.close()


def config(server: ServerProcess, verb: str, *arguments: str, stdin: str | bytes = "") -> Result:
    """Run one verb."""
    words = ["config", verb, "--hosts", f"127.0.0.1:{server.port}", *arguments]
    return CliRunner().invoke(main, words, input=stdin)


def values(zk: KazooClient, root: str) -> dict[str, bytes]:
    """All below a path."""
    return {path: value.data for path, value in config_tree.read_subtree(zk, root).items()}


@pytest.mark.slow
def test_set_makes_a_znode_and_get_prints_it(server: ServerProcess) -> None:
    assert config(server, "set", "/set/a/b", "é").stdout == "/set/a/b version 0\n"
    assert json.loads(config(server, "set", "--json", "/set/a/b", "-", stdin="x y").stdout) == {
        "path": "/set/a/b", "version": 1,
    }  # fmt: skip
    assert config(server, "get", "/set/a/b").stdout == "x y\n"
    told = json.loads(config(server, "get", "--json", "/set/a/b").stdout)
    assert (told["value"], told["version"]) == ("x y", 1)
    config(server, "set", "/set/a/b", "-", stdin=BINARY)
    assert config(server, "get", "/set/a/b").stdout_bytes == BINARY + b"\n"
    assert json.loads(config(server, "get", "--json", "/set/a/b").stdout)["base64"] == "AP/+"


@pytest.mark.slow
def test_a_value_that_no_server_takes_is_said_to_be_too_long(server: ServerProcess) -> None:
    long = config(server, "set", "/long", "-", stdin="x" * 1_100_000)
    assert long.exit_code == 69
    assert long.stderr.endswith("servers hang up on values as long as this one, 1100000 bytes (jute.maxbuffer)\n")


@pytest.mark.slow
def test_set_with_a_version_sets_only_that_version(server: ServerProcess) -> None:
    config(server, "set", "/versions", "zero")
    assert config(server, "set", "--if-version", "0", "/versions", "one").exit_code == 0
    late = config(server, "set", "--if-version", "0", "/versions", "two")
    assert (late.exit_code, late.stderr) == (
        4, "zkpy: /versions is not at version 0 but version 1: nothing was done\n",
    )  # fmt: skip
    assert config(server, "get", "/versions").stdout == "one\n"
    absent = config(server, "set", "--if-version", "0", "/versions/none", "x")
    assert (absent.exit_code, absent.stderr) == (
        3, "zkpy: there is no /versions/none: without --if-version it is created\n",
    )  # fmt: skip


@pytest.mark.slow
def test_ls_lists_children_or_all_below_but_no_ephemerals(server: ServerProcess, zk: KazooClient) -> None:
    zk.create("/ls/a/deep", b"2", makepath=True)
    zk.create("/ls/b", BINARY)
    zk.create("/ls/who", b"me", ephemeral=True)
    assert config(server, "ls", "/ls").stdout == 'a = ""\nb = (3 bytes) base64 AP/+\n'
    assert config(server, "ls", "-R", "/ls").stdout.splitlines()[1] == 'a/deep = "2"'
    assert json.loads(config(server, "ls", "--json", "/ls").stdout)[1] == {
        "path": "/ls/b", "base64": "AP/+", "version": 0,
    }  # fmt: skip


@pytest.mark.slow
def test_import_shows_the_differences_and_applies_them_in_one_transaction(
    server: ServerProcess, zk: KazooClient, tmp_path: Path
) -> None:
    file = tmp_path / "shop.yaml"
    file.write_text(DOCUMENT)
    zk.create("/import/shop/name", b"old", makepath=True)
    zk.create("/import/shop/other", b"kept")
    shown = (
        '+ /import/shop/db = "primary"\n+ /import/shop/db/pool = "10"\n+ /import/shop/motd = "first\\nsecond\\n"\n'
        '~ /import/shop/name = "old" -> "shop"\n'
    )
    dry = config(server, "import", "--dry-run", "/import/shop", str(file))
    assert (dry.exit_code, dry.stdout, dry.stderr) == (0, shown, "4 to change, nothing done\n")
    unasked = config(server, "import", "/import/shop", str(file))
    assert (unasked.exit_code, unasked.stderr) == (1, "zkpy: nothing was done: --yes does it without asking\n")
    assert zk.get("/import/shop/name")[0] == b"old"

    done = config(server, "import", "--yes", "/import/shop", "-", stdin=DOCUMENT)
    assert (done.exit_code, done.stdout, done.stderr) == (0, shown, "4 changed in 1 transaction\n")
    assert zk.get("/import/shop/db")[1].czxid == zk.get("/import/shop/name")[1].mzxid
    assert zk.get("/import/shop/other")[0] == b"kept"
    assert config(server, "import", "--yes", "/import/shop", str(file)).stderr == "nothing to do\n"

    different = config(server, "diff", "/import/shop", str(file))
    assert (different.exit_code, different.stdout) == (1, '- /import/shop/other = "kept"\n')
    assert config(server, "import", "--prune", "--yes", "/import/shop", str(file)).exit_code == 0
    assert config(server, "diff", "/import/shop", str(file)).exit_code == 0
    assert not zk.exists("/import/shop/other")


@pytest.mark.slow
@pytest.mark.parametrize("options", [(), ("--json",)])
def test_what_is_exported_is_imported_as_it_was(
    server: ServerProcess, zk: KazooClient, options: tuple[str, ...]
) -> None:
    root = f"/export{len(options)}"
    zk.create(root, b"own")
    for name, data in [
        ("binary", BINARY),
        ("inner", BINARY),
        ("inner/.x: #", b" a\nb\n\n"),
        ("empty", b""),
        ("é", b"null"),
    ]:
        zk.create(f"{root}/{name}", data)
    exported = config(server, "export", *options, root)
    assert exported.exit_code == 0
    done = config(server, "import", "--yes", f"/copies{root}", "-", stdin=exported.stdout_bytes)
    assert done.exit_code == 0, done.output
    copies = values(zk, f"/copies{root}")
    assert {path.removeprefix("/copies"): data for path, data in copies.items()} == values(zk, root)


@pytest.mark.slow
def test_the_whole_tree_is_exported_without_what_is_the_servers(server: ServerProcess, zk: KazooClient) -> None:
    zk.create("/whole", b"x")
    document = json.loads(config(server, "export", "--json", "/").stdout)
    assert document["whole"] == "x"
    assert "zookeeper" not in document
    same = config(server, "diff", "--json", "/", "-", stdin=json.dumps(document | {"whole": "y"}))
    assert json.loads(same.stdout) == {
        "path": "/whole", "change": "set", "old": {"value": "x"}, "new": {"value": "y"},
    }  # fmt: skip


@pytest.mark.slow
def test_what_no_request_has_room_for_takes_several_transactions(server: ServerProcess, zk: KazooClient) -> None:
    document = {f"big-{number}": "x" * 400_000 for number in range(4)}
    done = config(server, "import", "--yes", "/several", "-", stdin=json.dumps(document))
    assert done.stderr == "5 changed in 2 transactions\n"
    assert len(zk.get("/several/big-3")[0]) == 400_000


@pytest.mark.slow
def test_what_changed_since_it_was_compared_is_not_overwritten(zk: KazooClient) -> None:
    zk.create("/since", b"seen")
    wanted = config_tree.from_document({".": "mine", "new": ""}, "/since")
    changes = config_tree.differences(config_tree.read_subtree(zk, "/since"), wanted, exact=False)
    zk.set("/since", b"theirs")
    with pytest.raises(config_tree.Changed, match=r"/since is not as it was .*BadVersionError.*: nothing was done"):
        config_tree.apply(zk, changes)
    assert values(zk, "/since") == {"/since": b"theirs"}


@pytest.mark.slow
def test_watch_tells_each_value_that_changed(server: ServerProcess, zk: KazooClient) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "zkpy", "config", "watch", "--hosts", f"127.0.0.1:{server.port}",
         "--json", "--count", "4", "/watched"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environ(server.data_dir),
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stderr is not None
    try:
        assert process.stderr.readline() == "zkpy: watching /watched\n"
        lines: list[dict[str, Any]] = []
        zk.create("/watched", b"1")
        lines.append(json.loads(process.stdout.readline()))
        zk.create("/watched/child", b"x")
        lines.append(json.loads(process.stdout.readline()))
        zk.set("/watched", b"2")
        lines.append(json.loads(process.stdout.readline()))
        zk.delete("/watched/child")
        out, err = process.communicate(timeout=PATIENCE_S)
    finally:
        process.kill()
        process.communicate()
    lines.append(json.loads(out))
    assert [(line["change"], line["path"], line.get("new")) for line in lines] == [
        ("create", "/watched", {"value": "1"}), ("create", "/watched/child", {"value": "x"}),
        ("set", "/watched", {"value": "2"}), ("delete", "/watched/child", None),
    ]  # fmt: skip
    assert (process.returncode, err) == (0, "")


@pytest.mark.slow
def test_watch_tells_what_changed_while_the_server_was_away(tmp_path: Path) -> None:
    with ServerProcess(tmp_path / "data") as server:
        config(server, "set", "/kept", "1")
        process = subprocess.Popen(
            [sys.executable, "-m", "zkpy", "config", "watch", "--hosts", f"127.0.0.1:{server.port}", "--count", "2",
             "/kept"],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environ(server.data_dir),
        )  # fmt: skip
        try:
            assert process.stderr is not None
            assert process.stderr.readline() == "zkpy: watching /kept\n"
            process.send_signal(signal.SIGSTOP)
            server.stop()
            server.config["clientPort"] = str(server.port)
            server.start()
            config(server, "set", "/kept", "2")
            config(server, "set", "/kept/new", "x")
            process.send_signal(signal.SIGCONT)
            out, err = process.communicate(timeout=PATIENCE_S)
        finally:
            process.kill()
            process.communicate()
    assert (process.returncode, out, err) == (0, '~ /kept = "1" -> "2"\n+ /kept/new = "x"\n', "")


@pytest.mark.slow
def test_mistakes_are_told_in_a_line_with_a_status_of_their_own(server: ServerProcess, zk: KazooClient) -> None:
    for verb in ("get", "ls", "export"):
        absent = config(server, verb, "/absent")
        assert absent.exit_code == 3
        assert absent.stderr.startswith("zkpy: there is no /absent")
    assert config(server, "get", "absent").exit_code == 2
    zk.create("/closed", b"x", acl=[make_acl("digest", "nobody:x", read=True)])
    assert config(server, "get", "/closed").exit_code == 77
    assert config(server, "set", "/closed", "y").exit_code == 77
    assert config(server, "import", "--yes", "/closed", "-", stdin="a: b\n").exit_code == 77
    assert CliRunner().invoke(main, ["config", "get", "--hosts", "127.0.0.1:1", "/a"]).exit_code == 69


@pytest.mark.slow
@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("a: 1\nb: [2]\n", "line 2: lists are not taken"),
        ('{\n"a": 1,,}', "line 2: "),
        ('{"a": ' * 100_000, "deeper than can be read"),
        ('{"\\ud800": "x"}', "half a surrogate pair"),
        ('{"a": 5}', "/doc/a is 5: a value is text"),
        ('{"a": "1", "a": "2"}', "'a' is there twice"),
        ("a/b: x\n", "'a/b' below /doc is no name of a znode"),
        ("..: x\n", "'..' below /doc is no name of a znode"),
        (".:\n  base64: '?'\n", "no base64"),
        (b"a: b\nc: \xff\n", "line 2: this is not UTF-8"),
    ],
)
def test_a_file_that_is_no_configuration_is_refused(server: ServerProcess, text: str | bytes, reason: str) -> None:
    refused = config(server, "import", "--yes", "/doc", "-", stdin=text)
    assert refused.exit_code == 65
    assert re.fullmatch(rf"zkpy: <stdin>: .*{re.escape(reason)}.*\n", refused.stderr)


NAMES = st.text("ab.é: #", min_size=1, max_size=3).filter(lambda name: name not in (".", ".."))


@given(st.dictionaries(st.lists(NAMES, max_size=3).map(tuple), st.binary(max_size=4) | st.just(b"text")))
def test_any_subtree_is_the_same_after_a_document_of_it(data: dict[tuple[str, ...], bytes]) -> None:
    paths = {path[:end] for path in data for end in range(len(path) + 1)} | {()}
    subtree = {config_tree.join("/r", "/".join(path)): config_tree.Value(data.get(path, b""), 0, 0) for path in paths}
    document = config_tree.to_document(subtree, "/r")
    for text in (yaml.emit(document), json.dumps(document)):
        again = config_tree.from_document(config_tree.parse(text), "/r")
        assert {path: own or b"" for path, own in again.items()} == {path: one.data for path, one in subtree.items()}
        assert not config_tree.differences(subtree, again, exact=True)
