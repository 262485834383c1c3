"""Locks, exclusive and shared, that kazoo's and Curator's contenders respect and whose grants carry sequencers.

    contend ─→ two znodes, one transaction (`contenders`) ─→ wait for whoever is in the way ─→ wait out `delays`
            ─→ the acquiring transaction: the znode's data says "held" (its version is 1), markers of the failed go, and
               our own marker comes, if we ask for a lock-delay ─→ Grant

Law: a lock is held from the commit of the acquiring transaction until the znode is gone. A quorum has committed it, so
whoever acquires a lock was alone at that moment, by the servers' own order.

After Chubby (Burrows, OSDI 2006), section 2.4, "Locks and sequencers": modes, advisory locks, lock-delay.
"""

import json
import os
import socket
from functools import partial

from kazoo.client import KazooClient
from kazoo.exceptions import BadVersionError, NodeExistsError, NoNodeError

from zkpy.recipes.asking import TIMEOUTS, verdict
from zkpy.recipes.attempts import Attempt
from zkpy.recipes.contenders import Contender, Queue, marker_of, names_of, new_id
from zkpy.recipes.delays import Delays, checked_delay
from zkpy.recipes.grants import Grant
from zkpy.recipes.lease import Lease, now_s
from zkpy.recipes.sequencer import HELD_VERSION, Mode, Sequencer, join
from zkpy.recipes.traces import Traces


def default_owner() -> str:
    """What a contender says of itself unless told otherwise: host and process."""
    return f"{socket.gethostname()}:{os.getpid()}"


class Lock:
    """A lock on a path, of any number of processes, in exclusive or shared mode.

        lock = Lock(client, "/locks/payments", lock_delay_s=5)
        with lock.acquire(timeout_s=10) as grant:
            send(order, sequencer=str(grant.sequencer))

    It has no state of its own: each `acquire` is a contender of its own and gives a grant of its own, also in one
    process or thread (the lock is not reentrant). Contenders get it in the order of their arrival.
    """

    def __init__(
        self,
        client: KazooClient,
        path: str,
        *,
        shared: bool = False,
        owner: str | None = None,
        lock_delay_s: float = 0.0,
    ) -> None:
        """`client`: a started client of kazoo's with its threading handler. `path`: made if need be.

        `owner`: what `who` says of this contender, by default host and process. `lock_delay_s`: for how long nobody of
        ours gets the lock (in shared mode: gets it exclusively) after this holder failed, 0 to 60; ValueError if not.
        """
        self.client = client
        self.path = "/" + path.strip("/")
        self.mode = Mode.SHARED if shared else Mode.EXCLUSIVE
        self.owner = default_owner() if owner is None else owner
        self.lock_delay_s = checked_delay(lock_delay_s)

    def acquire(self, timeout_s: float | None = None) -> Grant:
        """Wait for the lock, and hold it.

        A lost connection or an expired session is survived by contending again. Raises NotAcquired if others held the
        lock for `timeout_s` seconds (0: do not wait for anybody), or the servers did not answer for five seconds more;
        and kazoo's ConnectionClosedError once the client is stopped.
        """
        return self.contend().wait(timeout_s)

    def contend(self) -> "Contention":
        """An attempt that another thread can cancel."""
        return Contention(self)


class Contention(Attempt):
    """A lock's contender."""

    def __init__(self, lock: Lock) -> None:
        """Nothing is sent before `wait`."""
        self._lock = lock
        told = {"owner": lock.owner, "mode": lock.mode.value, "lock_delay_s": lock.lock_delay_s}
        self._told = json.dumps(told).encode()
        self._delays = Delays(lock.client, lock.path, self._on_change)
        super().__init__(lock.client, lock.path)

    def _begin(self) -> None:
        self._id = new_id()
        self._traces = Traces(self._client, self._id, [self._path])
        #: Our znodes, once they are known to be there.
        self._nodes: list[Contender] = []
        #: Has a request been sent that makes something at the servers?
        self._has_sent = False

    def _leave(self) -> None:
        # What we may have taken was never granted to anybody: no lock-delay is due.
        if self._has_sent:
            self._traces.remove_soon(with_marker=True)

    def _step(self, until_s: float | None) -> Grant | None:
        if not self._nodes:
            self._nodes = (self._has_sent and self._find_ours(until_s)) or self._stand_in_line(until_s)
        queue = Queue(self._children(self._path, until_s))
        found_s = now_s()
        if queue.of(self._id) != self._nodes:  # the session has expired, or somebody deleted what is ours
            self._start_over()
            return None
        blocker = queue.in_the_way_of(self._nodes[0])
        if blocker is not None:
            self._wait_for(blocker, until_s)
            return None
        orphans = queue.orphans()
        self._delays.read(orphans, found_s, lambda request: self._ask(request, until_s))
        delay_s = self._delays.left_s(orphans, self._lock.mode, found_s)
        if delay_s > 0:
            self._sleep(delay_s, until_s)
            return None
        return self._take(self._delays.over(orphans, found_s), until_s)

    def _find_ours(self, until_s: float | None) -> list[Contender]:
        """What an earlier request has made whose answer was lost, if it was carried out."""
        self._ask(partial(self._client.sync_async, self._path), until_s)
        return Queue(self._children(self._path, until_s)).of(self._id)

    def _stand_in_line(self, until_s: float | None) -> list[Contender]:
        """Make our znodes."""
        kazoo_name, curator_name = names_of(self._id, self._lock.mode)
        self._has_sent = True
        while True:
            transaction = self._client.transaction()
            transaction.create(join(self._path, kazoo_name), self._lock.owner.encode(), ephemeral=True, sequence=True)
            transaction.create(join(self._path, curator_name), self._told, ephemeral=True, sequence=True)
            try:
                paths = verdict(self._ask(transaction.commit_async, until_s))
            except NoNodeError:
                self._ask(partial(self._client.ensure_path_async, self._path), until_s)
            else:
                return Queue(path.rpartition("/")[2] for path in paths).of(self._id)

    def _wait_for(self, blocker: Contender, until_s: float | None) -> None:
        path = join(self._path, blocker.name)
        try:
            self._ask(partial(self._client.get_async, path, watch=self._on_change), until_s)
        except NoNodeError:
            return
        self._sleep(float("inf"), until_s)

    def _take(self, waited_out: list[str], until_s: float | None) -> Grant | None:
        """The acquiring transaction; None if the lock was not to be had after all."""
        timeout_s = TIMEOUTS.of(self._client)
        node = self._nodes[-1].name
        stat = self._ask(partial(self._client.exists_async, join(self._path, node)), until_s)
        if stat is None:
            return None
        known = [join(self._path, contender.name) for contender in self._nodes]
        transaction = self._client.transaction()
        if stat.version == HELD_VERSION:  # an earlier attempt took it, and its answer was lost
            transaction.check(join(self._path, node), HELD_VERSION)
        else:
            transaction.set_data(join(self._path, node), self._told, stat.version)
            for name in waited_out:
                transaction.delete(join(self._path, name))
            if self._lock.lock_delay_s:
                transaction.create(join(self._path, marker_of(self._id)), self._told)
        if self._lock.lock_delay_s:
            known.append(join(self._path, marker_of(self._id)))
        sent_s = now_s()
        try:
            verdict(self._ask(transaction.commit_async, until_s))
        except (NoNodeError, BadVersionError, NodeExistsError):
            return None
        sequencer = Sequencer(self._path, self._lock.mode, stat.czxid, node)
        return Grant(self._client, sequencer, Lease(timeout_s, sent_s), stat.ephemeralOwner, self._traces, known)
