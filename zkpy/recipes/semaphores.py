"""A semaphore: a lock with a number of places, shared with contenders of kazoo's Semaphore on the same path.

    <path>                 its data says how many places there are, as kazoo has it
    <path>/<32 hex>        a place that is taken: ephemeral, ours and kazoo's alike
    <path>-__lock__        who wants a place first gets this lock, and keeps it until there is one; exclusive
    <path>-__lock__/place-delay_<32 hex>      the marker of a holder with a lock-delay (`delays`)

Law: a place is taken by a transaction that holds only while its maker has the lock beside the path, so there are never
more places taken than there are. A holder that failed keeps its place taken for its lock-delay.
"""

import json
import re
import uuid
from functools import partial

from kazoo.client import KazooClient
from kazoo.exceptions import BadVersionError, NodeExistsError, NoNodeError

from zkpy.recipes.asking import TIMEOUTS, OutOfTime, verdict
from zkpy.recipes.attempts import Attempt
from zkpy.recipes.delays import Delays, checked_delay
from zkpy.recipes.errors import HoldersDiffer, NotAcquired
from zkpy.recipes.grants import Grant
from zkpy.recipes.holders import SEMAPHORE_LOCK
from zkpy.recipes.lease import Lease, now_s
from zkpy.recipes.locks import Contention, Lock, default_owner
from zkpy.recipes.sequencer import HELD_VERSION, Mode, Sequencer, join
from zkpy.recipes.traces import Traces

MARKER = re.compile(r"place-delay_(?P<id>[0-9a-f]{32})")


class Semaphore:
    """A lock that a given number may hold at once; used as `Lock` is, with one place for each grant."""

    def __init__(
        self, client: KazooClient, path: str, holders: int, *, owner: str | None = None, lock_delay_s: float = 0.0
    ) -> None:
        """As for `Lock`; `holders`: how many, at least 1, and the same for all contenders. Raises ValueError if not."""
        if holders < 1:
            raise ValueError(f"a semaphore has at least one holder, not {holders}")
        self.client = client
        self.path = "/" + path.strip("/")
        self.holders = holders
        self.owner = default_owner() if owner is None else owner
        self.lock_delay_s = checked_delay(lock_delay_s)

    def acquire(self, timeout_s: float | None = None) -> Grant:
        """Wait for a place, and hold it. As `Lock.acquire`; HoldersDiffer if others say another number of places."""
        return self.contend().wait(timeout_s)

    def contend(self) -> "PlaceAttempt":
        """An attempt that another thread can cancel."""
        return PlaceAttempt(self)


class PlaceAttempt(Attempt):
    """A contender for a place."""

    def __init__(self, semaphore: Semaphore) -> None:
        """Nothing is sent before `wait`."""
        self._semaphore = semaphore
        self._lock = Lock(semaphore.client, semaphore.path + SEMAPHORE_LOCK, owner=semaphore.owner)
        told = {"owner": semaphore.owner, "mode": Mode.PLACE.value, "lock_delay_s": semaphore.lock_delay_s}
        self._told = json.dumps(told).encode()
        self._delays = Delays(semaphore.client, self._lock.path, self._on_change)
        #: The way to the lock beside the path, and the lock once we have it.
        self._contention: Contention | None = None
        self._turn: Grant | None = None
        super().__init__(semaphore.client, semaphore.path)

    def cancel(self) -> None:
        super().cancel()
        contention = self._contention
        if contention is not None:
            contention.cancel()

    def _begin(self) -> None:
        self._id = uuid.uuid4().hex
        self._place = join(self._path, self._id)
        self._traces = Traces(self._client, self._id, [self._path, self._lock.path])
        self._has_sent = False

    def _leave(self) -> None:
        if self._has_sent:
            self._traces.remove_soon(with_marker=True)
        if self._turn is not None:
            self._turn.release()
            self._turn = None

    def _step(self, until_s: float | None) -> Grant | None:
        timeout_s = TIMEOUTS.of(self._client)
        if self._has_sent:  # and the answer was lost
            self._ask(partial(self._client.sync_async, self._path), until_s)
            if (grant := self._granted(None, timeout_s, until_s)) is not None:
                return grant
        turn = self._get_turn(until_s)
        self._agree_on_holders(until_s)
        # The markers first: what is released in between is then taken for failed, and found to have no marker.
        markers = self._children(self._lock.path, until_s)
        taken = self._children(self._path, until_s, self._on_change)
        found_s = now_s()
        orphans = [name for name in markers if (found := MARKER.fullmatch(name)) and found["id"] not in taken]
        self._delays.read(orphans, found_s, lambda request: self._ask(request, until_s))
        over = self._delays.over(orphans, found_s)
        waited_for = [name for name in orphans if name not in over]
        if len(taken) + len(waited_for) >= self._semaphore.holders:
            left = [self._delays.left_s([name], Mode.EXCLUSIVE, found_s) for name in waited_for]
            self._sleep(min(left, default=float("inf")), until_s)
            return None
        transaction = self._client.transaction()
        transaction.check(turn.sequencer.node_path, HELD_VERSION)
        transaction.create(self._place, self._told, ephemeral=True)
        transaction.set_data(self._place, self._told)
        for name in over:
            transaction.delete(join(self._lock.path, name))
        if self._semaphore.lock_delay_s:
            transaction.create(self._marker, self._told)
        self._has_sent = True
        sent_s = now_s()
        try:
            verdict(self._ask(transaction.commit_async, until_s))
        except (NoNodeError, BadVersionError, NodeExistsError):  # our turn is over, or a marker is gone: look again
            return None
        return self._granted(sent_s, timeout_s, until_s)

    @property
    def _marker(self) -> str:
        return join(self._lock.path, f"place-delay_{self._id}")

    def _get_turn(self, until_s: float | None) -> Grant:
        """The lock beside the path."""
        if self._turn is None or not self._turn.is_held():
            self._contention = self._lock.contend()
            if self._is_cancelled:
                raise OutOfTime
            try:
                self._turn = self._contention.wait(None if until_s is None else max(0.0, until_s - now_s()))
            except NotAcquired:
                raise OutOfTime from None
        return self._turn

    def _agree_on_holders(self, until_s: float | None) -> None:
        said = str(self._semaphore.holders).encode()
        try:
            data, _ = self._ask(partial(self._client.get_async, self._path), until_s)
        except NoNodeError:
            try:
                self._ask(partial(self._client.create_async, self._path, said, makepath=True), until_s)
            except NodeExistsError:
                return self._agree_on_holders(until_s)
            return None
        if data.isdigit() and int(data) != self._semaphore.holders:
            raise HoldersDiffer(f"{self._path} has {int(data)} places, not {self._semaphore.holders}")
        return None

    def _granted(self, sent_s: float | None, timeout_s: float, until_s: float | None) -> Grant | None:
        """The grant, if the place is ours; the turn is over then. `sent_s`: when it was taken, if that was answered."""
        stat = self._ask(partial(self._client.exists_async, self._place), until_s)
        if stat is None:
            return None
        if sent_s is None:
            transaction = self._client.transaction()
            transaction.check(self._place, HELD_VERSION)
            sent_s = now_s()
            try:
                verdict(self._ask(transaction.commit_async, until_s))
            except NoNodeError:
                return None
        if self._turn is not None:
            self._turn.release()
            self._turn = None
        known = [self._place] + ([self._marker] if self._semaphore.lock_delay_s else [])
        sequencer = Sequencer(self._path, Mode.PLACE, stat.czxid, self._id)
        lease = Lease(timeout_s, sent_s)
        return Grant(self._client, sequencer, lease, stat.ephemeralOwner, self._traces, known)
