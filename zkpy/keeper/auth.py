"""Who a connection is, and what that lets it do.

An *identity* is a pair (scheme, id). A connection starts with ("ip", its address) and gains others by auth packets.

    scheme   an ACL entry matches an identity of the same scheme when …   counts for the `auth` expansion
    world    always ("anyone")                                            no
    ip       the address lies in the entry's network                      no
    digest   the ids are equal                                            yes
    super    not allowed in ACLs; holders pass every check                no

Sources: ZooKeeperServer.checkACL, PrepRequestProcessor.fixupACL, and the providers in server.auth.
"""

import hashlib
import re
from base64 import b64encode
from collections.abc import Iterable
from struct import Struct
from struct import error as StructError
from typing import Final

from zkpy.proto.records import ACL, Id
from zkpy.tree.acl import Acl, intern

Identity = tuple[str, str]
Identities = tuple[Identity, ...]

_INT: Final = Struct(">i").unpack_from
#: An ACL of so many entries is not worth a look for repetitions.
FEW_ENTRIES: Final = 64

_V4: Final = re.compile(r"^(\d{1,3})\.(\d{1,3})\.(\d{1,3})\.(\d{1,3})$", re.ASCII)
_DIGITS: Final = re.compile(r"^[+-]?\d+$", re.ASCII)
_HEX: Final = re.compile(r"^[0-9a-fA-F]{1,4}$")

#: Java's names of digest algorithms → hashlib's.
ALGORITHMS: Final = {
    "MD5": "md5",
    "SHA1": "sha1",
    "SHA-1": "sha1",
    "SHA-224": "sha224",
    "SHA-256": "sha256",
    "SHA-384": "sha384",
    "SHA-512": "sha512",
    "SHA3-256": "sha3_256",
    "SHA3-512": "sha3_512",
}


def digest_identity(credentials: bytes, algorithm: str = "SHA1") -> Identity:
    """The identity that `user:password` gives: ("digest", "user:" + base64 of the hash over all of it)."""
    # Java decodes the bytes and hashes the text's UTF-8, so bytes that are no UTF-8 hash as replacement characters.
    text = credentials.decode("utf-8", "replace")
    hashed = hashlib.new(ALGORITHMS[algorithm], text.encode(), usedforsecurity=False).digest()
    return "digest", f"{text.partition(':')[0]}:{b64encode(hashed).decode()}"


def address_bytes(text: str) -> bytes | None:
    """An IPv4 or IPv6 address as 4 or 16 bytes, None if it is neither."""
    if ":" not in text:
        match = _V4.match(text)
        if match is None:
            return None
        parts = [int(part) for part in match.groups()]
        return bytes(parts) if max(parts) <= 255 else None
    halves = text.split("::")
    if len(halves) > 2:
        return None
    head = halves[0].split(":") if halves[0] else []
    tail = halves[1].split(":") if len(halves) == 2 and halves[1] else []
    given = len(head) + len(tail)
    if (given != 8) if len(halves) == 1 else (given >= 8):
        return None
    if not all(_HEX.match(part) for part in head + tail):
        return None
    numbers = [*head, *["0"] * (8 - given), *tail]
    return b"".join(int(number, 16).to_bytes(2, "big") for number in numbers)


def network(text: str) -> tuple[bytes, int] | None:
    """`address[/bits]` as (address bytes, bits), None if it is malformed."""
    address, slash, suffix = text.partition("/")
    packed = address_bytes(address)
    if packed is None:
        return None
    bits = len(packed) * 8
    if slash:
        if not _DIGITS.match(suffix) or not 0 <= int(suffix) <= bits:
            return None
        bits = int(suffix)
    return packed, bits


def in_network(address: str, text: str) -> bool:
    """Does `address` lie in the network `text`? Addresses of the other family never do."""
    net = network(text)
    packed = address_bytes(address)
    if net is None or packed is None or len(packed) != len(net[0]):
        return False
    shift = len(packed) * 8 - net[1]
    return int.from_bytes(packed, "big") >> shift == int.from_bytes(net[0], "big") >> shift


def is_super(identities: Identities) -> bool:
    """Does one of the identities pass every check?"""
    return any(scheme == "super" for scheme, _ in identities)


def permits(acl: Acl, perms: int, identities: Identities) -> bool:
    """May a connection with these identities do one of `perms` where `acl` stands?"""
    if acl.world & perms or not acl:
        return True
    if is_super(identities):
        return True
    for entry in acl:
        if entry.perms & perms:
            scheme, wanted = entry.id.scheme, entry.id.id
            for has_scheme, id_ in identities:
                if has_scheme == scheme and (
                    in_network(id_, wanted or "") if scheme == "ip" else scheme == "digest" and id_ == wanted
                ):
                    return True
    return False


class AclRules:
    """Which ACLs may be set, given the authentication schemes that this server has."""

    def __init__(self, *, digest_enabled: bool = True) -> None:
        self.schemes: tuple[str, ...] = ("ip", "digest") if digest_enabled else ("ip",)

    def normalise(self, entries: Iterable[ACL] | None, identities: Identities) -> Acl | None:
        """The ACL to store: duplicates gone and `auth` replaced by the caller's own ids; None if it is not valid.

        Raises ValueError for a null id where Apache stumbles over it.
        """
        if not entries:
            return None
        if type(entries) is Acl:
            return entries
        result: list[ACL] = []
        seen: dict[tuple[int, str | None, str | None], None] = {}
        for entry in entries:
            scheme, id_ = entry.id.scheme, entry.id.id
            key = (entry.perms, scheme, id_)
            if key in seen:
                continue
            seen[key] = None
            if scheme is None:
                return None
            if id_ is None and (scheme == "world" or scheme in self.schemes):
                raise ValueError(f"null id in an ACL of scheme {scheme}")
            if scheme == "world" and id_ == "anyone":
                result.append(entry)
            elif scheme == "auth":
                own = [identity for identity in identities if identity[0] == "digest" and "digest" in self.schemes]
                if not own:
                    return None
                result.extend(ACL(entry.perms, Id(*identity)) for identity in own)
            elif scheme in self.schemes and id_ is not None and is_valid_id(scheme, id_):
                result.append(entry)
            else:
                return None
        return intern(result)


def each_once(frame: bytes, at: int) -> bytes:
    """The frame without repetitions in the ACL that begins at `at`; as it is if that has few entries or is malformed.

    Repetitions mean nothing (`AclRules.normalise` drops them), and a request of a megabyte can hold 40,000: to find
    them takes a tenth of the time in which they would be decoded, while all other clients wait.
    """
    entries: dict[bytes, None] = {}
    start = end = at + 4
    try:
        (count,) = _INT(frame, at)
        if not FEW_ENTRIES < count < len(frame):
            return frame
        for _ in range(count):
            (size,) = _INT(frame, start + 4)
            middle = start + 8 + size
            if size < 0:
                return frame
            (size,) = _INT(frame, middle)
            end = middle + 4 + size
            if size < 0:
                return frame
            entries[frame[start:end]] = None
            start = end
    except StructError:
        return frame
    if end > len(frame):
        return frame
    return b"".join((frame[:at], len(entries).to_bytes(4, "big"), *entries, frame[end:]))


def is_valid_id(scheme: str, id_: str) -> bool:
    """Is `id_` well formed for an ACL entry of this scheme (ip or digest)?"""
    if scheme == "ip":
        return network(id_) is not None
    parts = id_.split(":")
    while parts and not parts[-1]:  # Java's split drops trailing empty parts
        parts.pop()
    return len(parts) == 2


def redacted(acl: Acl) -> list[ACL]:
    """The ACL as somebody without ADMIN sees it: every digest's hash replaced by x (getACL)."""
    return [
        ACL(entry.perms, Id("digest", (entry.id.id or "").partition(":")[0] + ":x"))
        if entry.id.scheme == "digest" and ":" in (entry.id.id or "")
        else entry
        for entry in acl
    ]


def user_name(identity: Identity) -> str:
    """The identity as whoAmI and the audit log show it."""
    scheme, id_ = identity
    return id_.partition(":")[0] if scheme == "digest" else id_
