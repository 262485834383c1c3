"""The words programs are made of: paths, data, ACLs, flags, credentials, right ones and wrong ones.

Small pools on purpose: requests must meet. `~` stands for a program's root.
"""

from __future__ import annotations

from typing import Any

OPEN_ACL = ({"perms": 31, "id": {"scheme": "world", "id": "anyone"}},)
ALICE = "alice:wonder"
BOB = "bob:builder"
ALICE_ID = "alice:8y0lhh/7xkdEiwhX7vo9i+/Nmzc="
BOB_ID = "bob:4rsXV9JgUbFl9ZE40xENilxlRV8="
SUPER = "super:test"
SUPER_DIGEST = "super:D/InIHSb7yEEbrWz8b9l71RjZJU="

_PLAIN = "a b c a/a a/b b/a b/b a/b/a a/b/c c/a aa a/a/a/a s0000000000 s0000000001 a/s0000000000 b/s0000000001 ..."
GOOD_PATHS = [f"~/{name}" for name in (*_PLAIN.split(), "\u00e9", "a b", "\u4e2d", "\u4e2d/a")]

_MALFORMED = ["/a", "a/", ".", "..", "a/../b", "a/.", "./a", "missing/x", "a/x/y/z"]
# At and just inside the edges of the ranges a path may not contain, then characters that look alike but may stand.
_CHARACTERS = "\x00 \x01 \x1f \x7f \x9f \ud800 \ue000 \uf8ff \ufff0 \uffff \U0001f600 a\x00b \t \xa0 \uf900"
BAD_PATHS: tuple[Any, ...] = (
    *("", None, "a", "a/b", "//", "~/", "~", b"~/\xed\xa0\x80", b"~/\xff", b"~/a\xc3"),
    *(f"~/{name}" for name in _MALFORMED),
    *(f"~/{name}" for name in _CHARACTERS.split(" ") if name),
)
SYSTEM_PATHS = ("/", "/zookeeper", "/zookeeper/quota", "/zookeeper/config", "/zookeeper/nothing", "")
DATA = (None, b"", b"x", b"hello", b"\x00\xff" * 50, b"count=1,bytes=2", b"d" * 4000)
VERSIONS = (0, 1, 2, 5, -2, -3, 2**31 - 1, -(2**31))
CREATE_FLAGS = (0, 0, 0, 0, 1, 1, 2, 2, 3, 3)
ODD_FLAGS = (4, 5, 6, 7, -1, 99, 2**31 - 1)
ODD_XIDS = (0, -3, -5, 2**31 - 1, -(2**31), 1)
UNKNOWN_OPCODES = (0, 10, 23, 50, 99, 108, 999, -1, -12, 2**31 - 1)
# jute.maxbuffer: the largest frame a server takes.
FRAME_LIMIT = 0xFFFFF
RAW = (
    b"\xff\xff\xff\xff",
    b"\x00\x10\x00\x00",
    b"\x7f\xff\xff\xff",
    b"\x00\x00\x00\x00",
    b"\x00\x00\x00\x04\x00\x00\x00\x01",
    b"\x00\x00\x00\x07\x00\x00\x00\x01\x00\x00\x00",
    b"ruok",
    b"srvr",
)
AUTHS: tuple[tuple[str, bytes | None], ...] = (
    *(("digest", user.encode()) for user in (ALICE, BOB, SUPER, "nocolon", "", "a:b:c", "\u00e9:\u00e8")),
    *(("ip", token) for token in (b"whatever", None)),
)
_UNKNOWN_SCHEMES = ("world", "foo", None, "auth", "super", "")
BAD_AUTHS = (("digest", None), *((scheme, b"x") for scheme in _UNKNOWN_SCHEMES))
QUOTAS = (
    b"count=3,bytes=-1",
    b"count=-1,bytes=10",
    b"count=2,bytes=20=;byteHardLimit=20;countHardLimit=3",
    b"count=-1,bytes=-1=;countHardLimit=4",
    b"count=-1,bytes=-1=;byteHardLimit=8",
    b"count=100,bytes=1000",
    b"count=1",
)


def _entry(perms: int, scheme: str | None, name: str | None) -> dict[str, Any]:
    return {"perms": perms, "id": {"scheme": scheme, "id": name}}


ALICE_ALL = _entry(31, "digest", ALICE_ID)
ACLS: tuple[Any, ...] = (
    *([_entry(1, "world", "anyone")], [_entry(31, "auth", "")], [_entry(31, "auth", "ignored")], [ALICE_ALL]),
    *([_entry(1, "world", "anyone"), ALICE_ALL], [ALICE_ALL, _entry(1, "digest", BOB_ID)]),
    *([_entry(31, "ip", "127.0.0.1")], [_entry(31, "ip", "127.0.0.0/8")], [_entry(31, "ip", "10.0.0.0/8")]),
    *([_entry(31, "ip", "0.0.0.0/0")], [_entry(29, "world", "anyone")], [_entry(27, "world", "anyone")]),
    *([_entry(0, "world", "anyone")], [_entry(0x7FFFFFFF, "world", "anyone")], [_entry(-1, "world", "anyone")]),
    *([*OPEN_ACL, *OPEN_ACL], [*OPEN_ACL, _entry(3, "world", "anyone"), ALICE_ALL, *OPEN_ACL]),
    *([_entry(15, "auth", ""), *OPEN_ACL], [_entry(16, "world", "anyone")], [_entry(23, "world", "anyone")]),
)
_BAD_IPS = (
    "127.0.0.1/33",
    "abc",
    "",
    "::1",
    "::1/64",
    "1.2.3",
    "1.2.3.4/",
    "/8",
    "256.0.0.1",
    "1.2.3.4/-1",
    "1.2.3.4/8/9",
)
_BAD_DIGESTS = ("alice", "alice:", ":x", "a:b:c", "u:h:", "", None)
_BAD_IDS = (
    *(("world", "someone"), ("world", None), ("foo", "x"), (None, "x"), ("", ""), ("sasl", "bob"), ("x509", "CN=a")),
    *(("super", ""), ("ip", None), *(("ip", ip) for ip in _BAD_IPS), *(("digest", name) for name in _BAD_DIGESTS)),
)
BAD_ACLS: tuple[Any, ...] = (
    *(None, [], [*OPEN_ACL, _entry(31, "foo", "x")]),
    *([_entry(31, scheme, name)] for scheme, name in _BAD_IDS),
)

_PATH = b"\0\0\0\3/zz"
# Whole bodies: lengths and counts below -1 or beyond everything, booleans that are neither, headers without their op.
GARBAGE = (
    b"\xff\xff\xff\xfe",
    b"\x7f\xff\xff\xff",
    b"\x00\x20\x00\x00/zz",
    _PATH + b"\x02",
    _PATH + b"\xff\xff\xff\xfe",
    _PATH + b"\xff\xff\xff\xff" + b"\xff\xff\xff\xfe" + b"\0" * 4,
    _PATH + b"\xff\xff\xff\xff" + b"\x7f\xff\xff\xff" + b"\0" * 4,
    b"\0" * 8 + b"\xff\xff\xff\xfe" * 5,
    b"\0" * 8 + b"\0" * 20,
    b"\0\0\0\1\0\xff\xff\xff\xff",
    b"\xff\xff\xff\xff\2\xff\xff\xff\xff",
    b"\xff\xff\xff\xff\1\0\0\0\0",
)
