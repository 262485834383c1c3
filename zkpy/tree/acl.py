"""Interned ACLs: one object per distinct list, shared by every znode that carries it.

The law: an `Acl` never changes after `intern` made it. It *is* the list of ACL records (so a txn can carry and encode
it as it stands) plus what the permission check asks for most: the bits that everybody has.
"""

from collections.abc import Iterable
from weakref import WeakValueDictionary

from zkpy.proto.opcodes import PERM_ALL, PERM_READ
from zkpy.proto.records import ACL, Id

AclKey = tuple[tuple[int, str | None, str | None], ...]


class Acl(list[ACL]):
    """An ACL as a list of records, with `world`: the permission bits granted to world:anyone."""

    __slots__ = ("__weakref__", "world")

    def __init__(self, entries: Iterable[ACL]) -> None:
        super().__init__(entries)
        world = 0
        for entry in self:
            if entry.id.scheme == "world" and entry.id.id == "anyone":
                world |= entry.perms
        # An empty ACL denies nothing (ZooKeeperServer.checkACL).
        self.world: int = world if self else -1

    # Interned, so equal means identical: an Acl can be a key, at the price of a pointer.
    __hash__ = object.__hash__  # type: ignore[assignment]

    @property
    def key(self) -> AclKey:
        """The ACL as a hashable value: (perms, scheme, id) per entry, in order."""
        return tuple((entry.perms, entry.id.scheme, entry.id.id) for entry in self)


# Weak, so that an ACL nobody uses any more goes away with its last znode: a client that sets a new ACL every second
# must not grow the server for ever.
_interned: WeakValueDictionary[AclKey, Acl] = WeakValueDictionary()


def intern(entries: Iterable[ACL]) -> Acl:
    """The one shared `Acl` equal to `entries`."""
    if type(entries) is Acl:
        return entries
    acl = Acl(entries)
    return _interned.setdefault(acl.key, acl)


def interned() -> list[Acl]:
    """Every ACL in use, by whichever tree: what a snapshot has to name (naming more does no harm)."""
    # All references in one step, since another thread may write an image too.
    return [acl for reference in _interned.valuerefs() if (acl := reference()) is not None]


def from_key(key: Iterable[tuple[int, str | None, str | None]]) -> Acl:
    """The shared `Acl` for (perms, scheme, id) triples."""
    return intern([ACL(perms, Id(scheme, id_)) for perms, scheme, id_ in key])


#: world:anyone with all permissions: what built-in nodes carry, stored on disk as ACL key -1.
OPEN = from_key([(PERM_ALL, "world", "anyone")])
#: world:anyone may read: /zookeeper/config.
READ_ONLY = from_key([(PERM_READ, "world", "anyone")])
