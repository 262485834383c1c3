"""The transcripts in testdata: whole elections, discoveries, synchronizations and broadcasts of servers in memory.

    world voters=3 observers=1 sync=5 keep=500 tail=500    servers that are not started; the time is 0
    start 1 2 3          crash 3 keeps=1                   a crash keeps so many steps of pending disk work
    cut 1 from 2 3       cut silently 1 from 2 3           heal
    propose 3 at=2       run 250       settle              `settle` runs until all that run serve the same tree
    show                                                   what each server has

A line of an answer begins with the time in ms; an arrow is a packet that is sent. `quietly` leaves the lines out, and
the pings are left out always.
"""

from pathlib import Path

import pytest

from tests.datadriven import Command, run
from tests.zab.network import World, span
from zkpy.proto.notification import STATE_NAMES

TESTDATA = Path(__file__).parent / "testdata"


class Player:
    """One transcript's world."""

    def __init__(self) -> None:
        self.world = World(0)

    def play(self, command: Command) -> str:
        getattr(self, f"do_{command.name}")(command)
        lines, self.world.lines = self.world.lines, []
        if "quietly" in command.words:
            return ""
        return "\n".join(line for line in lines if " PING" not in line)

    def do_world(self, command: Command) -> None:
        self.world = World(
            command.value("voters", 3),
            observers=command.value("observers", 0),
            sync_ms=command.value("sync", 1),
            commit_log_count=command.value("keep", 500),
            tail=command.value("tail", 500),
        )
        self.world.is_tracing = True

    def do_start(self, command: Command) -> None:
        for word in command.words:
            if word.isdigit():
                self.world.servers[int(word)].start()

    def do_crash(self, command: Command) -> None:
        for word in command.words:
            self.world.servers[int(word)].crash(command.value("keeps", 0))

    def do_cut(self, command: Command) -> None:
        words = [word for word in command.words if word != "silently"]
        at = words.index("from")
        some, others = map(int, words[:at]), map(int, words[at + 1 :])
        self.world.cut(some, others, silently="silently" in command.words)

    def do_heal(self, command: Command) -> None:
        self.world.heal()

    def do_propose(self, command: Command) -> None:
        leader = self.world.leader()
        assert leader is not None
        server = self.world.servers[command.value("at", leader.sid)]
        server.propose(int(command.words[0]))

    def do_run(self, command: Command) -> None:
        self.world.run(int(command.words[0]))

    def do_settle(self, command: Command) -> None:
        self.world.run_until(self.world.has_converged)

    def do_show(self, command: Command) -> None:
        for sid, server in sorted(self.world.servers.items()):
            disk = server.disk
            role = "down"
            if server.peer is not None:
                role = STATE_NAMES[server.role] + (" serving" if server.is_serving else "")
            log = span(disk.history) if disk.history else "nothing"
            tree = f" tree to {server.tree[-1][0]:#x}" if server.peer is not None and server.tree else ""
            self.world.lines.append(
                f"{sid} {role}, on disk {log} accepted={disk.accepted} current={disk.current}{tree}"
            )


@pytest.mark.parametrize("path", sorted(TESTDATA.glob("*.txt")), ids=lambda path: path.stem)
def test_transcript(path: Path, rewrite: bool) -> None:
    run(path, Player().play, rewrite=rewrite)
