"""kazoo clients that know every member, and go on while members come and go."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from kazoo.client import KazooClient
from kazoo.exceptions import ConnectionLoss, NodeExistsError, OperationTimeoutError, SessionExpiredError

from .ensemble import PATIENCE_S, await_true

#: How often a request is sent anew before its failure counts: a leader's death costs a few.
_RETRY = {"max_tries": -1, "delay": 0.02, "backoff": 1, "max_jitter": 0.0, "ignore_expire": False}


def kazoo_client(hosts: str, timeout_s: float = 60.0) -> KazooClient:
    """A client that tries all hosts, soon and again; not started."""
    return KazooClient(
        hosts, timeout=timeout_s, connection_retry=dict(_RETRY), command_retry={**_RETRY, "deadline": PATIENCE_S}
    )


@contextmanager
def started(hosts: str, timeout_s: float = 60.0) -> Iterator[KazooClient]:
    """A started client, closed at the end."""
    client = kazoo_client(hosts, timeout_s)
    client.start(PATIENCE_S)
    try:
        yield client
    finally:
        client.stop()
        client.close()


class Load:
    """A client in a thread that creates one node after another, each until it is acknowledged."""

    def __init__(self, hosts: str, root: str) -> None:
        self.root = root
        self.acknowledged = 0
        self._failure: BaseException | None = None
        self._is_over = False
        self._client = kazoo_client(hosts)
        self._client.start(PATIENCE_S)
        self._client.create(root)
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def await_progress(self, count: int = 20) -> None:
        """Wait until so many more are acknowledged."""
        goal = self.acknowledged + count
        await_true(lambda: self.acknowledged >= goal or self._failure is not None, f"{self.root} grows")
        assert self._failure is None, repr(self._failure)

    def finish(self) -> set[str]:
        """Stop; the paths of all that was acknowledged."""
        self._is_over = True
        self._thread.join(PATIENCE_S)
        assert not self._thread.is_alive()
        self._client.stop()
        self._client.close()
        assert self._failure is None, repr(self._failure)
        return {f"{self.root}/{number}" for number in range(self.acknowledged)}

    def _run(self) -> None:
        try:
            while not self._is_over:
                self._create(f"{self.root}/{self.acknowledged}")
                self.acknowledged += 1
                time.sleep(0.002)  # the members have other things to do as well
        except BaseException as failure:
            self._failure = failure

    def _create(self, path: str) -> None:
        deadline = time.monotonic() + PATIENCE_S
        while True:
            try:
                self._client.create(path, b"load")
                return
            except NodeExistsError:
                return  # by the try before, whose answer was lost
            except (ConnectionLoss, OperationTimeoutError):
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.01)


class Locker:
    """A client in a thread that takes a lock, holds it for a moment, and gives it back, again and again."""

    def __init__(self, hosts: str, path: str, holders: list[int], number: int) -> None:
        """`holders`: who is inside now, shared by all; more than one is what must not happen."""
        self.entered = 0
        self.failure: BaseException | None = None
        self._holders = holders
        self._number = number
        self._is_over = False
        self._client = kazoo_client(hosts)
        self._client.start(PATIENCE_S)
        self._lock = self._client.Lock(path, str(number))
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def finish(self) -> None:
        """Stop, once outside."""
        self._is_over = True
        self._thread.join(PATIENCE_S)
        assert not self._thread.is_alive()
        self._client.stop()
        self._client.close()
        assert self.failure is None, repr(self.failure)

    def _run(self) -> None:
        try:
            while not self._is_over:
                if self._enter():
                    self._hold()
        except BaseException as failure:
            self.failure = failure

    def _enter(self) -> bool:
        try:
            return bool(self._lock.acquire(timeout=PATIENCE_S))
        except (ConnectionLoss, SessionExpiredError, OperationTimeoutError):
            return False

    def _hold(self) -> None:
        self._holders.append(self._number)
        for _ in range(10):
            assert self._holders == [self._number], f"the lock has several holders: {self._holders}"
            time.sleep(0.001)
        self._holders.remove(self._number)
        self.entered += 1
        self._client.retry(self._lock.release)
