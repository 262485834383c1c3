"""Verbs on quotas: setquota, listquota, delquota. A quota is two znodes below /zookeeper/quota and the path it is for.

/zookeeper/quota/app/zookeeper_limits   what is allowed: "count=5,bytes=-1=;byteHardLimit=-1;countHardLimit=-1"
/zookeeper/quota/app/zookeeper_stats    what there is, which the servers keep: "count=2,bytes=10"
"""

from __future__ import annotations

import re
from typing import Final

from zkpy.cli.shell.options import Grammar, Parsed, VerbError
from zkpy.cli.shell.session import Session
from zkpy.cli.shell.verb import Desk, parse_long, verb
from zkpy.cli.shell.znodes import join, walk
from zkpy.proto import errors

ROOT: Final = "/zookeeper/quota"
LIMITS: Final = "zookeeper_limits"
STATS: Final = "zookeeper_stats"

#: Option → the field it sets.
_FIELDS: Final = {"n": "count", "b": "bytes", "N": "countHardLimit", "B": "byteHardLimit"}


class Track:
    """The numbers in one of the two znodes, by field; -1 where there is none."""

    def __init__(self, data: bytes | None = b"", **fields: int) -> None:
        self.fields: dict[str, int] = dict(fields)
        for pair in re.split("[,;]+", (data or b"").decode("utf-8", "replace")):
            key, equals, value = pair.partition("=")
            if equals:
                self.fields[key] = int(value.partition("=")[0] or "-1")

    def __getitem__(self, field: str) -> int:
        return self.fields.get(field, -1)

    def __str__(self) -> str:
        rest = sorted(self.fields.keys() - {"count", "bytes"})
        text = f"count={self['count']},bytes={self['bytes']}"
        # The second = keeps parsers of before 3.7 from reading on.
        return text + "=" * bool(rest) + "".join(f";{key}={self.fields[key]}" for key in rest)


@verb("listquota", "path")
def list_quota(desk: Desk, given: Parsed) -> None:
    """What is allowed, and what there is."""
    path = given.words[1]
    limits = f"{ROOT}{path}/{LIMITS}"
    desk.complain(f"absolute path is {limits}")
    try:
        quota = Track(desk.session.get(limits)[0])
        stats = Track(desk.session.get(f"{ROOT}{path}/{STATS}")[0])
    except errors.NoNodeError:
        desk.complain(f"quota for {path} does not exist.")
        return
    desk.say(f"Output quota for {path} {quota}")
    desk.say(f"Output stat for {path} {stats}")


@verb(
    "setquota", "-n|-b|-N|-B val path",
    Grammar(
        "", "n b N B", exclusive="n b N B",
        needed="[-n num soft quota, -b bytes soft quota, -N num hard quota, -B bytes hard quota]",
    ),
)  # fmt: skip
def set_quota(desk: Desk, given: Parsed) -> None:
    """Set one limit; the others stay."""
    path = given.words[1]
    if path.startswith(ROOT):
        desk.complain(f"cannot set a quota under the path: {ROOT}")
        return
    (option, text), *_ = given.options.items()
    number = parse_long(text)
    is_count = option in "nN"
    if number is None or (is_count and abs(number) >= 2**31):
        desk.complain("NumberFormatException happens when parsing the option value")
        return
    if number < is_count:
        what = (
            "num quota must be greater than zero" if is_count else "bytes quota must be greater than or equal to zero"
        )
        desk.complain(f"the {what}")
        return
    _limit(desk, path, _FIELDS[option], number)


def _limit(desk: Desk, path: str, field: str, number: int) -> None:
    session = desk.session
    if session.exists(path) is None:
        raise VerbError(f"{path} does not exist.")
    _refuse_nested(session, path)
    place = ROOT
    for name in path.split("/")[1:]:
        place = f"{place}/{name}"
        if session.exists(place) is None:
            _create(session, place, None)
    limits, stats = f"{place}/{LIMITS}", f"{place}/{STATS}"
    is_new = session.exists(limits) is None
    if is_new:
        quota = Track(b"", count=-1, bytes=-1, countHardLimit=-1, byteHardLimit=-1)
        quota.fields[field] = number
        session.create(limits, str(quota).encode())
        session.create(stats, str(Track(count=0, bytes=0)).encode())
        quota = Track(session.get(limits)[0])
    else:
        quota = Track(session.get(limits)[0])
        quota.fields[field] = number
    _warn(desk, quota, Track(session.get(stats)[0]))
    if not is_new:
        session.set(limits, str(quota).encode())


def _create(session: Session, path: str, data: bytes | None) -> None:
    try:
        session.create(path, data)
    except errors.NodeExistsError:
        pass  # somebody else was faster


def _warn(desk: Desk, quota: Track, stats: Track) -> None:
    for what, soft, hard in (("count", "count", "countHardLimit"), ("bytes", "bytes", "byteHardLimit")):
        if any(-1 < quota[limit] < stats[what] for limit in (soft, hard)):
            desk.say(f"[Warning]: the {what} quota you create is less than the existing {what}:{stats[what]}")


def _refuse_nested(session: Session, path: str) -> None:
    """A znode has a quota only if none below and none above has one."""

    def visit(place: str) -> None:
        try:
            has_quota = place != ROOT + path and LIMITS in session.children(place)
        except errors.NoNodeError:
            return  # it has gone since it was listed
        if has_quota:
            raise VerbError(f"{path} has a child {place.removeprefix(ROOT)} which has a quota")

    try:
        walk(session, ROOT + path, visit)
    except errors.NoNodeError:
        pass  # nothing there
    place = ROOT
    for name in path.split("/")[1:-1]:
        place = join(place, name)
        try:
            has_quota = LIMITS in session.children(place)
        except errors.NoNodeError:
            return
        if has_quota:
            raise VerbError(f"{path} has a parent {place.removeprefix(ROOT)} which has a quota")


@verb("delquota", "[-n|-b|-N|-B] path", Grammar("n b N B", exclusive="n b N B"))
def delete_quota(desk: Desk, given: Parsed) -> None:
    """Lift one limit, or remove the quota."""
    path = given.words[1]
    session = desk.session
    place = ROOT + path
    limits = f"{place}/{LIMITS}"
    if session.exists(limits) is None:
        desk.say(f"Quota does not exist for {path}")
        return
    quota = Track(session.get(limits)[0])
    if given.options:
        for option in given.options:
            quota.fields[_FIELDS[option]] = -1
        session.set(limits, str(quota).encode())
        return
    for name in session.children(place):
        session.delete(f"{place}/{name}")
    while place != ROOT and not session.children(place):
        session.delete(place)
        place = place.rpartition("/")[0]
