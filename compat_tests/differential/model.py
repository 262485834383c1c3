"""The generator's rough model of the tree: what should be there if permissions and quotas let every request through.

Only for aiming. Nothing a server says is checked against it.
"""

from __future__ import annotations

from typing import Any

from . import pools


class Guess:
    """What the generator believes of a node."""

    __slots__ = ("aversion", "counter", "owner", "version")

    def __init__(self, owner: int | None) -> None:
        self.version = self.aversion = self.counter = 0
        self.owner = owner  # the connection whose session an ephemeral belongs to


class Tree:
    """The tree as it should be if permissions and quotas let every request through."""

    def __init__(self, extended: bool) -> None:
        self.nodes = {"~": Guess(None)}
        self.extended = extended

    def get(self, path: Any) -> Guess | None:
        return self.nodes.get(path) if isinstance(path, str) else None

    def apply(self, op: str, fields: dict[str, Any], owner: int) -> bool:
        """Does what the write should do; False if it should fail."""
        node, version = self.get(fields["path"]), fields.get("version", -1)
        if op.startswith("create"):
            return self._create(op, fields, owner)
        if node is None or version not in (-1, node.aversion if op == "setACL" else node.version):
            return False
        if op == "delete":
            path = fields["path"]
            if path == "~" or any(other.startswith(path + "/") for other in self.nodes):
                return False
            del self.nodes[path]
        elif op == "setData":
            node.version += 1
        elif op == "setACL":
            node.aversion += fields["acl"] not in pools.BAD_ACLS
        return True

    def _create(self, op: str, fields: dict[str, Any], owner: int) -> bool:
        path, flags = fields["path"], fields["flags"]
        if not isinstance(path, str) or path in pools.BAD_PATHS or fields["acl"] in pools.BAD_ACLS:
            return False
        parent = self.nodes.get(path.rpartition("/")[0])
        if parent is None or parent.owner is not None:
            return False
        if flags not in ((5, 6) if op == "createTTL" else (0, 1, 2, 3, 4)) or (op == "createTTL" and not self.extended):
            return False
        if flags in (2, 3, 6):
            path += f"{parent.counter:010d}"
        if path in self.nodes:
            return False
        parent.counter += 1
        self.nodes[path] = Guess(owner if flags in (1, 3) and op != "createContainer" else None)
        return True

    def end_session(self, owner: int) -> None:
        self.nodes = {path: node for path, node in self.nodes.items() if node.owner != owner}
