"""Clients that write and read registers while members come and go, and remember all they asked and heard.

Each `Historian` is one session that goes from member to member, with an ephemeral of its own; what it hears becomes
Operations for the checker. `Historians` are several of them and the judgement at the end.

What a lost connection leaves open is decided, at the latest, when the same session has its next write acknowledged:
one session's writes take effect in the order in which they were sent, through whichever members.

A read is judged as linearizable, so a mere read, which may be of the past, is not enough. In front of it goes a sync,
or (`is_strict`) a write. The sync is for ensembles in which nobody can believe for a while that he still leads: like
Apache's, a leader answers it by itself, and one that was paused or cut off may not know yet that another reign has
begun. A write is never acknowledged by such a leader.
"""

import random
import threading
import time
from dataclasses import dataclass, field

from tests.linearizability import checker
from tests.linearizability.checker import ANY, BAD_VERSION, NO_NODE, NODE_EXISTS, OK, Operation, State
from tests.system.clients import EPHEMERAL, OPEN, Client, Reply, request
from tests.system.ensembles import AGREE_S, EnsembleProcesses, until
from zkpy.proto import errors, opcodes
from zkpy.proto.records import (
    CreateRequest,
    DeleteRequest,
    GetDataRequest,
    GetDataResponse,
    SetDataRequest,
    SetDataResponse,
    Stat,
    SyncRequest,
)

#: How long a client waits for an answer, and for a welcome, before it tries another member.
ANSWER_S = 3.0
WELCOME_S = 1.0
#: The sessions of the historians outlive everything, those of the mortals (who never come back) next to nothing.
LIVING_MS = 120_000
MORTAL_MS = 500
#: Between two operations of a client: the members have other things to do as well.
PAUSE_S = 0.004
REGISTERS = ("/r0", "/r1", "/r2")
OUTCOMES = {0: OK, errors.NONODE: NO_NODE, errors.NODEEXISTS: NODE_EXISTS, errors.BADVERSION: BAD_VERSION}


@dataclass
class Notes:
    """What one historian knows."""

    registers: dict[str, list[Operation]] = field(default_factory=lambda: {path: [] for path in REGISTERS})
    #: Names under /kept: asked for, and acknowledged.
    sent: set[str] = field(default_factory=set)
    kept: set[str] = field(default_factory=set)
    #: Operations whose answer was lost.
    lost: int = 0
    moves: int = 0


class Historian(threading.Thread):
    """One session."""

    def __init__(self, number: int, seed: int, ensemble: EnsembleProcesses, *, is_strict: bool) -> None:
        super().__init__(daemon=True)
        self.label = f"c{number}"
        self.notes = Notes()
        #: How many operations were answered.
        self.answered = 0
        self.is_over = False
        self.failure: BaseException | None = None
        self.session_id = 0
        self._password = bytes(16)
        self._ensemble = ensemble
        self._is_strict = is_strict
        self._dice = random.Random(f"{seed} {number}")
        self._count = 0
        # the versions that it has seen last, by register
        self._versions = dict.fromkeys(REGISTERS, 0)
        # writes of this session that may still take effect, as far as is known
        self._open: list[Operation] = []

    @property
    def ephemeral(self) -> str:
        """The path of its ephemeral."""
        return f"/living/{self.label}"

    def open(self) -> None:
        """Begin the session, and write what it needs; all members run."""
        client = self._attach(self._dice.choice(list(self._ensemble.members)))
        assert client is not None
        assert client.create(self.ephemeral, self.label.encode(), EPHEMERAL).err == 0
        assert client.create(f"/barrier/{self.label}").err == 0
        client.close()

    def run(self) -> None:
        try:
            while not self.is_over:
                client = self._attach(self._dice.choice(list(self._ensemble.members)))
                if client is None:
                    time.sleep(0.05)
                    continue
                try:
                    # Sometimes it moves without need.
                    while not self.is_over and self._dice.random() > 0.004:
                        self._ask(client)
                        self.answered += 1
                        time.sleep(PAUSE_S)
                except (OSError, EOFError):
                    pass
                finally:
                    client.close()
        except BaseException as failure:
            self.failure = failure

    def _attach(self, sid: int) -> Client | None:
        member = self._ensemble.members[sid]
        try:
            client = Client(member.port, member.host, WELCOME_S)
        except OSError:
            return None
        try:
            welcome = client.connect(LIVING_MS, self.session_id, self._password)
        except (OSError, EOFError):
            client.close()
            return None
        if self.session_id:
            assert welcome.session_id == self.session_id, f"member {sid} says that a living session has ended"
        self.session_id, self._password = client.session_id, client.password
        client.sock.settimeout(ANSWER_S)
        self.notes.moves += 1
        return client

    # --- operations ----------------------------------------------------------------------------------------------

    def _ask(self, client: Client) -> None:
        """One operation, of a kind and on a register that the dice choose."""
        self._count += 1
        kind = self._dice.choices(("read", "cas", "set", "create", "delete", "keep"), (35, 25, 10, 12, 8, 10))[0]
        if kind == "keep":
            self._keep(client)
            return
        path = self._dice.choice(REGISTERS)
        if kind == "read":
            self._read(client, path)
            return
        value = f"{self.label}-{self._count}"
        expected = self._versions[path] if kind == "cas" or (kind == "delete" and self._dice.random() < 0.5) else ANY
        if kind == "create":
            self._write(client, path, Operation(checker.CREATE, 0, value=value))
        elif kind == "delete":
            self._write(client, path, Operation(checker.DELETE, 0, expected=expected))
        else:
            self._write(client, path, Operation(checker.SET, 0, value=value, expected=expected))

    def _write(self, client: Client, path: str, operation: Operation) -> None:
        op, body = {
            checker.CREATE: (opcodes.CREATE, CreateRequest(path, operation.value.encode(), OPEN, 0)),
            checker.SET: (opcodes.SET_DATA, SetDataRequest(path, operation.value.encode(), operation.expected)),
            checker.DELETE: (opcodes.DELETE, DeleteRequest(path, operation.expected)),
        }[operation.kind]
        operation.client = self.label
        operation.began = time.monotonic()
        self.notes.registers[path].append(operation)
        reply = self._call(client, op, body, operation)
        operation.ended = time.monotonic()
        operation.outcome = OUTCOMES[reply.err]
        self._went_on(operation.ended)
        if operation.outcome == OK and operation.kind != checker.DELETE:
            version = 0 if operation.kind == checker.CREATE else SetDataResponse.decode(reply.body, 0)[0].stat.version
            operation.state = operation.value, version
            self._versions[path] = version

    def _keep(self, client: Client) -> None:
        name = f"{self.label}-{self._count}"
        self.notes.sent.add(name)
        reply = self._call(client, opcodes.CREATE, CreateRequest(f"/kept/{name}", b"", OPEN, 0))
        assert reply.err == 0, reply
        self.notes.kept.add(name)
        self._went_on(time.monotonic())

    def _read(self, client: Client, path: str) -> None:
        began = time.monotonic()
        if self._is_strict:
            barrier = SetDataRequest(f"/barrier/{self.label}", b"", ANY)
            assert self._call(client, opcodes.SET_DATA, barrier).err == 0
            self._went_on(time.monotonic())
        else:
            assert self._call(client, opcodes.SYNC, SyncRequest("/")).err == 0
        reply = self._call(client, opcodes.GET_DATA, GetDataRequest(path, False))
        state = state_of(reply)
        if state is not None:
            self._versions[path] = state[1]
        self.notes.registers[path].append(
            Operation(checker.READ, began, time.monotonic(), OK, state=state, client=self.label)
        )

    def _call(self, client: Client, op: int, body: object, operation: Operation | None = None) -> Reply:
        """One request and its reply. Without one the connection is of no use any more."""
        client.xid += 1
        try:
            client.send(request(client.xid, op, body))  # type: ignore[arg-type]
            reply = client.reply()
            assert reply.xid == client.xid, reply
            if reply.err == errors.SESSIONMOVED:
                raise EOFError  # an older connection of this session has said its last word after this one's first
        except (OSError, EOFError):
            self.notes.lost += 1
            if operation is not None:
                self._open.append(operation)
            raise
        return reply

    def _went_on(self, now: float) -> None:
        """A write of this session is acknowledged: what was sent before has been done, or never will be."""
        for operation in self._open:
            operation.ended = now
        self._open.clear()


def state_of(reply: Reply) -> State:
    """What a getData has found."""
    if reply.err == errors.NONODE:
        return None
    assert reply.err == 0, reply
    found = GetDataResponse.decode(reply.body, 0)[0]
    return (found.data or b"").decode(), found.stat.version


class Historians:
    """Several of them at work on one ensemble; a context manager that stops them."""

    def __init__(self, ensemble: EnsembleProcesses, seed: int, count: int = 4, *, is_strict: bool = False) -> None:
        self.ensemble = ensemble
        self.all = [Historian(number, seed, ensemble, is_strict=is_strict) for number in range(count)]
        self._mortals = 0
        with ensemble.client(ensemble.agree()) as client:
            for path in ("/kept", "/living", "/mortal", "/barrier", "/last"):
                assert client.create(path).err == 0
        for historian in self.all:
            historian.open()
            historian.start()

    def go_on(self, count: int = 12) -> None:
        """Wait until each of them has had so many more answers."""
        goals = {historian: historian.answered + count for historian in self.all}
        deadline = time.monotonic() + AGREE_S
        while any(historian.answered < goal for historian, goal in goals.items()):
            for historian in self.all:
                if historian.failure is not None:
                    raise historian.failure
            silent = [historian.label for historian, goal in goals.items() if historian.answered < goal]
            assert time.monotonic() < deadline, f"they get no answers: {silent}"
            time.sleep(0.01)

    def leave_mortal(self, sid: int) -> None:
        """A session with an ephemeral, which nobody will hear of again."""
        member = self.ensemble.members[sid]
        with Client(member.port, member.host) as client:
            client.connect(MORTAL_MS)
            assert client.create(f"/mortal/{self._mortals}", b"", EPHEMERAL).err == 0
        self._mortals += 1

    def judge(self) -> str:
        """All members run and nothing is lost any more: stop, and fail with whatever is not as it should be.

        The sentence that it returns says what there was to judge.
        """
        self.stop()
        ensemble = self.ensemble
        ensemble.agree()
        clients = {sid: ensemble.client(sid) for sid in ensemble.members}
        try:
            until(lambda: self._mortals_are_gone(clients))
            history = self._history(clients)
            looked_at = checker.check_all(history)
            for sid, client in clients.items():
                self._judge_nodes(sid, client)
            self._judge_members(clients)
        finally:
            for client in clients.values():
                client.close()
        notes = [historian.notes for historian in self.all]
        return (
            f"{sum(map(len, history.values()))} operations on {len(history)} registers are linearizable"
            f" ({looked_at} configurations); {sum(len(one.kept) for one in notes)} nodes kept;"
            f" {sum(one.lost for one in notes)} answers lost, {sum(one.moves for one in notes)} times to another member"
        )

    def stop(self) -> None:
        """No more operations."""
        for historian in self.all:
            historian.is_over = True
        for historian in self.all:
            historian.join(AGREE_S)
            assert not historian.is_alive()
            if historian.failure is not None:
                raise historian.failure

    # --- the judgement -------------------------------------------------------------------------------------------

    def _mortals_are_gone(self, clients: dict[int, Client]) -> bool:
        for client in clients.values():
            sync(client)
        return not any(client.children("/mortal") for client in clients.values())

    def _history(self, clients: dict[int, Client]) -> dict[str, list[Operation]]:
        """What all have noted, and what every member shows at the end."""
        history: dict[str, list[Operation]] = {
            path: [operation for historian in self.all for operation in historian.notes.registers[path]]
            for path in REGISTERS
        }
        for sid, client in clients.items():
            for path, operations in history.items():
                began = time.monotonic()
                sync(client)
                state = state_of(client.call(opcodes.GET_DATA, GetDataRequest(path, False)))
                operations.append(
                    Operation(checker.READ, began, time.monotonic(), OK, state=state, client=f"member {sid}")
                )
        return history

    def _judge_nodes(self, sid: int, client: Client) -> None:
        """What was acknowledged is there and nothing that nobody asked for; ephemerals are where they should be."""
        there = set(client.children("/kept"))
        kept = set().union(*(historian.notes.kept for historian in self.all))
        sent = set().union(*(historian.notes.sent for historian in self.all))
        assert not kept - there, f"acknowledged, and not at member {sid}"
        assert not there - sent, f"at member {sid}, and asked for by nobody"
        assert {f"/living/{name}" for name in client.children("/living")} == {one.ephemeral for one in self.all}
        for historian in self.all:
            reply = client.call(opcodes.GET_DATA, GetDataRequest(historian.ephemeral, False))
            found = GetDataResponse.decode(reply.body, 0)[0]
            assert (found.data, found.stat.ephemeral_owner) == (historian.label.encode(), historian.session_id)

    def _judge_members(self, clients: dict[int, Client]) -> None:
        """All have the same tree, and have had the same ones on the way."""
        first = next(iter(clients.values()))
        for _ in range(300):  # digests are noted now and then
            assert first.set("/last").err == 0
        for client in clients.values():
            sync(client)
        trees = {sid: nodes_of(client) for sid, client in clients.items()}
        for sid, tree in trees.items():
            reference = trees[min(trees)]
            different = {path for path in tree.keys() | reference.keys() if tree.get(path) != reference.get(path)}
            assert not different, f"different at member {sid}: {sorted(different)[:10]}"
        digests = {sid: digests_of(self.ensemble.word(sid, "hash")) for sid in clients}
        common = set.intersection(*(set(found) for found in digests.values()))
        assert common, "there is no zxid at which all have a digest"
        for zxid in common:
            assert len({found[zxid] for found in digests.values()}) == 1, f"different digests at {zxid}"
        for sid, member in self.ensemble.members.items():
            assert "zk_digest_mismatches_count\t0\n" in self.ensemble.word(sid, "mntr")
            assert not [line for line in member.log().splitlines() if " ERROR " in line or "Traceback" in line]

    def __enter__(self) -> "Historians":
        return self

    def __exit__(self, *_: object) -> None:
        for historian in self.all:
            historian.is_over = True


def sync(client: Client) -> None:
    """Have the member catch up with what is committed."""
    assert client.call(opcodes.SYNC, SyncRequest("/")).err == 0


def nodes_of(client: Client, path: str = "/") -> dict[str, tuple[bytes | None, Stat | None]]:
    """Every node below `path` that this client's member has."""
    reply = client.call(opcodes.GET_DATA, GetDataRequest(path, False))
    assert reply.err == 0, (path, reply)
    found = GetDataResponse.decode(reply.body, 0)[0]
    # Each member writes the configuration by itself as it starts, so that stat is its own.
    nodes = {path: (found.data, None if path == "/zookeeper/config" else found.stat)}
    for name in client.children(path) if found.stat.num_children else ():
        nodes |= nodes_of(client, f"{path.rstrip('/')}/{name}")
    return nodes


def digests_of(answer: str) -> dict[str, str]:
    """zxid → digest."""
    return dict(line.split(": ", 1) for line in answer.splitlines())
