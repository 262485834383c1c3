"""Three real processes: written at one, read at another, killed and caught up; and what clients see of it."""

from pathlib import Path

import pytest

from tests.system.clients import EPHEMERAL, Client
from tests.system.ensembles import EnsembleProcesses, until, word
from zkpy.proto import errors, opcodes
from zkpy.proto.frames import frame
from zkpy.proto.records import ConnectRequest, ConnectResponse, SyncRequest

NOT_SERVING = "This ZooKeeper instance is not currently serving requests\n"


def sync(client: Client) -> None:
    reply = client.call(opcodes.SYNC, SyncRequest("/"))
    assert reply.err == 0


def others(ensemble: EnsembleProcesses, sid: int) -> list[int]:
    return [other for other in ensemble.members if other != sid]


@pytest.mark.slow
def test_what_is_written_at_one_member_is_read_at_another(tmp_path: Path) -> None:
    with EnsembleProcesses(tmp_path) as ensemble:
        leader = ensemble.agree()
        clients = {sid: ensemble.client(sid) for sid in ensemble.members}
        for sid, client in clients.items():
            assert client.create(f"/from{sid}", b"by %d" % sid).err == 0
        assert clients[leader].create("/from1").err == errors.NODEEXISTS
        for client in clients.values():
            sync(client)
            assert sorted(client.children("/")) == ["from1", "from2", "from3", "zookeeper"]
            for sid in ensemble.members:
                assert client.get(f"/from{sid}") == b"by %d" % sid
        assert len({ensemble.state(sid) for sid in ensemble.members}) == 1
        for sid in ensemble.members:
            assert (ensemble.members[sid].data_dir / "version-2" / "currentEpoch").read_text() == "1"


@pytest.mark.slow
def test_survivors_go_on_without_their_leader_and_it_catches_up(tmp_path: Path) -> None:
    with EnsembleProcesses(tmp_path) as ensemble:
        first = ensemble.agree()
        client = ensemble.client(first)
        for n in range(50):
            assert client.create(f"/a{n}", b"x").err == 0
        ensemble.members[first].kill()
        second = ensemble.agree()
        assert second != first
        for sid in others(ensemble, first):
            client = ensemble.client(sid)
            for n in range(50):
                assert client.create(f"/b{sid}-{n}", b"y").err == 0
        ensemble.members[first].start()
        assert ensemble.agree() == second
        client = ensemble.client(first)
        sync(client)
        assert len(client.children("/")) == 1 + 50 + 100
        log = ensemble.members[first].log()
        assert "tree replaced" not in log
        until(lambda: len({ensemble.state(sid) for sid in ensemble.members}) == 1)


@pytest.mark.slow
def test_a_session_goes_on_at_another_member_with_its_ephemerals(tmp_path: Path) -> None:
    with EnsembleProcesses(tmp_path) as ensemble:
        leader = ensemble.agree()
        first, second = others(ensemble, leader)
        client = ensemble.client(first)
        assert client.create("/mine", flags=EPHEMERAL).err == 0
        session_id, password = client.session_id, client.password
        ensemble.members[first].kill()
        again = Client(ensemble.members[second].port)
        answer = again.connect(session_id=session_id, password=password)
        assert answer.session_id == session_id
        assert again.get("/mine") == b""
        # And the whole ensemble changes its leader under it.
        ensemble.members[first].start()
        ensemble.members[leader].kill()
        leader = ensemble.agree()
        again = Client(ensemble.members[first].port)
        assert again.connect(session_id=session_id, password=password).session_id == session_id
        assert again.get("/mine") == b""
        assert again.call(opcodes.CLOSE_SESSION).err == 0
        other = ensemble.client(second)
        sync(other)
        assert other.children("/") == ["zookeeper"]


@pytest.mark.slow
def test_a_member_without_a_quorum_serves_nobody_and_says_so(tmp_path: Path) -> None:
    with EnsembleProcesses(tmp_path) as ensemble:
        leader = ensemble.agree()
        client = ensemble.client(leader)
        for sid in others(ensemble, leader):
            ensemble.members[sid].kill()
        with pytest.raises(EOFError):
            client.packet()
        port = ensemble.members[leader].port
        assert word(port, "srvr") == NOT_SERVING
        assert word(port, "ruok") == "imok"
        assert word(port, "isro") == "null"
        with pytest.raises(EOFError):
            Client(port).connect()
        for sid in others(ensemble, leader):
            ensemble.members[sid].start()
        ensemble.agree()
        assert ensemble.client(leader).create("/again").err == 0


@pytest.mark.slow
def test_an_observer_takes_part_without_a_vote(tmp_path: Path) -> None:
    with EnsembleProcesses(tmp_path, voters=3, observers=1) as ensemble:
        assert ensemble.mode(4) == "observer"
        client = ensemble.client(4)
        assert client.create("/from4", b"seen").err == 0
        leader = ensemble.agree()
        other = ensemble.client(leader)
        assert other.get("/from4") == b"seen"
        ensemble.members[4].kill()
        assert other.create("/later").err == 0
        ensemble.members[4].start()
        ensemble.agree()
        client = ensemble.client(4)
        sync(client)
        assert sorted(client.children("/")) == ["from4", "later", "zookeeper"]


@pytest.mark.slow
def test_a_member_far_behind_gets_the_tree_and_keeps_it(tmp_path: Path) -> None:
    with EnsembleProcesses(tmp_path, snapCount="300") as ensemble:
        leader = ensemble.agree()
        late = others(ensemble, leader)[0]
        ensemble.members[late].kill()
        client = ensemble.client(leader)
        for n in range(1500):
            assert client.create(f"/n{n}", b"z" * 200).err == 0
        ensemble.members[late].start()
        ensemble.agree()
        assert "tree replaced" in ensemble.members[late].log()
        client.create("/last")
        at_late = ensemble.client(late)
        sync(at_late)
        assert len(at_late.children("/")) == 1502
        names = sorted(
            path.name.partition(".")[0] for path in (ensemble.members[late].data_dir / "version-2").iterdir()
        )
        assert names.count("snapshot") == 1
        ensemble.members[late].kill()
        ensemble.members[late].start()
        ensemble.agree()
        at_late = ensemble.client(late)
        assert len(at_late.children("/")) == 1502


@pytest.mark.slow
def test_an_observer_without_a_log_gets_everything_again(tmp_path: Path) -> None:
    with EnsembleProcesses(tmp_path, observers=1, syncEnabled="false") as ensemble:
        client = ensemble.client(4)
        for n in range(20):
            assert client.create(f"/n{n}").err == 0
        for kill in (ensemble.members[4].kill, ensemble.members[4].stop):
            kill()
            ensemble.members[4].start()
            ensemble.agree()
            client = ensemble.client(4)
            sync(client)
            assert len(client.children("/")) == 21
        logs = {sid: list((one.data_dir / "version-2").glob("log.*")) for sid, one in ensemble.members.items()}
        assert logs.pop(4) == []
        assert all(logs.values())


@pytest.mark.slow
def test_a_member_without_a_quorum_serves_readers_where_it_may(tmp_path: Path) -> None:
    modes = {"readonlymode__enabled": "true", "localSessionsEnabled": "true", "localSessionsUpgradingEnabled": "true"}
    reading = frame(ConnectRequest(0, 0, 10000, 0, bytes(16), True).to_bytes())
    with EnsembleProcesses(tmp_path, **modes) as ensemble:
        leader = ensemble.agree()
        assert ensemble.client(leader).create("/a", b"x").err == 0
        for sid in others(ensemble, leader):
            ensemble.members[sid].kill()
        port = ensemble.members[leader].port
        until(lambda: word(port, "isro") == "ro")
        with pytest.raises(EOFError):
            Client(port).connect()
        reader = Client(port)
        reader.send(reading)
        assert ConnectResponse.decode(reader.packet(), 0)[0].read_only
        assert reader.get("/a") == b"x"
        assert reader.create("/b").err == errors.NOTREADONLY
        for sid in others(ensemble, leader):
            ensemble.members[sid].start()
        ensemble.agree()
        assert word(port, "isro") == "rw"
        with pytest.raises(EOFError):
            reader.packet()
        assert ensemble.client(leader).create("/b").err == 0
