"""Apache's own tools for logs and snapshots, and their output without what differs from run to run."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

from compat_tests import peers

TIMEOUT_S = 60
_TIME = re.compile(r"^\d+/\d+/\d+, .*? (?=session 0x)")
_SESSION = re.compile(r"session 0x([0-9a-f]+)")
_PATHS = re.compile(r"(?<= closeSession v\{).*(?=\})")
_DETAIL = re.compile(r"^0x([0-9a-f]+), ([0-9]+), ([0-9]+)$", re.MULTILINE)


def run(directory: Path, main_class: str, *arguments: str | Path) -> str:
    """What the tool prints. It must succeed, and complain of nothing."""
    done = subprocess.run(
        [*peers.apache_tool_command(directory, f"server.{main_class}"), *map(str, arguments)],
        capture_output=True, text=True, timeout=TIMEOUT_S, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    assert done.stderr == ""
    return done.stdout


def dump_log(directory: Path, log: Path) -> list[str]:
    """The txns of a log, one text each: without times, and sessions numbered in the order in which they appear.

    The paths that a closeSession deletes are sorted: Apache lists them in the order of a hash table.
    """
    text = run(directory, "persistence.TxnLogToolkit", "--dump", log)
    assert text.startswith("ZooKeeper Transactional Log File with dbid 0 txnlog format version 2\n"), text[:200]
    assert "CRC ERROR" not in text
    txns: list[str] = []
    for line in text.splitlines()[1:]:
        if _TIME.match(line):
            txns.append(_TIME.sub("", line))
        else:  # an ACL is printed over several lines
            txns.append(f"{txns.pop()}\n{line}" if txns else line)
    end = "\nEOF reached after "
    assert txns[-1].endswith(f"{end}{len(txns)} txns."), txns[-1]
    txns[-1] = txns[-1].partition(end)[0]
    numbers: dict[str, int] = {"0": 0}
    txns = [_SESSION.sub(lambda found: f"session {numbers.setdefault(found[1], len(numbers))}", txn) for txn in txns]
    return [_PATHS.sub(lambda found: ",".join(sorted(found[0].split(","))), txn) for txn in txns]


def dump_snapshot(directory: Path, snapshot: Path) -> dict[str, str]:
    """The nodes of a snapshot, and under "sessions" and "zxid" what it says of those.

    Without times; sessions are numbered in the order of their ids.
    """
    text = run(directory, "SnapshotFormatter", "-d", snapshot)
    details = _DETAIL.findall(text)
    numbers = {int(session, 16): number for number, (session, _, _) in enumerate(sorted(details, key=_id_of), 1)}
    sessions = sorted((numbers[int(session, 16)], timeout, count) for session, timeout, count in details)
    blocks = text.split("----\n")
    found = {"sessions": str(sessions), "zxid": blocks[-1].strip(), "count": blocks[0].strip()}
    for block in blocks[1:-2]:
        lines = [line for line in block.splitlines() if not line.startswith(("  ctime", "  mtime"))]
        for at, line in enumerate(lines):
            name, _, value = line.partition(" = ")
            if name == "  ephemeralOwner" and int(value, 16) in numbers:
                lines[at] = f"{name} = session {numbers[int(value, 16)]}"
        found[lines[0]] = "\n".join(lines[1:])
    return found


def compare_snapshots(directory: Path, left: Path, right: Path) -> list[str]:
    """What SnapshotComparer finds."""
    text = run(directory, "SnapshotComparer", "-l", left, "-r", right, "-b", "0", "-n", "0")
    assert "Analysis for depth 1" in text
    return [line for line in text.splitlines() if line.startswith("Node /") or " found " in line]


def _id_of(detail: tuple[str, str, str]) -> int:
    return int(detail[0], 16)
