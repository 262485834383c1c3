"""Random lives of clients in an ensemble: they write, read, move from member to member and are lost; leaders change.

What must hold all the while, for each client: answers come in the order of its requests and none is left out; what it
reads of its own node is what it wrote last; it never sees less than it was told before. And for the members: all trees
are the same in the end, every ephemeral's session is alive, nothing is left under way.
"""

import random

import pytest

from tests.keeper.ensemble import Ensemble, Member
from tests.keeper.harness import OPEN, Reply
from zkpy.proto import opcodes
from zkpy.proto.records import (
    ConnectResponse,
    CreateRequest,
    GetDataRequest,
    GetDataResponse,
    SetDataRequest,
    SyncRequest,
)


class Life:
    """One client, with its node; on one connection after the other."""

    def __init__(self, member: Member, number: int) -> None:
        self.path = f"/n{number}"
        self.client = member.client(60000)
        #: The value it has set last, and the last one that it was told of, as an answer or by reading.
        self.sent = self.known = 0
        self.zxid = 0
        #: Once a write of this connection is answered, none of an earlier connection can come any more.
        self.is_settled = True
        #: (xid, opcode, value) of requests that are not answered.
        self.expected: list[tuple[int, int, int]] = []
        assert self.client.create(self.path, b"0").err == 0
        assert self.client.create(f"{self.path}/e", flags=opcodes.EPHEMERAL).err in (0, -108)

    def request(self, op: int) -> bytes:
        client = self.client
        if op == opcodes.SET_DATA:
            self.sent += 1
            data = client.request(op, SetDataRequest(self.path, str(self.sent).encode(), -1))
        elif op == opcodes.GET_DATA:
            data = client.request(op, GetDataRequest(self.path, False))
        elif op == opcodes.SYNC:
            data = client.request(op, SyncRequest(self.path))
        else:
            data = client.request(op, CreateRequest(self.path, b"", OPEN, 0))  # it is there already
        self.expected.append((client.xid, op, self.sent))
        return data

    def listen(self) -> None:
        """Judge whatever has come."""
        for packet in self.client.take():
            if isinstance(packet, ConnectResponse):
                assert packet.session_id == self.client.session_id
                continue
            assert isinstance(packet, Reply)
            xid, op, value = self.expected.pop(0)
            assert packet.xid == xid
            assert packet.zxid >= self.zxid
            self.zxid = packet.zxid
            assert packet.err == (-110 if op == opcodes.CREATE else 0)
            if op == opcodes.SET_DATA:
                self.known = value
                self.is_settled = True
            elif op == opcodes.GET_DATA:
                data = GetDataResponse.decode(packet.body, 0)[0].data
                assert data is not None
                assert self.known <= int(data) <= value
                if self.is_settled:
                    assert int(data) == value
                self.known = int(data)

    def move(self, member: Member) -> bool:
        """Go on at another member. False if that one has not seen yet what this client has."""
        old = self.client
        client = self.client = member.open()
        self.expected.clear()
        self.is_settled = False
        client.session_id, client.password = old.session_id, old.password
        response = client.connect(60000, old.session_id, old.password, zxid=self.zxid)
        client.session_id, client.password = old.session_id, old.password
        return response is None or response.session_id == old.session_id


class Story:
    """One ensemble and its clients, drawn from a seed."""

    def __init__(self, seed: int) -> None:
        self.dice = random.Random(seed)
        self.ensemble = Ensemble(followers=2, observers=1)
        self.lives = [Life(self.dice.choice(self.ensemble.members), number) for number in range(4)]

    def run(self, steps: int) -> None:
        for _ in range(steps):
            step = self.dice.choices([self.send, self.hold, self.release, self.move, self.revolt], [50, 6, 8, 6, 1])[0]
            step()
            for life in self.lives:
                life.listen()
        self.release()
        for life in self.lives:
            life.listen()
            if not life.client.is_closed:
                assert not life.expected

    def send(self) -> None:
        life = self.dice.choice(self.lives)
        if life.client.is_closed:
            self.come_back(life)
            return
        ops = [opcodes.SET_DATA, opcodes.SET_DATA, opcodes.GET_DATA, opcodes.GET_DATA, opcodes.SYNC, opcodes.CREATE]
        life.client.send(*(life.request(self.dice.choice(ops)) for _ in range(self.dice.randint(1, 4))))

    def hold(self) -> None:
        what = self.dice.randrange(3)
        if what == 0:
            self.ensemble.holds_requests = True
        elif what == 1:
            self.ensemble.holds_commits = True
        else:
            self.dice.choice(self.ensemble.learners).is_behind = True

    def release(self) -> None:
        self.ensemble.release()
        for member in self.ensemble.members:
            member.catch_up()

    def move(self) -> None:
        life = self.dice.choice(self.lives)
        life.listen()
        life.client.hang_up()
        self.come_back(life)

    def come_back(self, life: Life) -> None:
        assert life.move(self.dice.choice(self.ensemble.members))

    def revolt(self) -> None:
        """The leader is lost; what was on its way to or from it is, too."""
        for member in self.ensemble.members:
            member.catch_up()
        for life in self.lives:
            life.listen()
        self.ensemble.depose()
        self.ensemble.holds_requests = self.ensemble.holds_commits = False
        self.ensemble.elect(self.dice.choice(self.ensemble.members[:3]))
        assert all(life.client.is_closed for life in self.lives)


@pytest.mark.parametrize("seed", range(40))
def test_clients_see_their_own_order_wherever_they_are(seed: int) -> None:
    story = Story(seed)
    story.run(300)
    ensemble = story.ensemble
    ensemble.check()
    for member in ensemble.members:
        assert not member.keeper.in_flight
        assert member.tree.sessions.ephemerals.keys() <= member.tree.sessions.timeouts.keys()
