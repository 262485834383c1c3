"""Configuration that all see at once: values from a local cache that is never torn, changes in order, compare-and-set.

    with Config(zk, "/config/shop", max_age_s=30) as config:
        limit = config.get_int("checkout/limit", default=10)            # a dictionary look-up, no request
        config.on_change(lambda change: print(change.key, change.new))
        config.set("checkout/limit", 20, if_version=config.version("checkout/limit"))
        config.change({"checkout/limit": 30, "checkout/queue": True})   # both or neither, for writers and for readers

What is promised:

- Reads come from one snapshot of the whole subtree, absence included. Keys that were changed together change together.
  `snapshot()` gives it as a value, with the zxid of the last change in it.
- The cache follows the servers by watches; a change is seen a few milliseconds after it was committed, and one's own
  before `set`, `delete` or `change` return (unless the connection is lost right then). `refresh()` waits for all that
  was committed before the call.
- Each subscriber hears of changes in the order in which they happened, one at a time. Where a key changed several times
  in a moment he may hear of the last one only, and of that moment's deletions first; but a key that ended up different
  he does hear of, also if that happened while the connection was away or the servers were restarted.
- While cut off from the servers, reads serve what was last known, and `age_s` says how old that may be. With
  `max_age_s` set, reads raise Stale once the cache has not been confirmed for longer. Writes wait for a connection, for
  `timeout_s`.

After Chubby's cache (Burrows 2006, section 2.7: consistent caches of data and absence, kept so by invalidations, and no
use of them once the lease on them has run out), with watches for invalidations and `max_age_s` for the lease.

A Config has threads of its own, and calls subscribers from one of them: they may take their time, and may use the
Config. Like everything that waits for answers it must not be used in kazoo's own watch callbacks. It wants kazoo's
threading handler, which is the default.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any, Final

from kazoo.client import KazooClient
from kazoo.exceptions import (
    BadVersionError,
    ConnectionLoss,
    NodeExistsError,
    NoNodeError,
    NotEmptyError,
    OperationTimeoutError,
    SessionExpiredError,
)

from zkpy.recipes.config_changes import TooLarge, judge, path_of, plan, transaction_of
from zkpy.recipes.config_mirror import Mirror
from zkpy.recipes.config_subscribers import Subscription, Teller
from zkpy.recipes.config_values import (
    ABSENT,
    BadKey,
    BadValue,
    Change,
    ConfigError,
    Conflict,
    Disconnected,
    Entry,
    NoKey,
    Readable,
    Snapshot,
    Stale,
    Unsure,
    Value,
    check_key,
    encode,
)

#: How long a call waits for a connection, and then for an answer, unless told otherwise.
TIMEOUT_S: Final = 10.0
#: How often the cache is confirmed while nothing changes, unless `max_age_s` asks for more.
CONFIRM_S: Final = 5.0
#: Confirmed so many times within `max_age_s`: one slow answer is no reason to raise.
CONFIRMATIONS: Final = 3
#: How often a change is planned anew because others changed the same keys meanwhile.
ATTEMPTS: Final = 20

_LOST: Final = (ConnectionLoss, SessionExpiredError, OperationTimeoutError)


__all__ = [
    "ABSENT",
    "BadKey",
    "BadValue",
    "Change",
    "Config",
    "ConfigError",
    "Conflict",
    "Disconnected",
    "Entry",
    "NoKey",
    "Snapshot",
    "Stale",
    "Subscription",
    "TooLarge",
    "Unsure",
]


class Config(Readable):
    """The configuration below one node, from `start` to `close`; a context manager that does both."""

    def __init__(
        self, client: KazooClient, root: str, *, max_age_s: float | None = None, timeout_s: float = TIMEOUT_S
    ) -> None:
        """`root` may not exist yet. `max_age_s`: older than that, reads raise Stale (None: they never do).

        `timeout_s`: how long a call may wait for a connection and its answer. The client is the caller's to start and
        stop, and may be shared.
        """
        if not root.startswith("/"):
            raise ValueError(f"a root is a path from the top, as in /config, not {root!r}")
        check_key(root.strip("/"))
        if max_age_s is not None and max_age_s <= 0:
            raise ValueError("max_age_s must be more than 0: no answer of a server takes no time")
        self.root = root.rstrip("/") or "/"
        self.max_age_s = max_age_s
        self.timeout_s = timeout_s
        self._client = client
        confirm_s = CONFIRM_S if max_age_s is None else min(CONFIRM_S, max_age_s / CONFIRMATIONS)
        self._mirror = Mirror(client, self.root, confirm_s)
        self._teller = Teller(self._mirror, self.root)

    # --- reading --------------------------------------------------------------------------------------------------

    def entry(self, key: str) -> Entry | None:
        """Value and version of a key, None if it does not exist. Raises Stale and BadKey."""
        entry = self.snapshot().entries.get(key)
        if entry is None:
            check_key(key)  # a key that cannot be is a mistake, and no absence
        return entry

    def version(self, key: str) -> int:
        """The version to give as `if_version`: ABSENT if the key does not exist. Raises Stale."""
        entry = self.entry(key)
        return ABSENT if entry is None else entry.version

    def snapshot(self) -> Snapshot:
        """All keys at one moment. Raises Stale, and Disconnected before the first of them was read."""
        snapshot = self._mirror.snapshot
        if snapshot is None:
            raise Disconnected(f"{self.root} has not been read yet: start() waits until it is")
        if self.max_age_s is not None and self.age_s > self.max_age_s:
            raise Stale(self.age_s, self.max_age_s)
        return snapshot

    @property
    def age_s(self) -> float:
        """Nothing was committed longer ago than so many seconds that reads do not show; infinite before the first."""
        confirmed_s = self._mirror.confirmed_s
        return time.monotonic() - confirmed_s if confirmed_s >= 0 else float("inf")

    @property
    def is_following(self) -> bool:
        """Is there a connection, and has everything been read since it was made?"""
        return self._mirror.is_following

    def refresh(self, timeout_s: float | None = None) -> None:
        """Return once reads show all that was committed before this call. Raises Disconnected if it takes too long."""
        if not self._mirror.catch_up(self.timeout_s if timeout_s is None else timeout_s):
            raise Disconnected(f"the servers have not confirmed {self.root}: {self._why()}")

    # --- hearing of changes ---------------------------------------------------------------------------------------

    def on_change(
        self, callback: Callable[[Change], object], key: str = "", *, since: Snapshot | None = None
    ) -> Subscription:
        """Call with each change of `key` and of all keys below it (of all keys, for ""), in order, one at a time.

        `since`: what the caller knows already; `Snapshot()` for nothing, so that he is told of what there is, too.
        Without it he is told of changes from now on; before `start`, of what it finds.
        What a callback raises is logged.
        """
        return self._teller.on_change(callback, check_key(key), since)

    def on_following(self, callback: Callable[[bool], object]) -> Subscription:
        """Call with False when the cache is cut off from the servers, with True when all that was missed is told."""
        return self._teller.on_following(callback)

    # --- changing -------------------------------------------------------------------------------------------------

    def set(self, key: str, value: Value, *, if_version: int | None = None) -> int:
        """Write a key, and create what is missing above it; its new version.

        With `if_version` only if it is at that version (ABSENT: does not exist yet); else raises Conflict.
        """
        data, path = encode(value), path_of(self.root, check_key(key))
        if if_version is None:
            return self._set_any(path, data)
        try:
            if if_version == ABSENT:
                self._ask(lambda: self._client.create_async(path, data, makepath=True))
                version = 0
            else:
                version = self._ask(lambda: self._client.set_async(path, data, if_version)).version
        except NodeExistsError:
            raise self._conflict(key, ABSENT) from None
        except NoNodeError:
            raise Conflict(key, if_version, ABSENT) from None
        except BadVersionError:
            raise self._conflict(key, if_version) from None
        self._mirror.catch_up(self.timeout_s)
        return version

    def delete(self, key: str, *, if_version: int | None = None) -> None:
        """Delete a key that has none below it. Raises NoKey, ConfigError if there are keys below it, and Conflict."""
        path = path_of(self.root, check_key(key))
        version = -1 if if_version is None else if_version
        if path == "/":
            raise ConfigError("the root of all nodes cannot be deleted")
        if if_version == ABSENT:
            raise ValueError(f"{key!r} cannot be both absent and deleted")
        try:
            self._ask(lambda: self._client.delete_async(path, version))
        except NoNodeError:
            raise NoKey(f"there is no key {key!r}") from None
        except NotEmptyError:
            raise ConfigError(f"{key!r} cannot be deleted alone: there are keys below it") from None
        except BadVersionError:
            raise self._conflict(key, version) from None
        self._mirror.catch_up(self.timeout_s)

    def update(self, key: str, function: Callable[[Entry | None], Value]) -> int:
        """Set a key to what the function makes of it (of None, if it is absent), and nothing in between; its version.

        The function may be called several times, with what others have written meanwhile.
        """
        while True:
            entry = self.entry(key)
            version = ABSENT if entry is None else entry.version
            try:
                return self.set(key, function(entry), if_version=version)
            except Conflict:
                self.refresh()

    def change(self, wanted: Mapping[str, Value | None], *, if_versions: Mapping[str, int] | None = None) -> Snapshot:
        """Write all these keys (None deletes one), or none of them; the snapshot that shows it.

        `if_versions`: versions at which keys must be, those to be changed or others; else raises Conflict. Keys to be
        deleted must have none below them that stay. Raises TooLarge if the request would be refused for its size.
        """
        expected = dict(if_versions or {})
        encoded = {check_key(key): None if value is None else encode(value) for key, value in wanted.items()}
        for key in expected:
            check_key(key)
        for _ in range(ATTEMPTS):
            if not self._mirror.catch_up(self.timeout_s):
                raise Disconnected(f"nothing was changed: {self._why()}")
            known = self._mirror.snapshot
            assert known is not None
            operations = plan(encoded, expected, known, self.root)
            if not operations:
                return known
            if "" not in known and self.root.count("/") > 1:
                self._ask(lambda: self._client.ensure_path_async(self.root.rpartition("/")[0]))
            transaction = transaction_of(self._client, operations, self.root)
            if judge(operations, self._ask(transaction.commit_async), expected):
                break
        else:
            raise ConfigError(f"others kept changing the same keys, {ATTEMPTS} times: nothing was changed")
        self._mirror.catch_up(self.timeout_s)
        shown = self._mirror.snapshot
        return known if shown is None else shown

    # --- from start to close --------------------------------------------------------------------------------------

    def start(self) -> Config:
        """Begin to follow, and return once all is read. Raises Disconnected if that takes longer than `timeout_s`."""
        self._mirror.start()
        if not self._mirror.catch_up(self.timeout_s):
            why = self._why()
            self.close()
            raise Disconnected(f"{self.root} could not be read within {self.timeout_s:g} s: {why}")
        return self

    def close(self) -> None:
        """End it. Reads go on to serve the last snapshot, as stale as it gets."""
        self._mirror.close()
        self._teller.close()

    def __enter__(self) -> Config:
        return self.start()

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    # --- asking the servers ---------------------------------------------------------------------------------------

    def _set_any(self, path: str, data: bytes) -> int:
        while True:
            try:
                version = self._ask(lambda: self._client.set_async(path, data)).version
                break
            except NoNodeError:
                pass
            try:
                self._ask(lambda: self._client.create_async(path, data, makepath=True))
                version = 0
                break
            except NodeExistsError:
                pass  # created by another in between: that one is set
        self._mirror.catch_up(self.timeout_s)
        return int(version)

    def _ask(self, send: Callable[[], Any]) -> Any:
        """The answer to a request. Raises Disconnected if it was not sent, and Unsure if it may have been."""
        deadline_s = time.monotonic() + self.timeout_s
        with self._mirror.changed:
            # The mirror's listener notifies when the connection comes back.
            self._mirror.changed.wait_for(lambda: self._client.connected, self.timeout_s)
        if not self._client.connected:
            raise Disconnected(f"nothing was changed: {self._why()}")
        try:
            return send().get(timeout=max(0.0, deadline_s - time.monotonic()))
        except (*_LOST, self._client.handler.timeout_exception) as error:
            raise Unsure(f"it may or may not have happened: no answer came ({type(error).__name__})") from error

    def _conflict(self, key: str, expected: int) -> Conflict:
        """What to raise, with the version there is now."""
        found = None
        if self._mirror.catch_up(self.timeout_s) and self._mirror.snapshot is not None:
            entry = self._mirror.snapshot.entry(key)
            found = ABSENT if entry is None else entry.version
        return Conflict(key, expected, found)

    def _why(self) -> str:
        if not self._client.connected:
            return "there is no connection"
        failure = self._mirror.failure
        return f"the last attempt failed with {failure!r}" if failure is not None else "no answer came in time"
