"""`zkpy watch`: each change runs the handler once, in order, with what happened and the data; or is printed."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from tests.cli.test_serve import environ
from tests.system.processes import ServerProcess
from zkpy.cli import main
from zkpy.cli.known import Known, Zxids
from zkpy.cli.shell.connection import Event
from zkpy.proto import events

PATIENCE_S = 60.0


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ServerProcess]:
    """A server on empty data."""
    with ServerProcess(tmp_path / "data") as running:
        yield running


class Watching:
    """A process of `zkpy watch`, from when its watch is set; a context manager."""

    def __init__(self, server: ServerProcess, *arguments: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "zkpy", "watch", "--hosts", f"127.0.0.1:{server.port}", *arguments],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            env=environ(server.data_dir),
        )  # fmt: skip
        assert self.process.stderr is not None
        assert self.process.stderr.readline().startswith("zkpy: watching ")

    def read_line(self) -> str:
        """The next line of its stdout."""
        assert self.process.stdout is not None
        return self.process.stdout.readline()

    def end(self) -> tuple[int, str, str]:
        """Wait for its end: exit status, stdout, stderr."""
        out, err = self.process.communicate(timeout=PATIENCE_S)
        return self.process.returncode, out, err

    def __enter__(self) -> "Watching":
        return self

    def __exit__(self, *exception: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.communicate()


def shell(server: ServerProcess, *lines: str) -> Result:
    """Do these one after the other."""
    text = "".join(f"{line}\n" for line in lines)
    return CliRunner().invoke(main, ["shell", "--hosts", f"127.0.0.1:{server.port}"], input=text)


@pytest.mark.slow
def test_each_change_runs_the_handler_with_kind_path_and_data(server: ServerProcess) -> None:
    script = 'echo "$ZKPY_EVENT $ZKPY_PATH $(cat)"'
    with Watching(server, "/app", "--count", "3", "--", "sh", "-c", script) as watching:
        shell(server, "create /other", "create /app one", "set /app two", "create /app/child", "delete /app/child")
        status, out, err = watching.end()
    told = [line.split()[:2] for line in out.splitlines()]
    assert told == [["NodeCreated", "/app"], ["NodeDataChanged", "/app"], ["NodeChildrenChanged", "/app"]]
    # The data is that of when the handler runs, never older than the change.
    assert out.splitlines()[1].endswith(" two")
    assert (status, err) == (0, "")


@pytest.mark.slow
def test_recursive_changes_are_printed_as_json(server: ServerProcess) -> None:
    with Watching(server, "-R", "--json", "--count", "4", "/") as watching:
        shell(server, "create /é", "create /é/b x", "set /é/b y", "deleteall /é/b")
        status, out, err = watching.end()
    told = [json.loads(line) for line in out.splitlines()]
    assert [(one["event"], one["path"]) for one in told] == [
        ("NodeCreated", "/é"), ("NodeCreated", "/é/b"), ("NodeDataChanged", "/é/b"), ("NodeDeleted", "/é/b"),
    ]  # fmt: skip
    assert [one["zxid"] for one in told] == sorted({one["zxid"] for one in told})
    assert (status, err) == (0, "")


@pytest.mark.slow
@pytest.mark.parametrize("options", [(), ("-R",)])
def test_changes_while_it_was_cut_off_are_told_once_it_is_back(server: ServerProcess, options: tuple[str, ...]) -> None:
    shell(server, "create /kept", "create /kept/gone", "create /kept/again")
    with Watching(server, *options, "--count", "4" if options else "2", "/kept") as watching:
        # It stands still until the server has closed its connection, and hears nothing of what happens meanwhile.
        watching.process.send_signal(signal.SIGSTOP)
        server.stop()
        server.config["clientPort"] = str(server.port)
        server.start()
        shell(server, "delete /kept/gone", "delete /kept/again", "create /kept/again", "set /kept x", "set /kept y")
        watching.process.send_signal(signal.SIGCONT)
        if not options:
            assert watching.read_line() == "NodeDataChanged /kept\n"
            shell(server, "set /kept z")
        status, out, err = watching.end()
    assert (status, err) == (0, "")
    if options:
        assert out.splitlines() == [
            "NodeDeleted /kept/again", "NodeDeleted /kept/gone", "NodeCreated /kept/again", "NodeDataChanged /kept",
        ]  # fmt: skip
    else:
        assert out.splitlines() == ["NodeDataChanged /kept"]


def test_nothing_is_told_twice() -> None:
    class Seen(Known):
        """What a comparison has found already."""

        def __init__(self) -> None:
            self._zxids = {"/a": Zxids(5, 7, 6)}

    known = Seen()
    kinds = {"created": events.NODE_CREATED, "set": events.NODE_DATA_CHANGED, "child": events.NODE_CHILDREN_CHANGED}
    told = [
        (kind, zxid, known.note(Event(kinds[kind], events.SYNC_CONNECTED, "/a", zxid)))
        for kind, zxid in (("created", 5), ("set", 7), ("child", 6), ("child", 8), ("set", 9), ("set", 9))
    ]
    assert [is_news for _, _, is_news in told] == [False, False, False, True, True, False]
    gone = Event(events.NODE_DELETED, events.SYNC_CONNECTED, "/a", 4)
    assert not known.note(gone)
    assert known.note(gone._replace(zxid=10))
    assert not known.note(gone._replace(zxid=10))
    assert not known.note(Event(events.NODE_DATA_CHANGED, events.SYNC_CONNECTED, "/a", 9))
    assert known.note(Event(events.NODE_CREATED, events.SYNC_CONNECTED, "/a", 11))


@pytest.mark.slow
def test_a_handler_that_fails_is_told_and_ends_it_only_if_asked(server: ServerProcess) -> None:
    with Watching(server, "/h", "--count", "2", "--", "sh", "-c", "exit 3") as going_on:
        with Watching(server, "/h", "--stop-on-error", "--", "sh", "-c", "exit 3") as stopping:
            shell(server, "create /h", "set /h x")
            assert stopping.end() == (3, "", "zkpy: sh ended with 3 on NodeCreated /h\n")
        status, _, err = going_on.end()
    assert (status, len(err.splitlines())) == (0, 2)
    with Watching(server, "/h", "--", "nosuch-handler") as missing:
        shell(server, "set /h y")
        assert missing.end() == (127, "", "zkpy: nosuch-handler cannot be run: No such file or directory\n")


@pytest.mark.slow
def test_ctrl_c_ends_it_without_a_traceback(server: ServerProcess) -> None:
    with Watching(server, "/") as watching:
        os.kill(watching.process.pid, signal.SIGINT)
        assert watching.end() == (130, "", "")


def test_wrong_calls_are_explained() -> None:
    for arguments in (["relative"], ["/a", "--json", "--", "true"], ["/a", "--count", "0"]):
        done = CliRunner().invoke(main, ["watch", *arguments])
        assert done.exit_code == 2
        assert "Error: " in done.stderr
