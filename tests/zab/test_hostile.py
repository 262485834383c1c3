"""Whatever comes from outside, in whatever order: a Peer ends a link or skips a message, and never fails."""

from struct import pack
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.zab import test_following, test_leading
from tests.zab.lone import Lone
from zkpy.proto import packets
from zkpy.proto.records import QuorumPacket
from zkpy.proto.zxid import make_zxid

ZXIDS = st.one_of(
    st.integers(-(1 << 63), (1 << 63) - 1),
    st.builds(make_zxid, st.integers(-1, 4), st.integers(0, 4)),
)
DATA = st.one_of(
    st.none(),
    st.binary(max_size=40),
    st.builds(lambda number: pack(">i", number), st.integers(-1, 4)),
    st.just(pack(">i", 0x10000)),
    st.builds(lambda sid: pack(">qiq", sid, 0x10000, 0), st.integers(-1, 4)),
)
LIKELY = st.sampled_from(sorted(packets.NAMES))
PACKETS = st.builds(lambda type_, zxid, data: QuorumPacket(type_, zxid, data, None), LIKELY, ZXIDS, DATA)
EVENTS = st.one_of(
    st.tuples(st.just("receive"), st.integers(1, 3), st.lists(PACKETS, min_size=1, max_size=4)),
    st.tuples(st.just("link_up"), st.integers(1, 3), st.sampled_from([None, 1, 2, 3])),
    st.tuples(st.just("link_down"), st.integers(1, 3)),
    st.tuples(st.just("receive_snap"), st.integers(1, 3), PACKETS, st.just("a tree")),
    st.tuples(st.just("heard"), st.integers(1, 3)),
    st.tuples(st.just("snap_sent"), st.integers(1, 3)),
    st.tuples(st.just("dial_failed"), st.integers(1, 3)),
    st.tuples(st.just("notified"), st.integers(1, 5), st.binary(max_size=60)),
    st.tuples(
        st.just("notified"),
        st.integers(1, 5),
        st.builds(
            lambda state, leader, zxid, round_, epoch: pack(">iqqqqii", state, leader, zxid, round_, epoch, 2, 0),
            st.integers(0, 3),
            st.integers(1, 3),
            ZXIDS,
            st.integers(-1, 3),
            st.integers(-1, 3),
        ),
    ),
    st.tuples(st.just("log_read"), st.integers(1, 3), st.none(), st.booleans()),
    st.tuples(st.just("wait"), st.integers(0, 1500)),
    st.tuples(st.just("sync")),
)


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(["looking", "leading", "following", "leads", "follows"]), st.lists(EVENTS, max_size=40))
def test_no_word_from_outside_makes_a_peer_fail(start: str, events: list[tuple[Any, ...]]) -> None:
    if start == "leads":
        lone = test_leading.serving()
    elif start == "follows":
        lone = test_following.serving()
    else:
        lone = Lone(3 if start == "leading" else 1, epochs=(1, 1), last=0x100000002)
        if start != "looking":
            lone.elect(3)
    for name, *arguments in events:
        if name in ("wait", "sync"):
            getattr(lone, name)(*arguments)
        else:
            getattr(lone.peer, name)(*arguments)
            lone.take()
