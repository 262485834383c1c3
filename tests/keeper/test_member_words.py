"""Four-letter words to members of an ensemble: what they say beyond a server that is alone, and when they do not."""

import pytest

from tests.keeper.ensemble import Ensemble
from tests.keeper.harness import create_op
from tests.keeper.test_replica import Network, learners
from zkpy.keeper import metrics
from zkpy.keeper.host import Host
from zkpy.proto import opcodes

NOT_SERVING = "This ZooKeeper instance is not currently serving requests\n"


@pytest.fixture
def ensemble() -> Ensemble:
    """A leader, a follower and an observer that answer every word."""
    return Ensemble(followers=1, observers=1, four_letter_words=frozenset("*"))


def monitored(text: str) -> dict[str, str]:
    """What mntr said, by key."""
    return dict(line.removeprefix("zk_").split("\t") for line in text.splitlines())


@pytest.mark.parametrize("word", "srvr stat conf cons dump mntr wchs wchc wchp dirs crst srst".split())
def test_member_without_a_leader_says_that_it_does_not_serve(ensemble: Ensemble, word: str) -> None:
    ensemble.depose()
    assert [member.word(word.encode()) for member in ensemble.members] == [NOT_SERVING] * 3


def test_some_words_are_answered_all_the_same(ensemble: Ensemble) -> None:
    ensemble.depose()
    member = ensemble.members[1]
    assert member.word(b"ruok") == "imok"
    assert member.word(b"isro") == "null"
    assert member.word(b"gtmk") == "306"
    assert member.word(b"envi").startswith("Environment:\n")
    assert member.word(b"hash") == NOT_SERVING.rstrip()


def test_leader_that_serves_no_clients_says_so() -> None:
    ensemble = Ensemble(leader_serves=False)
    assert ensemble.leader.word(b"srvr") == NOT_SERVING
    assert "Mode: follower\n" in ensemble.members[1].word(b"srvr")


def test_srvr_tells_the_mode_and_the_leader_its_proposals(ensemble: Ensemble) -> None:
    texts = [member.word(b"srvr") for member in ensemble.members]
    assert [text.partition("Mode: ")[2].splitlines()[0] for text in texts] == ["leader", "follower", "observer"]
    assert texts[0].endswith("Proposal sizes last/min/max: -1/-1/-1\n")
    assert "Proposal" not in texts[1] + texts[2]
    client = ensemble.members[1].client()
    client.create("/a", b"x" * 100)
    client.create("/b", b"x" * 10)
    last, least, most = map(int, ensemble.leader.word(b"srvr").split("sizes last/min/max: ")[1].split("/"))
    assert 48 == least < last == most - 90  # a createSession with its digest
    ensemble.leader.word(b"srst")
    assert ensemble.leader.word(b"srvr").endswith("Proposal sizes last/min/max: -1/-1/-1\n")


def test_conf_names_the_server_and_its_ensemble(ensemble: Ensemble) -> None:
    member = ensemble.members[1]
    member.keeper.host = Host(member="initLimit=10\n", membership="membership: \nserver.1=a:1:2:participant")
    assert member.word(b"conf").endswith("serverId=2\ninitLimit=10\nmembership: \nserver.1=a:1:2:participant")


def test_learner_dumps_all_sessions_without_deadlines(ensemble: Ensemble) -> None:
    second = ensemble.members[1].client(timeout_ms=20000)
    first = ensemble.leader.client()
    second.create("/e", flags=opcodes.EPHEMERAL)
    assert (
        ensemble.members[2]
        .word(b"dump")
        .startswith(
            "SessionTracker dump:\nGlobal Sessions(2):\n"
            f"0x{first.session_id:x}\t10000ms\n0x{second.session_id:x}\t20000ms\n"
            f"ephemeral nodes dump:\nSessions with Ephemerals (1):\n0x{second.session_id:x}:\n\t/e\nConnections dump:\n"
        )
    )
    assert ensemble.leader.word(b"dump").startswith("SessionTracker dump:\nSession Sets (2)/(2):\n")


def test_mntr_has_the_gauges_of_each_role() -> None:
    network = Network(observers=1)
    leader = network.settle()
    leader.client().create("/a")
    network.advance(20)
    said = monitored(leader.word(b"mntr"))
    assert set(metrics.LEADER_GAUGES) <= said.keys()
    assert (said["server_state"], said["peer_state"]) == ("leader", "leading - broadcast")
    assert (said["quorum_size"], said["learners"], said["synced_followers"], said["synced_observers"]) == (
        "3",
        "3",
        "2",
        "1",
    )
    assert (said["pending_syncs"], said["synced_non_voting_followers"]) == ("0", "0")
    assert int(said["last_proposal_size"]) == int(said["max_proposal_size"]) > int(said["min_proposal_size"]) > 0
    assert int(said["leader_uptime"]) >= 20
    for sid in sorted(server.sid for server in learners(network)):  # their queues, of which there are none here
        assert said[f"max_{sid}_learner_handler_qp_size"] == said[f"p99_{sid}_learner_handler_qp_time_ms"] == "0"
    for server in learners(network):
        said = monitored(server.word(b"mntr"))
        is_observer = server.sid == 4
        assert said["peer_state"] == ("observing - broadcast" if is_observer else "following - broadcast")
        assert said.get("observer_master_id") == (str(leader.sid) if is_observer else None)
        assert said["quorum_size"] == "3"
        assert "learners" not in said
        assert not any("learner_handler" in name for name in said)


def test_every_member_counts_the_writes_of_all(ensemble: Ensemble) -> None:
    client = ensemble.members[1].client()
    client.create("/a", b"123")
    client.set("/a", b"1")
    client.multi(create_op("/a/b"), create_op("/a/c"))
    client.delete("/a/c")
    for member in ensemble.members:
        keeper = member.keeper
        keeper.count()
        summary = keeper.statistics.namespaces.writes["a"]
        assert (summary.count, summary.total, summary.min, summary.max) == (5, 5 + 3 + 4 + 4 + 4, 3, 5)
