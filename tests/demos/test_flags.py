"""Feature flags for 200 services: all see each change, in order, within a second, and over a restart of the server."""

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from kazoo.client import KazooClient

from tests.system.processes import ROOT, ServerProcess
from zkpy.recipes import Config

pytestmark = pytest.mark.slow

SUBSCRIBERS = 200
PROCESSES = 4
FLAGS = "/flags"
#: So many flags are switched, one after the other, with so long in between, and after so many the server is restarted.
SWITCHED = 30
RESTARTED = 20
PAUSE_S = 0.5
LIMIT_S = 1.0
#: Far above what anything here takes.
PATIENCE_S = 120.0

Heard = list[tuple[int, float]]


class Services:
    """A process with its share of the subscribers."""

    def __init__(self, hosts: str) -> None:
        command = [sys.executable, "-m", "tests.demos.subscriber", hosts, FLAGS, str(SUBSCRIBERS // PROCESSES)]
        self.process = subprocess.Popen(
            command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
        )

    def ready(self) -> None:
        """Wait until all follow."""
        assert self._line() == "ready\n"

    def heard(self) -> list[Heard]:
        """What each subscriber has heard until now."""
        assert self.process.stdin is not None
        self.process.stdin.write("\n")
        return [[(number, when_s) for number, when_s in one] for one in json.loads(self._line())]

    def _line(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline()


@contextmanager
def services(hosts: str) -> Iterator[list[Services]]:
    """All of them, until the end."""
    processes = [Services(hosts) for _ in range(PROCESSES)]
    try:
        for each in processes:
            each.ready()
        yield processes
    finally:
        for each in processes:
            each.process.kill()
            each.process.communicate()


def all_heard(processes: list[Services], last: int) -> list[Heard]:
    """What each subscriber has heard, once all have heard of this change; or when it has taken too long."""
    deadline_s = time.monotonic() + PATIENCE_S
    while True:
        heard = [one for each in processes for one in each.heard()]
        if all(one and one[-1][0] == last for one in heard) or time.monotonic() > deadline_s:
            return heard
        time.sleep(0.2)


def percentile(delays_s: list[float], share: float) -> float:
    return sorted(delays_s)[min(len(delays_s) - 1, int(len(delays_s) * share))]


def test_200_subscribers_see_each_change_in_order_and_soon_and_over_a_restart(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with ServerProcess(tmp_path / "data") as server:
        server.config["clientPort"] = str(server.port)
        hosts = f"127.0.0.1:{server.port}"
        operator = KazooClient(hosts, timeout=60)
        operator.start(timeout=PATIENCE_S)
        with Config(operator, FLAGS, timeout_s=PATIENCE_S) as flags:
            flags.change({f"flag-{number}": 0 for number in range(1, SWITCHED + 1)})
            sent_s: dict[int, float] = {}
            with services(hosts) as processes:
                for number in range(1, SWITCHED + 1):
                    if number == RESTARTED + 1:
                        before = all_heard(processes, number - 1)
                        server.kill()
                        server.start()
                    sent_s[number] = time.monotonic()
                    flags.set(f"flag-{number}", number)
                    time.sleep(PAUSE_S)
                heard = all_heard(processes, SWITCHED)
        operator.stop()
        operator.close()
    delays_s = [when_s - sent_s[number] for one in before for number, when_s in one]
    later_s = [when_s - sent_s[number] for one in heard for number, when_s in one if number > RESTARTED]
    with capsys.disabled():
        print(
            f"\n{SUBSCRIBERS} subscribers, {SWITCHED} changes: median {percentile(delays_s, 0.5) * 1000:.0f} ms,"
            f" p99 {percentile(delays_s, 0.99) * 1000:.0f} ms, at most {max(delays_s) * 1000:.0f} ms;"
            f" after a restart at most {max(later_s) * 1000:.0f} ms"
        )
    # Each flag is switched once: whoever misses one, hears of one twice or in another order has another list.
    assert [[number for number, _ in one] for one in heard] == [list(range(1, SWITCHED + 1))] * SUBSCRIBERS
    assert percentile(delays_s, 0.99) < LIMIT_S
