"""Subscribers of a configuration, and the one thread that tells them.

    mirror ─ new snapshot, lost or regained connection ─→ for each subscriber: what changed since he was told last

Its law: a subscriber remembers the snapshot he was told last, and hears of the difference to the newest one. So nothing
is queued however slow he is, nothing comes out of order, and no key that ended up different is left out.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Any

from zkpy.recipes.config_mirror import Mirror
from zkpy.recipes.config_values import Change, Snapshot, changes, is_below

log = logging.getLogger("zkpy.recipes.config")


class Subscription:
    """What `on_change` and `on_following` return: after `close()` no call begins."""

    def __init__(self) -> None:
        self.is_closed = False

    def close(self) -> None:
        """End it."""
        self.is_closed = True


class ChangeSubscription(Subscription):
    """Hears of the changes of one key and all below it."""

    def __init__(self, callback: Callable[[Change], object], key: str, told: Snapshot) -> None:
        super().__init__()
        self._callback, self._key, self._told = callback, key, told

    def tell(self, snapshot: Snapshot) -> None:
        """Catch up with this snapshot."""
        if self._told is snapshot:
            return
        news, self._told = changes(self._told, snapshot), snapshot
        for change in news:
            if not self.is_closed and is_below(change.key, self._key):
                _call(self._callback, change)


class FollowingSubscription(Subscription):
    """Hears when the cache is cut off from the servers, and when it follows them again."""

    def __init__(self, callback: Callable[[bool], object], is_following: bool, losses: int) -> None:
        super().__init__()
        self._callback, self._was_following, self._losses = callback, is_following, losses

    def tell_loss(self, losses: int) -> None:
        """Hear that it was cut off, if it was since the last time."""
        if self._losses != losses:
            self._losses = losses
            if self._was_following:
                self._tell(False)

    def tell_following(self, is_following: bool) -> None:
        """Hear that it follows again, if it does."""
        if is_following and not self._was_following:
            self._tell(True)

    def _tell(self, is_following: bool) -> None:
        self._was_following = is_following
        if not self.is_closed:
            _call(self._callback, is_following)


class Teller:
    """Tells the subscribers of one mirror, in a thread that starts with the first of them."""

    def __init__(self, mirror: Mirror, name: str) -> None:
        self._mirror = mirror
        # Guarded by `mirror.changed`, as is the moment at which a subscriber joins.
        self._subscriptions: list[ChangeSubscription | FollowingSubscription] = []
        self._is_new = False
        #: What the thread has told of last.
        self._seen: tuple[object, ...] = ()
        self._thread = threading.Thread(target=self._run, name=f"zkpy-config-teller {name}", daemon=True)

    def on_change(self, callback: Callable[[Change], object], key: str, told: Snapshot | None) -> Subscription:
        """Tell of changes since `told`, or since now if that is None (of all there is, if nothing was read yet)."""
        with self._mirror.changed:
            known = self._mirror.snapshot if told is None else told
            subscription = ChangeSubscription(callback, key, Snapshot() if known is None else known)
            self._add(subscription)
        return subscription

    def on_following(self, callback: Callable[[bool], object]) -> Subscription:
        """Tell of changes from what it is now."""
        with self._mirror.changed:
            subscription = FollowingSubscription(callback, self._mirror.is_following, self._mirror.losses)
            self._add(subscription)
        return subscription

    def close(self) -> None:
        """After the mirror is closed: returns once the thread has ended, unless this is that thread."""
        if self._thread.is_alive() and threading.current_thread() is not self._thread:
            self._thread.join()

    def _add(self, subscription: ChangeSubscription | FollowingSubscription) -> None:
        self._subscriptions.append(subscription)
        if self._mirror.is_closed:
            return
        if self._thread.ident is None:
            self._thread.start()
        self._is_new = True
        self._mirror.changed.notify_all()

    def _run(self) -> None:
        mirror = self._mirror
        while True:
            with mirror.changed:
                mirror.changed.wait_for(lambda: mirror.is_closed or self._is_new or self._seen != self._now())
                if mirror.is_closed:
                    return
                self._is_new = False
                self._seen = snapshot, is_following, losses = self._now()
                self._subscriptions = [each for each in self._subscriptions if not each.is_closed]
                subscriptions = list(self._subscriptions)
            # What he missed is told before he hears that he misses nothing any more.
            for each in subscriptions:
                if isinstance(each, FollowingSubscription):
                    each.tell_loss(losses)
            for each in subscriptions:
                if isinstance(each, ChangeSubscription) and snapshot is not None:
                    each.tell(snapshot)
            for each in subscriptions:
                if isinstance(each, FollowingSubscription):
                    each.tell_following(is_following)

    def _now(self) -> tuple[Snapshot | None, bool, int]:
        return self._mirror.snapshot, self._mirror.is_following, self._mirror.losses


def _call(callback: Callable[[Any], object], argument: object) -> None:
    try:
        callback(argument)
    except Exception:
        log.exception("a subscriber failed at %r; the next change he hears of again", argument)
