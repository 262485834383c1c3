"""A disk whose syncs take as long as a test says: `slow_sync.py FILE ARGUMENTS...` is `zkpy ARGUMENTS...` on one.

Nothing of it is in the server's code. In the process that this starts, `os.fsync` and `os.fdatasync` do what they
always do, and then come back only when the time is over; they wait as the real ones do, without the interpreter. The
time may change while the server runs, and the disk may be made to stand still: see `SlowSync`.
"""

import fcntl
import os
import runpy
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

#: What the server puts into the file that counts its syncs.
BEGUN = b"("
DONE = b")"


class SlowSync:
    """The test's side: what the disk does, and how often it has been asked to."""

    def __init__(self, path: Path, sync_ms: float = 0.0) -> None:
        """`path` is for the two files that this and the server have in common."""
        self.path = path
        self._count_path = _count_path(path)
        self._count_path.touch()
        path.touch()
        self.set(sync_ms)

    def command(self) -> list[str]:
        """What stands in place of `python -m zkpy`."""
        return [sys.executable, str(Path(__file__).resolve()), str(self.path)]

    def set(self, sync_ms: float) -> None:
        """From now on a sync takes at least so long. None is under way when this returns."""
        with self.standing_still():
            self.path.write_text(f"{sync_ms}\n")

    @contextmanager
    def standing_still(self) -> Iterator[None]:
        """No sync comes to its end meanwhile."""
        with self.path.open() as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    @property
    def count(self) -> int:
        """How many syncs of a txn log (fdatasync) have begun."""
        return self._count_path.read_bytes().count(BEGUN)

    @property
    def is_busy(self) -> bool:
        """Is one under way?"""
        return self._count_path.read_bytes().endswith(BEGUN)


def _count_path(path: Path) -> Path:
    return path.with_name(path.name + ".count")


def _slowed(sync: Callable[[int], None], path: str, count_fd: int) -> Callable[[int], None]:
    def slow_sync(fd: int) -> None:
        began_s = time.perf_counter()
        if count_fd >= 0:
            os.write(count_fd, BEGUN)
        sync(fd)
        with open(path) as file:
            fcntl.flock(file, fcntl.LOCK_SH)
            least_s = float(file.read()) / 1000
            time.sleep(max(0.0, began_s + least_s - time.perf_counter()))
            # Still with the lock: for whoever has it alone none is under way, or one that has to wait for him.
            if count_fd >= 0:
                os.write(count_fd, DONE)

    return slow_sync


def main() -> None:
    """Be zkpy, on a slow disk."""
    path = sys.argv.pop(1)
    del sys.path[0]  # this folder: no place of zkpy's
    count_fd = os.open(_count_path(Path(path)), os.O_WRONLY | os.O_APPEND)
    os.fdatasync = _slowed(os.fdatasync, path, count_fd)  # type: ignore[assignment]
    os.fsync = _slowed(os.fsync, path, -1)  # type: ignore[assignment]
    runpy.run_module("zkpy", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
