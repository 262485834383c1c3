"""A seed becomes a program. Every seed draws its own mix of operations (swarm testing: some left out, some in excess).

What is *not* said, because Apache's own answer is a matter of luck or the server dies of it:
  * anything behind an auth, an unknown opcode or a close in the same segment: those replies overtake;
  * batches in a program with enforced quotas: Apache checks them against whatever happens to be applied already;
  * anything behind a setACL in the same segment: Apache's pending change keeps the old ACL, so the race decides;
  * requests behind createContainer with an ephemeral flag: pending and applied node differ in kind;
  * createTTL with a flag that has no TTL and ttl -1, quota texts that do not parse: they kill Apache's pipeline;
  * opcodes -10 and 20, which Apache takes from clients unchecked and a careful server refuses.
"""

from __future__ import annotations

from typing import Any

from . import pools
from .programs import Drop, Open, Program, Raw, Request, Turn, ZxidAt
from .requests import Requests
from .wire import OPCODES

# How often, before each seed's own swing.
_MIX = {
    "create": 24,
    "delete": 10,
    "setData": 12,
    "setACL": 4,
    "read": 16,
    "acl_read": 3,
    "count": 4,
    "multi": 10,
    "multiRead": 3,
    "addWatch": 5,
    "watch_admin": 6,
    "setWatches": 5,
    "quiet": 3,
    "system": 3,
    "auth": 3,
    "bad_auth": 0.4,
    "unknown": 0.4,
    "raw": 0.4,
    "limit": 0.1,
    "close": 1,
    "drop": 0.7,
    "attach": 2,
    "open": 2.5,
    "reconnect": 2,
}
_ALONE = frozenset(("auth", "bad_auth", "unknown", "raw", "limit", "close", "drop", "attach", "open", "reconnect"))
# What may stand behind a handshake: the bytes between a readOnly flag and the frame's end are nobody's, but a flag that
# is neither 0 nor 1, and a password whose length makes no sense.
_TAILS = (b"trailing", b"\2", b"\0")
_BAD_TAILS = (b"\xff\xff\xff\xfe", b"\x7f\xff\xff\xff", b"\0\0\0\x10abc")
_PASSWORD_AT = 24


class _Generator(Requests):
    """One seed's turns: which connection does what, and how connections and sessions come and go."""

    def __init__(self, seed: int, steps: int, extended: bool, gentle: bool) -> None:
        super().__init__(seed, extended, gentle)
        self.steps_left = steps
        self.sessions = {0}
        self.ended: list[int] = []  # sessions that were closed
        self.next_conn = 1
        self.batch_max = 1 if self.quota and extended else self.dice.choice((1, 4, 8, 16))
        self.mix = {op: weight * self.dice.choice((0, 1, 1, 1, 4)) for op, weight in _MIX.items()}
        self.mix["create"] = max(self.mix["create"], 12)
        self.mix["open"] = max(self.mix["open"], 1)
        if self.quota:
            self.mix["quota"] = 15

    def program(self) -> list[Turn]:
        for _ in range(self.dice.randrange(3)):
            self.open()
        while self.steps_left > 0:
            while not self.live:
                self.open()
            op = self.draw()
            if op in _ALONE:
                getattr(self, op)()
            else:
                self.batch(op)
        return self.turns

    def draw(self) -> str:
        return self.dice.choices(list(self.mix), list(self.mix.values()))[0]

    def add(self, turn: Turn) -> None:
        self.turns.append(turn)
        self.steps_left -= max(1, len(turn.requests))
        if turn.closes:
            self.live.pop(turn.conn, None)

    # Turns that stand alone.

    def batch(self, op: str) -> None:
        conn = self.conn()
        size = min(self.dice.randint(1, self.batch_max), max(1, self.steps_left))
        requests: list[Request] = []
        while True:
            request = self.request(op, conn)
            if self.is_quirky(request):
                if requests:
                    self.add(Turn(len(self.turns), conn, tuple(requests)))
                self.add(Turn(len(self.turns), conn, (request,)))
                return
            requests.append(request)
            if len(requests) >= size or op == "setACL":
                break
            op = self.draw()
            if op in _ALONE:
                break
        self.add(Turn(len(self.turns), conn, tuple(requests)))

    def is_quirky(self, request: Request) -> bool:
        return request.op == "createContainer" and request.fields["flags"] in (1, 3)

    def open(self) -> None:
        if len(self.live) >= 4:
            return self.drop()
        conn = self.next_conn
        self.next_conn += 1
        refused = self.chance(0.03)
        requests = [] if refused else [self.request(op, conn) for op in self.behind_handshake()]
        self.live[conn] = conn
        if not refused:
            self.sessions.add(conn)
        self.add(
            Open(
                len(self.turns),
                conn,
                tuple(requests),
                closes=refused,
                password=self.dice.choice(("right", "right", "none", "short")),
                timeout=self.dice.choice((30000, 30000, 60000, 0, -1, 1, 2**31 - 1)),
                read_only=self.dice.choice((False, False, True, None)),
                last_zxid=self.zxid(10**6) if refused else self.zxid(0) if self.chance(0.3) else None,
                protocol=self.dice.choice((0, 0, 0, 7, -1)),
                **self.odd_ending(refused),
            )
        )
        return None

    def odd_ending(self, refused: bool) -> dict[str, Any]:
        """Now and then a handshake that ends early, or does not end where it should."""
        if refused and self.chance(0.5):
            if self.chance(0.5):
                return {"cut": self.dice.choice((0, 3, 20, 27))}
            return {"cut": _PASSWORD_AT, "tail": self.dice.choice(_BAD_TAILS)}
        return {"tail": self.dice.choice(_TAILS)} if not refused and self.chance(0.1) else {}

    def behind_handshake(self) -> list[str]:
        if self.batch_max == 1 or self.chance(0.7):
            return []
        return [op for op in (self.draw() for _ in range(3)) if op not in _ALONE and op not in ("create", "multi")]

    def attach(self) -> None:
        if not self.sessions:
            return self.open()
        if self.ended and self.chance(0.2):
            return self.attach_to_no_session(self.dice.choice(self.ended), "right")
        session = self.dice.choice(sorted(self.sessions))
        if self.chance(0.1):
            return self.attach_to_no_session(session, "strange")
        holder = next((conn for conn, made_by in self.live.items() if made_by == session), None)
        if holder is None and len(self.live) >= 4:
            return self.drop()
        conn = self.next_conn
        self.next_conn += 1
        password = self.dice.choice(("right", "right", "right", "wrong", "none", "short"))
        ahead = self.chance(0.05)
        refused = password != "right" or ahead
        requests = [] if refused else [self.request(op, conn) for op in self.behind_handshake()]
        if not ahead and holder is not None:
            del self.live[holder]
        self.live[conn] = session
        self.add(
            Open(
                len(self.turns),
                conn,
                tuple(requests),
                closes=refused,
                session=session,
                password=password,
                timeout=self.dice.choice((30000, 60000, 10**6, 5)),
                read_only=self.dice.choice((False, True, None)),
                last_zxid=self.zxid(10**6) if ahead else None,
            )
        )
        return None

    def attach_to_no_session(self, session: int, password: str) -> None:
        """A handshake for a session that has ended, or never was: refused with an answer."""
        conn = self.next_conn
        self.next_conn += 1
        self.live[conn] = session
        self.add(
            Open(
                len(self.turns),
                conn,
                closes=True,
                session=session,
                password=password,
                read_only=self.dice.choice((False, True, None)),
            )
        )

    def reconnect(self) -> None:
        """What every client library does: the connection is lost, others write, then the same session comes back and
        says what it had watched and up to where it had seen."""
        lost = self.conn()
        session, watched = self.live.pop(lost), self.watched.pop(lost, [])
        self.add(Drop(len(self.turns), lost))
        seen = ZxidAt(len(self.turns) - 1)
        for _ in range(self.dice.randint(0, 4) if self.live else 0):
            self.batch(self.dice.choice(("create", "delete", "setData", "multi")))
        if self.steps_left <= 0:
            return
        conn = self.next_conn
        self.next_conn += 1
        self.live[conn] = session
        fields: dict[str, Any] = {"relativeZxid": seen, "data": [], "exist": [], "child": []}
        op = "setWatches2" if any(kind > 2 for _, kind in watched) else "setWatches"
        if op == "setWatches2":
            fields |= {"persistent": [], "recursive": []}
        for path, kind in watched:
            if path is not None:
                names = {1: ("child",), 2: ("data", "exist"), 4: ("persistent",), 5: ("recursive",)}[kind]
                fields[self.dice.choice(names)].append(path)
        restore = Request(op, OPCODES[op], -8, fields)
        self.learn_watch(conn, op, fields)
        self.add(Open(len(self.turns), conn, (restore,), session=session, last_zxid=seen))

    def drop(self) -> None:
        conn = self.conn()
        del self.live[conn]
        self.add(Drop(len(self.turns), conn))

    def close(self) -> None:
        conn = self.conn()
        self.sessions.discard(self.live[conn])
        self.ended.append(self.live[conn])
        requests = [Request("closeSession", -11, self.xid(conn))]
        if self.batch_max > 1 and self.chance(0.4):
            requests.insert(0, self.request("create", conn))
            if self.is_quirky(requests[0]):
                requests.pop(0)
        self.tree.end_session(self.live[conn])
        self.add(Turn(len(self.turns), conn, tuple(requests), closes=True))

    def auth(self) -> None:
        scheme, token = self.dice.choice(pools.AUTHS)
        if self.chance(0.1):
            token = None if self.is_bad() else self.dice.choice((b"", b"x"))
            return self.alone("sasl", {"token": token}, closes=token is None)
        return self.alone("auth", {"type": self.dice.choice((0, 0, 7)), "scheme": scheme, "auth": token}, xid=-4)

    def bad_auth(self) -> None:
        scheme, token = self.dice.choice(pools.BAD_AUTHS)
        cut = 6 if self.chance(0.2) else None
        self.alone("auth", {"type": 0, "scheme": scheme, "auth": token}, xid=-4, closes=True, cut=cut)

    def unknown(self) -> None:
        conn = self.conn()
        if self.chance(0.3):
            self.alone("check", {"path": self.path(), "version": -1}, closes=True)
            return
        opcode = self.dice.choice(pools.UNKNOWN_OPCODES)
        request = Request("unknown", opcode, self.xid(conn), tail=self.dice.choice((b"", b"abc")))
        self.add(Turn(len(self.turns), conn, (request,), closes=True))

    def raw(self) -> None:
        self.add(Raw(len(self.turns), self.conn(), closes=True, data=self.dice.choice(pools.RAW)))

    def limit(self) -> None:
        """A frame of exactly the largest size, or one byte more, which costs the connection."""
        conn, over = self.conn(), self.chance(0.5)
        fields = {"path": "~", "data": b"", "version": 77 if over else -1}
        pad_to = pools.FRAME_LIMIT + over
        request = Request("setData", OPCODES["setData"], self.xid(conn), fields, pad_to=pad_to)
        self.add(Turn(len(self.turns), conn, (request,), closes=over))

    def alone(
        self, op: str, fields: dict[str, Any], xid: int | None = None, closes: bool = False, cut: int | None = None
    ) -> None:
        conn = self.conn()
        request = Request(op, OPCODES[op], self.xid(conn) if xid is None else xid, fields, cut=cut)
        self.add(Turn(len(self.turns), conn, (request,), closes=closes))


def generate(seed: int, steps: int, extended: bool = False, gentle: bool = False) -> Program:
    """The program of this seed; equal arguments give equal programs.

    `extended` says that the servers know TTL nodes and enforce quotas; `gentle` leaves out the nonsense (malformed
    paths, ACLs and bodies), so that differences in what sensible clients do are not hidden behind it.
    """
    generator = _Generator(seed, steps, extended, gentle)
    turns = generator.program()
    notes = f"batches up to {generator.batch_max}" + (", quotas" if generator.quota else "")
    return Program(seed, tuple(turns), notes)
