"""`zkpy serve --ensemble N`: a whole ensemble on this machine, each member a process of its own, for trying out.

this process ─ a zoo.cfg and myid each ─→ N × `zkpy serve zoo.cfg` ─ all serve ─→ one line with the connect string
SIGTERM, SIGINT ─→ all of them        a member that ends by itself ─→ all of them, and exit status 1
SIGKILL ─→ the kernel tells all of them
"""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Final

import click

from zkpy.cli.tied import tied_to_this_process

#: As a server's that cannot use its data directory.
EXIT_DATA: Final = 3
#: How long the members may take until all of them serve.
START_S: Final = 60.0
#: How long a member may take to stop before it is killed.
STOP_S: Final = 10.0
#: Between two looks at the members.
STEP_S: Final = 0.05
#: From a client port to the quorum and the election port of the same member.
QUORUM_OFFSET: Final = 100
ELECTION_OFFSET: Final = 200
TICK_MS: Final = 500


class Stopped(Exception):
    """A signal has come."""


def run_ensemble(count: int, port: int, host: str, data_dir: Path, log_level: str, *, log_json: bool) -> int:
    """Run `count` members, with client ports from `port` on, until a signal comes; the exit status."""
    members: list[subprocess.Popen[bytes]] = []

    def stop(number: int, frame: object) -> None:
        raise Stopped

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    try:
        try:
            paths = [_write_member(sid, count, port, host, data_dir) for sid in range(1, count + 1)]
        except OSError as error:
            click.echo(f"zkpy: {error.filename}: {error.strerror}: choose another --data-dir", err=True)
            return EXIT_DATA
        logging = ["--log-level", log_level, *(["--log-json"] if log_json else [])]
        for path in paths:
            # In a session of its own: Ctrl-C is for this process, which tells the members.
            command = [sys.executable, "-m", "zkpy", "serve", str(path), *logging]
            members.append(
                subprocess.Popen(
                    command,
                    stdout=subprocess.DEVNULL,
                    start_new_session=True,
                    preexec_fn=tied_to_this_process(signal.SIGTERM),
                )
            )
        ports = range(port, port + count)
        deadline = time.monotonic() + START_S
        is_told = False
        while True:
            for sid, member in enumerate(members, 1):
                ended = member.poll()
                if ended is not None:
                    click.echo(
                        f"zkpy: member {sid} of {count} has ended with status {ended}: all are stopped", err=True
                    )
                    return 1
            if not is_told and all(_serves(host, one) for one in ports):
                is_told = True
                shown = f"[{host}]" if ":" in host else host
                hosts = ",".join(f"{shown}:{one}" for one in ports)
                click.echo(f"zkpy ensemble of {count} serving on {hosts} (data in {data_dir})")
                sys.stdout.flush()
            elif not is_told and time.monotonic() > deadline:
                click.echo(f"zkpy: no leader within {START_S:g} s: all members are stopped", err=True)
                return 1
            time.sleep(STEP_S if not is_told else 5 * STEP_S)
    except Stopped:
        return 0
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, signal.SIG_IGN)
        _stop(members)


def _stop(members: list[subprocess.Popen[bytes]]) -> None:
    for member in members:
        member.terminate()
    deadline = time.monotonic() + STOP_S
    for member in members:
        try:
            member.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            member.kill()
            member.wait()


def _write_member(sid: int, count: int, port: int, host: str, data_dir: Path) -> Path:
    """A directory for this member, with its number and its configuration; the latter's path."""
    directory = data_dir / f"member{sid}"
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "myid").write_text(f"{sid}\n")
    shown = f"[{host}]" if ":" in host else host
    lines = [
        f"dataDir={os.path.abspath(directory)}",
        f"clientPort={port + sid - 1}",
        f"clientPortAddress={host}",
        f"tickTime={TICK_MS}",
        "initLimit=20",
        "syncLimit=10",
        "standaloneEnabled=false",
        *(
            f"server.{one}={shown}:{port + QUORUM_OFFSET + one - 1}:{port + ELECTION_OFFSET + one - 1}"
            for one in range(1, count + 1)
        ),
    ]
    path = data_dir / f"member{sid}.cfg"
    path.write_text("".join(f"{line}\n" for line in lines))
    return Path(os.path.abspath(path))


def _serves(host: str, port: int) -> bool:
    """Are clients served there?"""
    try:
        with socket.create_connection((host, port), timeout=1) as sock:
            sock.sendall(b"srvr")
            answer = b""
            while part := sock.recv(4096):
                answer += part
    except OSError:
        return False
    return b"Mode: " in answer
