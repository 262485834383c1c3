"""The holder's deadline against a model of servers that are as late as they may be."""

from hypothesis import given
from hypothesis import strategies as st

from zkpy.recipes.delays import MAX_LOCK_DELAY_S, marked
from zkpy.recipes.lease import HEARTBEAT, MARGIN, REPORTING, SILENCE, Lease
from zkpy.recipes.sequencer import Mode

TIMEOUT_S = 8.0


def test_a_lease_that_is_renewed_in_time_goes_on() -> None:
    lease = Lease(TIMEOUT_S, 100.0)
    sent_s = 100.0
    for _ in range(100):
        sent_s += lease.heartbeat_s
        assert sent_s < lease.deadline_s
        lease.renew(sent_s)
    assert 0.5 * TIMEOUT_S < lease.deadline_s - sent_s < TIMEOUT_S * (1 - REPORTING)


@given(
    st.lists(st.floats(0.01, TIMEOUT_S), max_size=30),
    st.floats(0.05, REPORTING * TIMEOUT_S),
    st.floats(0, 1),
)
def test_the_deadline_comes_before_the_expiry_of_a_leader_that_hears_late(
    gaps: list[float], reporting_s: float, phase: float
) -> None:
    """A follower reports every `reporting_s` seconds what it has heard, and is cut off right after the last answer."""
    sent = [1000.0]
    lease = Lease(TIMEOUT_S, sent[0])
    for gap in gaps:
        if sent[-1] + gap >= lease.deadline_s:  # deposed
            break
        sent.append(sent[-1] + gap)
        lease.renew(sent[-1])
    cut_s = sent[-1]
    reported_s = cut_s - phase * reporting_s  # the last report before the cut
    # A connected client is silent no longer than SILENCE, and the report before counted what was heard until then.
    before_s = sent[0] - SILENCE * TIMEOUT_S
    heard_s = max([moment for moment in sent if moment <= reported_s], default=before_s)
    expiry_s = heard_s + TIMEOUT_S
    assert lease.deadline_s <= expiry_s - MARGIN * TIMEOUT_S + 1e-9


def test_two_heartbeats_come_within_a_reporting_time() -> None:
    assert 2 * HEARTBEAT <= REPORTING


def test_a_marker_that_cannot_be_read_delays_for_longest() -> None:
    assert marked(b'{"lock_delay_s": 2.5, "mode": "shared"}') == (2.5, Mode.SHARED)
    assert marked(b'{"lock_delay_s": 1e9, "mode": "exclusive"}') == (MAX_LOCK_DELAY_S, Mode.EXCLUSIVE)
    for data in (b"", b"[]", b"{}", b"\xff", b'{"lock_delay_s": null, "mode": "shared"}', b'{"lock_delay_s": 1}'):
        assert marked(data) == (MAX_LOCK_DELAY_S, Mode.EXCLUSIVE)
