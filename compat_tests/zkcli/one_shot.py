"""zkCli with its command on the command line: it runs that one, prints, and exits with a status that tells."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path

from compat_tests import peers

from .session import DEADLINE_S, EXITING, Client, Reader, command
from .transcript import Entry, Transcript

STDERR = "on stderr:"


@dataclass(frozen=True)
class Shot:
    """Arguments, and what must come of them: exit status, the beginning of a line on stdout and of one on stderr."""

    arguments: str
    status: int
    out: str = ""
    err: str = ""
    chroot: str = ""


SHOTS = (
    Shot("create /a data", 0, err="Created /a"),
    Shot("-r get -s /a", 0, out="data"),
    Shot("-waitforconnection ls /", 0, out="[a, zookeeper]"),
    Shot("set -s -v 0 /a new", 0, out="dataVersion = 1"),
    Shot("-unknown create -e /b", 0, err="Created /b", chroot="/a"),
    Shot("whoami", 0, out="ip: 127.0.0.1"),
    # These do not wait for their session, or leave behind one that soon ends: from here on zxids are a matter of luck.
    Shot("version", 0, out="ZooKeeper CLI version: 3.9.5-"),
    Shot("nosuch /a", 127, err="Command not found: Command not found nosuch"),
    Shot("-timeout 4000 -waitforconnection -r set /none x", 1, err="Node does not exist: /none"),
)


def fire(kind: str, directory: Path, client: Client = command, shots: tuple[Shot, ...] = SHOTS) -> Transcript:
    """All the shots at a fresh server, as a transcript; of each entry's lines those behind STDERR came there."""
    with peers.server(kind, directory / f"{kind}-shots") as server:
        transcript = Transcript(server.hosts)
        for shot in shots:
            done = subprocess.run(
                [*client(directory), "-server", server.hosts + shot.chroot, *shot.arguments.split()],
                stdin=subprocess.DEVNULL, capture_output=True, timeout=DEADLINE_S,
            )  # fmt: skip
            reader = Reader()
            reader.feed(done.stdout)
            # Without -waitforconnection it may end before the event of its connection is printed.
            events = reader.events if "-waitforconnection" in shot.arguments else []
            lines = [
                *reader.lines,
                STDERR,
                *(line for line in done.stderr.decode().splitlines() if not EXITING.match(line)),
                f"exit status {done.returncode}",
            ]
            transcript.add(Entry(1, shot.arguments, lines, [(1, event) for event in events]))
    return transcript
