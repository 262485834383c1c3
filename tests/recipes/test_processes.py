"""Holders in processes of their own that are paused and killed, against a real server."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.recipes import holder
from tests.recipes.fixtures import PATIENCE_S, Connect
from zkpy.recipes import GuardedTransaction, Lock, MemoryFence, NotHeld, Sequencer, StaleSequencer, check_sequencer

ROOT = Path(__file__).resolve().parents[2]


@contextmanager
def holding(port: int, path: str, lock_delay_s: float) -> Iterator[tuple["subprocess.Popen[str]", Sequencer]]:
    """A process that holds the lock with a session of a second."""
    process = subprocess.Popen(
        [sys.executable, "-m", holder.__name__, str(port), path, "1.0", str(lock_delay_s)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    try:
        assert process.stdout is not None
        yield process, Sequencer.parse(process.stdout.readline())
    finally:
        process.kill()
        process.communicate()


def test_a_holder_that_was_paused_past_its_deadline_knows_when_it_wakes(connect: Connect, port: int, path: str) -> None:
    client = connect()
    client.create(f"{path}-ledger", makepath=True)
    with holding(port, path, 0) as (process, sequencer):
        process.send_signal(signal.SIGSTOP)
        with Lock(client, path).acquire(PATIENCE_S) as grant:
            acquired_s = time.monotonic()
            fence = MemoryFence()
            fence.admit(grant.sequencer)
            process.send_signal(signal.SIGCONT)
            assert process.stdout is not None
            for line in process.stdout:
                standing, _, moment_s = line.partition(" ")
                if standing == "lost":
                    break
                assert float(moment_s) < acquired_s, "two held it at one moment"
            else:
                pytest.fail("it ended while it held")
            # Whatever it sends late is refused everywhere.
            assert not check_sequencer(client, sequencer)
            with pytest.raises(StaleSequencer):
                fence.admit(sequencer)
            with pytest.raises(NotHeld), GuardedTransaction(client, sequencer) as transaction:
                transaction.set_data(f"{path}-ledger", b"late")


def test_a_killed_holders_lock_is_free_after_its_session_and_its_delay(connect: Connect, port: int, path: str) -> None:
    client = connect()
    with holding(port, path, 0.7) as (process, sequencer):
        process.kill()
        killed_s = time.monotonic()
        with Lock(client, path).acquire(PATIENCE_S) as grant:
            assert time.monotonic() - killed_s >= 0.7
            assert grant.token > sequencer.token
