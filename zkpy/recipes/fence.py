"""The fence of a protected resource: the few lines by which it rejects holders that are no longer.

A lock alone cannot stop a holder that was paused, or whose packets were late: only the resource can, by refusing every
token older than the newest it has seen. Nothing here talks to ZooKeeper.

    a token in exclusive mode is admitted if no newer one of any mode was, one in shared mode if no newer exclusive one

A fence stops the old holder once the new one has come by. Before that moment the old one's requests are in nobody's
way, unless the new one has *read* what it will rely on elsewhere: then read through the fence, too.

Places of a semaphore do not exclude each other, so no order of tokens says which is stale; use `check_sequencer`.

After Chubby (Burrows, OSDI 2006), section 2.4: a server checks sequencers "against the most recent sequencer that the
server has observed".
"""

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from zkpy.recipes.errors import StaleSequencer
from zkpy.recipes.sequencer import Mode, Sequencer


def _read(sequencer: Sequencer | str) -> Sequencer:
    known = Sequencer.parse(sequencer) if isinstance(sequencer, str) else sequencer
    if known.mode is Mode.PLACE:
        raise ValueError("a semaphore's places have no order to be fenced by: ask check_sequencer")
    return known


class MemoryFence:
    """A fence for a resource that lives in this process, and no longer than it does. Safe for threads."""

    def __init__(self) -> None:
        self._mutex = threading.RLock()
        #: Path → newest token in exclusive mode, newest token in any mode.
        self._seen: dict[str, tuple[int, int]] = {}

    def admit(self, sequencer: Sequencer | str) -> None:
        """Let this holder pass, and nobody older from now on.

        Takes a sequencer or its text form. Raises StaleSequencer if a newer holder has passed, BadSequencer if it is
        none, ValueError for a semaphore's.
        """
        known = _read(sequencer)
        with self._mutex:
            exclusive, newest = self._seen.get(known.path, (0, 0))
            if known.token < (newest if known.mode is Mode.EXCLUSIVE else exclusive):
                raise StaleSequencer(f"{known} is older than token {newest}, which has been here")
            if known.mode is Mode.EXCLUSIVE:
                exclusive = known.token
            self._seen[known.path] = (exclusive, max(newest, known.token))

    @contextmanager
    def admitted(self, sequencer: Sequencer | str) -> Iterator[None]:
        """As `admit`, and nobody else passes before the block is left: check and effect are one step."""
        with self._mutex:
            self.admit(sequencer)
            yield


class SqlFence:
    """A fence in a table beside the protected ones, in a SQL database.

        fence = SqlFence()
        with connection:  # one transaction
            fence.admit(connection, sequencer)
            connection.execute("INSERT INTO payments …")

    The check and the writes are one transaction of the caller's: either both happen or neither does, and two holders'
    transactions come one after the other, for both write the fence's row. For sqlite3; the two statements are those of
    PostgreSQL as well.
    """

    def __init__(self, table: str = "fence") -> None:
        """`table`: an identifier, as `create` makes it. Raises ValueError if it is none."""
        if not table.isidentifier():
            raise ValueError(f"not the name of a table: {table!r}")
        self._table = table

    def create(self, connection: sqlite3.Connection) -> None:
        """Make the table unless it is there."""
        connection.execute(
            f"CREATE TABLE IF NOT EXISTS {self._table}"
            " (path TEXT PRIMARY KEY, exclusive BIGINT NOT NULL, newest BIGINT NOT NULL)"
        )

    def admit(self, connection: sqlite3.Connection, sequencer: Sequencer | str) -> None:
        """Let this holder pass, and nobody older once the transaction has committed.

        Takes a sequencer or its text form, within a transaction (sqlite3 begins one by itself unless `autocommit` or
        an `isolation_level` of None says otherwise). Raises as `MemoryFence.admit`; roll the transaction back then.
        """
        known = _read(sequencer)
        if known.mode is Mode.EXCLUSIVE:
            values = (known.path, known.token, known.token)
            change = "exclusive = excluded.exclusive, newest = excluded.newest"
            seen = "newest"
        else:
            values = (known.path, 0, known.token)
            change = f"newest = max({self._table}.newest, excluded.newest)"
            seen = "exclusive"
        done = connection.execute(
            f"INSERT INTO {self._table} (path, exclusive, newest) VALUES (?, ?, ?)"
            f" ON CONFLICT (path) DO UPDATE SET {change} WHERE {self._table}.{seen} <= excluded.newest",
            values,
        )
        if done.rowcount == 0:
            raise StaleSequencer(f"{known} is older than one that has been here")
