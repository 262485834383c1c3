"""What the servers say about a sequencer, and transactions that they carry out only while it holds.

After Chubby (Burrows, OSDI 2006), section 2.4: CheckSequencer(). A guarded transaction goes further: the check and the
writes are one step, so that no time passes between them.
"""

import time
from typing import Any

from kazoo.client import KazooClient
from kazoo.exceptions import BadVersionError, NoNodeError, SessionExpiredError

from zkpy.recipes.asking import PAUSE_S, UNSURE, OutOfTime, ask, is_closed, verdict
from zkpy.recipes.errors import NotHeld
from zkpy.recipes.lease import now_s
from zkpy.recipes.sequencer import HELD_VERSION, Sequencer


def check_sequencer(client: KazooClient, sequencer: Sequencer, timeout_s: float | None = None) -> bool:
    """Does this grant still hold, as of a moment between the call and its return?

    The servers judge: the client's server first catches up with its leader (sync). Any client may ask, given that it
    sees the same tree (the same chroot). A lost connection or session is waited for.

    Raises TimeoutError after `timeout_s` seconds without an answer, and kazoo's errors other than a lost connection.
    """
    until_s = None if timeout_s is None else now_s() + timeout_s
    path = sequencer.node_path
    while True:
        try:
            ask(client, lambda: client.sync_async(path), until_s)
            stat = ask(client, lambda: client.exists_async(path), until_s)
        except OutOfTime:
            raise TimeoutError(f"the servers did not answer within {timeout_s} s") from None
        except SessionExpiredError as error:  # the judge's own, which has no say in this
            if is_closed(error):
                raise
            time.sleep(PAUSE_S)
            continue
        except UNSURE:
            time.sleep(PAUSE_S)
            continue
        return stat is not None and stat.czxid == sequencer.token and stat.version == HELD_VERSION


class GuardedTransaction:
    """Operations that are carried out all, and only if the grant still holds at that moment; or none of them.

        with GuardedTransaction(client, sequencer) as transaction:
            transaction.set_data("/accounts/7", b"120", version=4)

    The operations take what those of kazoo's `transaction()` take. Leaving the block commits, unless by an exception.
    """

    def __init__(self, client: KazooClient, sequencer: Sequencer) -> None:
        """`sequencer`: anybody's; its path is as `client` sees it."""
        self.sequencer = sequencer
        self._client = client
        self._request = client.transaction()
        self._request.check(sequencer.node_path, HELD_VERSION)

    def create(
        self, path: str, value: bytes = b"", acl: Any = None, *, ephemeral: bool = False, sequence: bool = False
    ) -> None:
        """Create a znode. `acl` is a list of kazoo's ACLs, by default the client's own."""
        self._request.create(path, value, acl, ephemeral=ephemeral, sequence=sequence)

    def delete(self, path: str, version: int = -1) -> None:
        """Delete a znode; -1 is any version."""
        self._request.delete(path, version)

    def set_data(self, path: str, value: bytes, version: int = -1) -> None:
        """Set a znode's data; -1 is any version."""
        self._request.set_data(path, value, version)

    def check(self, path: str, version: int) -> None:
        """Require that a znode has this version, or, with -1, that it is there."""
        self._request.check(path, version)

    def commit(self) -> list[Any]:
        """The results of the operations, in their order, as kazoo gives them.

        Raises NotHeld if the grant does not hold, else the error of the operation at fault; nothing has happened then.
        After kazoo's ConnectionLoss the transaction may have happened or not.
        """
        results = ask(self._client, self._request.commit_async)
        if results and isinstance(results[0], NoNodeError | BadVersionError):
            raise NotHeld(f"{self.sequencer} is not held any more")
        return verdict(results)[1:]

    def __enter__(self) -> "GuardedTransaction":
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, traceback: object) -> None:
        if kind is None:
            self.commit()
