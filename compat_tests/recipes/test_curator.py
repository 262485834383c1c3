"""Contenders of Curator's InterProcessMutex in one line with ours, against both servers."""

from __future__ import annotations

import select
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType

import pytest
from kazoo.client import KazooClient

from compat_tests.peers import JAVA_FLAGS, Server, classpath, require
from tests.recipes.fixtures import PATIENCE_S, Connect, until
from zkpy.recipes import Lock, Mode, NotAcquired, who

SOURCE = Path(__file__).with_name("CuratorContender.java")


class Curator:
    """The Java program, over one lock."""

    def __init__(self, port: int, path: str) -> None:
        self._process = subprocess.Popen(
            ["java", *JAVA_FLAGS, "-cp", classpath("curator"), str(SOURCE), f"127.0.0.1:{port}", path],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            bufsize=1,
        )

    def say(self, line: str) -> None:
        assert self._process.stdin is not None
        print(line, file=self._process.stdin, flush=True)

    def hear(self) -> str:
        assert self._process.stdout is not None
        assert select.select([self._process.stdout], [], [], PATIENCE_S)[0], "it says nothing"
        return self._process.stdout.readline().strip()

    def ask(self, line: str) -> str:
        self.say(line)
        return self.hear()

    def __enter__(self) -> Curator:
        assert self.hear() == "connected"
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, tb: TracebackType | None) -> None:
        self._process.kill()
        self._process.communicate()


@pytest.fixture(scope="module", params=["zkpy", "apache"])
def port(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """A server of either kind."""
    require("curator", *(["apache"] if request.param == "apache" else []))
    with Server(request.param, tmp_path_factory.mktemp("curator") / "data") as server:
        yield server.port


def waits(client: KazooClient, path: str, count: int) -> None:
    until(lambda: len(who(client, path).waiters) == count)


def test_curators_mutex_and_ours_take_turns_in_the_order_of_arrival(connect: Connect, port: int, path: str) -> None:
    client = connect()
    with Curator(port, path) as curator, ThreadPoolExecutor() as pool:
        with Lock(client, path, owner="first").acquire(PATIENCE_S):
            assert curator.ask("acquire 0") == "not acquired"
            curator.say(f"acquire {PATIENCE_S * 1000:.0f}")
            waits(client, path, 1)
            ours = pool.submit(Lock(client, path, owner="second").acquire, PATIENCE_S)
            waits(client, path, 2)
            assert [waiter.mode for waiter in who(client, path).waiters] == [Mode.EXCLUSIVE] * 2
        assert curator.hear() == "acquired"
        assert not ours.done()
        with pytest.raises(NotAcquired):
            Lock(client, path, shared=True).acquire(timeout_s=0)
        (holder,) = who(client, path).holders
        assert holder.owner != "second"
        assert curator.ask("release") == "released"
        with ours.result(PATIENCE_S) as grant:
            assert grant.token > holder.token
            assert curator.ask("acquire 100") == "not acquired"
        assert curator.ask(f"acquire {PATIENCE_S * 1000:.0f}") == "acquired"
        assert curator.ask("release") == "released"

        # Our readers share among themselves, and shut Curator's mutex out.
        with Lock(client, path, shared=True).acquire(PATIENCE_S) as one:
            with Lock(client, path, shared=True).acquire(PATIENCE_S):
                assert curator.ask("acquire 100") == "not acquired"
            curator.say(f"acquire {PATIENCE_S * 1000:.0f}")
            waits(client, path, 1)
            one.release()
            assert curator.hear() == "acquired"
        assert curator.ask("release") == "released"

        # A marker of a lock-delay stands among Curator's contenders, and is none.
        with Lock(client, path, lock_delay_s=60).acquire(PATIENCE_S) as grant:
            client.delete(grant.sequencer.node_path)
            assert grant.wait_lost(PATIENCE_S)
        assert curator.ask(f"acquire {PATIENCE_S * 1000:.0f}") == "acquired"
