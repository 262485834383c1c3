"""One server for a test, with data that goes away."""

import tempfile
from pathlib import Path
from typing import Any

from zkpy.server.config import Config
from zkpy.testing.embedded import Embedded
from zkpy.testing.errors import ControlError
from zkpy.testing.ports import HOST, Ports

#: Sessions may be as short as two ticks, and expire at most one tick late.
TICK_MS = 100
#: What suits a test: any number of clients, every four-letter word, TTL nodes, and small files.
DEFAULTS = {
    "client_address": HOST,
    "max_client_cnxns": 0,
    "four_letter_whitelist": frozenset("*"),
    "extended_types_enabled": True,
    "pre_alloc_kb": 64,
    "purge_interval_hours": 0,
    "max_session_timeout_ms": 60_000,
}


class Server(Embedded):
    """A server on a free port of 127.0.0.1, from the beginning of the block to its end.

    with Server() as server:
        client = KazooClient(server.hosts)
    """

    def __init__(
        self, *, data_dir: Path | None = None, durable: bool = False, tick_time_ms: int = TICK_MS, **settings: Any
    ) -> None:
        """`data_dir`: where the data stays; without it, a temporary directory.

        `durable`: sync each write to the disk before it is acknowledged, as a server does that must survive a power
        failure; a test seldom needs that, and is faster without. `tick_time_ms`: sessions last two ticks at least.
        `settings`: more fields of `zkpy.server.config.Config`. Raises ControlError for one that there is not.
        """
        self._data_dir = data_dir
        self._temporary: tempfile.TemporaryDirectory[str] | None = None
        self._ports: Ports | None = None
        self._settings = {**settings_for(durable, tick_time_ms), **settings}
        super().__init__(config_of(Path(), self._settings), "the server")

    def __enter__(self) -> "Server":
        if self._ports is not None:
            raise ControlError("this server is in use already: make one more for another block")
        self._ports = Ports(1)
        if self._data_dir is None:
            self._temporary = tempfile.TemporaryDirectory(prefix="zkpy-")
        directory = self._data_dir or Path(self._temporary.name if self._temporary else "")
        self.config = config_of(directory, {**self._settings, "client_port": self._ports.numbers[0]})
        try:
            self.start()
        except BaseException:
            self._clean_up()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self.stop()
        finally:
            self._clean_up()

    def _clean_up(self) -> None:
        if self._ports is not None:
            self._ports.close()
            self._ports = None
        if self._temporary is not None:
            self._temporary.cleanup()
            self._temporary = None


def settings_for(durable: bool, tick_time_ms: int) -> dict[str, Any]:
    """The fields of a server's configuration that tests want different."""
    ticks = {"tick_time_ms": tick_time_ms, "min_session_timeout_ms": 2 * tick_time_ms}
    return {**DEFAULTS, **ticks, "force_sync": durable}


def config_of(data_dir: Path, settings: dict[str, Any]) -> Config:
    """The configuration with these fields. Raises ControlError for a name that is none."""
    try:
        return Config.standalone(data_dir, **settings)
    except TypeError as error:
        raise ControlError(f"no such setting: {error}; the fields of zkpy.server.config.Config are") from None
