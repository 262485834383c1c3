"""Server, group and weight lines: what they may say, what they may not, and the text Apache's members compare."""

import pytest

from zkpy.server.errors import ConfigError
from zkpy.server.membership import Line, Membership, Server, read_membership, read_server


def server(value: str) -> Server:
    return read_server(1, Line("server.1", value, "zoo.cfg, line 7"))


def members(text: str) -> Membership:
    lines = [line.partition("=") for line in text.split()]
    return read_membership([Line(name, value, f"zoo.cfg, line {at}") for at, (name, _, value) in enumerate(lines, 1)])


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("h:2:3", "h:2:3:participant"),
        ("h:2:3:PARTICIPANT", "h:2:3:participant"),
        ("h:2:3:Observer", "h:2:3:observer"),
        ("h:2:3;5", "h:2:3:participant;0.0.0.0:5"),
        ("h:2:3:observer;c:5", "h:2:3:observer;c:5"),
        ("[::1]:2:3", "[::1]:2:3:participant"),
        ("[fe80::1]:2:3:observer;[::]:5", "[fe80::1]:2:3:observer;[::]:5"),
        ("b:2:3|a:4:5", "a:4:5|b:2:3:participant"),
        ("b:2:3:observer|a:4:5:observer;5", "a:4:5|b:2:3:observer;0.0.0.0:5"),
    ],
)
def test_a_server_line_is_printed_as_apache_prints_it(value: str, text: str) -> None:
    assert server(value).text == f"server.1={text}"


@pytest.mark.parametrize(
    ("value", "why"),
    [
        ("", "it should be host:port:port"),
        ("h", "it should be host:port:port"),
        ("h:2", "it should be host:port:port"),
        ("h:2:3:participant:5", "it should be host:port:port"),
        (":2:3", "it should be host:port:port"),
        ("h::3", "it should be host:port:port"),
        ("::1:2:3", "it should be host:port:port"),
        ("[::1:2:3", "it should be host:port:port"),
        ("[::1]x:2:3", "it should be host:port:port"),
        ("h:2:3;", "it should be host:port:port"),
        ("h:2:3;a:b:5", "it should be host:port:port"),
        ("h:2:3;4;5", "4;5 is no port"),
        ("h:x:3", "x is no port"),
        ("h:2:65536", "65536 is no port"),
        ("h:2:-3", "-3 is no port"),
        ("h:2:3;x", "x is no port"),
        ("h:2:2", "Client and election port must be different!"),
        ("h:2:3:leader", "Unrecognised peertype: leader"),
        ("h:2:3:observer|g:4:5:participant", "it is a participant or an observer, and not both"),
        ("h:2:3|", "it should be host:port:port"),
    ],
)
def test_a_server_line_that_cannot_be_is_refused_with_its_place(value: str, why: str) -> None:
    with pytest.raises(ConfigError) as caught:
        server(value)
    assert str(caught.value).startswith(f"zoo.cfg, line 7: server.1={value}: {why}")


def test_the_text_is_in_the_order_of_a_java_map() -> None:
    def order(*sids: int) -> list[int]:
        text = members(" ".join(f"server.{sid}=h:{sid + 1}:2000" for sid in sids)).text
        return [int(line.partition("=")[0].removeprefix("server.")) for line in text.split("\n")[:-1]]

    assert order(3, 1, 2) == [1, 2, 3]
    assert order(16, 1, 17, 33) == [16, 1, 17, 33]
    assert order(*range(20, 7, -1)) == list(range(8, 21))
    assert order(40, 5) == [5, 40]


def test_groups_and_weights_make_a_hierarchy() -> None:
    read = members(
        "server.1=a:2:3 server.2=b:2:3 server.3=c:2:3 server.4=d:2:3:observer group.2=3 group.1=1:2 weight.3=0"
    )
    assert read.text == (
        "server.1=a:2:3:participant\nserver.2=b:2:3:participant\nserver.3=c:2:3:participant\n"
        "server.4=d:2:3:observer\ngroup.1=1:2\ngroup.2=3\nweight.1=1\nweight.2=1\nweight.3=0\nversion=0"
    )
    ensemble = read.ensemble
    assert ensemble.observers == {4}
    assert ensemble.quorum.has_quorum({1, 2})
    assert not ensemble.quorum.has_quorum({1, 3})
    assert ensemble.quorum.weight(3) == 0


def test_a_majority_is_a_quorum_where_nothing_else_is_said() -> None:
    ensemble = members("server.1=a:2:3 server.2=b:2:3 server.3=c:2:3 server.9=c:2:3:observer").ensemble
    assert ensemble.quorum.has_quorum({1, 3})
    assert not ensemble.quorum.has_quorum({1, 9})
    assert ensemble.text.endswith(b"version=0")


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("server.x=a:2:3", "line 1: server.x=a:2:3: the server's id must be a whole number"),
        ("server.1=a:2:3 group.1=x", "line 2: group.1=x: a group should be the ids of its servers"),
        ("server.1=a:2:3 group.one=1", "line 2: group.one=1: the group's number must be a whole number"),
        ("server.1=a:2:3 group.1=1 group.2=1", "line 3: group.2=1: server 1 is in two groups"),
        ("server.1=a:2:3 server.2=b:2:3 group.1=1", "line 2: server.2=b:2:3: server 2 is in no group"),
        ("server.1=a:2:3 group.1=1 weight.1=x", "line 3: weight.1=x: a weight must be a whole number"),
        ("server.1=a:2:3 group.1=1 weight.1=-1", "line 3: weight.1=-1: a weight must be a whole number"),
        ("server.1=a:2:3 weight.1=1", "line 1: server.1=a:2:3: server 1 is in no group"),
    ],
)
def test_members_that_cannot_be_are_refused_with_their_place(text: str, why: str) -> None:
    with pytest.raises(ConfigError) as caught:
        members(text)
    assert str(caught.value).startswith(f"zoo.cfg, {why}")
