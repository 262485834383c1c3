"""A sequencer: what a grant is, in a form that can be sent along with every request made under the lock.

    zkpy1:exclusive:8589934612:_c_6f9c…-lock-0000000007:/locks/payments
    │     │         │          │                        └ path of the lock, percent-encoded where it is not plain
    │     │         │          └ name of the contender's znode below it
    │     │         └ token: czxid of that znode, a decimal integer
    │     └ mode
    └ this form

The token is a zxid, 64 bits that only ever grow over the life of the servers' data. A znode's sequence number would not
do: it is 32 bits, and starts again when the lock's path is deleted and made anew.

After Chubby (Burrows, OSDI 2006), section 2.4, "Locks and sequencers".
"""

import re
from dataclasses import dataclass
from enum import Enum
from urllib.parse import quote, unquote

from zkpy.recipes.errors import BadSequencer

FORM = "zkpy1"
TEXT = re.compile(rf"{FORM}:(?P<mode>[a-z]+):(?P<token>[1-9][0-9]{{0,18}}):(?P<node>[!-.0-9;-~]+):(?P<path>/[!-~]*)")
MAX_TOKEN = 2**63 - 1

#: The data version of a contender's znode once it holds. A waiting one has 0; the transaction that takes the lock sets
#: the data a single time, so that one `check` in a transaction says: it is there, and it holds.
HELD_VERSION = 1


class Mode(Enum):
    """How a lock is held."""

    #: By one, and by nobody else in any mode.
    EXCLUSIVE = "exclusive"
    #: By any number at once, and by nobody exclusively.
    SHARED = "shared"
    #: One of a semaphore's places.
    PLACE = "place"

    def excludes(self, other: "Mode") -> bool:
        """Can one lock not be held in both modes at once?"""
        return Mode.EXCLUSIVE in (self, other)


@dataclass(frozen=True)
class Sequencer:
    """One grant of one lock. Of two grants of a lock that exclude each other the later one has the greater token."""

    #: Path of the lock, as seen by the client that acquired it (below its chroot, if it has one).
    path: str
    mode: Mode
    #: A positive integer of at most 63 bits.
    token: int
    #: Name of the znode below `path` that stands for this grant.
    node: str

    @property
    def node_path(self) -> str:
        """Path of the znode that stands for this grant."""
        return join(self.path, self.node)

    def __str__(self) -> str:
        """The text form: printable ASCII without blanks, fit for an environment variable or an HTTP header."""
        return f"{FORM}:{self.mode.value}:{self.token}:{quote(self.node, safe='')}:{quote(self.path)}"

    @classmethod
    def parse(cls, text: str) -> "Sequencer":
        """The sequencer with this text form. Raises BadSequencer, which says what is wrong with it."""
        found = TEXT.fullmatch(text.strip())
        if found is None:
            raise BadSequencer(f"not a sequencer ({FORM}:MODE:TOKEN:NODE:/PATH): {text[:200]!r}")
        if found["mode"] not in [mode.value for mode in Mode]:
            raise BadSequencer(f"no such mode: {found['mode']!r}")
        token = int(found["token"])
        if token > MAX_TOKEN:
            raise BadSequencer(f"the token has more than 63 bits: {token}")
        try:
            node, path = unquote(found["node"], errors="strict"), unquote(found["path"], errors="strict")
        except UnicodeDecodeError:
            raise BadSequencer(f"not UTF-8: {text[:200]!r}") from None
        return cls(path, Mode(found["mode"]), token, node)


def join(path: str, name: str) -> str:
    """The path of the child `name` of `path`."""
    return f"{path.rstrip('/')}/{name}"
