"""What every command that is a client says when there is no server, or not the right one, and how it ends."""

import socket
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner, Result

from tests.system.processes import ServerProcess
from zkpy.cli import VERBS, main
from zkpy.cli.connecting import EXIT_NOT_PERMITTED, EXIT_REFUSED, EXIT_UNAVAILABLE, connect, connecting

Doing = Callable[[Any], object]


def run(doing: Doing, *arguments: str, timeout: float = 10.0) -> Result:
    """A command that connects and does this."""

    @click.command()
    @connecting
    def command(hosts: str, auth: tuple[tuple[str, str], ...]) -> None:
        with connect(hosts, timeout, auth=auth) as zk:
            click.echo(str(doing(zk)))

    return CliRunner().invoke(command, arguments)


def nothing(zk: Any) -> None:
    """Not to be reached."""
    raise AssertionError(zk)


def test_nobody_listens_is_said_at_once() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
        result = run(nothing, "--hosts", f"127.0.0.1:{port}", timeout=600)
    assert result.exit_code == EXIT_UNAVAILABLE
    assert result.stderr.startswith(f"zkpy: nobody listens on 127.0.0.1:{port}: start a server (`zkpy serve`)")
    assert result.stderr.count("\n") == 1


def test_whoever_watches_is_told_at_once_too_that_nobody_listens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("zkpy.cli.watch.CONNECT_S", 600.0)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
        result = CliRunner().invoke(main, ["watch", "--hosts", f"127.0.0.1:{port}", "/a"])
    assert result.exit_code == EXIT_UNAVAILABLE
    assert result.stderr.startswith(f"zkpy: nobody listens on 127.0.0.1:{port}: start a server")


def test_a_listener_that_does_not_answer_is_given_up_in_time() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        hosts = f"127.0.0.1:{silent.getsockname()[1]}"
        result = run(nothing, "--hosts", hosts, timeout=0.2)
    assert result.exit_code == EXIT_UNAVAILABLE
    assert result.stderr == (
        f"zkpy: {hosts} gave no session within 0.2 s: it does not answer, has no quorum, or is no ZooKeeper server\n"
    )
    leftover = [thread for thread in threading.enumerate() if thread is not threading.main_thread()]
    assert all(thread.daemon for thread in leftover)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--hosts", ""), "'' names no server: write host:port"),
        (("--hosts", "a:1,,b:2"), "names no server"),
        (("--hosts", "localhost:zk"), "'zk' in 'localhost:zk' is no port (1 to 65535)"),
        (("--hosts", "localhost:65536"), "'65536' in 'localhost:65536' is no port"),
        (("--hosts", "localhost:0"), "'0' in 'localhost:0' is no port"),
        (("--hosts", "[::1]:x/app"), "'x' in '[::1]:x' is no port"),
        (("--hosts", "localhost:2181/app//of"), "empty node name specified @5 (behind the servers)"),
        (("--hosts", "localhost:2181/a/../b"), "relative paths not allowed"),
        (("--auth", "alice"), "'alice' has no scheme: write digest:USER:PASSWORD"),
    ],
)
def test_a_wrong_call_is_explained(arguments: tuple[str, ...], said: str) -> None:
    result = run(nothing, *arguments)
    assert result.exit_code == 2
    assert said in result.stderr


@pytest.mark.parametrize(
    "words",
    [
        ("lock", "PATH", "--", "true"),
        ("elect", "PATH", "--", "true"),
        ("who", "PATH"),
        ("watch", "PATH"),
        ("config", "get", "PATH"),
        ("config", "watch", "PATH"),
    ],
    ids=" ".join,
)
@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("", "Path length must be > 0"),
        ("locks/a", "Path must start with / character"),
        ("/locks/", "Path must not end with / character"),
        ("/locks//a", "empty node name specified @7"),
    ],
)
def test_a_path_that_cannot_be_is_refused_before_a_server_is_asked(
    words: tuple[str, ...], path: str, said: str
) -> None:
    result = CliRunner().invoke(main, [path if word == "PATH" else word for word in words])
    assert result.exit_code == 2
    assert said in result.stderr


def test_what_is_no_sequencer_is_refused_before_a_server_is_asked() -> None:
    result = CliRunner().invoke(main, ["check-sequencer", "/locks/a"])
    assert result.exit_code == 2
    assert "not a sequencer (zkpy1:MODE:TOKEN:NODE:/PATH): '/locks/a'" in result.stderr


def test_kazoo_missing_is_said_with_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "kazoo.client", None)
    result = run(nothing)
    assert result.exit_code == EXIT_UNAVAILABLE
    assert result.stderr == "zkpy: this command needs kazoo: pip install 'zkpy[recipes]'\n"


@pytest.mark.slow
def test_what_a_server_refuses_ends_in_plain_words(tmp_path: Path) -> None:
    from kazoo.security import make_digest_acl

    def shut(zk: Any) -> object:
        acl = [make_digest_acl("alice", "secret", all=True)]
        zk.create("/shut", b"in", acl=acl)
        return zk.get("/shut")

    def stopped(zk: Any) -> object:
        server.stop()
        return zk.get("/")

    with ServerProcess(tmp_path / "data") as server:
        hosts = ("--hosts", f"127.0.0.1:{server.port}")
        assert run(lambda zk: zk.get("/")[0], *hosts).output == "b''\n"
        assert run(lambda zk: zk.ensure_path("/app/of/mine"), *hosts).exit_code == 0
        chrooted = run(lambda zk: zk.get_children("/"), "--hosts", f"{hosts[1]}/app/of")
        assert chrooted.output == "['mine']\n"

        denied = run(shut, *hosts)
        assert denied.exit_code == EXIT_NOT_PERMITTED
        assert "give credentials with --auth digest:USER:PASSWORD" in denied.stderr
        allowed = run(lambda zk: zk.get("/shut")[0], *hosts, "--auth", "digest:alice:secret")
        assert (allowed.exit_code, allowed.output) == (0, "b'in'\n")

        not_known = run(lambda zk: zk.get("/"), *hosts, "--auth", "rot13:alice:secret")
        assert not_known.exit_code == EXIT_NOT_PERMITTED
        assert not_known.stderr == f"zkpy: {hosts[1]} does not accept these credentials: see --auth\n"
        watching = CliRunner().invoke(main, ["watch", *hosts, "--auth", "rot13:alice:secret", "/app"])
        assert (watching.exit_code, watching.stderr) == (EXIT_NOT_PERMITTED, not_known.stderr)

        refused = run(lambda zk: zk.delete("/app"), *hosts)
        assert refused.exit_code == EXIT_REFUSED
        assert refused.stderr == f"zkpy: {hosts[1]} refused with NotEmptyError\n"

        lost = run(stopped, *hosts, timeout=1.0)
        assert lost.exit_code == EXIT_UNAVAILABLE
        assert f"the connection to {hosts[1]} was lost (ConnectionLoss)" in lost.stderr


def test_every_verb_is_there_and_says_what_it_does() -> None:
    listed = CliRunner().invoke(main, ["--help"])
    assert listed.exit_code == 0
    for verb in VERBS:
        assert f"  {verb} " in listed.output
        helped = CliRunner().invoke(main, [verb, "--help"])
        assert helped.exit_code == 0
        assert "Exit status" in helped.output
    unknown = CliRunner().invoke(main, ["srve"])
    assert unknown.exit_code == 2
    assert "No such command 'srve'" in unknown.stderr


def test_the_server_starts_without_kazoo_and_the_other_verbs() -> None:
    import subprocess

    from tests.system.processes import ROOT

    code = (
        "import sys; from zkpy.cli import main\n"
        "try: main(['serve', '--help'])\n"
        "except SystemExit: pass\n"
        "print([name for name in sys.modules if name.split('.')[0] == 'kazoo' or name.startswith('zkpy.cli.')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, cwd=ROOT)
    assert done.stdout.endswith("\n['zkpy.cli.serve']\n"), done.stdout + done.stderr
