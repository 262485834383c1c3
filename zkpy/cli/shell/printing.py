"""How zkCli prints what a server answered: stats, ACLs, data."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Final

from zkpy.proto import errors, opcodes
from zkpy.proto.records import ACL, Id, Stat

Say = Callable[[str], None]

_PERMS: Final = {
    "c": opcodes.PERM_CREATE, "d": opcodes.PERM_DELETE, "r": opcodes.PERM_READ, "w": opcodes.PERM_WRITE,
    "a": opcodes.PERM_ADMIN,
}  # fmt: skip
#: What Jute's text form writes otherwise.
_ESCAPES: Final = str.maketrans({"\0": "%00", "\n": "%0A", "\r": "%0D", ",": "%2C", "}": "%7D", "%": "%25"})
_RULER: Final = "-" * 49
_EDGE: Final = f"+--------+{_RULER}+----------------+"

#: Apache's name for each code.
_CODES: Final = {
    errors.SYSTEMERROR: "SystemError",
    errors.RUNTIMEINCONSISTENCY: "RuntimeInconsistency",
    errors.DATAINCONSISTENCY: "DataInconsistency",
    errors.CONNECTIONLOSS: "ConnectionLoss",
    errors.MARSHALLINGERROR: "MarshallingError",
    errors.NEWCONFIGNOQUORUM: "NewConfigNoQuorum",
    errors.RECONFIGINPROGRESS: "ReconfigInProgress",
    errors.UNIMPLEMENTED: "Unimplemented",
    errors.OPERATIONTIMEOUT: "OperationTimeout",
    errors.BADARGUMENTS: "BadArguments",
    errors.NONODE: "NoNode",
    errors.NOAUTH: "NoAuth",
    errors.BADVERSION: "BadVersion",
    errors.NOCHILDRENFOREPHEMERALS: "NoChildrenForEphemerals",
    errors.NODEEXISTS: "NodeExists",
    errors.INVALIDACL: "InvalidACL",
    errors.AUTHFAILED: "AuthFailed",
    errors.NOTEMPTY: "Directory not empty",
    errors.SESSIONEXPIRED: "Session expired",
    errors.SESSIONMOVED: "Session moved",
    errors.NOTREADONLY: "Not a read-only call",
    errors.EPHEMERALONLOCALSESSION: "Ephemeral node on local session",
    errors.NOWATCHER: "No such watcher",
    errors.RECONFIGDISABLED: "Reconfig is disabled",
    errors.SESSIONCLOSEDREQUIRESASLAUTH: "Session closed because client failed to authenticate",
    errors.QUOTAEXCEEDED: "Quota has exceeded",
    errors.THROTTLEDOP: "Op throttled due to high load",
}
#: What zkCli says instead of the code, with the path behind it.
_WORDS: Final = {
    errors.NONODE: "Node does not exist: ",
    errors.NOCHILDRENFOREPHEMERALS: "Ephemerals cannot have children: ",
    errors.NODEEXISTS: "Node already exists: ",
    errors.NOTEMPTY: "Node not empty: ",
    errors.NOTREADONLY: "Not a read-only call: ",
    errors.INVALIDACL: "Acl is not valid : ",
    errors.NOAUTH: "Insufficient permission : ",
    errors.BADARGUMENTS: "Arguments are not valid : ",
    errors.BADVERSION: "version No is not valid : ",
    errors.QUOTAEXCEEDED: "Quota has exceeded : ",
}
_RECONFIG_WORDS: Final = {
    errors.RECONFIGINPROGRESS: (
        "Another reconfiguration is in progress -- concurrent reconfigs not supported (yet)"
    ),
    errors.NEWCONFIGNOQUORUM: (
        "No quorum of new config is connected and up-to-date with the leader of last committed config - try invoking"
        " reconfiguration after new servers are connected and synced"
    ),
}  # fmt: skip


def code_text(error: errors.KeeperError) -> str:
    """An error as Apache's client prints it."""
    name = _CODES.get(error.code, f"Unknown error {error.code}")
    return f"KeeperErrorCode = {name}" + (f" for {error.path}" if error.path else "")


def error_text(error: errors.KeeperError) -> str:
    """An error as zkCli explains it."""
    if error.code in _WORDS:
        return _WORDS[error.code] + (error.path or "null")
    return _RECONFIG_WORDS.get(error.code) or code_text(error)


def print_stat(stat: Stat, say: Say) -> None:
    """A line a field."""
    say(f"cZxid = {_hex(stat.czxid)}")
    say(f"ctime = {_date(stat.ctime)}")
    say(f"mZxid = {_hex(stat.mzxid)}")
    say(f"mtime = {_date(stat.mtime)}")
    say(f"pZxid = {_hex(stat.pzxid)}")
    say(f"cversion = {stat.cversion}")
    say(f"dataVersion = {stat.version}")
    say(f"aclVersion = {stat.aversion}")
    say(f"ephemeralOwner = {_hex(stat.ephemeral_owner)}")
    say(f"dataLength = {stat.data_length}")
    say(f"numChildren = {stat.num_children}")


def _hex(number: int) -> str:
    return f"0x{number & 0xFFFFFFFFFFFFFFFF:x}"


def _date(time_ms: int) -> str:
    at = time.localtime(time_ms // 1000)
    # Whatever the locale, Java's Date prints English names.
    day = "Mon Tue Wed Thu Fri Sat Sun".split()[at.tm_wday]
    month = "Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec".split()[at.tm_mon - 1]
    clock = time.strftime("%H:%M:%S", at)
    return f"{day} {month} {at.tm_mday:02} {clock} {at.tm_zone} {at.tm_year}"


def text_of(data: bytes | None) -> str:
    """Data as text; what is no UTF-8 becomes U+FFFD."""
    return (b"null" if data is None else data).decode("utf-8", "replace")


def hex_dump(data: bytes) -> str:
    """Sixteen bytes a line, with a frame around them."""
    if not data:
        return ""
    head = f"         +{_RULER}+\n         |{''.join(f'{column:3x}' for column in range(16))} |"
    lines = [head, _EDGE]
    for at in range(0, len(data), 16):
        row = data[at : at + 16]
        shown = "".join(chr(byte) if 0x20 <= byte < 0x7F else "." for byte in row)
        lines.append(f"|{at:08x}|{''.join(f' {byte:02x}' for byte in row):48} |{shown:16}|")
    return "\n".join([*lines, _EDGE])


def acl_lines(acl: Sequence[ACL]) -> list[str]:
    """Two lines an entry: who, and what he may do."""
    lines = []
    for entry in acl:
        scheme = (entry.id.scheme or "").translate(_ESCAPES)
        name = (entry.id.id or "").translate(_ESCAPES)
        lines += [f"'{scheme},'{name}", f": {_perms_text(entry)}"]
    return lines


def acl_text(entry: ACL) -> str:
    """An entry as create and setAcl take it."""
    return f"{entry.id.scheme}:{entry.id.id}:{_perms_text(entry)}"


def _perms_text(entry: ACL) -> str:
    return "".join(letter for letter, bit in _PERMS.items() if entry.perms & bit)


def parse_acl(text: str, complain: Say) -> list[ACL]:
    """`scheme:id:perms`, several with commas between them; what is none of these is complained of and left out."""
    acl = []
    for part in text.split(","):
        scheme, colon, rest = part.partition(":")
        name, second, perms = rest.rpartition(":")
        if not colon or not second:
            complain(f"{part} does not have the form scheme:id:perm")
            continue
        bits = 0
        for letter in perms:
            if letter in _PERMS:
                bits |= _PERMS[letter]
            else:
                complain(f"Unknown perm type: {letter}")
        acl.append(ACL(bits, Id(scheme, name)))
    return acl
