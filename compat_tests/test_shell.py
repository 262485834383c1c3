"""`zkpy shell` prints what Apache's zkCli prints, for every command it has, on Apache's server and on zkpy's.

The scripts are those that drive zkCli in test_zkcli, and so are the rules by which two transcripts are equal.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from compat_tests.peers import require
from compat_tests.zkcli.one_shot import SHOTS, fire
from compat_tests.zkcli.play import play, side_by_side, unseen
from compat_tests.zkcli.script import Script
from compat_tests.zkcli.scripts import SCRIPTS
from compat_tests.zkcli.session import shell_command
from compat_tests.zkcli.transcript import Transcript, differences
from zkpy import __version__

#: What one of the two says and the other does not, by the beginning of its lines: all that they may differ in.
ONLY_ZKCLI = ("JLine support is disabled",)
ONLY_SHELL = ("\texport ", "\tfind ", "\ttree ")
VERSION = "ZooKeeper CLI version: "


def without_their_own(transcript: Transcript, *own: str) -> Transcript:
    """A transcript without what only this program says."""
    entries = []
    for entry in transcript.entries:
        lines = [line for line in entry.lines if not line.startswith(own)]
        lines = [f"{VERSION}..." if line.startswith(VERSION) else line for line in lines]
        entries.append(replace(entry, lines=lines))
    return replace(transcript, entries=entries)


@pytest.mark.slow
@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.name)
def test_the_shell_prints_what_zkcli_prints(
    played: Callable[[Script], list[Transcript]], script: Script, tmp_path: Path
) -> None:
    ours = side_by_side(lambda kind: play(kind, script, tmp_path, shell_command))
    for theirs, mine in zip(played(script), ours, strict=True):
        told = differences(
            without_their_own(theirs, *ONLY_ZKCLI), without_their_own(mine, *ONLY_SHELL), ("zkCli", "zkpy shell")
        )
        assert told == [], "\n\n".join(told)
    # The extensions are in the list of verbs, and nowhere in the way.
    for mine in ours:
        assert [line for line in unseen(script, mine) if VERSION not in line] == []
        versions = [line for entry in mine.entries for line in entry.lines if line.startswith(VERSION)]
        assert set(versions) <= {f"{VERSION}zkpy {__version__}"}


@pytest.mark.slow
def test_one_shot_verbs_print_and_exit_as_in_zkcli(tmp_path: Path) -> None:
    require("apache")
    # zkCli leaves out what it does not understand before the verb; we say so. Zxids differ: we end our sessions.
    shots = tuple(shot for shot in SHOTS if "-unknown" not in shot.arguments)
    for kind in ("apache", "zkpy"):
        theirs = fire(kind, tmp_path / kind / "zkcli", shots=shots)
        mine = fire(kind, tmp_path / kind / "shell", shell_command, shots)
        told = differences(
            without_their_own(theirs, "mZxid = ", "mtime = "),
            without_their_own(mine, "mZxid = ", "mtime = ", *ONLY_SHELL),
        )
        assert told == [], "\n\n".join(told)
