"""`zkpy serve` as a process: its one line of output, its exit statuses, and what it says to whom it cannot serve."""

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from click.testing import CliRunner

from tests.system.clients import Client, connected
from tests.system.processes import ROOT, has_output
from zkpy.cli import main
from zkpy.proto import opcodes

LINE = re.compile(r"zkpy serving on (.+):(\d+) \(data in (.+)\)\n")
#: Nothing here takes longer unless it hangs.
PATIENCE_S = 60
#: A clean stop takes a tenth of this; the rest is for a machine that does something else as well.
STOP_S = 5.0


def environ(home: Path, **variables: str) -> dict[str, str]:
    """A user's environment, with `home` as home directory and nothing about ZooKeeper in it."""
    left_out = {"SERVER_JVMFLAGS", "JVMFLAGS", "XDG_STATE_HOME"}
    inherited = {name: value for name, value in os.environ.items() if name not in left_out}
    return {**inherited, "HOME": str(home), "PYTHONPATH": str(ROOT), **variables}


def run(
    home: Path, *arguments: str, prefix: tuple[str, ...] = (), **variables: str
) -> subprocess.CompletedProcess[str]:
    """Run zkpy to its end."""
    return subprocess.run(
        [*prefix, sys.executable, "-m", "zkpy", *arguments],
        cwd=home, env=environ(home, **variables), stdin=subprocess.DEVNULL, capture_output=True, text=True,
        timeout=PATIENCE_S, check=False,
    )  # fmt: skip


class Serving:
    """A running `zkpy serve`, from the moment it said so."""

    def __init__(self, process: subprocess.Popen[str], line: str) -> None:
        self.process = process
        found = LINE.fullmatch(line)
        assert found is not None, line
        self.host, self.port, self.data_dir = found[1], int(found[2]), Path(found[3])

    def stop(self, number: int = signal.SIGTERM) -> tuple[int, str, str]:
        """Send a signal: exit status, the rest of stdout, stderr."""
        began = time.monotonic()
        self.process.send_signal(number)
        out, err = self.process.communicate(timeout=PATIENCE_S)
        assert time.monotonic() - began < STOP_S
        return self.process.returncode, out, err


@contextmanager
def started(home: Path, *arguments: str, **variables: str) -> Iterator[subprocess.Popen[str]]:
    """A process of `zkpy serve`, killed at the end."""
    process = subprocess.Popen(
        [sys.executable, "-m", "zkpy", "serve", *arguments],
        cwd=home, env=environ(home, **variables), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


@contextmanager
def serving(home: Path, *arguments: str, **variables: str) -> Iterator[Serving]:
    """A server that has said that it serves."""
    with started(home, *arguments, **variables) as process:
        assert process.stdout is not None
        assert has_output(process.stdout, PATIENCE_S), "it says nothing"
        yield Serving(process, process.stdout.readline())


def zoo_cfg(directory: Path, *lines: str) -> Path:
    path = directory / "zoo.cfg"
    path.write_text("\n".join((f"dataDir={directory}/data", "clientPort=0", "clientPortAddress=127.0.0.1", *lines)))
    return path


def eventually(condition: Callable[[], bool]) -> None:
    """Wait until `condition()` comes true."""
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


# --- serving --------------------------------------------------------------------------------------------------------


def test_a_client_can_connect_the_moment_the_one_line_is_printed(tmp_path: Path) -> None:
    with serving(tmp_path, "--port", "0") as server:
        with connected(server.port) as client:
            assert client.create("/a").err == 0
        status, out, _ = server.stop()
    assert (status, out) == (0, "")


def test_without_a_file_it_serves_on_localhost_with_a_data_directory_of_the_user(tmp_path: Path) -> None:
    with serving(tmp_path, "--port", "0") as server:
        assert server.host == "127.0.0.1"
        assert server.data_dir == tmp_path / ".local" / "state" / "zkpy" / "0"
        assert (server.data_dir / "version-2" / "snapshot.0").exists()


def test_the_state_directory_of_the_user_may_be_elsewhere(tmp_path: Path) -> None:
    with serving(tmp_path, "--port", "0", XDG_STATE_HOME=str(tmp_path / "state")) as server:
        assert server.data_dir == tmp_path / "state" / "zkpy" / "0"
    assert not (tmp_path / ".local").exists()


def test_each_port_has_a_data_directory_of_its_own(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with serving(tmp_path, "--port", str(port)) as server:
        assert server.port == port
        assert server.data_dir.name == str(port)


def test_options_say_where_to_listen_and_where_data_lives(tmp_path: Path) -> None:
    with serving(tmp_path, "--port", "0", "--host", "127.0.0.2", "--data-dir", "here") as server:
        assert (server.host, server.data_dir) == ("127.0.0.2", Path("here"))
        assert (tmp_path / "here" / "version-2" / "snapshot.0").exists()
        with pytest.raises(ConnectionRefusedError):
            Client(server.port)


@pytest.mark.parametrize("host", ["::1", "[::1]"])
def test_an_ipv6_address_is_shown_in_brackets(tmp_path: Path, host: str) -> None:
    try:
        with socket.socket(socket.AF_INET6) as sock:
            sock.bind(("::1", 0))
    except OSError:
        pytest.skip("this machine has no IPv6")
    with serving(tmp_path, "--port", "0", "--host", host) as server:
        assert server.host == "[::1]"
        socket.create_connection(("::1", server.port), timeout=PATIENCE_S).close()


def test_a_host_name_is_looked_up(tmp_path: Path) -> None:
    with serving(tmp_path, "--port", "0", "--host", "localhost") as server:
        assert server.host in ("127.0.0.1", "[::1]")


def test_a_configuration_file_says_all_of_it(tmp_path: Path) -> None:
    with serving(tmp_path, str(zoo_cfg(tmp_path, "4lw.commands.whitelist=ruok"))) as server:
        assert (server.host, server.data_dir) == ("127.0.0.1", tmp_path / "data")
        with Client(server.port) as client:
            client.send(b"ruok")
            assert client.rest() == b"imok"


def test_options_are_stronger_than_the_file(tmp_path: Path) -> None:
    config = zoo_cfg(tmp_path, "clientPort=1", "clientPortAddress=192.0.2.1", "dataLogDir=/dev/null")
    with serving(tmp_path, str(config), "--port=0", "--host=127.0.0.1", f"--data-dir={tmp_path}/there") as server:
        assert server.data_dir == tmp_path / "there"
    assert not (tmp_path / "data").exists()


def test_what_the_file_holds_without_effect_is_logged_once(tmp_path: Path) -> None:
    with serving(tmp_path, str(zoo_cfg(tmp_path, "fips-mode=false", "whatever=7"))) as server:
        err = server.stop()[2]
    noted = [line.partition("WARNING zkpy.config  ")[2] for line in err.splitlines() if "zkpy.config" in line]
    assert sorted(noted) == [
        f"{tmp_path}/zoo.cfg, line 4: fips-mode has no effect: TLS is not supported yet",
        f"{tmp_path}/zoo.cfg, line 5: whatever is not a key of ZooKeeper 3.9 and has no effect",
    ]


def test_options_of_the_jvm_are_read(tmp_path: Path) -> None:
    flags = "-Xmx1g '-Dzookeeper.4lw.commands.whitelist=ruok, isro'"
    with (
        serving(tmp_path, str(zoo_cfg(tmp_path)), SERVER_JVMFLAGS=flags) as server,
        Client(server.port) as client,
    ):
        client.send(b"isro")
        assert client.rest() == b"rw"


def test_json_lines_are_json_and_the_level_counts(tmp_path: Path) -> None:
    config = str(zoo_cfg(tmp_path, "fips-mode=false"))
    with serving(tmp_path, config, "--log-json") as server:
        lines = server.stop()[2].splitlines()
    assert lines
    assert all(line.startswith('{"time": "') and line.endswith("}") for line in lines)
    with serving(tmp_path, config, "--log-level", "error") as server:
        assert server.stop()[2] == ""


# --- stopping -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "SIGINT"])
def test_a_signal_stops_it_at_once_while_clients_are_connected(tmp_path: Path, number: int) -> None:
    with serving(tmp_path, "--port", "0", "--data-dir", "d", "--log-level", "error") as server:
        clients = [connected(server.port) for _ in range(10)]
        for client in clients:
            client.send(*(b"\0\0\0\x08\xff\xff\xff\xfe\0\0\0\x0b" for _ in range(100)))  # pings
        assert server.stop(number) == (0, "", "")
        for client in clients:
            client.rest()
            client.close()
    with serving(tmp_path, "--port", "0", "--data-dir", "d", "--log-level", "error") as server, connected(server.port):
        assert server.stop(number) == (0, "", "")


def test_a_signal_stops_it_at_once_where_a_shell_ignores_sigint(tmp_path: Path) -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with serving(tmp_path, "--port", "0", "--log-level", "error") as server:
            assert server.stop(signal.SIGINT) == (0, "", "")
    finally:
        signal.signal(signal.SIGINT, before)


@pytest.mark.slow
def test_a_signal_stops_it_while_a_snapshot_is_under_way_and_nothing_is_lost(tmp_path: Path) -> None:
    config = str(zoo_cfg(tmp_path, "snapCount=3000", "maxSessionTimeout=60000"))
    data = b"x" * 10_000
    count = 0
    with serving(tmp_path, config) as server, connected(server.port) as client:
        directory = server.data_dir / "version-2"
        while not list(directory.glob(".unfinished*")):
            assert client.create(f"/n{count}", data).err == 0
            count += 1
            assert count < 10_000, "there is never a snapshot under way"
        status, out, err = server.stop()
        assert (status, out) == (0, "")
        assert "Traceback" not in err
    assert not list(directory.glob(".unfinished*"))
    with serving(tmp_path, config) as server, connected(server.port) as client:
        assert {f"n{number}" for number in range(count)} <= set(client.children("/"))
        assert client.get(f"/n{count - 1}") == data


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "SIGINT"])
def test_a_signal_stops_it_while_it_reads_its_data(tmp_path: Path, number: int) -> None:
    directory = tmp_path / "d" / "version-2"
    directory.mkdir(parents=True)
    os.mkfifo(directory / "snapshot.1")  # to read it takes for ever
    with started(tmp_path, "--port", "0", "--data-dir", "d", "--log-level", "error") as process:
        eventually(lambda: (directory / ".zkpy.lock").exists() and (directory / ".zkpy.lock").read_text() != "")
        time.sleep(0.1)  # that it stands in the read; earlier is as good a moment
        process.send_signal(number)
        assert process.communicate(timeout=PATIENCE_S) == ("", "")
        assert process.returncode == 0


# --- refusals -------------------------------------------------------------------------------------------------------


def refused(done: subprocess.CompletedProcess[str], status: int) -> str:
    """The one line it said, beside its log."""
    assert done.returncode == status, done.stderr
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    lines = [line for line in done.stderr.splitlines() if line.startswith("zkpy: ")]
    assert len(lines) == 1, done.stderr
    return lines[0].removeprefix("zkpy: ")


def test_a_port_in_use_is_named(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        text = refused(run(tmp_path, "serve", "--port", str(port)), 1)
    assert text.startswith(f"cannot listen on 127.0.0.1:{port}: it is in use by another program: stop it, or choose")
    assert not (tmp_path / ".local").exists(), "the data of whoever has the port is none of its business"


@pytest.mark.parametrize(
    ("host", "why"),
    [
        ("192.0.2.1", "it is no address of this machine: give one that is (--host, clientPortAddress)"),
        ("a..b", "no host has this name: give an address of this machine (--host, clientPortAddress)"),
        ("nobody.invalid", "give an address of this machine (--host, clientPortAddress)"),
    ],
)
def test_an_address_that_is_not_here_is_named(tmp_path: Path, host: str, why: str) -> None:
    text = refused(run(tmp_path, "serve", "--port", "0", "--host", host), 1)
    assert text.startswith(f"cannot listen on {host}:0: ")
    assert text.endswith(why)


@pytest.mark.parametrize(
    ("lines", "text"),
    [
        (["tickTime=soon"], "{}, line 4: tickTime=soon: it must be a whole number"),
        (["maxSessionTimeout=1"], "{}: minSessionTimeout must not be larger than maxSessionTimeout (6000 > 1 ms)"),
        (["server.1=a:1:2", "server.2=b:1:2"], "{}: initLimit is not set: a member of an ensemble needs it"),
    ],
)
def test_a_configuration_that_cannot_be_used_is_named(tmp_path: Path, lines: list[str], text: str) -> None:
    config = zoo_cfg(tmp_path, *lines)
    assert refused(run(tmp_path, "serve", str(config)), 2).startswith(text.format(config))
    assert not (tmp_path / "data").exists()


def test_a_configuration_file_that_is_missing_or_unreadable_is_named(tmp_path: Path) -> None:
    text = "No such file or directory: cannot read the configuration file"
    assert refused(run(tmp_path, "serve", "no.cfg"), 2) == f"no.cfg: {text}"
    assert refused(run(tmp_path, "serve", "/"), 2) == "/: Is a directory: cannot read the configuration file"
    config = zoo_cfg(tmp_path)
    config.chmod(0)
    text = "Permission denied: cannot read the configuration file"
    assert refused(run(tmp_path, "serve", str(config), prefix=as_a_user()), 2) == f"{config}: {text}"


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--port", "65536"], "65536 is not in the range 0<=x<=65535"),
        (["--port", "zoo"], "'zoo' is not a valid integer"),
        (["--log-level", "loud"], "'loud' is not a log level"),
        (["--host", ""], "0.0.0.0 or :: listens on every address"),
        (["--data-dir", ""], "it is empty: . is the working directory"),
        (["--ensemble", "0"], "0 is not in the range 1<=x<=50"),
        (["--ensemble", "3", "--port", "65400"], "65400 leaves no room for the other ports"),
        (["--ensemble", "3", "a.cfg"], "leave out ZOO_CFG"),
        (["--no-such-option"], "--no-such-option"),
        (["a.cfg", "b.cfg"], "Got unexpected extra argument (b.cfg)"),
    ],
)
def test_a_wrong_call_is_explained(tmp_path: Path, arguments: list[str], text: str) -> None:
    done = run(tmp_path, "serve", *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert "Usage: zkpy serve [OPTIONS] [ZOO_CFG]" in done.stderr
    assert text in done.stderr


def as_a_user() -> tuple[str, ...]:
    """In front of a command of root's: without the right to read and write what the modes of files forbid."""
    return ("setpriv", "--bounding-set", "-dac_override,-dac_read_search") if os.geteuid() == 0 else ()


def test_a_data_directory_that_may_not_be_written_is_named(tmp_path: Path) -> None:
    directory = tmp_path / "d" / "version-2"
    directory.mkdir(parents=True)
    directory.chmod(0o500)
    done = run(tmp_path, "serve", "--port", "0", "--data-dir", "d", prefix=as_a_user())
    assert refused(done, 3) == "dataDir d/version-2 is not readable and writable: check its owner and mode"


def test_a_data_directory_that_may_not_be_made_is_named(tmp_path: Path) -> None:
    tmp_path.joinpath("d").mkdir(mode=0o500)
    done = run(tmp_path, "serve", "--port", "0", "--data-dir", "d/e", prefix=as_a_user())
    assert refused(done, 3) == "dataDir d/e/version-2 cannot be created: Permission denied"


def test_a_data_directory_that_is_a_file_is_named(tmp_path: Path) -> None:
    done = run(tmp_path, "serve", "--port", "0", "--data-dir", "/dev/null")
    assert refused(done, 3) == "dataDir /dev/null/version-2 cannot be created: Not a directory"


def test_a_data_directory_of_an_ensemble_that_is_a_file_is_named(tmp_path: Path) -> None:
    done = run(tmp_path, "serve", "--ensemble", "1", "--port", "2181", "--data-dir", "/dev/null")
    assert refused(done, 3) == "/dev/null/member1: Not a directory: choose another --data-dir"


@pytest.mark.parametrize("name", ["log.1", "snapshot.0"])
def test_a_directory_where_a_file_should_be_is_named(tmp_path: Path, name: str) -> None:
    (tmp_path / "d" / "version-2" / name).mkdir(parents=True)
    text = refused(run(tmp_path, "serve", "--port", "0", "--data-dir", "d"), 3)
    assert text.startswith("d/version-2/")
    assert text.endswith(": Is a directory: the data directory cannot be used")


def test_a_data_directory_in_use_is_named_with_the_process_that_uses_it(tmp_path: Path) -> None:
    with serving(tmp_path, "--port", "0") as server:
        text = refused(run(tmp_path, "serve", "--port", "0"), 3)
        pid = server.process.pid
    assert text == (
        f"{server.data_dir}/version-2 is in use by another zkpy server (process {pid}): stop that one, or give this one"
        " a data directory of its own"
    )
    with serving(tmp_path, "--port", "0") as server, connected(server.port) as client:
        assert client.ping().err == 0, "the lock of a killed server is gone with it"


def test_a_damaged_data_directory_is_named_with_file_and_what_to_do(tmp_path: Path) -> None:
    with serving(tmp_path, "--port", "0", "--data-dir", "d") as server, connected(server.port) as client:
        for number in range(20):
            assert client.create(f"/n{number}").err == 0
        assert client.call(opcodes.CLOSE_SESSION).err == 0
    (log,) = (tmp_path / "d" / "version-2").glob("log.*")
    log.write_bytes(log.read_bytes().replace(b"/n7", b"/n8", 1))
    text = refused(run(tmp_path, "serve", "--port", "0", "--data-dir", "d"), 3)
    assert re.match(rf"d/version-2/{log.name}, offset \d+: ", text)
    assert "Restore the file from a backup" in text


def test_a_system_without_epoll_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr("select.epoll")
    monkeypatch.setattr("sys.platform", "darwin")
    done = CliRunner().invoke(main, ["serve"])
    assert done.exit_code == 1
    assert done.output == "zkpy: a server needs Linux, and this is darwin: run it in a container, for example\n"


# --- the command around it ------------------------------------------------------------------------------------------


def test_the_version_is_told(tmp_path: Path) -> None:
    done = run(tmp_path, "--version")
    assert (done.returncode, done.stdout, done.stderr) == (0, "zkpy, version 0.1.0\n", "")


@pytest.mark.parametrize("option", ["-h", "--help"])
def test_help_names_the_commands_and_their_options(tmp_path: Path, option: str) -> None:
    done = run(tmp_path, option)
    assert done.returncode == 0
    assert "Usage: zkpy [OPTIONS] COMMAND [ARGS]..." in done.stdout
    assert re.search(r"^  serve +Run a server\.", done.stdout, re.MULTILINE)
    done = run(tmp_path, "serve", option)
    assert done.returncode == 0
    for text in ("--port", "2181", "--host", "127.0.0.1", "--data-dir", "--log-level", "--log-json", "~/.local/state"):
        assert text in done.stdout


def test_an_unknown_command_is_explained(tmp_path: Path) -> None:
    done = run(tmp_path, "swerve")
    assert done.returncode == 2
    assert "No such command 'swerve'" in done.stderr
