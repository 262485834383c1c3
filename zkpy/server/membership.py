"""Who the members of an ensemble are: the server, group and weight lines of a configuration.

    server.N=host:quorumPort:electionPort[:participant|:observer][|host:quorumPort:electionPort ...][;[clientHost:]port]
    group.G=sid:sid:...      weight.N=w      with either of them quorums are hierarchical

Members tell each other their configuration as text and compare it, so `text` is Apache's to the byte. Sources:
QuorumPeer.QuorumServer, QuorumMaj, QuorumHierarchical.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Final

import attrs

from zkpy.server.errors import ConfigError
from zkpy.server.sockets import Address
from zkpy.zab.quorum import Ensemble, Hierarchical, Majority

#: What the names of the lines begin with.
PREFIXES: Final = ("server.", "group.", "weight.")
FORM: Final = (
    "it should be host:port:port[:participant|:observer][;[host:]port], the ports for the quorum, for elections, and"
    " after the semicolon for clients; several addresses of one server are separated by |"
)
_INTEGER: Final = re.compile("[+-]?[0-9]{1,18}")
_PARTS: Final = re.compile(r"\[([^\]]*)\]|([^:\[\]]+)")


@attrs.frozen
class Line:
    """A line of the configuration, and where it stands."""

    name: str
    value: str
    where: str

    def wrong(self, why: str) -> ConfigError:
        """The error to raise for it."""
        return ConfigError(f"{self.where}: {self.name}={self.value}: {why}")


@attrs.frozen
class Server:
    """One member: (host, quorum port, election port) for each of its addresses, and where it serves clients."""

    sid: int
    addresses: tuple[tuple[str, int, int], ...]
    is_observer: bool = False
    client: Address | None = None

    @property
    def text(self) -> str:
        """As Apache prints it."""
        addresses = sorted(self.addresses)
        shown = "|".join(f"{_shown(host)}:{quorum}:{election}" for host, quorum, election in addresses)
        role = "observer" if self.is_observer else "participant"
        client = f";{_shown(self.client[0])}:{self.client[1]}" if self.client is not None else ""
        return f"server.{self.sid}={shown}:{role}{client}"


@attrs.frozen
class Membership:
    """An ensemble as one of its members is told of it."""

    servers: Mapping[int, Server]
    #: Groups of sids and the weight of each sid; empty when a majority is a quorum.
    groups: Mapping[int, tuple[int, ...]] = attrs.field(factory=dict)
    weights: Mapping[int, int] = attrs.field(factory=dict)
    version: int = 0

    @property
    def voters(self) -> list[int]:
        """The sids of all that vote."""
        return [sid for sid, server in self.servers.items() if not server.is_observer]

    @property
    def text(self) -> str:
        """The configuration as members tell it each other: without a newline at its end."""
        lines = [self.servers[sid].text for sid in _java_order(self.servers)]
        if self.groups:
            lines += [f"group.{group}={':'.join(map(str, self.groups[group]))}" for group in _java_order(self.groups)]
            lines += [f"weight.{sid}={self.weights[sid]}" for sid in _java_order(self.weights)]
        return "\n".join([*lines, f"version={self.version:x}"])

    @property
    def ensemble(self) -> Ensemble:
        """The same for the protocol."""
        quorum: Majority | Hierarchical
        if self.groups:
            quorum = Hierarchical(self.groups, self.weights)
        else:
            quorum = Majority(self.voters)
        observers = frozenset(sid for sid, server in self.servers.items() if server.is_observer)
        return Ensemble(quorum, observers, self.text.encode(), self.version)

    @property
    def quorum_addresses(self) -> dict[int, list[Address]]:
        """sid → where it listens while it leads."""
        return {sid: [(host, port) for host, port, _ in one.addresses] for sid, one in self.servers.items()}

    @property
    def election_addresses(self) -> dict[int, list[Address]]:
        """sid → where it listens for votes."""
        return {sid: [(host, port) for host, _, port in one.addresses] for sid, one in self.servers.items()}


def read_membership(lines: Iterable[Line], version: int = 0) -> Membership:
    """The members that these lines describe. Raises ConfigError."""
    servers: dict[int, Server] = {}
    group_of: dict[int, int] = {}
    weights: dict[int, int] = {}
    is_hierarchical = False
    places: dict[int, Line] = {}
    for line in lines:
        kind, _, number = line.name.partition(".")
        what = {"server": "the server's id", "group": "the group's number", "weight": "the server's id"}[kind]
        if _INTEGER.fullmatch(number) is None:
            raise line.wrong(f"{what} must be a whole number")
        key = int(number)
        if kind == "server":
            servers[key] = read_server(key, line)
            places[key] = line
            continue
        is_hierarchical = True
        if kind == "weight":
            if _INTEGER.fullmatch(line.value) is None or int(line.value) < 0:
                raise line.wrong("a weight must be a whole number, 0 or more")
            weights[key] = int(line.value)
            continue
        for part in line.value.split(":"):
            if _INTEGER.fullmatch(part) is None:
                raise line.wrong("a group should be the ids of its servers, separated by colons")
            sid = int(part)
            if sid in group_of:
                raise line.wrong(f"server {sid} is in two groups")
            group_of[sid] = key
    if is_hierarchical:
        for sid, server in servers.items():
            if not server.is_observer:
                if sid not in group_of:
                    raise places[sid].wrong(f"server {sid} is in no group, though there are group or weight lines")
                weights.setdefault(sid, 1)
        for sid in group_of:
            weights.setdefault(sid, 1)
    groups: dict[int, tuple[int, ...]] = {}
    for sid in _java_order(group_of):
        groups[group_of[sid]] = (*groups.get(group_of[sid], ()), sid)
    return Membership(servers, groups, weights if is_hierarchical else {}, version)


def read_server(sid: int, line: Line) -> Server:
    """What a server line says. Raises ConfigError."""
    members, semicolon, client_text = line.value.partition(";")
    client = None
    if semicolon:
        parts = _split(client_text)
        if parts is None or not 1 <= len(parts) <= 2:
            raise line.wrong(FORM)
        client = (parts[0] if len(parts) == 2 else "0.0.0.0", _port(parts[-1], line))
    addresses = []
    roles = set()
    for text in members.split("|"):
        parts = _split(text)
        if parts is None or not 3 <= len(parts) <= 4:
            raise line.wrong(FORM)
        if len(parts) == 4:
            role = parts[3].lower()
            if role not in ("participant", "observer"):
                raise line.wrong(f"Unrecognised peertype: {parts[3]}")
            roles.add(role)
        quorum, election = _port(parts[1], line), _port(parts[2], line)
        if quorum == election:
            raise line.wrong("Client and election port must be different! Give the server two ports")
        addresses.append((parts[0], quorum, election))
    if len(roles) > 1:
        raise line.wrong("it is a participant or an observer, and not both")
    return Server(sid, tuple(addresses), "observer" in roles, client)


def _split(text: str) -> list[str] | None:
    """The parts between colons; an IPv6 address is one part, in brackets, which are taken off."""
    parts = []
    at = 0
    while True:
        found = _PARTS.match(text, at)
        if found is None:
            return None
        parts.append((found[1] if found[2] is None else found[2]).strip())
        at = found.end()
        if at == len(text):
            return parts if all(parts) else None
        if text[at] != ":":
            return None
        at += 1


def _port(text: str, line: Line) -> int:
    if not (text.isascii() and text.isdigit()) or int(text) > 65535:
        raise line.wrong(f"{text} is no port")
    return int(text)


def _shown(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _java_order(numbers: Iterable[int]) -> list[int]:
    """The order in which a Java HashMap with these keys, put in this order, is walked."""
    keys = list(numbers)
    size = 16
    while len(keys) > size * 3 // 4:
        size *= 2

    def bucket(number: int) -> int:
        bits = number & (1 << 64) - 1
        hashed = (bits ^ bits >> 32) & 0xFFFFFFFF
        return (hashed ^ hashed >> 16) & size - 1

    return sorted(keys, key=bucket)
