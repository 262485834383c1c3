"""Random programs of operations through a member, held against a server that is alone: the same bytes must come back.

Both worlds get the same clients, requests and times; the member makes its session ids as the other one does, and its
leader counts zxids in epoch 0. Writes are held up now and then, so that programs have requests of several sessions
under way at once. `sync` alone differs then: in an ensemble it waits for what is under way, so it is sent by itself.
"""

import random
from collections.abc import Callable

import pytest

from tests.keeper.ensemble import Ensemble
from tests.keeper.harness import (
    OPEN,
    Client,
    World,
    acl,
    check_op,
    create_op,
    create_ttl_op,
    delete_op,
    multi_body,
    set_op,
)
from zkpy.proto import opcodes
from zkpy.proto.records import (
    ACL,
    AddWatchRequest,
    AuthPacket,
    CheckWatchesRequest,
    CreateRequest,
    CreateTTLRequest,
    DeleteRequest,
    GetACLRequest,
    GetDataRequest,
    GetEphemeralsRequest,
    ReconfigRequest,
    SetACLRequest,
    SetDataRequest,
    SetWatches2,
    SyncRequest,
)
from zkpy.tree.datatree import DataTree

PATHS = ["/a", "/b", "/a/x", "/a/y", "/b/x", "/b/x/z", "/", "/zookeeper/quota/a", "/zookeeper/quota/a/zookeeper_limits"]
WRONG_PATHS = ["", "a", "//", "/a/", "/a//b", "/a/../b", None]
ACLS = [
    OPEN,
    OPEN,
    OPEN,
    acl((opcodes.PERM_ALL, "auth", "")),
    acl((opcodes.PERM_READ, "world", "anyone")),
    acl((opcodes.PERM_ALL, "nonsense", "x")),
    [],
]
QUOTA = b"count=3,bytes=40=;byteHardLimit=60;countHardLimit=4"


class Pair:
    """The same client in both worlds."""

    def __init__(self, clients: tuple[Client, Client]) -> None:
        self.clients = clients

    def send(self, *requests: bytes) -> None:
        for client in self.clients:
            client.send(*requests)


class Program:
    """One program, drawn from a seed and carried out in both worlds."""

    def __init__(self, sid: int, seed: int) -> None:
        self.dice = random.Random(seed)
        self.alone = World(DataTree(extended_types=True), server_id=sid, enforce_quota=True)
        self.ensemble = Ensemble(followers=1, observers=1, epoch=0, extended_types=True, enforce_quota=True)
        self.member = self.ensemble.members[sid - 1]
        self.pairs = [self.new_pair() for _ in range(3)]
        self.is_holding = False

    def new_pair(self) -> Pair:
        return Pair((self.alone.client(60000), self.member.client(60000)))

    def run(self, steps: int) -> None:
        for _ in range(steps):
            self.dice.choices([self.request, self.pause, self.hold, self.come_back, self.pass_time], [60, 1, 4, 2, 8])[
                0
            ]()
            self.compare()
        self.let_go()
        self.compare()

    def compare(self) -> None:
        for pair in self.pairs:
            alone, member = pair.clients
            assert member.raw == alone.raw
            assert member.is_closed == alone.is_closed
        if not self.is_holding:
            assert self.member.tree.digest == self.alone.tree.digest

    # --- steps

    def request(self) -> None:
        pair = self.dice.choice(self.pairs)
        if pair.clients[0].is_closed:
            self.pairs.remove(pair)
            self.pairs.append(self.new_pair() if not self.is_holding else self.pairs[0])
            return
        requests = []
        for _ in range(self.dice.choice((1, 1, 1, 2, 5))):
            op, body, xid = self.operation()
            if op == opcodes.SYNC and requests:
                break  # what closes the connection at once would overtake its answer, which has a way to go
            requests.append(pair.clients[0].request(op, body, xid))
            if op == opcodes.SYNC:
                break
        pair.send(*requests)

    def pause(self) -> None:
        pair = self.dice.choice(self.pairs)
        pair.send(pair.clients[0].request(opcodes.PING, b"", opcodes.XID_PING))

    def hold(self) -> None:
        if self.is_holding:
            self.let_go()
        else:
            self.is_holding = self.alone.holds_log = True
            if self.dice.random() < 0.5:
                self.ensemble.holds_requests = True
            self.ensemble.holds_commits = True

    def let_go(self) -> None:
        self.is_holding = self.alone.holds_log = False
        self.alone.sync()
        self.ensemble.release()

    def come_back(self) -> None:
        """A client loses its connection, and takes its session to a new one."""
        if self.is_holding:
            return
        at = self.dice.randrange(len(self.pairs))
        old = self.pairs[at].clients
        new = self.alone.open(), self.member.open()
        for client, former in zip(new, old, strict=True):
            client.connect(60000, former.session_id, former.password)
        self.pairs[at] = Pair(new)

    def pass_time(self) -> None:
        if self.is_holding:
            return  # a request gets its time when the leader judges it
        for world in (self.alone, *self.ensemble.members):
            world.now_ms += 3
            world.wall_ms += 3
            world.replica.begin(world.now_ms, world.wall_ms)

    # --- operations

    def path(self) -> str | None:
        return self.dice.choice(PATHS if self.dice.random() < 0.95 else WRONG_PATHS)

    def acl(self) -> list[ACL]:
        return self.dice.choice(ACLS)

    def data(self) -> bytes | None:
        return self.dice.choice([b"", b"1", b"22", b"x" * 30, QUOTA, None])

    def version(self) -> int:
        return self.dice.choice([-1, -1, -1, 0, 1, 2])

    def flags(self) -> int:
        return self.dice.choice([0, 0, 0, 1, 2, 3, 4, 5, 6, 7])

    def watch(self) -> bool:
        return self.dice.random() < 0.3

    def operation(self) -> tuple[int, bytes, int | None]:
        if self.dice.random() < 0.03:
            op = self.dice.choice([opcodes.CREATE, opcodes.SET_DATA, opcodes.DELETE, opcodes.MULTI, opcodes.SET_ACL])
            return op, self.dice.randbytes(self.dice.randrange(20)), None
        makers: list[Callable[[], tuple[int, bytes, int | None]]] = [
            *[self.create] * 5,
            *[self.delete] * 2,
            *[self.set] * 3,
            self.set_acl,
            *[self.multi] * 3,
            *[self.read] * 6,
            self.rare,
        ]
        return self.dice.choice(makers)()

    def create(self) -> tuple[int, bytes, int | None]:
        op = self.dice.choice([opcodes.CREATE, opcodes.CREATE, opcodes.CREATE2, opcodes.CREATE_CONTAINER])
        if self.dice.random() < 0.1:
            ttl = self.dice.choice([-1, 0, 5000])
            return opcodes.CREATE_TTL, CreateTTLRequest(self.path(), self.data(), self.acl(), 5, ttl).to_bytes(), None
        return op, CreateRequest(self.path(), self.data(), self.acl(), self.flags()).to_bytes(), None

    def delete(self) -> tuple[int, bytes, int | None]:
        return opcodes.DELETE, DeleteRequest(self.path(), self.version()).to_bytes(), None

    def set(self) -> tuple[int, bytes, int | None]:
        return opcodes.SET_DATA, SetDataRequest(self.path(), self.data(), self.version()).to_bytes(), None

    def set_acl(self) -> tuple[int, bytes, int | None]:
        return opcodes.SET_ACL, SetACLRequest(self.path(), self.acl(), self.version()).to_bytes(), None

    def multi(self) -> tuple[int, bytes, int | None]:
        steps = []
        for _ in range(self.dice.randrange(5)):
            path = self.dice.choice(PATHS)
            version = self.version()
            steps.append(
                self.dice.choice(
                    [
                        create_op(path, self.dice.choice([0, 1, 2, 3]), self.data() or b""),
                        create_op(path, 0, b"", opcodes.CREATE2),
                        create_ttl_op(path, 5, 5000),
                        delete_op(path, version),
                        set_op(path, self.data() or b"", version),
                        check_op(path, version),
                    ]
                )
            )
        return opcodes.MULTI, multi_body(*steps), None

    def read(self) -> tuple[int, bytes, int | None]:
        op = self.dice.choice(
            [opcodes.EXISTS, opcodes.GET_DATA, opcodes.GET_CHILDREN, opcodes.GET_CHILDREN2, opcodes.GET_ACL]
        )
        if op == opcodes.GET_ACL:
            return op, GetACLRequest(self.path()).to_bytes(), None
        return op, GetDataRequest(self.path(), self.watch()).to_bytes(), None

    def rare(self) -> tuple[int, bytes, int | None]:
        path = self.path()
        choices: list[tuple[int, bytes, int | None]] = [
            (opcodes.PING, b"", opcodes.XID_PING),
            (opcodes.AUTH, AuthPacket(0, "digest", b"ann:secret").to_bytes(), opcodes.XID_AUTH),
            (opcodes.ADD_WATCH, AddWatchRequest(path, self.dice.randrange(3)).to_bytes(), None),
            (opcodes.REMOVE_WATCHES, CheckWatchesRequest(path, self.dice.randrange(1, 6)).to_bytes(), None),
            (opcodes.SET_WATCHES2, SetWatches2(5, ["/a"], ["/b"], ["/a"], [], []).to_bytes(), opcodes.XID_SET_WATCHES),
            (opcodes.GET_EPHEMERALS, GetEphemeralsRequest("/").to_bytes(), None),
            (opcodes.RECONFIG, ReconfigRequest(None, None, None, 0).to_bytes(), None),
            (opcodes.CLOSE_SESSION, b"", None),
            (opcodes.CHECK, b"", None),
        ]
        if not self.is_holding:
            choices += [(opcodes.SYNC, SyncRequest(path).to_bytes(), None)] * 3
        return self.dice.choice(choices)


@pytest.mark.parametrize("sid", [1, 2, 3], ids=["leader", "follower", "observer"])
@pytest.mark.parametrize("seed", range(30))
def test_answers_through_a_member_are_those_of_a_server_alone(sid: int, seed: int) -> None:
    program = Program(sid, seed)
    program.run(150)
    program.ensemble.check()
    program.alone.check()
    assert program.member.tree.last_zxid == program.alone.tree.last_zxid > 20
