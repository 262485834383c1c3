"""Five replicas of a payments service under one leader, which is killed, paused and cut off, round after round.

replica (process) ─→ Proxy, to be cut or frozen ─→ server        replica ─→ ledger behind a fence, or without
"""

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.demos.payer import TIMEOUT_S, open_ledger
from tests.recipes.proxy import Proxy
from tests.system.processes import ROOT, ServerProcess, Waiting
from zkpy.recipes.lease import now_s

pytestmark = pytest.mark.slow

REPLICAS = 5
ROUNDS = 30
OPEN_ROUNDS = 2
TAKEOVER_S = TIMEOUT_S + 1.0
#: Far above anything: a run that takes so long hangs.
PATIENCE_S = 60.0
#: How long a new leader pays before the old one comes back.
REIGN_S = 0.15


class Service:
    """The replicas, their links and their ledger; a context manager."""

    def __init__(self, directory: Path, server: ServerProcess, kind: str) -> None:
        assert server.process is not None
        self.directory = directory
        self.server = server.process.pid
        self.kind = kind
        self.ledger = open_ledger(directory)
        self.proxies = {f"replica-{number}": Proxy(server.port) for number in range(REPLICAS)}
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        (directory / "beliefs").touch()
        # Read on from where it was read to; each line was written at once.
        self._told = (directory / "beliefs").open()
        self._beliefs: dict[int, tuple[str, float, float]] = {}

    def __enter__(self) -> "Service":
        for name in self.proxies:
            self.start(name)
        return self

    def __exit__(self, *_: object) -> None:
        for process in self.processes.values():
            process.kill()
            process.wait()
        for proxy in self.proxies.values():
            proxy.close()
        self._told.close()
        self.ledger.close()

    def start(self, name: str) -> None:
        """A replica of this name."""
        command = [sys.executable, "-m", "tests.demos.payer", self.proxies[name].hosts, str(self.directory), name]
        with (self.directory / f"{name}.log").open("ab") as log:
            self.processes[name] = subprocess.Popen(
                [*command, self.kind], cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, stderr=log
            )

    def beliefs(self) -> dict[int, tuple[str, float, float]]:
        """Token → who believed itself leader under it, from when, and until when at most."""
        found = self._beliefs
        for line in self._told:
            name, token, since_s, until_s = json.loads(line)
            found[token] = (name, since_s, max(until_s, found[token][2] if token in found else 0.0))
        return dict(found)

    def wait_newer(self, token: int) -> int:
        """Wait for a leader with a newer token; that."""
        deadline_s = now_s() + PATIENCE_S
        while now_s() < deadline_s:
            newest = max(self.beliefs(), default=0)
            if newest > token:
                return newest
            time.sleep(0.02)
        raise AssertionError(f"no leader after token {token}")

    def blow(self, how: str) -> float:
        """Strike the leader; how long it took until the next one led, less what the machine kept it and us waiting for
        a processor. All is well again then."""
        token = self.wait_newer(0)
        name = self.beliefs()[token][0]
        process, proxy = self.processes[name], self.proxies[name]
        # All but the victim, who may be as late as he likes.
        others = [self.server, os.getpid(), *(one.pid for one in self.processes.values() if one is not process)]
        struck_s, waiting = now_s(), Waiting(*others)
        if how == "kill":
            process.kill()
            process.wait()
        elif how == "pause":
            process.send_signal(signal.SIGSTOP)
        elif how == "cut":
            proxy.cut()
        else:
            proxy.freeze()
        newer = self.wait_newer(token)
        waited_s = waiting.seconds()
        time.sleep(REIGN_S)
        if how == "kill":
            self.start(name)
        elif how == "pause":
            process.send_signal(signal.SIGCONT)
        else:
            proxy.thaw()
            proxy.mend()
        return self.beliefs()[newer][1] - struck_s - waited_s

    def paid_twice(self) -> list[int]:
        """The payments that were carried out more than once."""
        return [number for number, times in Counter(self._column("paid")).items() if times > 1]

    def refused(self) -> int:
        """How often the fence stopped somebody."""
        return len(self._column("refused"))

    def _column(self, table: str) -> list[Any]:
        return [row[0] for row in self.ledger.execute(f"SELECT number FROM {table}")]


def overlaps(beliefs: dict[int, tuple[str, float, float]]) -> list[tuple[int, int]]:
    """The pairs of tokens that somebody believed in at the same moment."""
    tokens = sorted(beliefs)
    return [
        (one, other)
        for at, one in enumerate(tokens)
        for other in tokens[at + 1 :]
        if beliefs[other][1] < beliefs[one][2] and beliefs[one][1] < beliefs[other][2]
    ]


def test_a_leader_at_a_time_pays_everything_once_whatever_becomes_of_it(tmp_path: Path) -> None:
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")
    dice = random.Random(seed)
    took_s: dict[str, list[float]] = {"kill": [], "pause": [], "cut": [], "freeze": []}
    with (
        ServerProcess(tmp_path / "data", tickTime="200") as server,
        Service(tmp_path, server, "fenced") as service,
    ):
        for number in range(ROUNDS):
            time.sleep(dice.uniform(0.0, 0.1))
            how = list(took_s)[number] if number < len(took_s) else dice.choice(list(took_s))
            took_s[how].append(service.blow(how))
        time.sleep(1.0)  # for those who came back last
        beliefs, paid = service.beliefs(), len(service._column("paid"))
        for how, all_s in took_s.items():
            print(f"{how}: {len(all_s)} times, takeover within {max(all_s):.2f} s")
        print(f"{paid} payments by {len(beliefs)} leaders, {service.refused()} late ones refused")
        assert service.paid_twice() == []
        assert overlaps(beliefs) == []
        assert service.refused(), "nobody came late: the fence was not tried"
        assert max(max(all_s) for all_s in took_s.values()) <= TAKEOVER_S
        assert sorted(service._column("paid")) == list(range(1, paid + 1))


def test_without_the_fence_a_leader_that_was_paused_pays_again(tmp_path: Path) -> None:
    with (
        ServerProcess(tmp_path / "data", tickTime="200") as server,
        Service(tmp_path, server, "open") as service,
    ):
        for _ in range(10 * OPEN_ROUNDS):
            service.blow("pause")
            time.sleep(0.3)
            if len(service.paid_twice()) >= OPEN_ROUNDS:
                break
        print(f"paid twice: {service.paid_twice()}")
        assert len(service.paid_twice()) >= OPEN_ROUNDS
        # It is not the election that failed.
        assert overlaps(service.beliefs()) == []


def test_beliefs_that_overlap_are_found() -> None:
    assert overlaps({1: ("a", 0.0, 2.0), 5: ("b", 1.9, 3.0), 7: ("c", 3.0, 4.0)}) == [(1, 5)]
