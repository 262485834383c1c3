"""Elections and the events of leaders, against a real server."""

import threading

import pytest
from kazoo.client import KazooClient
from kazoo.exceptions import ConnectionClosedError

from tests.recipes.fixtures import PATIENCE_S, Connect, expire, until
from tests.recipes.proxy import Proxy
from zkpy.recipes import Election, Event, EventKind, RecipeError, check_sequencer

ELECTED, JEOPARDY, SAFE, LOST = EventKind.ELECTED, EventKind.JEOPARDY, EventKind.SAFE, EventKind.LOST


class Heard:
    """A callback that remembers."""

    def __init__(self) -> None:
        self.events: list[Event] = []

    def __call__(self, event: Event) -> None:
        self.events.append(event)

    @property
    def kinds(self) -> list[EventKind]:
        return [event.kind for event in self.events]


def test_one_candidate_leads_and_the_next_follows(connect: Connect, path: str) -> None:
    heard = Heard()
    with Election(connect(), path, owner="one", on_event=heard) as one:
        first = one.wait_elected(PATIENCE_S)
        assert first is not None
        assert one.is_leader()
        assert one.sequencer == first.sequencer
        with Election(connect(), path, owner="two") as two:
            until(lambda: len(two.candidates().waiters) == 1)
            assert two.wait_elected(timeout_s=0.05) is None
            assert two.sequencer is None
            standings = two.candidates()
            assert [standee.owner for standee in (*standings.holders, *standings.waiters)] == ["one", "two"]
            one.resign()
            assert not one.is_leader()
            second = two.wait_elected(PATIENCE_S)
            assert second is not None
            assert second.token > first.token
            until(lambda: len(two.candidates().waiters) == 1)  # who resigned stands again
        third = one.wait_elected(PATIENCE_S)
        assert third is not None
        assert third.token > second.token
    assert heard.kinds == [ELECTED, LOST, ELECTED, LOST]
    assert [event.reason for event in heard.events if event.kind is LOST] == ["released", "released"]


def test_a_lost_connection_is_jeopardy_and_a_new_one_is_safety(connect: Connect, proxy: Proxy, path: str) -> None:
    heard = Heard()
    with Election(connect(port=proxy.port), path, on_event=heard) as election:
        grant = election.wait_elected(PATIENCE_S)
        assert grant is not None
        proxy.cut()
        until(lambda: heard.kinds == [ELECTED, JEOPARDY])
        assert election.is_leader(), "the lease runs on"
        assert 0 < grant.remaining_s() < grant.session_timeout_s
        proxy.mend()
        until(lambda: heard.kinds == [ELECTED, JEOPARDY, SAFE])
        assert election.is_leader()
        assert grant.check()
    assert heard.events[1].reason == "the connection is lost"
    assert heard.kinds == [ELECTED, JEOPARDY, SAFE, LOST]


@pytest.mark.parametrize("way", ["cut", "freeze"])
def test_a_leader_that_is_cut_off_deposes_itself_before_the_servers_do(
    connect: Connect, proxy: Proxy, path: str, way: str
) -> None:
    timeout_s = 2.0
    heard = Heard()
    client = connect()
    with Election(connect(timeout_s, proxy.port), path, on_event=heard) as election:
        grant = election.wait_elected(PATIENCE_S)
        assert grant is not None
        assert grant.session_timeout_s == timeout_s
        getattr(proxy, way)()
        assert grant.remaining_s() < timeout_s
        while True:
            holds = check_sequencer(client, grant.sequencer)
            if not election.is_leader():
                break
            assert holds, "the servers deposed it first"
        assert heard.kinds[:2] == [ELECTED, JEOPARDY]
        until(lambda: LOST in heard.kinds)
        assert heard.events[-1].reason == "the local deadline has passed without an answer of the servers"
        until(lambda: not check_sequencer(client, grant.sequencer))
        proxy.thaw()
        proxy.mend()
        again = election.wait_elected(PATIENCE_S)
        assert again is not None
        assert again.token > grant.token
        assert not grant.is_held(), "what was lost is not held again"
    assert heard.kinds == [ELECTED, JEOPARDY, LOST, ELECTED, LOST]


def test_an_expired_session_loses_the_leadership(connect: Connect, port: int, path: str) -> None:
    heard = Heard()
    client = connect()
    with Election(client, path, on_event=heard) as election:
        assert election.wait_elected(PATIENCE_S)
        first = election.sequencer
        expire(client, port)
        until(lambda: heard.kinds[-2:] == [LOST, ELECTED])
        second = election.sequencer
        assert first is not None
        assert second is not None
        assert second.token > first.token


def test_a_deleted_znode_loses_the_leadership_at_once(connect: Connect, path: str) -> None:
    heard = Heard()
    operator = connect()
    with Election(connect(), path, on_event=heard) as election:
        grant = election.wait_elected(PATIENCE_S)
        assert grant is not None
        operator.delete(grant.sequencer.node_path)
        assert grant.wait_lost(PATIENCE_S)
        assert grant.reason == "its znode was deleted"
        until(lambda: heard.kinds == [ELECTED, LOST, ELECTED])
        until(lambda: len(operator.get_children(path)) == 2)


def test_a_callback_that_takes_its_time_holds_up_no_heartbeat(connect: Connect, path: str) -> None:
    may_go = threading.Event()
    with Election(connect(1.0), path, on_event=lambda event: may_go.wait(PATIENCE_S)) as election:
        grant = election.wait_elected(PATIENCE_S)
        assert grant is not None
        assert not grant.wait_lost(2.0)
        may_go.set()


def test_an_exception_of_the_callback_ends_the_candidacy_and_is_raised(client: KazooClient, path: str) -> None:
    def fail(event: Event) -> None:
        raise ZeroDivisionError

    election = Election(client, path, on_event=fail).start()
    until(lambda: client.exists(path) and not client.get_children(path))
    with pytest.raises(ZeroDivisionError):
        election.wait_elected(PATIENCE_S)
    with pytest.raises(ZeroDivisionError):
        election.stop()


def test_a_candidate_can_stop_while_it_waits_and_while_it_is_cut_off(connect: Connect, proxy: Proxy, path: str) -> None:
    with Election(connect(), path) as leader:
        leader.wait_elected(PATIENCE_S)
        waiting = Election(connect(port=proxy.port), path).start()
        until(lambda: len(leader.candidates().waiters) == 1)
        proxy.freeze()
        waiting.stop()
        assert not waiting.is_leader()
        with pytest.raises(RecipeError, match="stopped"):
            waiting.wait_elected(PATIENCE_S)
        proxy.thaw()
        until(lambda: leader.candidates().waiters == ())


def test_a_stopped_client_ends_the_candidacy(connect: Connect, path: str) -> None:
    client = connect()
    election = Election(client, path).start()
    assert election.wait_elected(PATIENCE_S)
    client.stop()
    assert not election.is_leader()
    with pytest.raises(ConnectionClosedError):
        election.wait_elected(PATIENCE_S)
    with pytest.raises(ConnectionClosedError):
        election.stop()
