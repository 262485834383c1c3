"""`zkpy lock` and `zkpy elect` with real commands, and every way of losing the lock; `zkpy who`, `check-sequencer`."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from tests.cli.test_serve import environ
from tests.system.processes import ServerProcess
from zkpy.cli import main

pytestmark = pytest.mark.slow

#: Nothing here takes longer unless it hangs.
PATIENCE_S = 60.0
#: Short enough to wait for the end of a session, long enough for a machine that does something else as well.
SHORT_S = 3.0
LONG_S = "30"

#: Says that it runs, and how it is asked to end; its children go with it.
COMMAND = """
import os, signal, sys, time
def on_signal(number, frame):
    print("got", signal.Signals(number).name, flush=True)
    if number == signal.SIGTERM and "stubborn" not in sys.argv:
        sys.exit(5)
for number in (signal.SIGTERM, signal.SIGUSR1, signal.SIGHUP):
    signal.signal(number, on_signal)
print("runs", os.getpid(), flush=True)
while True:
    time.sleep(0.05)
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A server for those tests that leave it alone."""
    with ServerProcess(tmp_path_factory.mktemp("lock") / "data") as running:
        yield running


class Running:
    """A process of `zkpy`, in a process group of its own; a context manager that leaves nothing behind."""

    def __init__(self, server: ServerProcess, verb: str, path: str, *arguments: str) -> None:
        at_port = ["--hosts", f"127.0.0.1:{server.port}"]
        self.process = subprocess.Popen(
            [sys.executable, "-m", "zkpy", verb, *at_port, path, *arguments],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            env=environ(server.data_dir), start_new_session=True,
        )  # fmt: skip
        self.child = 0

    def read_line(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline()

    def await_command(self) -> "Running":
        """Wait until COMMAND runs."""
        found = re.fullmatch(r"runs (\d+)\n", self.read_line())
        assert found is not None
        self.child = int(found[1])
        return self

    @property
    def guard(self) -> int:
        return parent_of(self.child)

    def end(self) -> tuple[int, str, str]:
        """Wait for its end: exit status, the rest of stdout, stderr."""
        out, err = self.process.communicate(timeout=PATIENCE_S)
        return self.process.returncode, out, err

    def __enter__(self) -> "Running":
        return self

    def __exit__(self, *exception: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.communicate(timeout=PATIENCE_S)


def parent_of(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def until(condition: Callable[[], object]) -> float:
    """Wait for it; after how many seconds it was there."""
    began = time.monotonic()
    while not condition():
        assert time.monotonic() - began < PATIENCE_S
        time.sleep(0.02)
    return time.monotonic() - began


def zkpy(server: ServerProcess, verb: str, *arguments: str) -> Result:
    """Another command, in this process."""
    return CliRunner().invoke(main, [verb, "--hosts", f"127.0.0.1:{server.port}", *arguments])


def standings(server: ServerProcess, path: str) -> dict[str, Any]:
    result = zkpy(server, "who", "--json", path)
    assert result.exit_code == 0, result.output
    told: dict[str, Any] = json.loads(result.stdout)
    return told


def command(*words: str) -> tuple[str, ...]:
    return ("--", sys.executable, "-c", COMMAND, *words)


# Holding.


def test_the_command_finds_its_lock_in_its_environment_and_its_status_is_passed_on(server: ServerProcess) -> None:
    script = "echo $ZKPY_LOCK_PATH $ZKPY_TOKEN $ZKPY_SEQUENCER; exit 7"
    with Running(server, "lock", "/env", "--", "sh", "-c", script) as first:
        status, out, err = first.end()
    assert (status, err) == (7, "")
    path, token, sequencer = out.split()
    assert path == "/env"
    assert sequencer.split(":")[:3] == ["zkpy1", "exclusive", token]
    assert standings(server, "/env")["holders"] == []
    with Running(server, "lock", "/env", "--", "sh", "-c", "echo $ZKPY_TOKEN; kill -9 $$") as second:
        status, out, _ = second.end()
    assert status == 128 + signal.SIGKILL
    assert int(out) > int(token)


def test_a_command_that_cannot_be_run_is_named(server: ServerProcess, tmp_path: Path) -> None:
    (tmp_path / "text").write_text("no program")
    for word, status in (("nosuch-command", 127), (str(tmp_path / "text"), 126)):
        with Running(server, "lock", "/cannot", "--", word) as running:
            ended, _, err = running.end()
        assert ended == status
        assert err.startswith(f"zkpy: {word} cannot be run: ")


def test_a_wrong_call_is_explained(server: ServerProcess) -> None:
    for arguments in (
        ("/p",),
        ("/p", "--lock-delay", "61", "--", "true"),
        ("/p", "--shared", "--holders", "2", "true"),
    ):
        with Running(server, "lock", *arguments) as running:
            status, _, err = running.end()
        assert status == 2
        assert "Traceback" not in err


def test_what_is_held_is_not_acquired_in_time_and_who_gives_up_leaves_nothing_behind(server: ServerProcess) -> None:
    with Running(server, "lock", "/held", "--session-timeout", LONG_S, *command()) as holder:
        holder.await_command()
        with Running(server, "lock", "/held", "--timeout", "0.3", "--", "echo", "never") as late:
            status, out, err = late.end()
        assert (status, out) == (75, "")
        assert err == "zkpy: /held was not to be had within 0.3 s\n"
        with Running(server, "elect", "/held", "--", "echo", "never") as waiting:
            until(lambda: len(standings(server, "/held")["waiters"]) == 1)
            waiting.process.send_signal(signal.SIGTERM)
            assert waiting.end() == (128 + signal.SIGTERM, "", "")
        until(lambda: not standings(server, "/held")["waiters"])

        with Running(server, "lock", "/held", "--", "echo", "then") as next_one:
            until(lambda: len(standings(server, "/held")["waiters"]) == 1)
            table = zkpy(server, "who", "/held").output.splitlines()
            assert [line.split()[0] for line in table] == ["TOKEN", "holds", "waits"]
            holder.process.send_signal(signal.SIGTERM)
            assert holder.end() == (5, "got SIGTERM\n", "")
            assert next_one.end() == (0, "then\n", "")
    assert zkpy(server, "who", "/held").output == "nobody at /held\n"


def test_signals_are_passed_on(server: ServerProcess) -> None:
    with Running(server, "lock", "/signals", "--session-timeout", LONG_S, *command()) as running:
        running.await_command()
        for number in (signal.SIGUSR1, signal.SIGHUP):
            running.process.send_signal(number)
            assert running.read_line() == f"got {number.name}\n"
        running.process.send_signal(signal.SIGTERM)
        assert running.end() == (5, "got SIGTERM\n", "")


@pytest.mark.parametrize("options", [("--shared",), ("--holders", "2")])
def test_two_hold_it_at_once_where_that_is_asked_for(server: ServerProcess, options: tuple[str, ...]) -> None:
    path = f"/two{options[0]}"
    arguments = (*options, "--session-timeout", LONG_S, *command())
    with Running(server, "lock", path, *arguments) as first, Running(server, "lock", path, *arguments) as second:
        first.await_command()
        second.await_command()
        assert len(standings(server, path)["holders"]) == 2
        for one in (first, second):
            one.process.send_signal(signal.SIGTERM)
            assert one.end() == (5, "got SIGTERM\n", "")


def test_a_sequencer_holds_while_the_lock_does(server: ServerProcess) -> None:
    with Running(server, "lock", "/checked", "--session-timeout", LONG_S, *command()) as running:
        running.await_command()
        (holder,) = standings(server, "/checked")["holders"]
        held = zkpy(server, "check-sequencer", holder["sequencer"])
        assert (held.exit_code, held.stdout) == (0, "holds\n")
        running.process.send_signal(signal.SIGTERM)
        running.end()
    stale = zkpy(server, "check-sequencer", holder["sequencer"])
    assert (stale.exit_code, stale.stdout) == (1, "does not hold\n")
    told = json.loads(zkpy(server, "check-sequencer", "--json", holder["sequencer"]).stdout)
    assert told == {"holds": False, "path": "/checked", "mode": "exclusive", "token": holder["token"]}
    wrong = zkpy(server, "check-sequencer", "zkpy1:nonsense")
    assert wrong.exit_code == 2
    assert "not a sequencer" in wrong.stderr


# Losing.


def delete_holder(server: ServerProcess, path: str) -> None:
    (holder,) = standings(server, path)["holders"]
    name = holder["sequencer"].split(":")[3]
    assert zkpy(server, "shell", "delete", f"{path}/{name}").exit_code == 0


@pytest.mark.parametrize("verb", ["lock", "elect"])
def test_an_operator_who_deletes_the_znode_ends_the_command(server: ServerProcess, verb: str) -> None:
    path = f"/deleted-{verb}"
    with Running(server, verb, path, "--session-timeout", LONG_S, *command()) as running:
        running.await_command()
        delete_holder(server, path)
        status, out, err = running.end()
    assert (status, out) == (76, "got SIGTERM\n")
    assert err == f"zkpy: {path} is lost: its znode was deleted\n"


def test_who_does_not_heed_sigterm_is_killed_and_all_that_it_started(server: ServerProcess) -> None:
    script = 'trap "echo heard" TERM; (trap "" TERM; echo $BASHPID; exec sleep 1000) & while :; do sleep 0.05; done'
    options = ("--session-timeout", LONG_S, "--kill-after", "0.7")
    with Running(server, "lock", "/stubborn", *options, "--", "bash", "-c", script) as running:
        orphan = int(running.read_line())
        began = time.monotonic()
        delete_holder(server, "/stubborn")
        assert running.read_line() == "heard\n"
        until(lambda: not is_alive(orphan))
        took_s = time.monotonic() - began
        status, _, _ = running.end()
    assert status == 76
    assert took_s >= 0.7


def test_servers_that_do_not_know_the_session_any_more_end_the_command(tmp_path: Path) -> None:
    with (
        ServerProcess(tmp_path / "first") as server,
        ServerProcess(tmp_path / "other") as other,
        Running(server, "lock", "/expired", "--session-timeout", LONG_S, *command()) as running,
    ):
        running.await_command()
        # Servers refuse a client that has seen more than they have: let these have more.
        for number in range(10):
            assert zkpy(other, "shell", "create", f"/{number}").exit_code == 0
        server.kill()
        other.kill()
        other.config["clientPort"] = str(server.port)
        other.start()
        status, out, err = running.end()
    assert (status, out) == (76, "got SIGTERM\n")
    assert "the session has expired" in err


@pytest.mark.parametrize("end", ["paused", "killed"])
def test_a_server_that_is_gone_ends_the_command_at_the_local_deadline(tmp_path: Path, end: str) -> None:
    with (
        ServerProcess(tmp_path / "data") as server,
        Running(server, "elect", "/gone", "--session-timeout", str(SHORT_S), *command()) as running,
    ):
        running.await_command()
        assert server.process is not None
        began = time.monotonic()
        if end == "paused":
            server.process.send_signal(signal.SIGSTOP)
        else:
            server.kill()
        status, out, err = running.end()
        took_s = time.monotonic() - began
    assert (status, out) == (76, "got SIGTERM\n")
    # A paused server keeps the connection: that an answer is overdue may show no sooner than the deadline.
    assert end == "paused" or err.startswith("zkpy: /gone is in jeopardy: the connection is lost\n")
    assert err.endswith("/gone is lost: the local deadline has passed without an answer of the servers\n")
    # The release is not confirmed by anybody; that may take a while, but nobody waits for ever.
    assert took_s < PATIENCE_S / 2


def test_the_command_ends_before_its_lock_while_zkpy_lock_stands_still(tmp_path: Path) -> None:
    with (
        ServerProcess(tmp_path / "data") as server,
        Running(server, "lock", "/still", "--session-timeout", str(SHORT_S), *command()) as running,
    ):
        running.await_command()
        running.process.send_signal(signal.SIGSTOP)
        held_s = until(lambda: not is_alive(running.child))
        assert held_s < SHORT_S + 1.0
        until(lambda: not standings(server, "/still")["holders"])
        running.process.send_signal(signal.SIGCONT)
        status, out, err = running.end()
    assert (status, out) == (76, "got SIGTERM\n")
    assert "/still is lost: " in err


def test_the_command_ends_when_zkpy_lock_is_killed(server: ServerProcess) -> None:
    with Running(server, "lock", "/killed", "--session-timeout", LONG_S, *command()) as running:
        running.await_command()
        guard = running.guard
        running.process.kill()
        took_s = until(lambda: not is_alive(running.child))
        assert took_s < 5.0
        until(lambda: not is_alive(guard))
        # The command was asked, not killed.
        assert running.end() == (-signal.SIGKILL, "got SIGTERM\n", "")


def test_the_command_ends_when_its_guard_is_killed(server: ServerProcess) -> None:
    with Running(server, "lock", "/guard", "--session-timeout", LONG_S, *command()) as running:
        running.await_command()
        os.kill(running.guard, signal.SIGKILL)
        until(lambda: not is_alive(running.child))
        status, out, err = running.end()
    assert (status, out) == (128 + signal.SIGKILL, "")
    assert err == "zkpy: the guard was killed, and the command with it\n"
    assert standings(server, "/guard")["holders"] == []


def test_a_lock_delay_keeps_others_out_after_a_holder_failed(server: ServerProcess) -> None:
    options = ("--session-timeout", "1", "--lock-delay", "2")
    with Running(server, "lock", "/delayed", *options, *command()) as running:
        running.await_command()
        running.process.kill()
        until(lambda: not standings(server, "/delayed")["holders"])
        with Running(server, "lock", "/delayed", "--timeout", "0.5", "--", "true") as early:
            assert early.end()[0] == 75
        with Running(server, "lock", "/delayed", "--", "true") as late:
            assert late.end()[0] == 0
