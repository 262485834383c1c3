"""One data directory and the servers that take turns over it."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from compat_tests.differential.pools import SUPER_DIGEST
from compat_tests.peers import Server, server

from .story import await_true

#: Short ticks, so that sessions may be short; the long ones outlive any test. Small logs, for they are copied.
CONFIG = {
    "tickTime": "200",
    "maxSessionTimeout": "60000",
    "preAllocSize": "1024",
    "extendedTypesEnabled": "true",
    "DigestAuthenticationProvider.superDigest": SUPER_DIGEST,
}
#: Containers are looked for at once.
FLAGS = "-Dznode.container.checkIntervalMs=100"


class Exchange:
    """A data directory; `serving` starts a server over it."""

    def __init__(self, data_dir: Path, config: dict[str, str] | None = None, flags: str = "") -> None:
        """`config` and `flags` are added to what all these tests need."""
        self.data_dir = data_dir
        self.config = {**CONFIG, **(config or {})}
        self.flags = f"{FLAGS} {flags}".strip()

    @property
    def log_dir(self) -> Path:
        """Where the logs are."""
        return Path(self.config.get("dataLogDir", str(self.data_dir))) / "version-2"

    @property
    def snap_dir(self) -> Path:
        """Where the snapshots are."""
        return self.data_dir / "version-2"

    def logs(self) -> list[Path]:
        """The log files, oldest first."""
        return sorted(self.log_dir.glob("log.*"), key=_zxid)

    def snapshots(self) -> list[Path]:
        """The snapshots, oldest first."""
        return sorted(self.snap_dir.glob("snapshot.*"), key=_zxid)

    def await_snapshot(self, zxid: int) -> None:
        """Wait until the newest snapshot is that of this zxid."""
        await_true(lambda: _zxid(self.snapshots()[-1]) == zxid, f"a snapshot of {zxid:#x}")

    @contextmanager
    def serving(self, kind: str, *, kill: bool = False) -> Iterator[Run]:
        """A server of this kind over the directory; at the end it is stopped, or killed."""
        one = server(kind, self.data_dir, config=self.config, jvm_flags=self.flags)
        before = len(one.log())
        one.start()
        try:
            yield Run(one, before)
            if kill:
                one.kill()
            else:
                assert one.stop() == (143 if kind == "apache" else 0)
        finally:
            one.kill()

    def copy(self, data_dir: Path) -> Exchange:
        """The same directory once more, under a name of its own. The servers must be down."""
        assert "dataLogDir" not in self.config
        shutil.copytree(self.data_dir, data_dir, ignore=shutil.ignore_patterns(".zkpy.lock"))
        twin = Exchange(data_dir)
        twin.config, twin.flags = self.config, self.flags
        return twin


class Run:
    """A running server and what it has logged since it was started."""

    def __init__(self, one: Server, before: int) -> None:
        self.server = one
        self._before = before

    def complaints(self) -> list[str]:
        """The warnings and errors in its log, without times, threads and numbers.

        Those of connections are left out: they are about how clients left, at one time or another.
        """
        found = []
        for line in self.server.log()[self._before :].splitlines():
            if "NIOServerCnxn" in line:
                continue
            matched = re.search(r"\b(WARN|WARNING|ERROR|FATAL)\b(.*)", line, re.IGNORECASE)
            if matched is not None:
                found.append(_plain(matched[0]))
        return found


def _plain(text: str) -> str:
    text = re.sub(r"\[[^]]*\]", "", text)
    return re.sub(r"(0x)?[0-9a-f]*[0-9][0-9a-f]*", "N", text)


def _zxid(path: Path) -> int:
    return int(path.name.split(".")[1], 16)
