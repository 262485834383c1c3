"""The turn: what is done in which order."""

import select

import pytest
import trio

from tests.server.rig import Rig
from tests.system.clients import PING, Client, create, request
from zkpy.proto import opcodes
from zkpy.proto.records import GetDataRequest
from zkpy.server.driver import Driver
from zkpy.zab.ready import Ready


class NoPeers:
    """The other members, who never answer."""

    has_rest = False
    is_patient = False

    def carry_out(self, ready: Ready) -> None:
        """Send nothing."""

    def flush(self) -> bool:
        """No link breaks."""
        return False

    def hasten(self) -> bool:
        """None of the words is patient."""
        return self.flush()


class WatchedDisk:
    """A disk in memory that notes what has happened by the time it is asked to sync."""

    has_work = False
    is_behind = False

    def __init__(self, rig: Rig) -> None:
        self.rig = rig
        self.watched: list[object] = []
        self.readable: list[list[object]] = []

    def carry_out(self, ready: Ready) -> None:
        """A sync begins, and ends."""
        self.readable.append(select.select(self.watched, [], [], 0.2)[0])
        self.rig.replica.synced(ready.token)


def test_answers_that_need_no_disk_leave_before_the_sync_and_the_others_after_it() -> None:
    with Rig() as rig:
        reader, writer, both = (rig.client() for _ in range(3))
        disk = WatchedDisk(rig)
        disk.watched = [reader.sock, writer.sock, both.sock]
        driver = Driver(rig.replica, rig.hub, disk)  # type: ignore[arg-type]
        reader.send(PING)
        writer.send(create(1, "/a"))
        both.send(PING, create(1, "/b"), PING)
        select.select([writer.sock], [], [], 0.01)
        driver.turn()
        while "/b" not in rig.keeper.tree.nodes:
            driver.turn()
        assert disk.readable[0] == [reader.sock]
        assert reader.reply().xid == -2
        assert writer.reply().xid == 1
        assert [both.reply().xid for _ in range(3)] == [-2, 1, -2]


def test_a_member_whose_writes_wait_for_others_has_nothing_to_do_meanwhile() -> None:
    with Rig(outstanding_limit=10) as rig:
        client = rig.client()
        disk = WatchedDisk(rig)
        driver = Driver(rig.replica, rig.hub, disk)  # type: ignore[arg-type]
        driver.peers = NoPeers()  # type: ignore[assignment]
        rig.holds_disk = True
        client.send(*(create(n, f"/{n}") for n in range(20)))
        rig.turns()
        client.send(create(20, "/20"))
        select.select([rig.hub.epoll.fileno()], [], [], 1)
        assert not driver.turn(), "nobody can be served before some of it commits"
        assert not select.select([rig.hub.epoll.fileno()], [], [], 0)[0]


class WatchedPeers(NoPeers):
    """The other members, who look each time they are sent something whether a client has its answer."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.answered: list[bool] = []

    def flush(self) -> bool:
        self.answered.append(bool(select.select([self.client.sock], [], [], 0.05)[0]))
        return False


def test_a_lone_writer_is_answered_before_the_other_members_hear_of_the_commit() -> None:
    with Rig() as rig:
        client = rig.client()
        driver = Driver(rig.replica, rig.hub, WatchedDisk(rig))  # type: ignore[arg-type]
        peers = driver.peers = WatchedPeers(client)  # type: ignore[assignment]
        client.send(create(1, "/a"))
        select.select([rig.hub.epoll.fileno()], [], [], 1)
        driver.turn()
        assert peers.answered == [False, True], "what is proposed goes out before the disk has it, commits at the end"
        assert client.reply().xid == 1


class PatientPeers(NoPeers):
    """The other members; each turn leaves a word that may wait for another, which never comes."""

    def __init__(self) -> None:
        self.flushed = self.hastened = 0

    def flush(self) -> bool:
        self.flushed += 1
        self.is_patient = True
        return False

    def hasten(self) -> bool:
        self.hastened += 1
        self.is_patient = False
        return False


@pytest.mark.parametrize("is_busy", [False, True])
def test_words_that_wait_for_others_do_not_wait_long(is_busy: bool) -> None:
    with Rig() as rig:
        client = rig.client()
        driver = Driver(rig.replica, rig.hub, WatchedDisk(rig))  # type: ignore[arg-type]
        peers = driver.peers = PatientPeers()  # type: ignore[assignment]

        async def main() -> None:
            with trio.fail_after(60):
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(driver.run)
                    client.send(PING)
                    while not peers.hastened or peers.is_patient:
                        if is_busy:
                            client.send(PING)
                        await trio.lowlevel.checkpoint()
                    nursery.cancel_scope.cancel()

        trio.run(main)
        assert peers.flushed, "they wait at first"


def test_a_turn_that_another_task_runs_leaves_no_word_waiting() -> None:
    with Rig() as rig:
        driver = Driver(rig.replica, rig.hub, WatchedDisk(rig))  # type: ignore[arg-type]
        peers = driver.peers = PatientPeers()  # type: ignore[assignment]
        driver.hear(lambda: None)
        assert (peers.flushed, peers.hastened) == (0, 1)


def test_a_turn_goes_on_until_no_ready_can_follow(monkeypatch: pytest.MonkeyPatch) -> None:
    with Rig() as rig:
        driver = Driver(rig.replica, rig.hub, WatchedDisk(rig))  # type: ignore[arg-type]
        driver.peers = NoPeers()  # type: ignore[assignment]
        word, question, queued, nothing = Ready(), Ready(), Ready(), Ready()
        word.send.append((1, b"word"))
        question.pinged = True
        queued.send.append((1, b"word"))
        queued.is_followed = True
        for readies, count in (
            ([word, nothing], 1),
            ([nothing], 1),
            ([question, word], 2),
            ([queued, question, nothing], 3),
        ):
            taken = iter(readies)
            monkeypatch.setattr(type(rig.replica), "ready", lambda self, taken=taken: next(taken))
            driver.finish()
            assert len(list(taken)) == len(readies) - count


def test_while_a_tree_is_sent_no_turn_waits_without_letting_that_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    with Rig() as rig:
        client = rig.client()
        driver = Driver(rig.replica, rig.hub, WatchedDisk(rig))  # type: ignore[arg-type]
        peers = NoPeers()
        peers.has_rest = True
        driver.peers = peers  # type: ignore[assignment]
        monkeypatch.setattr(type(rig.hub), "wait_a_moment", None)

        async def main() -> None:
            with trio.fail_after(60):
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(driver.run)
                    for _ in range(3):
                        client.send(PING)
                        await trio.lowlevel.wait_readable(client.sock)
                        assert client.reply().xid == -2
                    nursery.cancel_scope.cancel()

        trio.run(main)


def test_an_event_for_very_many_is_sent_in_many_turns_and_answers_come_between() -> None:
    with Rig() as rig:
        writer, asking, *watching = (rig.client() for _ in range(9))
        for client in watching:
            client.send(request(1, opcodes.EXISTS, GetDataRequest("/a", True)))
            rig.turns()
            client.reply()
        driver = Driver(rig.replica, rig.hub, WatchedDisk(rig))  # type: ignore[arg-type]
        writer.send(create(1, "/a"))
        select.select([writer.sock], [], [], 0.01)
        while "/a" not in rig.keeper.tree.nodes:
            is_more = driver.turn(sends=2)
        assert is_more
        asking.send(PING)
        select.select([asking.sock], [], [], 0.01)
        turns, heard = 1, {}
        while is_more:
            socks = [asking.sock, writer.sock, *(client.sock for client in watching)]
            for sock in select.select(socks, [], [], 0)[0]:
                heard.setdefault(sock, turns)
            is_more = driver.turn(sends=2)
            turns += 1
        assert turns >= 4
        assert asking.reply().xid == -2
        assert writer.reply().xid == 1
        assert {client.reply().xid for client in watching} == {-1}
        assert heard[asking.sock] < 4, "ahead of events that are older"
