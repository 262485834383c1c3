"""`zkpy shell`: how lines become words and options, what its own verbs print, how it ends, and its terminal.

That it prints what zkCli prints is compared in compat_tests/test_shell.py, verb by verb.
"""

import json
import os
import pty
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from tests.cli.test_serve import environ
from tests.system.processes import ServerProcess
from zkpy.cli import main
from zkpy.cli.shell.console import split
from zkpy.cli.shell.ensemble import _client_part
from zkpy.cli.shell.options import Grammar, VerbError
from zkpy.cli.shell.paths import BadPath, validate
from zkpy.cli.shell.printing import acl_lines, hex_dump, parse_acl
from zkpy.cli.shell.quotas import Track
from zkpy.cli.shell.verb import parse_long
from zkpy.cli.shell.watches import PACKET_CHARACTERS, Watches
from zkpy.proto import events, opcodes
from zkpy.proto.records import ACL, Id, SetWatches, SetWatches2

PATIENCE_S = 60.0

# Lines, options, paths.


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("ls /", ["ls", "/"]),
        ('  create  /a "two  words" ', ["create", "/a", "two  words"]),
        ("set /a 'it is \"so\"'", ["set", "/a", 'it is "so"']),
        ('create /a ""', ["create", "/a", ""]),
        ('create /a"b c" x', ["create", '/a"b', 'c"', "x"]),
        ("", []),
        ('"', []),
    ],
)
def test_a_line_is_split_as_zkcli_splits_it(line: str, words: list[str]) -> None:
    assert split(line) == words


def test_options_stand_anywhere_glued_or_apart() -> None:
    grammar = Grammar("s w", "v file")
    for line in ("set /a -s -v 3", "set -sv3 /a", "set -v=3 /a -s", "set -s /a -v 3 -v 4", "set -s -file x -v 3 /a"):
        given = grammar.parse(line.split())
        assert (given.words, given.options["v"], given.has("s"), given.has("w")) == (["set", "/a"], "3", True, False)
    assert grammar.parse(["set", "-v", "-2", "-"]).options == {"v": "-2"}
    assert grammar.parse(["set", "--", "-s", "-v"]).words == ["set", "-s", "-v"]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("set -q", "UnrecognizedOptionException: Unrecognized option: -q"),
        ("set -sq", "UnrecognizedOptionException: Unrecognized option: -sq"),
        ("set --s", "UnrecognizedOptionException: Unrecognized option: --s"),
        ("set -s=1", "UnrecognizedOptionException: Unrecognized option: -s=1"),
        ("set -2", "UnrecognizedOptionException: Unrecognized option: -2"),
        ("set -v", "MissingArgumentException: Missing argument for option: v"),
        ("set -v -s", "MissingArgumentException: Missing argument for option: v"),
        ("set -n -b", "AlreadySelectedException: The option 'b' was specified but an option from this group has"),
    ],
)
def test_wrong_options_are_named_as_zkcli_names_them(line: str, said: str) -> None:
    with pytest.raises(VerbError) as error:
        Grammar("s n b", "v", exclusive="n b").parse(line.split())
    assert str(error.value).startswith(f"org.apache.commons.cli.{said}")


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("", "Path length must be > 0"),
        ("a", "Path must start with / character"),
        ("/a/", "Path must not end with / character"),
        ("/a//b", 'Invalid path string "/a//b" caused by empty node name specified @3'),
        ("/a/./b", 'Invalid path string "/a/./b" caused by relative paths not allowed @3'),
        ("/..", 'Invalid path string "/.." caused by relative paths not allowed @2'),
        ("/a\0", 'Invalid path string "/a\0" caused by null character not allowed @2'),
        ("/a\x1f", 'Invalid path string "/a\x1f" caused by invalid character @2'),
        ("/é😀", 'Invalid path string "/é😀" caused by invalid character @2'),
    ],
)
def test_a_path_that_cannot_be_is_explained(path: str, said: str) -> None:
    with pytest.raises(BadPath) as error:
        validate(path)
    assert str(error.value) == said


def test_other_paths_are_good() -> None:
    for path in ("/", "/a", "/a/b...", "/.a/..b", "/日本 x"):
        validate(path)
    validate("/dir/", is_sequential=True)


def test_numbers_are_read_as_java_reads_them() -> None:
    assert [parse_long(text) for text in ("12", "-7", "+3", "007")] == [12, -7, 3, 7]
    assert [parse_long(text) for text in ("", "-", "1_0", "١", " 1", "0x1", "9223372036854775808")] == [None] * 7
    assert parse_long("ff", 16) == 255


# What is printed.


def test_a_hex_dump_has_its_frame_and_a_short_last_line() -> None:
    lines = hex_dump(bytes(range(0x3A, 0x4C))).splitlines()
    assert lines[3] == "|00000000| 3a 3b 3c 3d 3e 3f 40 41 42 43 44 45 46 47 48 49 |:;<=>?@ABCDEFGHI|"
    assert lines[4] == "|00000010| 4a 4b                                           |JK              |"
    assert len(lines) == 6
    assert {len(line) for line in lines[2:]} == {len(lines[2])}


def test_acls_are_read_and_printed() -> None:
    complaints: list[str] = []
    acl = parse_acl("ip:::1/128:rx,world:anyone,digest:a:b:cdrwa", complaints.append)
    assert acl == [ACL(opcodes.PERM_READ, Id("ip", "::1/128")), ACL(opcodes.PERM_ALL, Id("digest", "a:b"))]
    assert complaints == ["Unknown perm type: x", "world:anyone does not have the form scheme:id:perm"]
    assert acl_lines([ACL(opcodes.PERM_ALL, Id("x509", "CN=a,O=b%"))]) == ["'x509,'CN=a%2CO=b%25", ": cdrwa"]


def test_quota_numbers_keep_fields_that_nobody_knows() -> None:
    assert str(Track(b"count=5,bytes=-1=;countHardLimit=7;later=")) == "count=5,bytes=-1=;countHardLimit=7;later=-1"
    assert str(Track(b"")) == "count=-1,bytes=-1"


def test_a_configuration_tells_clients_where_to_go() -> None:
    text = "server.1=a:1:2:participant;h:2181\nserver.2=b:1:2;2182\nserver.3=c:1:2\n#x=y\nversion=100000000"
    assert _client_part(text) == "100000000 h:2181,0.0.0.0:2182"


# Watches.


def test_one_shot_watches_fire_once_and_lasting_ones_as_their_kind_says() -> None:
    watches = Watches()
    watches.data["/a"] = watches.children["/a"] = watches.exist["/new"] = None
    assert watches.fire(events.NODE_DELETED, "/a")
    assert not watches.fire(events.NODE_CREATED, "/a")
    assert watches.fire(events.NODE_CREATED, "/new")
    watches.recursive["/"] = watches.persistent["/p"] = None
    for _ in range(2):
        assert watches.fire(events.NODE_DATA_CHANGED, "/deep/down")
        assert watches.fire(events.NODE_CHILDREN_CHANGED, "/p")
        assert not watches.fire(events.NODE_CHILDREN_CHANGED, "/deep")
    assert watches.remove("/p", opcodes.WATCHER_PERSISTENT_RECURSIVE) == []
    assert watches.remove("/p", opcodes.WATCHER_ANY) == [events.PERSISTENT_WATCH_REMOVED]
    assert not watches.fire(events.NODE_CHILDREN_CHANGED, "/p")


def test_a_new_server_is_told_of_all_watches_in_packets_of_bounded_size() -> None:
    watches = Watches()
    assert watches.packets(7) == []
    watches.data["/a"] = watches.exist["/b"] = None
    assert watches.packets(7) == [(opcodes.SET_WATCHES, SetWatches(7, ["/a"], ["/b"], []))]
    long = ["/" + str(number) * (PACKET_CHARACTERS // 2) for number in range(3)]
    watches.recursive |= dict.fromkeys(long)
    (_, first), (_, second) = watches.packets(7)
    assert first == SetWatches2(7, ["/a"], ["/b"], [], [], long[:2])
    assert second == SetWatches2(7, [], [], [], [], long[2:])


# One-shot, on a server.


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A server for this module; every test has a tree of its own."""
    with ServerProcess(tmp_path_factory.mktemp("shell") / "data") as running:
        yield running


def shell(server: ServerProcess, *words: str, input: str | None = None) -> Result:
    """Run `zkpy shell` in this process."""
    return CliRunner().invoke(main, ["shell", "--hosts", f"127.0.0.1:{server.port}", *words], input=input)


def said(result: Result) -> list[str]:
    """What it printed, without the first line and the events of its connection."""
    lines = result.stdout.splitlines()
    assert lines.pop(0).startswith("Connecting to 127.0.0.1:")
    while "WATCHER::" in lines:
        at = lines.index("WATCHER::")
        assert lines[at + 2] == "WatchedEvent state:SyncConnected type:None path:null zxid: -1"
        del lines[at - 1 : at + 3]
    return lines


def made(server: ServerProcess, *lines: str) -> None:
    """Run these lines; all must be done."""
    for line in lines:
        result = shell(server, *split(line))
        assert result.exit_code == 0, result.output


@pytest.mark.slow
def test_a_verb_from_the_command_line_prints_and_exits_with_its_status(server: ServerProcess) -> None:
    made(server, 'create /shot "two words"')
    done = shell(server, "get", "/shot")
    assert (said(done), done.exit_code) == (["two words"], 0)
    missing = shell(server, "get", "/shot/none")
    assert (said(missing), missing.stderr, missing.exit_code) == ([], "Node does not exist: /shot/none\n", 1)
    assert shell(server, "delete", "-v").exit_code == 1
    unknown = shell(server, "nosuch")
    assert unknown.exit_code == 127
    assert unknown.stderr.endswith("Command not found: Command not found nosuch\n")


@pytest.mark.slow
def test_lines_from_a_pipe_run_in_their_order_and_the_last_one_gives_the_status(server: ServerProcess) -> None:
    done = shell(server, input="create /pipe x\nget /pipe\nredo 1\n\nhistory\nget /none\n")
    lines = said(done)
    assert lines == [
        "Welcome to ZooKeeper!",
        "x",
        "x",
        "0 - create /pipe x",
        "1 - get /pipe",
        "2 - get /pipe",
        "3 - history",
    ]
    assert done.stderr == "Created /pipe\nNode does not exist: /none\n"
    assert done.exit_code == 1
    assert shell(server, input="get /none\nquit\n").exit_code == 1
    assert shell(server, input="get /none\nls /\n").exit_code == 0


@pytest.mark.slow
def test_the_session_ends_with_the_shell(server: ServerProcess) -> None:
    made(server, "create -e /gone-with-it")
    assert shell(server, "stat", "/gone-with-it").exit_code == 1


@pytest.mark.slow
def test_mistakes_that_end_zkcli_are_told_in_plain_words(server: ServerProcess) -> None:
    done = shell(
        server,
        input="create /plain\nset -v x /plain d\nset -b /plain !\nredo first\naddWatch relative\nconnect nowhere:p\n",
    )
    assert done.stderr.splitlines() == [
        "Created /plain",
        "-v argument must be an int value",
        "! is not base64",
        "first is no number of a command: see history",
        "Path must start with / character",
        "'p' in 'nowhere:p' is no port (1 to 65535)",
    ]
    assert done.exception is None or isinstance(done.exception, SystemExit)


@pytest.mark.slow
def test_tree_draws_what_is_below(server: ServerProcess) -> None:
    made(server, "create /t", "create /t/a 123", "create /t/a/b", "create /t/a/c", "create /t/d", "create /t/d/e")
    assert said(shell(server, "tree", "/t")) == [
        "/t", "├── a", "│   ├── b", "│   └── c", "└── d", "    └── e",
    ]  # fmt: skip
    assert said(shell(server, "tree", "-s", "-d", "1", "/t")) == [
        "/t (0 bytes, version 0)", "├── a (3 bytes, version 0)", "└── d (0 bytes, version 0)",
    ]  # fmt: skip
    assert shell(server, "tree", "/none").exit_code == 1
    assert shell(server, "tree").stderr == "tree [-s] [-d depth] path\n"


@pytest.mark.slow
def test_find_goes_by_name_data_and_kind(server: ServerProcess) -> None:
    made(
        server,
        "create /f",
        "create /f/db.host alpha",
        "create /f/db.port 5432",
        "create /f/x",
        "create /f/x/db.host beta",
    )
    assert said(shell(server, "find", "-name", "*.host", "/f")) == ["/f/db.host", "/f/x/db.host"]
    assert said(shell(server, "find", "/f", "-data", "bet")) == ["/f/x/db.host"]
    assert said(shell(server, "find", "/f")) == ["/f", "/f/db.host", "/f/db.port", "/f/x", "/f/x/db.host"]
    both = shell(server, input="create -e /f/x/mine\ncreate -c /f/box\nfind -e /f\n")
    assert said(both) == ["Welcome to ZooKeeper!", "/f/x/mine"]


@pytest.mark.slow
def test_export_writes_json_with_every_kind_of_data(server: ServerProcess, tmp_path: Path) -> None:
    made(server, "create /e été", "create /e/none", 'create /e/empty ""', "create /e/raw", "set -b /e/raw AP8=")
    printed = json.loads("\n".join(said(shell(server, "export", "/e"))))["znodes"]
    assert [one["path"] for one in printed] == ["/e", "/e/empty", "/e/none", "/e/raw"]
    assert [one.get("data", one.get("base64")) for one in printed] == ["été", "", None, "AP8="]
    assert "data" not in printed[3]
    assert printed[0]["acl"] == ["world:anyone:cdrwa"]
    assert (printed[3]["version"], printed[3]["ephemeral_owner"]) == (1, 0)
    file = tmp_path / "tree.json"
    done = shell(server, "export", "-o", str(file), "/e")
    assert done.stderr == f"Exported 4 znodes to {file}\n"
    assert json.loads(file.read_text())["znodes"] == printed
    denied = shell(server, "export", "-o", str(tmp_path / "no" / "file"), "/e")
    assert denied.stderr == f"Cannot write {tmp_path / 'no' / 'file'}: No such file or directory\n"
    assert denied.exit_code == 1


# Where there is no server.


def test_nobody_there_is_said_in_plain_words() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        hosts = f"127.0.0.1:{free.getsockname()[1]}"
        lost = CliRunner().invoke(main, ["shell", "--hosts", hosts, "ls", "/"])
        late = CliRunner().invoke(main, ["shell", "--timeout", "300", "--wait", "--hosts", hosts, "ls", "/"])
    assert lost.exit_code == 1
    assert lost.stderr == (
        "KeeperErrorCode = ConnectionLoss for /\n"
        f"zkpy: no session at {hosts}: start a server (`zkpy serve`) or name another one with --hosts\n"
    )
    assert (late.exit_code, late.stderr) == (69, f"zkpy: {hosts} gave no session within 0.3 s\n")
    wrong = CliRunner().invoke(main, ["shell", "--hosts", "h:x", "ls", "/"])
    assert wrong.exit_code == 2
    assert "'x' in 'h:x' is no port" in wrong.stderr


def test_the_shell_needs_neither_kazoo_nor_the_server() -> None:
    code = (
        "import sys; from zkpy.cli import main\n"
        "try: main(['shell', '--hosts', '127.0.0.1:1', 'ls', '/'])\n"
        "except SystemExit: pass\n"
        "print(sorted({'kazoo', 'trio', 'zkpy.server', 'zkpy.tree'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout.endswith("\n[]\n"), done.stdout + done.stderr


# The terminal.


class Terminal:
    """`zkpy shell` with a terminal: what is typed, and what is seen."""

    def __init__(self, hosts: str, home: Path) -> None:
        self.seen = ""
        master, slave = pty.openpty()
        self.master = master
        self.process = subprocess.Popen(
            [sys.executable, "-m", "zkpy", "shell", "--hosts", hosts],
            stdin=slave, stdout=slave, stderr=slave, env=environ(home, TERM="dumb", INPUTRC="/dev/null"),
        )  # fmt: skip
        os.close(slave)

    def type(self, text: str, then: str) -> None:
        """Type this, and wait until `then` is seen behind it."""
        at = len(self.seen)
        os.write(self.master, text.encode())
        self.wait_for(then, at)

    def wait_for(self, text: str, at: int = 0) -> None:
        deadline = time.monotonic() + PATIENCE_S
        while text not in self.seen[at:]:
            assert select.select([self.master], [], [], max(0.0, deadline - time.monotonic()))[0], self.seen
            self.seen += os.read(self.master, 65536).decode("utf-8", "replace")

    def interrupt(self) -> None:
        """SIGINT, once it waits for a key. Python's readline looks for signals only if one ends that waiting: one that
        comes while the last key is still echoed is not noticed before the next."""
        thread = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/stat")
        deadline = time.monotonic() + PATIENCE_S
        while thread.read_text().rpartition(")")[2].split()[0] != "S":
            assert time.monotonic() < deadline, "it never waits for a key"
            time.sleep(0.001)
        self.process.send_signal(signal.SIGINT)

    def end(self) -> int:
        os.write(self.master, b"\x04")
        status = self.process.wait(PATIENCE_S)
        os.close(self.master)
        return status


@pytest.mark.slow
def test_a_terminal_completes_remembers_and_shows_events_before_a_new_prompt(
    server: ServerProcess, tmp_path: Path
) -> None:
    hosts = f"127.0.0.1:{server.port}"
    made(server, "create /terminal", "create /terminal/alpha 17")
    first = Terminal(hosts, tmp_path)
    first.wait_for("state:SyncConnected type:None")
    first.type("ge\t\t\t", "getAllChildrenNumber")
    first.type("\x15get -s /termi\t/al\t\n", "numChildren = 0")
    assert "dataLength = 2" in first.seen
    first.type("addauth digest joe:secret\n", f"[zk: {hosts}(CONNECTED) 2] ")
    first.type("get -w /terminal\n", f"[zk: {hosts}(CONNECTED) 3] ")
    at = len(first.seen)
    made(server, "set /terminal x")
    first.wait_for("type:NodeDataChanged path:/terminal", at)
    first.wait_for(f"[zk: {hosts}(CONNECTED) 3] ", first.seen.index("NodeDataChanged"))
    first.type("half a line", "half a line")
    at = len(first.seen)
    first.interrupt()
    first.wait_for(f"[zk: {hosts}(CONNECTED) 3] ", at)
    assert first.end() == 0
    kept = tmp_path / ".local" / "state" / "zkpy" / "shell_history"
    assert kept.read_text().splitlines() == ["get -s /terminal/alpha", "get -w /terminal"]
    assert kept.stat().st_mode & 0o777 == 0o600

    second = Terminal(hosts, tmp_path)
    second.wait_for(f"[zk: {hosts}(")
    second.type("\x10\x10\n", f"numChildren = 0\r\n[zk: {hosts}(CONNECTED) 1] ")
    assert second.end() == 0
