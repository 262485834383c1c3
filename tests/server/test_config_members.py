"""Ensembles in a zoo.cfg: who the members are, which of them this server is, and what a member needs."""

from pathlib import Path
from typing import Any

import pytest

from zkpy.server.config import ConfigError
from zkpy.server.server import store_options_of

THREE = "server.1=a:2888:3888\nserver.2=b:2889:3889\nserver.3=c:2890:3890\ninitLimit=10\nsyncLimit=5\n"


@pytest.fixture
def member(read: Any, tmp_path: Path) -> Any:
    """member(lines, myid): the Config and notes of a member with data in tmp_path."""

    def read_member(lines: str, myid: str | None = "2", client: str = "clientPort=2181\n") -> Any:
        (tmp_path / "myid").unlink(missing_ok=True)
        if myid is not None:
            (tmp_path / "myid").write_text(myid)
        return read(f"dataDir={tmp_path}\n{client}{lines}")

    return read_member


def test_a_member_knows_the_others_and_its_own_number(member: Any) -> None:
    config, notes = member(THREE, "2\n")
    assert notes == []
    assert config.sid == 2
    assert config.members.quorum_addresses == {1: [("a", 2888)], 2: [("b", 2889)], 3: [("c", 2890)]}
    assert config.members.election_addresses == {1: [("a", 3888)], 2: [("b", 3889)], 3: [("c", 3890)]}
    assert config.members.text == (
        "server.1=a:2888:3888:participant\nserver.2=b:2889:3889:participant\nserver.3=c:2890:3890:participant\nversion=0"
    )


def test_a_server_line_may_say_where_clients_are_served(member: Any) -> None:
    lines = THREE.replace("b:2889:3889", "b:2889:3889;127.0.0.1:2199")
    config, _ = member(lines, client="")
    assert (config.client_address, config.client_port) == ("127.0.0.1", 2199)
    assert "server.2=b:2889:3889:participant;127.0.0.1:2199\n" in config.members.text
    config, _ = member(lines.replace("127.0.0.1:", ""), client="")
    assert (config.client_address, config.client_port) == ("", 2199)
    assert "server.2=b:2889:3889:participant;0.0.0.0:2199\n" in config.members.text
    config, _ = member(lines, client="clientPort=2199\n")
    assert config.client_port == 2199
    with pytest.raises(ConfigError, match=r"line 2: client address for this server .id = 2. .* is different from"):
        member(lines, client="clientPort=2181\n")


@pytest.mark.parametrize(
    ("role", "lines", "keeps_log"),
    [
        ("observer", "", True),
        ("observer", "syncEnabled=false\n", False),
        ("observer", "observer.syncEnabled=false\n", False),
        ("observer", "syncEnabled=false\nobserver.syncEnabled=true\n", True),
        ("participant", "syncEnabled=false\n", True),
    ],
)
def test_an_observer_may_do_without_a_log(member: Any, role: str, lines: str, keeps_log: bool) -> None:
    config, _ = member(f"{THREE}server.4=d:1:2:{role}\n{lines}", "4")
    assert store_options_of(config).keeps_log == keeps_log


def test_an_ensemble_of_one_may_be_asked_for(member: Any, refusal: Any) -> None:
    config, notes = member("standaloneEnabled=false\nserver.2=a:2:3\ninitLimit=1\nsyncLimit=1\n")
    assert list(config.members.servers) == [2]
    assert notes == []
    assert refusal("dataDir=/d\nclientPort=1\nstandaloneEnabled=false\n") == (
        "zoo.cfg: standaloneEnabled = false then number of participants should be >0: add server lines"
    )


def test_members_may_stand_in_a_file_of_their_own(member: Any, tmp_path: Path) -> None:
    for name, version in (("zoo.cfg.dynamic.1a", 0x1A), ("zoo.cfg.dynamic", 0), ("members", 0)):
        (tmp_path / name).write_text("server.1=a:2:3\nserver.2=b:2:3;2199\nserver.3=c:2:3:observer\n")
        config, _ = member(f"dynamicConfigFile={tmp_path}/{name}\ninitLimit=1\nsyncLimit=1\n", client="")
        assert config.members.version == version
        assert config.members.text.endswith(f"\nversion={version:x}")
        assert config.members.voters == [1, 2]
        assert config.client_port == 2199


def test_an_even_number_of_voters_is_worth_a_line(member: Any) -> None:
    lines = THREE.replace("server.3", "server.4")
    assert member(lines.replace("server.4=c:2890:3890\n", ""))[1] == [
        "zoo.cfg: No server failure will be tolerated. You need at least 3 servers."
    ]
    assert member(lines + "server.5=e:1:2\n")[1] == [
        "zoo.cfg: Non-optimal configuration, consider an odd number of servers."
    ]


def test_a_wrong_peer_type_is_worth_a_line(member: Any) -> None:
    _, notes = member(THREE + "peerType=observer\n")
    assert notes == ["zoo.cfg, line 8: peerType=observer has no effect: by its server line server 2 is a participant"]
    assert member(THREE + "peerType=participant\n")[1] == []


@pytest.mark.parametrize(
    ("lines", "myid", "why"),
    [
        (THREE, None, "myid: myid file is missing: write this server's number in the ensemble into it, one of 1,"),
        (THREE, "two", "myid: serverid 'two' is not a number"),
        (THREE, "", "myid: serverid '' is not a number"),
        (THREE, "7", "myid: My id 7 not in the peer list: the members in zoo.cfg are 1, 2, 3"),
        (THREE.replace("initLimit=10\n", ""), "2", "zoo.cfg: initLimit is not set: "),
        (THREE.replace("syncLimit=5\n", ""), "2", "zoo.cfg: syncLimit is not set: "),
        (
            THREE + "dynamicConfigFile=/x\n",
            "2",
            "zoo.cfg, line 3: parameter: server.1 must be in a separate dynamic",
        ),
        ("dynamicConfigFile=/missing/x\n", "2", "zoo.cfg, line 3: dynamicConfigFile=/missing/x: No such file"),
        ("dynamicConfigFile={d}/dynamic\n", "2", "dynamic, line 2: dynamic file shouldn't have version inside"),
        ("dynamicConfigFile={d}/foreign\n", "2", "foreign, line 1: Unrecognised parameter: tickTime"),
    ],
)
def test_a_member_that_cannot_start_is_told_why(
    member: Any, tmp_path: Path, lines: str, myid: str | None, why: str
) -> None:
    (tmp_path / "dynamic").write_text("server.1=a:2:3\nversion=1\n")
    (tmp_path / "foreign").write_text("tickTime=1\n")
    with pytest.raises(ConfigError) as caught:
        member(lines.replace("{d}", str(tmp_path)), myid)
    assert str(caught.value).startswith(why)


def test_one_server_line_is_ignored_with_a_line_but_for_its_client_address(read: Any) -> None:
    config, notes = read("dataDir=/d\nserver.1=localhost:2888:3888;127.0.0.1:2199\ngroup.1=1\nweight.1=2\n")
    assert (config.client_address, config.client_port) == ("127.0.0.1", 2199)
    assert notes == [
        "zoo.cfg, line 3: group.1 has no effect: it concerns ensembles",
        "zoo.cfg, line 4: weight.1 has no effect: it concerns ensembles",
        "zoo.cfg, line 2: Invalid configuration, only one server specified (ignoring server.1)",
    ]
    config, _ = read("dataDir=/d\nclientPort=7\nserver.1=localhost:2888:3888;127.0.0.1:2199\n")
    assert (config.client_address, config.client_port) == ("", 7)
    config, _ = read("dataDir=/d\nserver.1=localhost:2888:3888;2199\n")
    assert (config.client_address, config.client_port) == ("", 2199)


@pytest.mark.parametrize(
    ("lines", "why"),
    [
        ("server.1=a:2:3:observer\n", "line 3: Observers w/o participants is an invalid configuration"),
        ("server.1=a:2:3\nserver.2=b:2:3:OBSERVER;5\n", "line 4: Observers w/o quorum is an invalid configuration"),
        ("server.1=a:2:3;65536\n", "line 3: server.1=a:2:3;65536: 65536 is no port"),
        ("server.one=a:2:3\n", "line 3: server.one=a:2:3: the server's id must be a whole number"),
    ],
)
def test_members_that_cannot_be_are_refused(refusal: Any, lines: str, why: str) -> None:
    assert refusal("dataDir=/d\n# no clientPort\n" + lines) == f"zoo.cfg, {why}"
