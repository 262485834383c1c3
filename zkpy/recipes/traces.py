"""What one contender has at the servers, and how it goes away whatever becomes of the connection.

A contender's znodes all carry its id, so they are found again by whoever does not know whether they were made. The
ephemeral ones go with the session; the marker of a lock-delay goes only here, or when its delay has been waited out.
"""

import threading
import time
from collections.abc import Iterable, Sequence
from functools import partial

from kazoo.client import KazooClient
from kazoo.exceptions import NoNodeError, SessionExpiredError

from zkpy.recipes.asking import PAUSE_S, UNSURE, OutOfTime, ask, is_closed, verdict
from zkpy.recipes.lease import now_s
from zkpy.recipes.sequencer import join

#: What the name of every kind of marker holds, and that of no contender.
MARKER = "delay_"
#: How long somebody who gives up waits for the servers to forget it.
SOON_S = 1.0


class Traces:
    """The znodes of the contender with one id."""

    def __init__(self, client: KazooClient, contender_id: str, directories: Iterable[str]) -> None:
        """`directories`: the paths below which they may be."""
        self._client = client
        self._id = contender_id
        self._directories = list(directories)

    def find(self, until_s: float | None) -> list[str]:
        """Their paths, as of now at the leader."""
        found = []
        for directory in self._directories:
            ask(self._client, partial(self._client.sync_async, directory), until_s)
            try:
                names = ask(self._client, partial(self._client.get_children_async, directory), until_s)
            except NoNodeError:
                continue
            found += [join(directory, name) for name in names if self._id in name]
        return found

    def remove(self, *, with_marker: bool, until_s: float | None = None, known: Sequence[str] = ()) -> None:
        """Delete them, all or none. `known`: their paths, if they are known. Raises OutOfTime at `until_s`.

        Without `with_marker` the lock-delay runs from now. Does nothing once the client is closed: the session is.
        """
        paths = list(known)
        while True:
            try:
                paths = paths or self.find(until_s)
                doomed = [path for path in paths if with_marker or MARKER not in path.rpartition("/")[2]]
                if doomed:
                    transaction = self._client.transaction()
                    for path in doomed:
                        transaction.delete(path)
                    verdict(ask(self._client, transaction.commit_async, until_s))
                return
            except NoNodeError:
                paths = []
            except SessionExpiredError as error:
                if is_closed(error):
                    return
                self._pause(until_s)
            except UNSURE:
                self._pause(until_s)
            paths = []

    def remove_soon(self, *, with_marker: bool) -> None:
        """Delete them now if the servers answer at once, else in the background."""
        if self._client.connected:
            try:
                return self.remove(with_marker=with_marker, until_s=now_s() + SOON_S)
            except OutOfTime:
                pass
        return self.remove_later(with_marker=with_marker)

    def remove_later(self, *, with_marker: bool) -> None:
        """Delete them in the background, however long it takes to reach the servers."""
        threading.Thread(
            target=self.remove, kwargs={"with_marker": with_marker}, name=f"remove {self._id}", daemon=True
        ).start()

    @staticmethod
    def _pause(until_s: float | None) -> None:
        if until_s is not None and now_s() >= until_s:
            raise OutOfTime
        time.sleep(PAUSE_S)
