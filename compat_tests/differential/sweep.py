"""Programs without dice: each way an operation can fail, alone and at every place of multis of one to five parts.

What chance reaches seldom (a createContainer below an ephemeral, as fourth part of five) is said here once for certain.
Nothing that fails leaves anything, so all of it finds the same tree:

    ~/node     version 2           ~/full     has a child         ~/locked   may only be read; has a child
    ~/gone     may be deleted      ~/eph      ephemeral           ~/sealed   neither that nor its ACL
    ~/tight    with a quota that is used up, where quotas are enforced

A second connection watches all of it and must hear nothing of what fails.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from . import pools
from .programs import Open, Program, Request, Turn
from .wire import OPCODES, OPERATIONS

LONGEST = 5

_OPEN_ACL = list(pools.OPEN_ACL)
_READ_ONLY = [{"perms": 1, "id": {"scheme": "world", "id": "anyone"}}]
_SEALED = [{"perms": 14, "id": {"scheme": "world", "id": "anyone"}}]
_NO_ACL = [{"perms": 31, "id": {"scheme": "nosuch", "id": "x"}}]
_TTL_MS = 10**8

#: The creates, with the flags that belong to them.
CREATES = {"create": 0, "create2": 0, "createContainer": 4, "createTTL": 5}
_PARTS_OF_READS = ("getData", "getChildren")
_LISTS = {op: [name for name, _ in OPERATIONS[op][1]] for op in ("setWatches", "setWatches2")}
_READS = (*_PARTS_OF_READS, "getChildren2", "exists", "getACL", "getAllChildrenNumber")


def _create(op: str, path: Any, **changed: Any) -> Request:
    fields: dict[str, Any] = {"path": path, "data": b"", "acl": _OPEN_ACL, "flags": CREATES[op]}
    if op == "createTTL":
        fields["ttl"] = _TTL_MS
    return Request(op, OPCODES[op], 0, fields | changed)


def _request(op: str, **fields: Any) -> Request:
    return Request(op, OPCODES[op], 0, fields)


def _write(op: str, path: Any, version: int = -1, data: Any = b"x") -> Request:
    fields: dict[str, Any] = {"path": path, "version": version}
    if op == "setData":
        fields["data"] = data
    return Request(op, OPCODES[op], 0, fields)


#: Parts that succeed, as many of them as there are places before and behind another part.
GOOD = (
    _create("create", "~/new"),
    _write("delete", "~/gone"),
    _write("check", "~/node", 2),
    _write("setData", "~/node"),
    _create("create2", "~/n", flags=2),
)
#: Parts that cost the whole multi its decoding.
UNDECODABLE = (
    _request("getData", path="~/node", watch=False),
    _request("setACL", path="~/node", acl=_OPEN_ACL, version=-1),
    Request("unknown", 99, 0),
    _create("create", "~/x", acl=None),
    _create("create", "~/x", flags=99),
    _create("create2", "~/x", flags=5),
    _create("create", None),
    _write("delete", None),
    _write("setData", None),
    _write("check", None),
)


def failing(extended: bool) -> list[Request]:
    """The parts that fail, each for a reason of its own; with `extended` the reasons that need those settings too."""
    parts = []
    for op in CREATES:
        parts += [
            _create(op, "~/x/"),
            _create(op, "~/x\0"),
            _create(op, "~/missing/x"),
            _create(op, "~/locked/x"),
            _create(op, "~/eph/x"),
            _create(op, "~/node"),
            _create(op, "~/x", acl=_NO_ACL),
            _create(op, "~/x", acl=[]),
        ]
        if extended:
            parts.append(_create(op, "~/tight/x"))
    parts += [_create("createTTL", "~/x", ttl=0), _create("createTTL", "~/x", ttl=2**40)]
    parts += [_write("delete", path) for path in ("/zookeeper", "~/missing", "~/missing/x", "~/locked/x", "~/full")]
    parts += [_write("setData", path) for path in ("~/node/", "~/missing", "~/locked")]
    parts += [_write("check", path) for path in ("~/node/", "~/missing", "~/sealed")]
    parts += [_write(op, "~/node", 7) for op in ("delete", "setData", "check")]
    if extended:
        parts.append(_write("setData", "~/tight", data=b"too much"))
    return parts


def alone(extended: bool) -> list[Request]:
    """What can only be said outside of a multi: reads, setACL, and bodies that end too early."""
    requests = []
    for op in _READS:
        paths = ["~/node", "~/missing", "~/sealed", "~/node/", "~/x\0", "", None]
        requests += [_request(op, path=path, watch=False) for path in paths]
    for op in _PARTS_OF_READS:
        parts = [_request(op, path=f"~/{name}", watch=True) for name in ("node", "missing", "sealed")]
        for place in range(len(parts)):
            turned = (*parts[place:], *parts[:place])
            requests.append(Request("multiRead", OPCODES["multiRead"], 0, parts=turned))
    for path, acl, version in (
        *(("~/node/", _OPEN_ACL, -1), ("~/node", _NO_ACL, -1), ("~/node", [], -1), ("~/node", None, -1)),
        *(("~/missing", _OPEN_ACL, -1), ("~/locked", _OPEN_ACL, -1), ("~/node", _OPEN_ACL, 7), (None, _OPEN_ACL, -1)),
    ):
        requests.append(_request("setACL", path=path, acl=acl, version=version))
    for op in CREATES:
        if not extended:
            requests.append(_create(op, "~/x", flags=5))
        requests.append(_create(op, "~/x", acl=None))
    requests += [_write(op, None) for op in ("delete", "setData")]
    for op in ("checkWatches", "removeWatches"):
        requests += [_request(op, path="~/node", type=kind) for kind in range(7)]
    requests += [_request("addWatch", path="~/missing", mode=mode) for mode in (-1, 2)]
    requests += [_request("sync", path=path) for path in ("~/missing", "", None)]
    requests += [_request("getEphemerals", prefixPath=path) for path in ("~/e", "~/missing", "", None)]
    requests.append(_request("reconfig", joining=None, leaving="1", newMembers=None, curConfigId=-1))
    watches: dict[str, Any] = {name: [] for name in _LISTS["setWatches2"][1:]}
    for name in watches:
        fields = {"relativeZxid": 0, **watches, name: None}
        requests += [_request(op, **fields) for op in ("setWatches", "setWatches2") if name in _LISTS[op]]
    return requests


class _Sweep:
    """One program being written."""

    def __init__(self) -> None:
        self.turns: list[Turn] = []
        self.xid = 10

    def say(self, request: Request, conn: int = 0) -> None:
        self.xid += 1
        self.turns.append(Turn(len(self.turns), conn, (replace(request, xid=self.xid),)))

    def set_up(self, extended: bool) -> None:
        for name in ("node", "gone", "full", "full/c", "locked", "locked/x", "sealed", "tight"):
            self.say(_create("create", f"~/{name}"))
        self.say(_create("create2", "~/eph", flags=1))
        for version in (0, 1):
            self.say(_write("setData", "~/node", version))
        for name, acl in (("locked", _READ_ONLY), ("sealed", _SEALED)):
            self.say(_request("setACL", path=f"~/{name}", acl=acl, version=-1))
        if extended:
            for path in ("/zookeeper/quota~", "/zookeeper/quota~/tight"):
                self.say(_create("create", path))
            limits, stats = (f"/zookeeper/quota~/tight/zookeeper_{name}" for name in ("limits", "stats"))
            self.say(_create("create", limits, data=b"count=-1,bytes=-1=;byteHardLimit=2;countHardLimit=1"))
            self.say(_create("create", stats, data=b"count=0,bytes=0"))
        self.turns.append(Open(len(self.turns), 1))
        self.say(_request("addWatch", path="~", mode=1), conn=1)
        self.say(_request("addWatch", path="~", mode=0), conn=1)


def _multis(parts: list[Request]) -> Iterator[Request]:
    """Each part in each place among GOOD ones."""
    for length in range(1, LONGEST + 1):
        for place in range(length):
            for part in parts:
                around = [GOOD[at % len(GOOD)] for at in range(length)]
                around[place] = part
                yield Request("multi", OPCODES["multi"], 0, parts=tuple(around))


def sweep(extended: bool) -> Program:
    """The program; `extended` says that the servers know TTL nodes and enforce quotas."""
    made = _Sweep()
    made.set_up(extended)
    for part in failing(extended):
        if part.op != "check":  # which means a close, alone
            made.say(part)
    for request in alone(extended):
        made.say(request)
        made.say(replace(request, cut=2))
    for multi in _multis(failing(extended)):
        made.say(multi)
    for multi in _multis(list(UNDECODABLE)):
        made.say(multi)
    for pair in itertools.product(UNDECODABLE, repeat=2):  # which of the two is met first shows in the zxid
        made.say(Request("multi", OPCODES["multi"], 0, parts=pair))
    for part in UNDECODABLE:
        made.say(Request("multi", OPCODES["multi"], 0, parts=(_write("delete", "~/missing"), part)))
    # All well, at last: what failed has left neither numbers used up nor versions raised.
    made.say(Request("multi", OPCODES["multi"], 0, parts=GOOD))
    made.say(_write("setData", "~/node", 3))
    return Program(None, tuple(made.turns), "sweep")
