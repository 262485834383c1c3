"""Generated programs, said to Apache ZooKeeper and to zkpy, get the same replies and events, field by field.

The first part tests the comparison itself, on recordings made by hand; the second its ground, Apache against Apache;
the third is the real thing. `scripts/differential` runs more programs, or one seed again.
"""

from __future__ import annotations

import os
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from compat_tests import peers
from compat_tests.differential.campaign import CONFIGURATIONS, EXTENDED, Campaign, peer
from compat_tests.differential.compare import canonical, first_difference
from compat_tests.differential.coverage import EXTENDED_ONLY, PLAIN_ONLY, Coverage
from compat_tests.differential.generator import generate
from compat_tests.differential.programs import Open, Program, Request, Turn, describe
from compat_tests.differential.runner import Heard, Recording
from compat_tests.differential.sweep import LONGEST, UNDECODABLE, failing, sweep
from compat_tests.differential.wire import OPERATIONS, STAT, decode, decode_multi, decode_reply, encode, password_of
from zkpy.proto import records

PROGRAMS = int(os.environ.get("DIFFERENTIAL_PROGRAMS", "200"))
STEPS = 200
FIRST_SEED = int(os.environ.get("DIFFERENTIAL_SEED", "1"))

SESSION = 0x0100000804B30000
PASSWORD = bytes.fromhex("0fc04644f071167f05ef2c18b98b1eee")


# The wire.


def test_password_of_a_session_is_the_known_one() -> None:
    assert password_of(SESSION) == PASSWORD


def sample(kind: Any) -> Any:
    """A value of this kind."""
    values: dict[Any, Any] = {"int": -7, "long": 2**40, "bool": True, "ustring": "\u00e9", "buffer": b"\0x"}
    if isinstance(kind, tuple):
        return {name: sample(field) for name, field in kind}
    return [sample(kind[0])] * 2 if isinstance(kind, list) else values[kind]


ROUND_TRIPS = [(op, "request", entry[1]) for op, entry in OPERATIONS.items() if entry[1]]
ROUND_TRIPS += [(op, "response", entry[2]) for op, entry in OPERATIONS.items() if entry[2]]
# Where zkpy's schema names a record after something else than its operation.
RECORD_NAMES = {
    ("auth", "request"): "AuthPacket",
    ("check", "request"): "CheckVersionRequest",
    ("sasl", "request"): "GetSASLRequest",
    ("sasl", "response"): "SetSASLResponse",
    ("addWatch", "response"): "ErrorResponse",
    ("reconfig", "response"): "GetDataResponse",
    ("create2", "request"): "CreateRequest",
    ("createContainer", "request"): "CreateRequest",
    ("createContainer", "response"): "Create2Response",
    ("createTTL", "response"): "Create2Response",
    ("setWatches", "request"): "SetWatches",
    ("setWatches2", "request"): "SetWatches2",
}


@pytest.mark.parametrize(("op", "side", "kind"), ROUND_TRIPS)
def test_our_codec_and_zkpys_write_the_same_bytes(op: str, side: str, kind: Any) -> None:
    data = encode(kind, sample(kind))
    assert decode(kind, data, 0) == (sample(kind), len(data))
    name = RECORD_NAMES.get((op, side), op[0].upper() + op[1:] + side.capitalize())
    record = getattr(records, name)
    assert record.from_bytes(data).to_bytes() == data


def test_failed_multi_of_three_reads_as_captured() -> None:
    captured = bytes.fromhex(
        "ffffffff 00 00000000 00000000 ffffffff 00 ffffff99 ffffff99 ffffffff 00 fffffffe fffffffe ffffffff 01 ffffffff"
    )
    results, at = decode_multi(captured, 0)
    assert [(result["type"], result["header_err"], result["err"]) for result in results] == [
        (-1, 0, 0),
        (-1, -103, -103),
        (-1, -2, -2),
    ]
    assert at == len(captured)


def test_bytes_behind_a_reply_and_a_missing_body_are_both_seen() -> None:
    header = encode((("xid", "int"), ("zxid", "long"), ("err", "int")), {"xid": 1, "zxid": 2, "err": 0})
    assert decode_reply("delete", header) == {"xid": 1, "zxid": 2, "err": 0}
    assert decode_reply("delete", header + b"?")["rest"] == b"?"
    assert decode_reply("getData", header)["rest"] == b""
    assert decode_reply("getData", header + b"\0\0")["rest"] == b"\0\0"


# The generator.


def test_one_seed_always_makes_the_same_program() -> None:
    assert generate(5, 100) == generate(5, 100)
    assert generate(5, 100) != generate(6, 100)


def test_programs_say_every_operation_and_have_their_length() -> None:
    programs = [generate(seed, 200, extended=bool(seed % 2)) for seed in range(40)]
    said = {request.op for program in programs for turn in program.turns for request in turn.requests}
    assert said >= set(OPERATIONS) | {"unknown"}
    assert all(200 <= program.steps < 220 for program in programs)
    assert all(describe(turn) for program in programs for turn in program.turns)


@pytest.mark.parametrize("extended", [False, True])
def test_sweep_has_each_failing_part_at_each_place_of_each_length(extended: bool) -> None:
    multis = [request for turn in sweep(extended).turns for request in turn.requests if request.op == "multi"]
    for part in (*failing(extended), *UNDECODABLE):
        for length in range(1, LONGEST + 1):
            places = {at for m in multis if len(m.parts) == length for at, said in enumerate(m.parts) if said == part}
            assert places == set(range(length)), f"{part} in multis of {length}"


# The figures, on recordings made by hand.


def test_coverage_counts_replies_parts_handshakes_and_events() -> None:
    parts = tuple(Request(op, 0, 0) for op in ("create", "delete", "check"))
    multi, ping = Request("multi", 14, 1, parts=parts), Request("ping", 11, -2)
    program = Program(1, (Turn(0, 0, (multi, ping)), Turn(1, 0, (multi,)), Open(2, 1, (ping,)), Open(3, 2, session=0)))
    failed = [{"type": -1, "header_err": code, "err": code} for code in (0, -101, -2)]
    done = [{"type": kind, "header_err": 0} for kind in (1, 2, 13)]
    heard = recording(
        {0: [event(101, "/p1/a"), reply("multi", 101, results=failed), reply("ping", 101)], 1: [event(-1, "/p1/b", 2)]},
        {0: [reply("multi", 102, results=done)]},
        {1: [Heard("connected", "", {"sessionId": SESSION}), reply("ping", 102)]},
        {2: [Heard("closed")]},
    )
    coverage = Coverage()
    coverage.add(program, heard)
    coverage.merge(coverage_of(program, heard))
    assert coverage.operations == {
        "multi": {0: 4},
        "ping": {0: 4},
        "multi:create": {0: 2},
        "multi:delete": {-101: 2, 0: 2},
        "multi:check": {-2: 2, 0: 2},
    }
    assert coverage.multis == {(3, 1, "delete", -101): 2}
    assert coverage.handshakes == {
        ("new session", "attached"): 2,
        ("attach, right password", "closed"): 2,
    }
    assert coverage.events == {("created", "live"): 2, ("deleted", "catch-up"): 2}
    missing = coverage.missing()
    assert ("multi:delete", -102) in missing
    assert ("multi:delete", -101) not in missing
    assert ("multi:delete", -102) not in coverage.missing(beyond={("multi:delete", -102)})
    assert "of 3: 1. 0, 2. 2, 3. 0" in coverage.table()


def coverage_of(program: Program, heard: Recording) -> Coverage:
    coverage = Coverage()
    coverage.add(program, heard)
    return coverage


# The comparison, on recordings made by hand.


def stat(**changed: int) -> dict[str, int]:
    values = {name: 0 for name, _ in STAT}
    return {**values, "czxid": 100, "mzxid": 100, "pzxid": 100, "ctime": 5000, "mtime": 5000, **changed}


def reply(op: str, zxid: int, err: int = 0, **fields: Any) -> Heard:
    return Heard("reply", op, {"xid": 1, "zxid": zxid, "err": err, **fields})


def event(zxid: int, path: str, kind: int = 1) -> Heard:
    return Heard("event", "", {"zxid": zxid, "err": 0, "type": kind, "state": 3, "path": path})


def recording(*turns: dict[int, list[Heard]], shift: int = 0, root: str = "/p1", session: int = SESSION) -> Recording:
    made = Recording(root, base_zxid=100 + shift, started_ms=4000, ended_ms=6000, sessions={session: 0})
    made.heard = list(enumerate(turns))
    return made


def parts(left: list[Heard], right: list[Heard], **settings: Any) -> tuple[str, ...] | None:
    """The fields in which two one-turn recordings differ; None when they are equal."""
    difference = first_difference(recording({0: left}), recording({0: right}), **settings)
    return None if difference is None else difference.fields


def test_other_zxids_sessions_roots_and_clocks_are_no_difference() -> None:
    other = 0x0100000804B30019
    left = recording(
        {
            0: [
                Heard("connected", "", {"timeOut": 30000, "sessionId": SESSION, "passwd": PASSWORD}),
                reply("exists", 103, stat=stat(mzxid=103, mtime=5100, ephemeralOwner=SESSION)),
                event(103, "/p1/a"),
            ]
        }
    )
    right = recording(
        {
            0: [
                Heard("connected", "", {"timeOut": 30000, "sessionId": other, "passwd": password_of(other)}),
                reply(
                    "exists",
                    1103,
                    stat=stat(czxid=1100, mzxid=1103, pzxid=1100, ctime=5900, mtime=5900, ephemeralOwner=other),
                ),
                event(1103, "/p00042/a"),
            ]
        },
        shift=1000,
        root="/p00042",
        session=other,
    )
    assert first_difference(left, right) is None


@pytest.mark.parametrize("name", [name for name, _ in STAT])
def test_each_stat_field_is_compared(name: str) -> None:
    changed = stat(**{name: stat()[name] + 1})
    if name == "ctime":  # one zxid, two times
        changed["mtime"] = stat()["mtime"]
    fields = parts([reply("exists", 101, stat=stat())], [reply("exists", 101, stat=changed)])
    assert fields is not None
    assert any(field.startswith("stat.") for field in fields)


def test_a_time_outside_the_program_or_against_zxid_order_is_found() -> None:
    fine = [reply("exists", 101, stat=stat(mzxid=101, mtime=5001))]
    assert parts(fine, [reply("exists", 101, stat=stat(mzxid=101, mtime=99000))]) == ("stat.mtime",)
    assert parts(fine, [reply("exists", 101, stat=stat(mzxid=101, mtime=4999))]) == ("zxids",)


@pytest.mark.parametrize(
    ("left", "right", "fields"),
    [
        ([reply("delete", 101)], [reply("delete", 101, -101)], ("err",)),
        ([reply("delete", 101)], [reply("delete", 102)], ("zxid",)),
        ([reply("delete", 101), reply("ping", 101)], [reply("delete", 101)], ("kind",)),
        ([event(101, "/p1/a"), reply("delete", 101)], [reply("delete", 101), event(101, "/p1/a")], ("kind",)),
        ([event(101, "/p1/a")], [event(-1, "/p1/a")], ("zxid",)),
        ([event(101, "/p1/a")], [event(101, "/p1/b")], ("path",)),
        ([event(101, "/p1/a"), event(101, "/p1/b")], [event(101, "/p1/b"), event(101, "/p1/a")], ("path",)),
        ([Heard("closed")], [Heard("silence")], ("kind",)),
        ([reply("getData", 101, data=None)], [reply("getData", 101, data=b"")], ("data",)),
        ([reply("delete", 101)], [reply("delete", 101, rest=b"?")], ("rest",)),
        ([reply("getChildren", 101, children=["a"])], [reply("getChildren", 101, children=["a", "a"])], ("children",)),
        (
            [reply("multi", 101, results=[{"type": 15, "header_err": 0, "path": "/p1/a", "stat": stat()}])],
            [reply("multi", 101, results=[{"type": 15, "header_err": 0, "path": "/p1/a", "stat": stat(cversion=2)}])],
            ("results.stat.cversion",),
        ),
    ],
)
def test_planted_differences_are_found(left: list[Heard], right: list[Heard], fields: tuple[str, ...]) -> None:
    assert parts(left, right) == fields
    assert parts(right, left) == fields
    assert parts(left, left) is None


def test_a_password_that_is_not_derived_from_the_session_is_found() -> None:
    right = Heard("connected", "", {"timeOut": 30000, "sessionId": SESSION, "passwd": PASSWORD})
    wrong = replace(right, fields={**right.fields, "passwd": b"x" * 16})
    assert parts([right], [wrong]) == ("passwd",)


def test_a_frame_on_the_wrong_connection_is_found() -> None:
    left = recording({0: [reply("delete", 101)], 1: [event(101, "/p1/a")]})
    right = recording({0: [reply("delete", 101)], 2: [event(101, "/p1/a")]})
    difference = first_difference(left, right)
    assert difference is not None
    assert (difference.conn, difference.right) == (1, None)


def test_orders_that_a_hash_table_decides_are_no_difference() -> None:
    def acl(*names: str) -> list[dict[str, Any]]:
        return [{"perms": 31, "id": {"scheme": "digest", "id": name}} for name in names]

    def told(*names: str) -> list[dict[str, str]]:
        return [{"authScheme": "digest", "user": name} for name in names]

    assert (
        parts([reply("getChildren", 101, children=["a", "b"])], [reply("getChildren", 101, children=["b", "a"])])
        is None
    )
    assert parts([reply("getACL", 101, acl=acl("u:1", "v:2"))], [reply("getACL", 101, acl=acl("v:2", "u:1"))]) is None
    assert (
        parts([reply("whoAmI", 101, clientInfo=told("u", "v"))], [reply("whoAmI", 101, clientInfo=told("v", "u"))])
        is None
    )
    world = {"perms": 1, "id": {"scheme": "world", "id": "anyone"}}
    assert parts(
        [reply("getACL", 101, acl=[world, *acl("u:1")])], [reply("getACL", 101, acl=[*acl("u:1"), world])]
    ) == ("acl",)


def test_only_the_events_of_a_session_end_may_change_places() -> None:
    end = reply("closeSession", 101)
    one, two, later = event(101, "/p1/a", 2), event(101, "/p1/b", 2), event(102, "/p1/c")
    left = recording({0: [end], 1: [one, two, later]})
    assert first_difference(left, recording({0: [end], 1: [two, one, later]})) is None
    assert first_difference(left, recording({0: [end], 1: [two, later, one]})) is not None


def test_a_zxid_used_up_for_a_cut_write_is_allowed_unless_exactness_is_asked_for() -> None:
    def cut(zxid: int) -> Heard:
        return replace(reply("setData", zxid, -5), mangled=True)

    left = [reply("setData", 101, stat=stat()), cut(101), reply("setData", 102, stat=stat(mzxid=102, mtime=5001))]
    right = [reply("setData", 101, stat=stat()), cut(102), reply("setData", 103, stat=stat(mzxid=103, mtime=5001))]
    assert parts(left, right) is None
    assert parts(left, right, exact_zxids=True) == ("zxid",)
    assert parts(left, [*right[:2], reply("setData", 104, stat=stat(mzxid=104, mtime=5001))]) == ("stat.mzxid", "zxid")


def test_the_half_made_body_behind_an_error_is_left_out() -> None:
    assert parts([reply("multiRead", 101, -5, rest=b"half")], [reply("multiRead", 101, -5)]) is None


def test_zxids_older_than_the_program_are_not_told_apart() -> None:
    (_, by_conn), _ = canonical(recording({0: [reply("exists", 101, stat=stat(pzxid=7, czxid=0, ctime=0))]}))
    fields = by_conn[0][0][2]["stat"]
    assert (fields["pzxid"], fields["czxid"], fields["ctime"]) == ("old", 0, 0)


# The servers.


def campaign_of(left: str, right: str, name: str, directory: Path, exact_zxids: bool = False) -> Campaign:
    configuration = CONFIGURATIONS[name]
    return Campaign(
        (left, peer(left, configuration, directory)),
        (right, peer(right, configuration, directory)),
        configuration,
        exact_zxids,
    )


def run_and_report(campaign: Campaign, first_seed: int, programs: int) -> None:
    """Runs so many programs, prints what it cost, and fails with the stories of those that differ."""
    begin = time.monotonic()
    stories: dict[object, str] = {}
    differing = []
    try:
        for program, finding in campaign.try_seeds(range(first_seed, first_seed + programs), STEPS):
            if finding is not None:
                differing.append(program.name)
                stories.setdefault(finding.difference.signature, finding.story())
            if len(differing) == 5:
                break
    finally:
        campaign.close()
    spent = ", ".join(f"{name} {s:.1f} s" for name, s in zip(campaign.names, campaign.spent_s, strict=True))
    print(
        f"\n{campaign.configuration.name}: the sweep and seeds {first_seed} to {first_seed + campaign.programs - 2}, "
        f"{campaign.steps} steps; {spent}, in all {time.monotonic() - begin:.1f} s"
    )
    print(campaign.coverage.table())
    assert not stories, f"{len(differing)} programs differ: {differing}\n\n" + "\n\n".join(stories.values())


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(CONFIGURATIONS))
def test_apache_agrees_with_itself(name: str, tmp_path: Path) -> None:
    peers.require("apache")
    run_and_report(campaign_of("apache", "apache", name, tmp_path, exact_zxids=True), FIRST_SEED, 20)


class _LyingCampaign(Campaign):
    """Its right server tells a wrong version after the second setData of one node."""

    def record(self, program: Program) -> tuple[Recording, Recording]:
        ours, theirs = super().record(program)
        for _, by_conn in theirs.heard:
            for frames in by_conn.values():
                for heard in frames:
                    if heard.op == "setData" and heard.fields.get("stat", {}).get("version") == 2:
                        heard.fields["stat"]["version"] = 3
        return ours, theirs


@pytest.mark.slow
def test_a_lying_server_is_found_and_its_story_is_short(tmp_path: Path) -> None:
    peers.require("apache")
    start = peer("apache", EXTENDED, tmp_path)
    # As long as it takes: how short the story is must not depend on how fast the machine is.
    campaign = _LyingCampaign(("honest", start), ("liar", start), EXTENDED, shrink_s=600)
    try:
        programs = (generate(seed, STEPS, extended=True) for seed in range(1, 20))
        finding = next(finding for _, finding in campaign.try_programs(programs) if finding is not None)
    finally:
        campaign.close()
    print("\n" + finding.story())
    assert finding.difference.fields == ("stat.version",)
    assert finding.program.steps <= 8
    assert "liar" in finding.story()


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(CONFIGURATIONS))
def test_zkpy_answers_as_apache_does(name: str, tmp_path: Path) -> None:
    peers.require("apache")
    share = PROGRAMS // len(CONFIGURATIONS)
    first_seed = FIRST_SEED + share * sorted(CONFIGURATIONS).index(name)
    campaign = campaign_of("apache", "zkpy", name, tmp_path)
    run_and_report(campaign, first_seed, share)
    if STEPS * share >= 20_000:
        missing = campaign.coverage.missing(PLAIN_ONLY if campaign.configuration.extended else EXTENDED_ONLY)
        assert not missing, f"never compared: {missing}"
