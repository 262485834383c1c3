"""The election port: how two servers greet, and the notification, the one message that is not Jute.

    initial message  version long, sid long, length int, addresses ("host:port|host:port")        once, by who dialed
    frame            length int, message                                                          then, both ways

    notification     0 state int     12 its zxid long         28 peerEpoch long   40 length int
                     4 leader long   20 electionEpoch long    36 version int      44 configuration, as text

Law: bytes from outside raise ProtocolError or give a value. All numbers are big-endian. Servers before 3.5 begin with
their sid alone, and end the notification after 28 or 40 bytes. Sources: QuorumCnxManager, FastLeaderElection.
"""

from struct import Struct
from typing import Final

from zkpy.proto.errors import ProtocolError
from zkpy.proto.zxid import epoch_of

# States of a server, as notifications have them.
LOOKING: Final = 0
FOLLOWING: Final = 1
LEADING: Final = 2
OBSERVING: Final = 3

STATE_NAMES: Final = {LOOKING: "LOOKING", FOLLOWING: "FOLLOWING", LEADING: "LEADING", OBSERVING: "OBSERVING"}

#: The longest message, as Apache has it (PACKETMAXSIZE); the shortest is one byte.
MESSAGE_LIMIT: Final = 1 << 19
#: The longest list of addresses.
ADDRESSES_LIMIT: Final = 2048

#: One address.
VERSION_1: Final = -65536
#: One address or more; only for servers that are told to use several (multiAddress.enabled).
VERSION_2: Final = -65535
#: The sid of an observer that has none of its own.
ANONYMOUS: Final = (1 << 63) - 1

#: The notification's own version: 2 carries a configuration.
NOTIFICATION_VERSION: Final = 2

_LONG: Final = Struct(">q")
_INITIAL: Final = Struct(">qqi")
_VOTE: Final = Struct(">iqqq")
_PEER_EPOCH: Final = Struct(">q")
_INT: Final = Struct(">i")
_NOTIFICATION: Final = Struct(">iqqqqii")
_SHORTEST: Final = 28
_WITHOUT_CONFIG: Final = 40


class Notification:
    """A server's vote and state. `config` is None where the sender's version has none."""

    __slots__ = ("config", "election_epoch", "leader", "peer_epoch", "state", "version", "zxid")

    def __init__(
        self,
        state: int,
        leader: int,
        zxid: int,
        election_epoch: int,
        peer_epoch: int,
        config: bytes | None,
        version: int = NOTIFICATION_VERSION,
    ) -> None:
        self.state = state
        self.leader = leader
        self.zxid = zxid
        self.election_epoch = election_epoch
        self.peer_epoch = peer_epoch
        self.config = config
        self.version = version

    def encode(self) -> bytes:
        """The message, without its length."""
        config = self.config or b""
        head = _NOTIFICATION.pack(
            self.state, self.leader, self.zxid, self.election_epoch, self.peer_epoch, self.version, len(config)
        )
        return head + config

    @staticmethod
    def decode(message: bytes) -> "Notification":
        """Raises ProtocolError; such a message is to be skipped, not more."""
        size = len(message)
        if size < _SHORTEST:
            raise ProtocolError(f"a notification of {size} bytes")
        state, leader, zxid, election_epoch = _VOTE.unpack_from(message)
        if state not in STATE_NAMES:
            raise ProtocolError(f"a notification with state {state}")
        version = 0
        config = None
        if size == _SHORTEST:
            return Notification(state, leader, zxid, election_epoch, epoch_of(zxid), None, 0)
        if size < _WITHOUT_CONFIG:
            raise ProtocolError(f"a notification of {size} bytes is cut short")
        peer_epoch = _PEER_EPOCH.unpack_from(message, 28)[0]
        if size > _WITHOUT_CONFIG:
            version = _INT.unpack_from(message, 36)[0]
        if version >= NOTIFICATION_VERSION:
            if size < _NOTIFICATION.size:
                raise ProtocolError(f"a notification of {size} bytes is cut short")
            length = _INT.unpack_from(message, 40)[0]
            if not 0 <= length <= size - _NOTIFICATION.size:
                raise ProtocolError(f"a notification of {size} bytes with a configuration of {length}")
            config = message[_NOTIFICATION.size : _NOTIFICATION.size + length]
        return Notification(state, leader, zxid, election_epoch, peer_epoch, config, version)

    def __eq__(self, other: object) -> bool:
        if type(other) is not Notification:
            return NotImplemented
        return all(getattr(self, name) == getattr(other, name) for name in self.__slots__)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        config = "" if self.config is None else f" config={self.config!r}"
        return (
            f"{STATE_NAMES[self.state]} leader={self.leader} zxid={self.zxid:#x} round={self.election_epoch:#x}"
            f" epoch={self.peer_epoch:#x}{config}"
        )


class InitialMessage:
    """Who dialed, and where its election port is. A server before 3.5 says no addresses."""

    __slots__ = ("addresses", "sid")

    def __init__(self, sid: int, addresses: list[tuple[str, int]]) -> None:
        self.sid = sid
        self.addresses = addresses

    def encode(self) -> bytes:
        """The first bytes on a connection to an election port."""
        assert self.addresses, "an initial message without an address"
        version = VERSION_1 if len(self.addresses) == 1 else VERSION_2
        texts = [f"[{host}]:{port}" if ":" in host else f"{host}:{port}" for host, port in self.addresses]
        data = "|".join(texts).encode()
        assert len(data) <= ADDRESSES_LIMIT
        return _INITIAL.pack(version, self.sid, len(data)) + data

    @staticmethod
    def decode(data: bytes) -> "tuple[InitialMessage, int] | None":
        """The message and where it ends, None while it is not whole. Raises ProtocolError; the connection is lost."""
        if len(data) < 8:
            return None
        version = _LONG.unpack_from(data)[0]
        if version >= 0:
            return InitialMessage(version, []), 8
        if version not in (VERSION_1, VERSION_2):
            raise ProtocolError(f"an initial message of version {version}")
        if len(data) < _INITIAL.size:
            return None
        _, sid, length = _INITIAL.unpack_from(data)
        if not 0 < length <= ADDRESSES_LIMIT:
            raise ProtocolError(f"an initial message with {length} bytes of addresses")
        end = _INITIAL.size + length
        if len(data) < end:
            return None
        try:
            text = data[_INITIAL.size : end].decode()
        except UnicodeDecodeError as error:
            raise ProtocolError(f"an initial message whose addresses are no text: {error}") from None
        return InitialMessage(sid, [_address(one) for one in text.split("|")]), end

    def __eq__(self, other: object) -> bool:
        if type(other) is not InitialMessage:
            return NotImplemented
        return self.sid == other.sid and self.addresses == other.addresses

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"InitialMessage({self.sid}, {self.addresses!r})"


def _address(text: str) -> tuple[str, int]:
    """ "host:port" or "[v6]:port"."""
    host, colon, port = text.rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        colon = ""
    if not colon or not host or not (port.isascii() and port.isdigit()) or int(port) > 0xFFFF:
        raise ProtocolError(f"an initial message with the address {text!r}")
    return host, int(port)
