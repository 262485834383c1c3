"""The quorum port: packet types, and whole packets out of a byte stream.

A packet is a QuorumPacket record, and nothing stands between two packets: a stream is its packets one after the other.
Only behind a SNAP packet the image of a tree follows, up to its end mark, which is for others to read.

Law: no length is believed beyond `limit`, so a stranger can make us hold one packet and no more.
Sources: Leader, LearnerHandler, Learner.
"""

from struct import Struct
from typing import Final

from jute import JuteError
from jute.wire import write_records
from zkpy.proto.errors import ProtocolError
from zkpy.proto.records import Id, QuorumPacket

REQUEST: Final = 1
PROPOSAL: Final = 2
ACK: Final = 3
COMMIT: Final = 4
PING: Final = 5
REVALIDATE: Final = 6
SYNC: Final = 7
INFORM: Final = 8
COMMITANDACTIVATE: Final = 9
NEWLEADER: Final = 10
FOLLOWERINFO: Final = 11
UPTODATE: Final = 12
DIFF: Final = 13
TRUNC: Final = 14
SNAP: Final = 15
OBSERVERINFO: Final = 16
LEADERINFO: Final = 17
ACKEPOCH: Final = 18
INFORMANDACTIVATE: Final = 19

NAMES: Final = {
    REQUEST: "REQUEST",
    PROPOSAL: "PROPOSAL",
    ACK: "ACK",
    COMMIT: "COMMIT",
    PING: "PING",
    REVALIDATE: "REVALIDATE",
    SYNC: "SYNC",
    INFORM: "INFORM",
    COMMITANDACTIVATE: "COMMITANDACTIVATE",
    NEWLEADER: "NEWLEADER",
    FOLLOWERINFO: "FOLLOWERINFO",
    UPTODATE: "UPTODATE",
    DIFF: "DIFF",
    TRUNC: "TRUNC",
    SNAP: "SNAP",
    OBSERVERINFO: "OBSERVERINFO",
    LEADERINFO: "LEADERINFO",
    ACKEPOCH: "ACKEPOCH",
    INFORMANDACTIVATE: "INFORMANDACTIVATE",
}

#: The version of the protocol in LEADERINFO and LearnerInfo.
PROTOCOL_VERSION: Final = 0x10000
#: What packets carry as data, for who packs it and who unpacks it: LearnerInfo (sid, protocol version, version of the
#: configuration); the beginning of a forwarded request (session, cxid, type); a session with its timeout, and with
#: whether it is alive.
LEARNER_INFO: Final = Struct(">qiq")
FORWARDED: Final = Struct(">qii")
SESSION_TIMEOUT: Final = Struct(">qi")
SESSION_VALIDITY: Final = Struct(">q?")
#: Twice jute.maxbuffer: a txn is longer than the request it was made from.
DEFAULT_LIMIT: Final = 2 * 0xFFFFF
#: Identities in one packet. Apache sets no limit; a connection has a handful.
IDENTITIES_LIMIT: Final = 1024

_HEAD: Final = Struct(">iqi")
#: The same, and FORWARDED behind it.
_REQUEST_HEAD: Final = Struct(">iqiqii")
#: The vector of identities that is null, as in all packets but REQUEST.
_NOBODY: Final = b"\xff\xff\xff\xff"
_INT: Final = Struct(">i")


def encode(type_: int, zxid: int, data: bytes | None = None) -> bytes:
    """A packet without identities, as all but REQUEST are."""
    if data is None:
        return _HEAD.pack(type_, zxid, -1) + _NOBODY
    return _HEAD.pack(type_, zxid, len(data)) + data + _NOBODY


def encode_identities(identities: list[Id] | None) -> bytes:
    """The end of a packet that speaks for somebody, for `encode_request`."""
    out = bytearray()
    write_records(out, identities)
    return bytes(out)


def encode_request(session_id: int, cxid: int, type_: int, body: bytes, identities: bytes) -> bytes:
    """A REQUEST; `identities` as `encode_identities` gives them."""
    return _REQUEST_HEAD.pack(REQUEST, -1, FORWARDED.size + len(body), session_id, cxid, type_) + body + identities


class PacketStream:
    """One link's incoming half. `feed` it; after a ProtocolError the stream has lost its rhythm for good."""

    __slots__ = ("_held", "_identities", "_identities_bytes", "_need", "limit")

    def __init__(self, limit: int = DEFAULT_LIMIT) -> None:
        self.limit = limit
        self._held = b""
        self._need = 0  # how many bytes must be held before it is worth a look
        # The identities of the last packet that had some, and their bytes: most requests come from few addresses.
        self._identities: list[Id] | None = None
        self._identities_bytes = _NOBODY

    def feed(self, data: bytes) -> list[QuorumPacket]:
        """The packets that `data` completes, in order, up to a SNAP: what follows one is for `take_rest`.

        Raises ProtocolError; packets that came with the wrong one are lost, as is the link.
        """
        if self._held:
            data = self._held + data
        if len(data) < self._need:
            self._held = data
            return []
        packets: list[QuorumPacket] = []
        at, size = 0, len(data)
        limit = self.limit
        unpack = _HEAD.unpack_from
        self._need = 0
        while at < size:
            # Nearly all packets have no identities, or the same as the one before: those are read here, in a third of
            # the time.
            begin = at + 16
            if begin <= size:
                type_, zxid, length = unpack(data, at)
                end = begin + length if length > 0 else begin
                if -1 <= length <= limit:
                    after = end + 4
                    identities = None
                    is_known = data[end:after] == _NOBODY
                    if not is_known and type_ == REQUEST and data.startswith(self._identities_bytes, end):
                        is_known = True
                        identities = self._identities
                        after = end + len(self._identities_bytes)
                    if is_known:
                        packets.append(QuorumPacket(type_, zxid, data[begin:end] if length >= 0 else None, identities))
                        at = after
                        if type_ == SNAP:
                            break
                        continue
            end = self._end(data, at)
            if end > size:
                self._need = end - at
                break
            try:
                packet = QuorumPacket.decode(data, at)[0]
            except JuteError as error:
                raise ProtocolError(f"not a packet: {error}") from None
            packets.append(packet)
            if packet.authinfo:
                self._identities = packet.authinfo
                self._identities_bytes = encode_identities(packet.authinfo)
            at = end
            if packet.type == SNAP:
                break
        self._held = data[at:]
        return packets

    def take_rest(self) -> bytes:
        """What came after the last packet that `feed` gave: the beginning of an image, when that was a SNAP."""
        rest = self._held
        self._held = b""
        self._need = 0
        return rest

    def _end(self, data: bytes, at: int) -> int:
        """Where the packet at `at` ends; if that is beyond `data`, at least so many bytes are needed."""
        size = len(data)
        end = at + _HEAD.size
        if end > size:
            return end
        end += self._length(data, end - 4)
        if end + 4 > size:
            return end + 4
        count: int = _INT.unpack_from(data, end)[0]
        if count > IDENTITIES_LIMIT:
            raise ProtocolError(f"a packet with {count} identities")
        end += 4
        for _ in range(2 * count):
            if end + 4 > size:
                return end + 4
            end += 4 + self._length(data, end)
        return end

    def _length(self, data: bytes, at: int) -> int:
        length: int = _INT.unpack_from(data, at)[0]
        if not -1 <= length <= self.limit:
            raise ProtocolError(f"a packet with a length of {length} is not between 0 and {self.limit}")
        return max(0, length)
