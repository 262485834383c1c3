"""The names of a lock's contenders, and who stands before whom.

Every contender is an ephemeral sequential znode below the lock's path. Who understands which name:

    <any>__lock__0000000012           kazoo's Lock and WriteLock         exclusive
    <any>__rlock__0000000012          kazoo's ReadLock                   shared
    <any>lock-0000000012              Curator's InterProcessMutex        exclusive
    <id>-shared-lock-0000000012       ours alone (Curator's mutex takes it for one of its own, and waits behind it)
    delay_<id>                        ours alone: the marker of a holder with a lock-delay (`delays`)

kazoo looks at names of its own kind only, and so does Curator. A contender of ours therefore makes two znodes in one
transaction, one of each kind, with nothing between them; it waits for everybody before the first, and everybody behind
either waits for it. Its id begins with "_", for Curator sorts names of other kinds among the numbers of its own: they
must come after all digits.

The order is that of the sequence numbers, the signed 32-bit counter of the lock's path, compared round the clock, for
it runs over after 2^31 contenders.
"""

import re
import uuid
from collections.abc import Iterable
from dataclasses import dataclass

from zkpy.recipes.sequencer import Mode

NUMBER = r"(?P<number>\d{10}|-\d{9,10})"
KINDS = (
    (re.compile(rf"(?P<prefix>.*)__lock__{NUMBER}", re.DOTALL), Mode.EXCLUSIVE),
    (re.compile(rf"(?P<prefix>.*)__rlock__{NUMBER}", re.DOTALL), Mode.SHARED),
    (re.compile(rf"(?P<prefix>.*)-shared-lock-{NUMBER}", re.DOTALL), Mode.SHARED),
    (re.compile(rf"(?P<prefix>.*)lock-{NUMBER}", re.DOTALL), Mode.EXCLUSIVE),
)
ID = re.compile(r"_c_[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
MARKER = re.compile(rf"delay_(?P<id>{ID.pattern})")


def new_id() -> str:
    """An id for one contender of ours, as Curator forms it for its protected znodes."""
    return f"_c_{uuid.uuid4()}"


def names_of(contender_id: str, mode: Mode) -> tuple[str, str]:
    """What the two znodes of a contender of ours are called before their numbers, kazoo's kind first."""
    if mode is Mode.EXCLUSIVE:
        return f"{contender_id}__lock__", f"{contender_id}-lock-"
    return f"{contender_id}__rlock__", f"{contender_id}-shared-lock-"


def marker_of(contender_id: str) -> str:
    """The name of a contender's marker."""
    return f"delay_{contender_id}"


@dataclass(frozen=True)
class Contender:
    """One znode of a contender: those of ours have two with the same id."""

    name: str
    mode: Mode
    number: int
    #: The id that is in the name of what is ours (and of Curator's protected contenders), or "".
    contender_id: str

    def stands_before(self, other: "Contender") -> bool:
        """Is its number the earlier one? Right as long as fewer than 2^31 contenders came between the two."""
        return 0 < (other.number - self.number) % 2**32 < 2**31

    def excludes(self, mode: Mode) -> bool:
        """Must a contender in this mode wait for it?"""
        return self.mode.excludes(mode)


def contender_of(name: str) -> Contender | None:
    """The contender with this name, None if it is that of something else."""
    for pattern, mode in KINDS:
        found = pattern.fullmatch(name)
        if found is not None:
            ours = ID.match(name)
            return Contender(name, mode, int(found["number"]), ours[0] if ours else "")
    return None


class Queue:
    """A lock's contenders and markers, from one reading of the children of its path."""

    def __init__(self, children: Iterable[str]) -> None:
        """`children`: names in any order."""
        names = list(children)
        self.contenders = [contender for name in names if (contender := contender_of(name)) is not None]
        #: Contender id → name of its marker.
        self.markers = {found["id"]: name for name in names if (found := MARKER.fullmatch(name)) is not None}

    def of(self, contender_id: str) -> list[Contender]:
        """The znodes with this id, in their order; none if they are gone."""
        return in_order(contender for contender in self.contenders if contender.contender_id == contender_id)

    def in_the_way_of(self, first: Contender) -> Contender | None:
        """The nearest contender that `first`, the first of its own znodes, must wait for; None if there is none."""
        before = [
            other
            for other in self.contenders
            if other.contender_id != first.contender_id or not first.contender_id
            if other.stands_before(first) and other.excludes(first.mode)
        ]
        return in_order(before)[-1] if before else None

    def orphans(self) -> list[str]:
        """The markers whose holders are gone: they failed."""
        living = {contender.contender_id for contender in self.contenders}
        return sorted(name for contender_id, name in self.markers.items() if contender_id not in living)


def in_order(contenders: Iterable[Contender]) -> list[Contender]:
    """Sorted by their numbers, round the clock."""
    listed = list(contenders)
    if not listed:
        return []
    origin = listed[0].number
    return sorted(listed, key=lambda contender: (contender.number - origin + 2**31) % 2**32)
