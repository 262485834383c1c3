"""One request after another, drawn by a seed's dice and aimed with its rough idea of what is there.

`generator.py` makes turns of them. Most requests are to succeed or to fail for one reason; `badness` says how often one
is nonsense.
"""

from __future__ import annotations

import copy
import random
from typing import Any

from . import pools
from .model import Tree
from .programs import Request, Turn, ZxidAt
from .wire import OPCODES

_UNDECODABLE_PARTS = (
    Request("getData", 4, 0, {"path": "~", "watch": False}),
    Request("setACL", 7, 0, {"path": "~", "acl": list(pools.OPEN_ACL), "version": -1}),
    Request("unknown", 99, 0),
    Request("create", 1, 0, {"path": "~/a", "data": b"", "acl": None, "flags": 0}),
    Request("create", 1, 0, {"path": "~/a", "data": b"", "acl": list(pools.OPEN_ACL), "flags": 99}),
)


class Requests:
    """One seed's dice and its rough idea of tree, connections and watches."""

    def __init__(self, seed: int, extended: bool, gentle: bool) -> None:
        self.dice = random.Random(seed)
        self.tree = Tree(extended)
        self.turns: list[Turn] = []
        self.live = {0: 0}  # connection → the connection that made its session
        self.next_xid: dict[int, int] = {}
        self.watched: dict[int, list[tuple[Any, int]]] = {}  # connection → (path, watch type) it asked for
        self.quota_nodes: list[str] = []
        self.quota = self.chance(0.15)
        self.badness = 0.0 if gentle else self.dice.choice((0.0, 0.03, 0.03, 0.15))
        self.acl_rate = self.dice.choice((0.0, 0.1, 0.3))

    def conn(self) -> int:
        return self.dice.choice(list(self.live))

    def chance(self, share: float) -> bool:
        return self.dice.random() < share

    def request(self, kind: str, conn: int) -> Request:
        """A request of this kind, sometimes mangled; the model learns what it will probably do."""
        op, fields, parts, end_marker = self.plain(kind, conn)
        self.learn_watch(conn, op, fields)
        xid = self.xid(conn)
        if op == "ping" and not self.chance(0.2):
            xid = -2
        elif op.startswith("setWatches") and not self.chance(0.2):
            xid = -8
        cut, tail = None, b""
        if self.chance(self.badness / 2) and op not in ("ping", "whoAmI"):
            cut = self.dice.choice((0, 2, 4, 6, 9, 14, self.dice.randrange(80)))
            if self.chance(0.5):
                cut, tail = 0, self.dice.choice(pools.GARBAGE)
        elif self.chance(self.badness / 2):
            tail = b"trailing"
        return Request(op, OPCODES[op], xid, fields, parts, end_marker, cut, tail)

    def plain(self, kind: str, conn: int) -> tuple[str, dict[str, Any], tuple[Request, ...], bool]:
        """Operation, fields, parts and whether the end marker stands behind them."""
        owner = self.live.get(conn, conn)
        end_marker = True
        parts: tuple[Request, ...] = ()
        dice = self.dice
        match kind:
            case "create" | "delete" | "setData" | "setACL":
                op, fields, _ = self.write(kind, owner)
            case "read":
                op = dice.choice(("exists", "exists", "getData", "getData", "getChildren", "getChildren2"))
                fields = {"path": self.path(), "watch": self.chance(0.5)}
            case "acl_read":
                op, fields = "getACL", {"path": self.path()}
            case "count":
                op = dice.choice(("getAllChildrenNumber", "getEphemerals"))
                name = "path" if op == "getAllChildrenNumber" else "prefixPath"
                fields = {name: dice.choice(("~", "/", None, "", " / ", "~/a", "~/b", self.path()))}
            case "multi":
                op, fields, (parts, end_marker) = "multi", {}, self.multi(owner)
            case "multiRead":
                op, fields, (parts, end_marker) = "multiRead", {}, self.multi_read()
            case "addWatch":
                mode = dice.choice((0, 1, 1)) if not self.is_bad() else dice.choice((2, -1, 99))
                path = self.dice.choice(pools.SYSTEM_PATHS) if self.chance(0.03) else self.path()
                op, fields = "addWatch", {"path": path, "mode": mode}
            case "watch_admin":
                op = dice.choice(("checkWatches", "removeWatches"))
                path, watch = self.path(), dice.choice((1, 2, 3, 3, 4, 5))
                if self.watched.get(conn) and self.chance(0.75):
                    path, watch = dice.choice(self.watched[conn])
                    watch = dice.choice((watch, watch, 3, 1, 2))
                fields = {"path": path, "type": dice.choice((0, 6, -1)) if self.is_bad() else watch}
            case "setWatches":
                op, fields = self.set_watches()
            case "system":
                op, fields = self.system()
            case "quota":
                op, fields = self.quotas()
            case _:
                op, fields = self.quiet()
        return op, fields, parts, end_marker

    def learn_watch(self, conn: int, op: str, fields: dict[str, Any]) -> None:
        asked = self.watched.setdefault(conn, [])
        if fields.get("watch"):
            asked.append((fields["path"], 1 if op.startswith("getChildren") else 2))
        elif op == "addWatch":
            asked.append((fields["path"], 5 if fields["mode"] == 1 else 4))
        elif op.startswith("setWatches"):
            kinds = (("data", 2), ("exist", 2), ("child", 1), ("persistent", 4), ("recursive", 5))
            asked.extend((path, kind) for name, kind in kinds for path in fields.get(name) or ())
        del asked[:-12]

    def xid(self, conn: int) -> int:
        if self.chance(0.02):
            return self.dice.choice(pools.ODD_XIDS)
        self.next_xid[conn] = self.next_xid.get(conn, 0) + 1
        return self.next_xid[conn]

    def zxid(self, plus: int) -> ZxidAt:
        return ZxidAt(self.dice.randint(-1, len(self.turns) - 1), plus)

    def is_bad(self) -> bool:
        return self.chance(self.badness)

    def path(self) -> Any:
        """Mostly a node that should exist, else one from the pool, now and then nonsense."""
        if self.is_bad():
            return self.dice.choice(pools.BAD_PATHS)
        if self.chance(0.85):
            return self.dice.choice(list(self.tree.nodes))
        return self.dice.choice(pools.GOOD_PATHS)

    def new_path(self) -> Any:
        if self.is_bad():
            return self.dice.choice(pools.BAD_PATHS)
        if self.chance(0.75):
            childless = not self.chance(0.05)
            parents = [path for path, node in self.tree.nodes.items() if node.owner is None or not childless]
            return self.dice.choice(parents) + self.dice.choice(("/a", "/b", "/c", "/s", "/\u00e9"))
        return self.dice.choice(pools.GOOD_PATHS)

    def data(self) -> Any:
        if self.chance(0.003):
            return b"L" * 100_000
        return self.dice.choice(pools.DATA)

    def acl(self) -> Any:
        if self.is_bad():
            return self.dice.choice(pools.BAD_ACLS)
        if self.chance(self.acl_rate):
            return self.dice.choice(pools.ACLS)
        return list(pools.OPEN_ACL)

    def version(self, right: int) -> int:
        return self.dice.choices((-1, right, self.dice.choice(pools.VERSIONS)), (5, 4, 1))[0]

    def write(self, kind: str, owner: int) -> tuple[str, dict[str, Any], bool]:
        """A single write, told to the model, and whether it should succeed."""
        path = self.path()
        guess = self.tree.get(path)
        op, fields = kind, {"path": path, "version": self.version(guess.version if guess else 0)}
        if kind == "create":
            op, fields = self.create()
        elif kind == "delete" and path == "~":
            fields["version"] = 77  # without the root little else would happen
        elif kind == "setData":
            fields["data"] = self.data()
        elif kind == "setACL":
            fields["version"] = self.version(guess.aversion if guess else 0)
            open_up = path == "~" or self.chance(0.4)
            fields["acl"] = list(pools.OPEN_ACL) if open_up else self.dice.choice(pools.ACLS)
            if self.is_bad():
                fields["acl"] = self.dice.choice(pools.BAD_ACLS)
        return op, fields, self.tree.apply(op, fields, owner)

    def create(self) -> tuple[str, dict[str, Any]]:
        flags = self.dice.choice(pools.CREATE_FLAGS)
        fields = {"path": self.new_path(), "data": self.data(), "acl": self.acl(), "flags": flags}
        op = self.dice.choices(("create", "create2", "createContainer", "createTTL"), (5, 5, 1, 1))[0]
        odd = self.is_bad()
        if odd:
            fields["flags"] = self.dice.choice(pools.ODD_FLAGS)
        elif op == "createContainer":
            fields["flags"] = self.dice.choice((4, 4, 4, 0, 2, 1))
        elif op == "createTTL":
            fields["flags"] = self.dice.choice((5, 5, 6))
        if op == "createTTL":
            fields["ttl"] = self.dice.choice((10**8, 10**9, 2**40 - 1))
            if odd:  # never -1 beside a flag without TTL: Apache takes it and dies
                fields["ttl"] = self.dice.choice((0, -2, 2**40, 2**62) if fields["flags"] in (5, 6) else (1000, 0))
        return op, fields

    def set_watches(self) -> tuple[str, dict[str, Any]]:
        op = self.dice.choice(("setWatches", "setWatches2"))
        names = ["data", "exist", "child"] + (["persistent", "recursive"] if op == "setWatches2" else [])
        fields: dict[str, Any] = {"relativeZxid": self.zxid(self.dice.choice((0, 0, 0, 1, -1, 10**6)))}
        for name in names:
            paths = [self.path() for _ in range(self.dice.choice((0, 1, 1, 2, 3)))]
            fields[name] = None if self.is_bad() else paths
        return op, fields

    def multi(self, owner: int) -> tuple[tuple[Request, ...], bool]:
        before = copy.deepcopy(self.tree.nodes)
        parts, all_well = [], True
        for _ in range(self.dice.choice((0, 1, 1, 2, 2, 3, 3, 4, 6, 12))):
            if self.quota and self.chance(0.2):
                parts.append(self.quota_part())
                continue
            kind = self.dice.choices(("create", "delete", "setData", "check"), (5, 2, 3, 2))[0]
            op, fields, well = self.write(kind, owner)
            if op == "createContainer":
                fields["flags"] = 4  # see above: its siblings in the multi would stand behind it
            if not well and all_well and self.chance(0.7):  # most multis are to get somewhere
                continue
            all_well &= well
            parts.append(Request(op, OPCODES[op], 0, fields))
        if parts and self.chance(0.2):  # fails for sure, anywhere
            at = self.dice.randrange(len(parts))
            parts[at] = Request("check", OPCODES["check"], 0, {"path": "~", "version": 77})
            all_well = False
        if parts and self.is_bad():
            parts.insert(self.dice.randint(0, len(parts)), self.dice.choice(_UNDECODABLE_PARTS))
            all_well = False
        end_marker = not self.is_bad()
        if not all_well or not end_marker:
            self.tree.nodes = before
        return tuple(parts), end_marker

    def multi_read(self) -> tuple[tuple[Request, ...], bool]:
        parts = []
        for _ in range(self.dice.choice((0, 1, 2, 3, 4))):
            op = self.dice.choice(("exists", "delete") if self.is_bad() else ("getData", "getChildren"))
            fields: dict[str, Any] = {"path": self.path(), "watch": self.chance(0.4), "version": 0}
            del fields["watch" if op == "delete" else "version"]
            parts.append(Request(op, OPCODES[op], 0, fields))
        return tuple(parts), not self.is_bad()

    def quiet(self) -> tuple[str, dict[str, Any]]:
        op = self.dice.choice(("ping", "whoAmI", "sync", "sync", "reconfig"))
        if op == "sync":
            return op, {"path": self.path()}
        if op == "reconfig":
            member = self.dice.choice((None, "", "1", "server.2=127.0.0.1:1:2:participant;3", "nonsense"))
            fields = {name: self.dice.choice((None, None, member)) for name in ("joining", "leaving", "newMembers")}
            return op, {**fields, "curConfigId": self.dice.choice((-1, -1, 0, 7))}
        return op, {}

    def system(self) -> tuple[str, dict[str, Any]]:
        op = self.dice.choice(("exists", "getData", "getChildren2", "getACL", "delete", "setData", "create", "setACL"))
        path = self.dice.choice(pools.SYSTEM_PATHS)
        fields: dict[str, Any] = {"path": path}
        if op in ("exists", "getData", "getChildren2"):
            fields["watch"] = self.chance(0.5)
        elif op == "delete":
            fields["version"] = self.dice.choice((-1, 0, 9))
        elif op == "setData":
            # A right version of a node that all programs share would depend on the programs before.
            fields.update(data=self.data(), version=self.dice.choice((-1, -1, -2)))
        elif op == "create":
            fields.update(data=b"", acl=list(pools.OPEN_ACL), flags=0)
            if path == "/zookeeper/nothing":
                fields["path"] = "/zookeeper/nothing/below"
        elif op == "setACL":
            fields["path"] = "/zookeeper/nothing" if path == "/zookeeper/config" else path
            fields.update(acl=list(pools.OPEN_ACL), version=-1)
        return op, fields

    def quota_part(self) -> Request:
        """A write to a quota's nodes as part of a multi."""
        while True:
            op, fields = self.quotas()
            if op != "getData":
                return Request(op, OPCODES[op], 0, fields)

    def quotas(self) -> tuple[str, dict[str, Any]]:
        """Making, changing and removing the nodes that are quotas, and looking at the figures kept in them."""
        base = "/zookeeper/quota" + self.dice.choice(("~", "~", "~", "~/a"))
        limits, stats = base + "/zookeeper_limits", base + "/zookeeper_stats"
        missing = [path for path in ("/zookeeper/quota~", base, limits, stats) if path not in self.quota_nodes]
        op = self.dice.choices(("create", "setData", "delete", "getData"), (10 if missing else 0, 3, 1, 6))[0]
        if op == "create":
            path = missing[0] if self.chance(0.8) else self.dice.choice(missing)
            if path == missing[0]:
                self.quota_nodes.append(path)
            text = b"count=0,bytes=0" if path == stats else self.dice.choice(pools.QUOTAS)
            kind = self.dice.choice(("create", "create2"))
            return kind, {"path": path, "data": text, "acl": list(pools.OPEN_ACL), "flags": 0}
        if op == "setData":
            return op, {"path": limits, "data": self.dice.choice(pools.QUOTAS), "version": -1}
        if op == "delete":
            path = self.dice.choice((limits, stats, limits))
            if path in self.quota_nodes:
                self.quota_nodes.remove(path)
            return op, {"path": path, "version": -1}
        return op, {"path": self.dice.choice((limits, stats, stats, stats)), "watch": self.chance(0.3)}
