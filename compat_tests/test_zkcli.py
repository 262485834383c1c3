"""Apache's own zkCli prints the same for every command it has, whether Apache's server answers or zkpy's.

The first part tests the comparison itself, on text made by hand; the second the scripts, which must leave no command
out; the third plays them on both servers and compares.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from compat_tests.peers import require
from compat_tests.zkcli import session
from compat_tests.zkcli.one_shot import SHOTS, STDERR, fire
from compat_tests.zkcli.play import play, side_by_side, unseen
from compat_tests.zkcli.script import Script, Step, parse
from compat_tests.zkcli.scripts import SCRIPTS
from compat_tests.zkcli.session import Reader
from compat_tests.zkcli.transcript import Entry, Transcript, differences

BY_NAME = {script.name: script for script in SCRIPTS}
EVENT = "WatchedEvent state:SyncConnected type:NodeCreated path:/a zxid: 7"
# Not commands that could be used wrongly: an address that is no address ends zkCli, and quit takes anything.
NEVER_WRONG = {"connect", "quit"}

# Reading what zkCli prints.


@pytest.mark.parametrize("size", range(1, 60))
def test_events_are_picked_out_of_the_lines_however_the_output_is_cut(size: int) -> None:
    output = f"one\n\n\nWATCHER::\n\n{EVENT}\n\ntwo é\n\nWATCHER::\nthree\n\n{EVENT}\n".encode()
    reader = Reader()
    for at in range(0, len(output), size):
        reader.feed(output[at : at + size])
    assert reader.lines == ["one", "", "", "two é", "three"]
    assert reader.events == [EVENT, EVENT]


def test_a_script_is_read_as_its_language_says() -> None:
    text = """
# no step
ls /a
  [b]
  event NodeCreated /a
2> create /x "  y"
  ! Node already exists: /x
  1> event NodeDeleted /b
  event Closed
  event Disconnected DataWatchRemoved /d
  unordered
@stop
"""
    created = "WatchedEvent state:SyncConnected type:NodeCreated path:/a"
    deleted = "WatchedEvent state:SyncConnected type:NodeDeleted path:/b"
    closed = "WatchedEvent state:Closed type:None path:null"
    removed = "WatchedEvent state:Disconnected type:DataWatchRemoved path:/d"
    assert parse(text) == [
        Step(1, "ls /a", ["[b]"], [(1, created)]),
        Step(
            2, 'create /x "  y"', ["Node already exists: /x"], [(1, deleted), (2, closed), (2, removed)],
            wrong=True, unordered=True,
        ),
        Step(1, "@stop"),
    ]  # fmt: skip


# The comparison, on transcripts made by hand.

# 2001-09-09 01:46:40 UTC.
NOW_S = 1_000_000_000.0


def stat_lines(
    time: str = "Sun Sep 09 01:46:40 UTC 2001", zxid: str = "0x2", owner: str = "0x0", mtime: str = ""
) -> list[str]:
    return [
        f"cZxid = {zxid}", f"ctime = {time}", f"mZxid = {zxid}", f"mtime = {mtime or time}", f"pZxid = {zxid}",
        "cversion = 0", "dataVersion = 1", f"ephemeralOwner = {owner}", "dataLength = 4", "numChildren = 0",
    ]  # fmt: skip


def transcript(
    *outputs: list[str], events: tuple[str, ...] = (), hosts: str = "h:1", unordered: bool = False
) -> Transcript:
    made = Transcript(hosts, began_s=NOW_S)
    for number, lines in enumerate(outputs):
        made.entries.append(Entry(1, f"command {number}", lines, [(1, event) for event in events], unordered))
    made.ended_s = NOW_S + 60
    return made


def test_other_addresses_session_ids_and_times_are_no_difference() -> None:
    left = transcript(["at h:1"], stat_lines(owner="0x100"), stat_lines(owner="0x200"), stat_lines(owner="0x100"))
    later = "Sun Sep 09 01:47:39 UTC 2001"
    right = transcript(
        ["at h:22"], stat_lines(later, owner="0x7"), stat_lines(later, owner="0x9"), stat_lines(later, owner="0x7"),
        hosts="h:22",
    )  # fmt: skip
    assert differences(left, right) == []


@pytest.mark.parametrize(
    ("left", "right"),
    [
        (["data"], ["date"]),
        (["[a, b]"], ["[b, a]"]),
        (["[a]"], ["[a, b]"]),
        (["one"], ["one", ""]),
        (["x" * 5000], ["x" * 4999 + "y"]),
        (stat_lines(), stat_lines(zxid="0x3")),
        (stat_lines(), stat_lines(owner="0x1")),
        (stat_lines(), stat_lines(time="Thu Jan 01 00:00:00 UTC 1970")),
        (stat_lines(), stat_lines(time="Sun Sep 09 01:46:00 UTC 2001")),
        (stat_lines(), stat_lines(time="0")),
        (stat_lines(), stat_lines(mtime="Sun Sep 09 01:46:41 UTC 2001")),
        (stat_lines(), [line.replace("dataVersion = 1", "dataVersion = 2") for line in stat_lines()]),
        (stat_lines(), [line.replace("numChildren = 0", "numChildren = 1") for line in stat_lines()]),
        (stat_lines(), [line.replace("pZxid = 0x2", "pZxid = 0x3") for line in stat_lines()]),
        (stat_lines(owner="0x1") + stat_lines(owner="0x2"), stat_lines(owner="0x1") * 2),
    ],
)
def test_what_may_differ_in_nothing_else_is_a_difference(left: list[str], right: list[str]) -> None:
    assert differences(transcript(left), transcript(left)) == []
    (told,) = differences(transcript(left), transcript(right))
    assert told.startswith("1> command 0\n  --- apache\n  +++ zkpy\n")


def test_events_and_their_zxids_are_compared_with_the_command_that_they_followed() -> None:
    fired = transcript([], [], events=(EVENT,))
    assert differences(fired, transcript([], [], events=(EVENT,))) == []
    assert len(differences(fired, transcript([], [], events=(EVENT.replace("7", "8"),)))) == 2
    assert len(differences(fired, transcript([], []))) == 2
    assert differences(fired, transcript([], events=(EVENT,))) == ["apache has 2 entries, zkpy 1"]


def test_only_where_order_is_no_promise_it_makes_no_difference() -> None:
    left, right = ["[b, a]", "two", "one"], ["[a, b]", "one", "two"]
    assert differences(transcript(left, unordered=True), transcript(right, unordered=True)) == []
    assert len(differences(transcript(left), transcript(right))) == 1
    assert len(differences(transcript(left, unordered=True), transcript(["[a]", *right], unordered=True))) == 1


def test_what_a_script_wants_to_see_is_missed_when_it_is_not_there() -> None:
    script = BY_NAME["short-timeout"]
    seen = Transcript("h:1", [Entry(1, "@timeouts", ["to=4000"], []), Entry(1, "create /a", ["Created /a"], [])])
    assert unseen(script, seen) == []
    seen.entries[0] = Entry(1, "@timeouts", ["to=4001"], [(1, EVENT)])
    missing = unseen(script, seen)
    assert missing[0] == "@timeouts: to=4000"
    assert missing[1].startswith("@timeouts: events [], not [(1, 'WatchedEvent")


# The scripts.


def test_the_scripts_say_every_command_and_option_that_zkcli_lists(tmp_path: Path) -> None:
    require("apache")
    done = subprocess.run(
        [*session.command(tmp_path), "-server", "127.0.0.1:1"],
        input="help\n", capture_output=True, text=True, timeout=session.DEADLINE_S,
    )  # fmt: skip
    usages = dict(re.findall(r"^\t(\w+) (.*)$", done.stderr, re.MULTILINE))
    assert len(usages) == 28
    steps = [step for script in SCRIPTS for step in script.steps if not step.command.startswith("@")]
    said = {step.words[0] for step in steps} | {"quit"}  # every session ends with it
    assert said == set(usages) | {"help"}  # which is no command: it prints the list all the same
    assert {step.words[0] for step in steps if step.wrong} >= set(usages) - NEVER_WRONG

    for verb, usage in usages.items():
        options = set(re.findall(r"(?<![\w-])-\w+", usage))
        # What works is wanted, but a single server can do nothing that reconfig asks for.
        worked = [step.words for step in steps if step.words[0] == verb and (not step.wrong or verb == "reconfig")]
        assert worked or verb == "quit"
        assert options <= {word for words in worked for word in words}, verb


@pytest.mark.parametrize("script", SCRIPTS, ids=BY_NAME)
def test_every_script_knows_what_it_wants_to_see(script: Script) -> None:
    steps = script.steps
    assert len(steps) >= 2
    assert sum(bool(step.says or step.events) for step in steps) >= len(steps) / 3
    assert all(step.says for step in steps if step.wrong)


# The two servers.


@pytest.mark.slow
@pytest.mark.parametrize("script", SCRIPTS, ids=BY_NAME)
def test_zkcli_prints_the_same_for_both_servers(played: Callable[[Script], list[Transcript]], script: Script) -> None:
    apache, zkpy = played(script)
    assert differences(apache, zkpy) == [], "\n\n".join(differences(apache, zkpy))
    assert unseen(script, apache) == []
    assert unseen(script, zkpy) == []


@pytest.mark.slow
def test_two_plays_on_apaches_server_are_the_same_too(
    played: Callable[[Script], list[Transcript]], tmp_path: Path
) -> None:
    script = BY_NAME["types"]
    first = played(script)[0]
    again = play("apache", script, tmp_path)
    assert differences(first, again) == []
    assert first.hosts != again.hosts


@pytest.mark.slow
@pytest.mark.parametrize("name", ["types", "quota"])
def test_no_other_digit_in_a_real_transcript_goes_unnoticed(
    played: Callable[[Script], list[Transcript]], name: str
) -> None:
    real = played(BY_NAME[name])[0]
    normal = real.normal()
    planted = 0
    for number, entry in enumerate(real.entries):
        for at, line in enumerate(entry.lines):
            found = re.search(r"\d(?=\D*$)", line)
            if found is None or re.match(r"ctime|mtime|ephemeralOwner|Connecting", line):
                continue
            other = f"{line[: found.start()]}{(int(found[0]) + 1) % 10}{line[found.end() :]}"
            changed = replace(entry, lines=[*entry.lines[:at], other, *entry.lines[at + 1 :]])
            entries = [*real.entries[:number], changed, *real.entries[number + 1 :]]
            assert replace(real, entries=entries).normal() != normal, line
            planted += 1
    assert planted > 50


@pytest.mark.slow
def test_one_shot_commands_print_and_exit_the_same_on_both_servers(tmp_path: Path) -> None:
    require("apache")
    apache, zkpy = side_by_side(lambda kind: fire(kind, tmp_path / kind))
    assert differences(apache, zkpy) == [], "\n\n".join(differences(apache, zkpy))
    for shot, (_, lines) in zip(SHOTS, zkpy.normal(), strict=True):
        at = lines.index(STDERR)
        assert lines[0] == "Connecting to <server>" + shot.chroot
        assert any(line.startswith(shot.out) for line in lines[1:at]) or not shot.out
        assert any(line.startswith(shot.err) for line in lines[at + 1 :]) or not shot.err
        assert f"exit status {shot.status}" in lines
