"""Every record zkpy speaks or stores. GENERATED from records.jute by scripts/gen_records; do not edit.

`X(...)` takes the fields in wire order; `encode(out)` appends, `to_bytes()` returns; `X.decode(buf, at)` gives the
record and the offset behind it, `X.from_bytes(buf)` ignores what is behind. Wrong bytes raise `jute.JuteError`.
"""

# ruff: noqa: RUF023 - slots stand in wire order, not in the alphabet's

from __future__ import annotations

from struct import Struct
from struct import error as StructError
from typing import Final

from jute.record import Record
from jute.wire import (
    Buffer,
    read_bool,
    read_buffer,
    read_int,
    read_long,
    read_records,
    read_some_ustring,
    read_ustring,
    read_vector,
    short_run,
    write_bool,
    write_buffer,
    write_int,
    write_long,
    write_records,
    write_ustring,
    write_vector,
)

_STAT: Final = Struct(">qqqqiiiqiiq")
_STAT_PERSISTED: Final = Struct(">qqqqiiiqq")
_CONNECT_REQUEST_PROTOCOL_VERSION: Final = Struct(">iqiq")
_CONNECT_RESPONSE_PROTOCOL_VERSION: Final = Struct(">iiq")
_REQUEST_HEADER: Final = Struct(">ii")
_MULTI_HEADER: Final = Struct(">i?i")
_REPLY_HEADER: Final = Struct(">iqi")
_CREATE_TTL_REQUEST: Final = Struct(">iq")
_WATCHER_EVENT: Final = Struct(">ii")
_LEARNER_INFO: Final = Struct(">qiq")
_QUORUM_PACKET: Final = Struct(">iq")
_QUORUM_AUTH_PACKET: Final = Struct(">qi")
_FILE_HEADER: Final = Struct(">iiq")
_TXN_DIGEST: Final = Struct(">iq")
_TXN_HEADER: Final = Struct(">qiqqi")
_CREATE_TXN: Final = Struct(">?i")
_CREATE_TTL_TXN: Final = Struct(">iq")


# org.apache.zookeeper.data


class Id(Record):
    """Who: a name within an authentication scheme."""

    __slots__ = ("scheme", "id")

    def __init__(self, scheme: str | None, id: str | None) -> None:
        self.scheme = scheme
        self.id = id

    def encode(self, out: bytearray) -> None:
        write_ustring(out, self.scheme)
        write_ustring(out, self.id)

    @staticmethod
    def decode(buf: Buffer, at: int = 0) -> tuple[Id, int]:
        scheme, at = read_ustring(buf, at, "Id.scheme")
        id, at = read_ustring(buf, at, "Id.id")
        return Id(scheme, id), at

    @staticmethod
    def from_bytes(buf: Buffer) -> Id:
        return Id.decode(buf)[0]


class ACL(Record):
    """What a matching Id may do (opcodes.PERM_*)."""

    __slots__ = ("perms", "id")

    def __init__(self, perms: int, id: Id) -> None:
        self.perms = perms
        self.id = id

    def encode(self, out: bytearray) -> None:
        write_int(out, self.perms)
        self.id.encode(out)

    @staticmethod
    def decode(buf: Buffer, at: int = 0) -> tuple[ACL, int]:
        perms, at = read_int(buf, at, "ACL.perms")
        id, at = Id.decode(buf, at)
        return ACL(perms, id), at

    @staticmethod
    def from_bytes(buf: Buffer) -> ACL:
        return ACL.decode(buf)[0]


class Stat(Record):
    """A znode's metadata as clients see it: 68 bytes."""

    __slots__ = (
        "czxid",
        "mzxid",
        "ctime",
        "mtime",
        "version",
        "cversion",
        "aversion",
        "ephemeral_owner",
        "data_length",
        "num_children",
        "pzxid",
    )

    def __init__(
        self,
        czxid: int,
        mzxid: int,
        ctime: int,
        mtime: int,
        version: int,
        cversion: int,
        aversion: int,
        ephemeral_owner: int,
        data_length: int,
        num_children: int,
        pzxid: int,
    ) -> None:
        self.czxid = czxid  # the txn that created it
        self.mzxid = mzxid  # the txn that last set its data
        self.ctime = ctime  # when created
        self.mtime = mtime  # when its data was last set
        self.version = version  # how often its data was set
        self.cversion = cversion  # children created plus children deleted
        self.aversion = aversion  # how often its ACL was set
        self.ephemeral_owner = ephemeral_owner  # the owning session, 0 for none
        self.data_length = data_length
        self.num_children = num_children
        self.pzxid = pzxid  # the txn that last created or deleted a child

    def encode(self, out: bytearray) -> None:
        out += _STAT.pack(
            self.czxid,
            self.mzxid,
            self.ctime,
            self.mtime,
            self.version,
            self.cversion,
            self.aversion,
            self.ephemeral_owner,
            self.data_length,
            self.num_children,
            self.pzxid,
        )

    @staticmethod
    def decode(buf: Buffer, at: int = 0) -> tuple[Stat, int]:
        try:
            (
                czxid,
                mzxid,
                ctime,
                mtime,
                version,
                cversion,
                aversion,
                ephemeral_owner,
                data_length,
                num_children,
                pzxid,
            ) = _STAT.unpack_from(buf, at)
        except StructError:
            raise short_run(
                buf,
                at,
                _STAT,
                "Stat",
                "czxid mzxid ctime mtime version cversion aversion ephemeralOwner dataLength numChildren pzxid",
            ) from None
        return Stat(
            czxid, mzxid, ctime, mtime, version, cversion, aversion, ephemeral_owner, data_length, num_children, pzxid
        ), at + 68

    @staticmethod
    def from_bytes(buf: Buffer) -> Stat:
        return Stat.decode(buf)[0]


class StatPersisted(Record):
    """A znode's metadata as snapshots keep it: 60 bytes. Here cversion counts created children only,
    and ephemeralOwner may be a mark for container and TTL znodes.
    """

    __slots__ = ("czxid", "mzxid", "ctime", "mtime", "version", "cversion", "aversion", "ephemeral_owner", "pzxid")

    def __init__(
        self,
        czxid: int,
        mzxid: int,
        ctime: int,
        mtime: int,
        version: int,
        cversion: int,
        aversion: int,
        ephemeral_owner: int,
        pzxid: int,
    ) -> None:
        self.czxid = czxid
        self.mzxid = mzxid
        self.ctime = ctime
        self.mtime = mtime
        self.version = version
        self.cversion = cversion
        self.aversion = aversion
        self.ephemeral_owner = ephemeral_owner
        self.pzxid = pzxid

    def encode(self, out: bytearray) -> None:
        out += _STAT_PERSISTED.pack(
            self.czxid,
            self.mzxid,
            self.ctime,
            self.mtime,
            self.version,
            self.cversion,
            self.aversion,
            self.ephemeral_owner,
            self.pzxid,
        )

    @staticmethod
    def decode(buf: Buffer, at: int = 0) -> tuple[StatPersisted, int]:
        try:
            (
                czxid,
                mzxid,
                ctime,
                mtime,
                version,
                cversion,
                aversion,
                ephemeral_owner,
                pzxid,
            ) = _STAT_PERSISTED.unpack_from(buf, at)
        except StructError:
            raise short_run(
                buf,
                at,
                _STAT_PERSISTED,
                "StatPersisted",
                "czxid mzxid ctime mtime version cversion aversion ephemeralOwner pzxid",
            ) from None
        return StatPersisted(czxid, mzxid, ctime, mtime, version, cversion, aversion, ephemeral_owner, pzxid), at + 60

    @staticmethod
    def from_bytes(buf: Buffer) -> StatPersisted:
        return StatPersisted.decode(buf)[0]


class ClientInfo(Record):
    """One identity of a connection, in the answer to whoAmI."""

    __slots__ = ("auth_scheme", "user")

    def __init__(self, auth_scheme: str | None, user: str | None) -> None:
        self.auth_scheme = auth_scheme
        self.user = user

    def encode(self, out: bytearray) -> None:
        write_ustring(out, self.auth_scheme)
        write_ustring(out, self.user)

    @staticmethod
    def decode(buf: Buffer, at: int = 0) -> tuple[ClientInfo, int]:
        auth_scheme, at = read_ustring(buf, at, "ClientInfo.authScheme")
        user, at = read_ustring(buf, at, "ClientInfo.user")
        return ClientInfo(auth_scheme, user), at

    @staticmethod
    def from_bytes(buf: Buffer) -> ClientInfo:
        return ClientInfo.decode(buf)[0]


# org.apache.zookeeper.proto


class ConnectRequest(Record):
    """The first frame of a connection. Very old clients leave the last byte out: whoever decodes this must supply it
    (and then omit it from the answer).
    """

    __slots__ = ("protocol_version", "last_zxid_seen", "time_out", "session_id", "passwd", "read_only")

    def __init__(
        self,
        protocol_version: int,
        last_zxid_seen: int,
        time_out: int,
        session_id: int,
        passwd: bytes | None,
        read_only: bool,
    ) -> None:
        self.protocol_version = protocol_version
        self.last_zxid_seen = last_zxid_seen
        self.time_out = time_out  # milliseconds, as wished
        self.session_id = session_id  # 0 asks for a new session
        self.passwd = passwd
        self.read_only = read_only

    def encode(self, out: bytearray) -> None:
        out += _CONNECT_REQUEST_PROTOCOL_VERSION.pack(
            self.protocol_version, self.last_zxid_seen, self.time_out, self.session_id
        )
        write_buffer(out, self.passwd)
        write_bool(out, self.read_only)

    @staticmethod
    def decode(buf: Buffer, at: int = 0) -> tuple[ConnectRequest, int]:
        try:
            (
                protocol_version,
                last_zxid_seen,
                time_out,
                session_id,
            ) = _CONNECT_REQUEST_PROTOCOL_VERSION.unpack_from(buf, at)
        except StructError:
            raise short_run(
                buf,
                at,
                _CONNECT_REQUEST_PROTOCOL_VERSION,
                "ConnectRequest",
                "protocolVersion lastZxidSeen timeOut sessionId",
            ) from None
        at += 24
        passwd, at = read_buffer(buf, at, "ConnectRequest.passwd")
        read_only, at = read_bool(buf, at, "ConnectRequest.readOnly")
        return ConnectRequest(protocol_version, last_zxid_seen, time_out, session_id, passwd, read_only), at

    @staticmethod
    def from_bytes(buf: Buffer) -> ConnectRequest:
        return ConnectRequest.decode(buf)[0]


class ConnectResponse(Record):
    """The answer. The last byte is sent only to a client that sent its own."""

    __slots__ = ("protocol_version", "time_out", "session_id", "passwd", "read_only")

    def __init__(
        self, protocol_version: int, time_out: int, session_id: int, passwd: bytes | None, read_only: bool
    ) -> None:
        self.protocol_version = protocol_version
        self.time_out = time_out  # milliseconds, as granted; 0 means no session
        self.session_id = session_id
        self.passwd = passwd
        self.read_only = read_only  # is the server read-only?

    def encode(self, out: bytearray) -> None:
        out += _CONNECT_RESPONSE_PROTOCOL_VERSION.pack(self.protocol_version, self.time_out, self.session_id)
        write_buffer(out, self.passwd)
        write_bool(out, self.read_only)

    @staticmethod
    def decode(buf: Buffer, at: int = 0) -> tuple[ConnectResponse, int]:
        try:
            protocol_version, time_out, session_id = _CONNECT_RESPONSE_PROTOCOL_VERSION.unpack_from(buf, at)
        except StructError:
            raise short_run(
                buf, at, _CONNECT_RESPONSE_PROTOCOL_VERSION, "ConnectResponse", "protocolVersion timeOut sessionId"
            ) from None
        at += 16
        passwd, at = read_buffer(buf, at, "ConnectResponse.passwd")
        read_only, at = read_bool(buf, at, "ConnectResponse.readOnly")
        return ConnectResponse(protocol_version, time_out, session_id, passwd, read_only), at

    @staticmethod
    def from_bytes(buf: Buffer) -> ConnectResponse:
        return ConnectResponse.decode(buf)[0]


class SetWatches(Record):
    """Watches of a connection that was lost, set again on this one."""

    __slots__ = ("relative_zxid", "data_watches", "exist_watches", "child_watches")

    def __init__(
        self,
        relative_zxid: int,
        data_watches: list[str] | None,
        exist_watches: list[str] | None,
        child_watches: list[str] | None,
    ) -> None:
        self.relative_zxid = relative_zxid  # the last zxid the client has seen
        self.data_watches = data_watches
        self.exist_watches = exist_watches
        self.child_watches = child_watches

    def encode(self, out: bytearray) -> None:
        write_long(out, self.relative_zxid)
        write_vector(out, self.data_watches, write_ustring)
        write_vector(out, self.exist_watches, write_ustring)
        write_vector(out, self.child_watches, write_ustring)

    @staticmethod
    def decode(buf: Buffer, at: int = 0) -> tuple[SetWatches, int]:
        relative_zxid, at = read_long(buf, at, "SetWatches.relativeZxid")
        data_watches, at = read_vector(buf, at, "SetWatches.dataWatches", read_some_ustring, 4)
        exist_watches, at = read_vector(buf, at, "SetWatches.existWatches", read_some_ustring, 4)
        child_watches, at = read_vector(buf, at, "SetWatches.childWatches", read_some_ustring, 4)
        return SetWatches(relative_zxid, data_watches, exist_watches, child_watches), at

    @staticmethod
    def from_bytes(buf: Buffer) -> SetWatches:
        return SetWatches.decode(buf)[0]


class SetWatches2(Record):
    """SetWatches with the two persistent kinds."""

    __slots__ = (
        "relative_zxid",
        "data_watches",
        "exist_watches",
        "child_watches",
        "persistent_watches",
        "persistent_recursive_watches",
    )

    def __init__(
        self,
        relative_zxid: int,
        data_watches: list[str] | None,
        exist_watches: list[str] | None,
        child_watches: list[str] | None,
        persistent_watches: list[str] | None,
        persistent_recursive_watches: list[str] | None,
    ) -> None:
        self.relative_zxid = relative_zxid  # the last zxid the client has seen
        self.data_watches = data_watches
        self.exist_watches = exist_watches
        self.child_watches = child_watches
        self.persistent_watches = persistent_watches
        self.persistent_recursive_watches = persistent_recursive_watches

    def encode(self, out: bytearray) -> None:
        write_long(out, self.relative_zxid)
        write_vector(out, self.data_watches, write_ustring)
        write_vector(out, self.exist_watches, write_ustring)
        write_vector(out, self.child_watches, write_ustring)
        write_vector(out, self.persistent_watches, write_ustring)
        write_vector(out, self.persistent_recursive_watches, write_ustring)

    @staticmethod
    def decode(buf: Buffer, at: int = 0) -> tuple[SetWatches2, int]:
        relative_zxid, at = read_long(buf, at, "SetWatches2.relativeZxid")
        data_watches, at = read_vector(buf, at, "SetWatches2.dataWatches", read_some_ustring, 4)
        exist_watches, at = read_vector(buf, at, "SetWatches2.existWatches", read_some_ustring, 4)
        child_watches, at = read_vector(buf, at, "SetWatches2.childWatches", read_some_ustring, 4)
        persistent_watches, at = read_vector(buf, at, "SetWatches2.persistentWatches", read_some_ustring, 4)
        persistent_recursive_watches, at = read_vector(
            buf, at, "SetWatches2.persistentRecursiveWatches", read_some_ustring, 4
        )
        return SetWatches2(
            relative_zxid, data_watches, exist_watches, child_watches, persistent_watches, persistent_recursive_watches
        ), at

    @staticmethod
    def from_bytes(buf: Buffer) -> SetWatches2:
        return SetWatches2.decode(buf)[0]


class RequestHeader(Record):
    """Before every request: its number and its opcode."""

    __slots__ = ("xid", "type")

    def __init__(self, xid: int, type: int) -> None:
        self.xid = xid
        self.type = type

    def encode(self, out: bytearray) -> None:
        out += _REQUEST_HEADER.pack(self.xid, self.type)

    @staticmethod
    def decode(buf: Buffer, at: int = 0) -> tuple[RequestHeader, int]:
        try:
            xid, type = _REQUEST_HEADER.unpack_from(buf, at)
        except StructError:
            raise short_run(buf, at, _REQUEST_HEADER, "RequestHeader", "xid type") from None
        return RequestHeader(xid, type), at + 8

    @staticmethod
    def from_bytes(buf: Buffer) -> RequestHeader:
        return RequestHeader.decode(buf)[0]


class MultiHeader(Record):
    """Before every operation and every result of a multi, and after the last."""

    __slots__ = ("type", "done", "err")

    def __init__(self, type: int, done: bool, err: int) -> None:
        self.type = type
        self.done = done
        self.err = err

    def encode(self, out: bytearray) -> None:
        out += _MULTI_HEADER.pack(self.type, self.done, self.err)

    @staticmethod
    def decode(buf: Buffer, at: int = 0) -> tuple[MultiHeader, int]:
        try:
            type, done, err = _MULTI_HEADER.unpack_from(buf, at)
        except StructError:
            raise short_run(buf, at, _MULTI_HEADER, "MultiHeader", "type done err") from None
        return MultiHeader(type, done, err), at + 9

    @staticmethod
    def from_bytes(buf: Buffer) -> MultiHeader:
        return MultiHeader.decode(buf)[0]


class AuthPacket(Record):
    """Credentials for one scheme."""

    __slots__ = ("type", "scheme", "auth")

    def __init__(self, type: int, scheme: str | None, auth: bytes | None) -> None:
        self.type = type  # of no meaning
        self.scheme = scheme
        self.auth = auth

    def encode(self, out: bytearray) -> None:
        write_int(out, self.type)
        write_ustring(out, self.scheme)
        write_buffer(out, self.auth)

    @staticmethod
    def decode(buf: Buffer, at: int = 0) -> tuple[AuthPacket, int]:
        type, at = read_int(buf, at, "AuthPacket.type")
        scheme, at = read_ustring(buf, at, "AuthPacket.scheme")
        auth, at = read_buffer(buf, at, "AuthPacket.auth")
        return AuthPacket(type, scheme, auth), at

    @staticmethod
    def from_bytes(buf: Buffer) -> AuthPacket:
        return AuthPacket.decode(buf)[0]


class ReplyHeader(Record):
    """Before every reply and event; a record follows only if err is 0."""

    __slots__ = ("xid", "zxid", "err")

    def __init__(self, xid: int, zxid: int, err: int) -> None:
        self.xid = xid
        self.zxid = zxid  # the last txn applied when the answer was made
        self.err = err

    def encode(self, out: bytearray) -> None:
        out += _REPLY_HEADER.pack(self.xid, self.zxid, self.err)

    @staticmethod
    def decode(buf: Buffer, at: int = 0) -> tuple[ReplyHeader, int]:
        try:
            xid, zxid, err = _REPLY_HEADER.unpack_from(buf, at)
        except StructError:
            raise short_run(buf, at, _REPLY_HEADER, "ReplyHeader", "xid zxid err") from None
        return ReplyHeader(xid, zxid, err), at + 16

    @staticmethod
    def from_bytes(buf: Buffer) -> ReplyHeader:
        return ReplyHeader.decode(buf)[0]


class GetDataRequest(Record):
    __slots__ = ("path", "watch")

    def __init__(self, path: str | None, watch: bool) -> None:
        self.path = path
        self.watch = watch

    def encode(self, out: bytearray) -> None:
        write_ustring(out, self.path)
        write_bool(out, self.watch)

    @staticmethod
    def decode(buf: Buffer, at: int = 0) -> tuple[GetDataRequest, int]:
        path, at = read_ustring(buf, at, "GetDataRequest.path")
        watch, at = read_bool(buf, at, "GetDataRequest.watch")
        return GetDataRequest(path, watch), at

    @staticmethod
    def from_bytes(buf: Buffer) -> GetDataRequest:
        return GetDataRequest.decode(buf)[0]


class SetDataRequest(Record):
    __slots__ = ("path", "data", "version")

    def __init__(self, path: str | None, data: bytes | None, version: int) -> None:
        self.path = path
        self.data = data
        self.version = version

    def encode(self, out: bytearray) -> None:
        write_ustring(out, self.path)
        write_buffer(out, self.data)
        write_int(out, self.version)

    @staticmethod
    def decode(buf: Buffer, at: int = 0) -> tuple[SetDataRequest, int]:
        path, at = read_ustring(buf, at, "SetDataRequest.path")
        data, at = read_buffer(buf, at, "SetDataRequest.data")
        version, at = read_int(buf, at, "SetDataRequest.version")
        return SetDataRequest(path, data, version), at

    @staticmethod
    def from_bytes(buf: Buffer) -> SetDataRequest:
        return SetDataRequest.decode(buf)[0]


class ReconfigRequest(Record):
    __slots__ = ("joining_servers", "leaving_servers", "new_members", "cur_config_id")

    def __init__(
        self, joining_servers: str | None, leaving_servers: str | None, new_members: str | None, cur_config_id: int
    ) -> None:
        self.joining_servers = joining_servers
        self.leaving_servers = leaving_servers
        self.new_members = new_members
        self.cur_config_id = cur_config_id

    def encode(self, out: bytearray) -> None:
        write_ustring(out, self.joining_servers)
        write_ustring(out, self.leaving_servers)
        write_ustring(out, self.new_members)
        write_long(out, self.cur_config_id)

    @staticmethod
    def decode(buf: Buffer, at: int = 0) -> tuple[ReconfigRequest, int]:
        joining_servers, at = read_ustring(buf, at, "ReconfigRequest.joiningServers")
        leaving_servers, at = read_ustring(buf, at, "ReconfigRequest.leavingServers")
        new_members, at = read_ustring(buf, at, "ReconfigRequest.newMembers")
        cur_config_id, at = read_long(buf, at, "ReconfigRequest.curConfigId")
        return ReconfigRequest(joining_servers, leaving_servers, new_members, cur_config_id), at

    @staticmethod
    def from_bytes(buf: Buffer) -> ReconfigRequest:
        return ReconfigRequest.decode(buf)[0]


class SetDataResponse(Record):
    __slots__ = ("stat",)

    def __init__(self, stat: Stat) -> None:
        self.stat = stat

    def encode(self, out: bytearray) -> None:
        self.stat.encode(out)

    @staticmethod
    def decode(buf: Buffer, at: int = 0) -> tuple[SetDataResponse, int]:
        stat, at = Stat.decode(buf, at)
        return SetDataResponse(stat), at

    @staticmethod
    def from_bytes(buf: Buffer) -> SetDataResponse:
        return SetDataResponse.decode(buf)[0]


class GetSASLRequest(Record):
    __slots__ = ("token",)

    def __init__(self, token: bytes | None) -> None:
        self.token = token

    def encode(self, out: bytearray) -> None:
        write_buffer(out, self.token)

    @staticmethod
    def decode(buf: Buffer, at: int = 0) -> tuple[GetSASLRequest, int]:
        token, at = read_buffer(buf, at, "GetSASLRequest.token")
        return GetSASLRequest(token), at

    @staticmethod
    def from_bytes(buf: Buffer) -> GetSASLRequest:
        return GetSASLRequest.decode(buf)[0]


class SetSASLRequest(Record):
    __slots__ = ("token",)

    def __init__(self, token: bytes | None) -> None:
        self.token = token

    def encode(self, out: bytearray) -> None:
        write_buffer(out, self.token)

    @staticmethod
    def decode(buf: Buffer, at: int = 0) -> tuple[SetSASLRequest, int]:
        token, at = read_buffer(buf, at, "SetSASLRequest.token")
        return SetSASLRequest(token), at

    @staticmethod
    def from_bytes(buf: Buffer) -> SetSASLRequest:
        return SetSASLRequest.decode(buf)[0]


class SetSASLResponse(Record):
    __slots__ = ("token",)

    def __init__(self, token: bytes | None) -> None:
        self.token = token

    def encode(self, out: bytearray) -> None:
        write_buffer(out, self.token)

    @staticmethod
    def decode(buf: Buffer, at: int = 0) -> tuple[SetSASLResponse, int]:
        token, at = read_buffer(buf, at, "SetSASLResponse.token")
        return SetSASLResponse(token), at

    @staticmethod
    def from_bytes(buf: Buffer) -> SetSASLResponse:
        return SetSASLResponse.decode(buf)[0]


class CreateRequest(Record):
    """create, create2 and createContainer."""

    __slots__ = ("path", "data", "acl", "flags")

    def __init__(self, path: str | None, data: bytes | None, acl: list[ACL] | None, flags: int) -> None:
        self.path = path
        self.data = data
        self.acl = acl
        self.flags = flags

    def encode(self, out: bytearray) -> None:
        write_ustring(out, self.path)
        write_buffer(out, self.data)
        write_records(out, self.acl)
        write_int(out, self.flags)

    @staticmethod
    def decode(buf: Buffer, at: int = 0) -> tuple[CreateRequest, int]:
        path, at = read_ustring(buf, at, "CreateRequest.path")
        data, at = read_buffer(buf, at, "CreateRequest.data")
        acl, at = read_records(buf, at, "CreateRequest.acl", ACL.decode, 12)
        flags, at = read_int(buf, at, "CreateRequest.flags")
        return CreateRequest(path, data, acl, flags), at

    @staticmethod
    def from_bytes(buf: Buffer) -> CreateRequest:
        return CreateRequest.decode(buf)[0]


class CreateTTLRequest(Record):
    __slots__ = ("path", "data", "acl", "flags", "ttl")

    def __init__(self, path: str | None, data: bytes | None, acl: list[ACL] | None, flags: int, ttl: int) -> None:
        self.path = path
        self.data = data
        self.acl = acl
        self.flags = flags
        self.ttl = ttl  # milliseconds

    def encode(self, out: bytearray) -> None:
        write_ustring(out, self.path)
        write_buffer(out, self.data)
        write_records(out, self.acl)
        out += _CREATE_TTL_REQUEST.pack(self.flags, self.ttl)

    @staticmethod
    def decode(buf: Buffer, at: int = 0) -> tuple[CreateTTLRequest, int]:
        path, at = read_ustring(buf, at, "CreateTTLRequest.path")
        data, at = read_buffer(buf, at, "CreateTTLRequest.data")
        acl, at = read_records(buf, at, "CreateTTLRequest.acl", ACL.decode, 12)
        try:
            flags, ttl = _CREATE_TTL_REQUEST.unpack_from(buf, at)
        except StructError:
            raise short_run(buf, at, _CREATE_TTL_REQUEST, "CreateTTLRequest", "flags ttl") from None
        return CreateTTLRequest(path, data, acl, flags, ttl), at + 12

    @staticmethod
    def from_bytes(buf: Buffer) -> CreateTTLRequest:
        return CreateTTLRequest.decode(buf)[0]


class DeleteRequest(Record):
    """delete and deleteContainer."""

    __slots__ = ("path", "version")

    def __init__(self, path: str | None, version: int) -> None:
        self.path = path
        self.version = version

    def encode(self, out: bytearray) -> None:
        write_ustring(out, self.path)
        write_int(out, self.version)

    @staticmethod
    def decode(buf: Buffer, at: int = 0) -> tuple[DeleteRequest, int]:
        path, at = read_ustring(buf, at, "DeleteRequest.path")
        version, at = read_int(buf, at, "DeleteRequest.version")
        return DeleteRequest(path, version), at

    @staticmethod
    def from_bytes(buf: Buffer) -> DeleteRequest:
        return DeleteRequest.decode(buf)[0]


class GetChildrenRequest(Record):
    __slots__ = ("path", "watch")

    def __init__(self, path: str | None, watch: bool) -> None:
        self.path = path
        self.watch = watch

    def encode(self, out: bytearray) -> None:
        write_ustring(out, self.path)
        write_bool(out, self.watch)

    @staticmethod
    def decode(buf: Buffer, at: int = 0) -> tuple[GetChildrenRequest, int]:
        path, at = read_ustring(buf, at, "GetChildrenRequest.path")
        watch, at = read_bool(buf, at, "GetChildrenRequest.watch")
        return GetChildrenRequest(path, watch), at

    @staticmethod
    def from_bytes(buf: Buffer) -> GetChildrenRequest:
        return GetChildrenRequest.decode(buf)[0]


class GetAllChildrenNumberRequest(Record):
    __slots__ = ("path",)

    def __init__(self, path: str | None) -> None:
        self.path = path

    def encode(self, out: bytearray) -> None:
        write_ustring(out, self.path)

    @staticmethod
    def decode(buf: Buffer, at: int = 0) -> tuple[GetAllChildrenNumberRequest, int]:
        path, at = read_ustring(buf, at, "GetAllChildrenNumberRequest.path")
        return GetAllChildrenNumberRequest(path), at

    @staticmethod
    def from_bytes(buf: Buffer) -> GetAllChildrenNumberRequest:
        return GetAllChildrenNumberRequest.decode(buf)[0]


class GetChildren2Request(Record):
    __slots__ = ("path", "watch")

    def __init__(self, path: str | None, watch: bool) -> None:
        self.path = path
        self.watch = watch

    def encode(self, out: bytearray) -> None:
        write_ustring(out, self.path)
        write_bool(out, self.watch)

    @staticmethod
    def decode(buf: Buffer, at: int = 0) -> tuple[GetChildren2Request, int]:
        path, at = read_ustring(buf, at, "GetChildren2Request.path")
        watch, at = read_bool(buf, at, "GetChildren2Request.watch")
        return GetChildren2Request(path, watch), at

    @staticmethod
    def from_bytes(buf: Buffer) -> GetChildren2Request:
        return GetChildren2Request.decode(buf)[0]


class CheckVersionRequest(Record):
    __slots__ = ("path", "version")

    def __init__(self, path: str | None, version: int) -> None:
        self.path = path
        self.version = version

    def encode(self, out: bytearray) -> None:
        write_ustring(out, self.path)
        write_int(out, self.version)

    @staticmethod
    def decode(buf: Buffer, at: int = 0) -> tuple[CheckVersionRequest, int]:
        path, at = read_ustring(buf, at, "CheckVersionRequest.path")
        version, at = read_int(buf, at, "CheckVersionRequest.version")
        return CheckVersionRequest(path, version), at

    @staticmethod
    def from_bytes(buf: Buffer) -> CheckVersionRequest:
        return CheckVersionRequest.decode(buf)[0]


class GetMaxChildrenRequest(Record):
    __slots__ = ("path",)

    def __init__(self, path: str | None) -> None:
        self.path = path

    def encode(self, out: bytearray) -> None:
        write_ustring(out, self.path)

    @staticmethod
    def decode(buf: Buffer, at: int = 0) -> tuple[GetMaxChildrenRequest, int]:
        path, at = read_ustring(buf, at, "GetMaxChildrenRequest.path")
        return GetMaxChildrenRequest(path), at

    @staticmethod
    def from_bytes(buf: Buffer) -> GetMaxChildrenRequest:
        return GetMaxChildrenRequest.decode(buf)[0]


class GetMaxChildrenResponse(Record):
    __slots__ = ("max",)

    def __init__(self, max: int) -> None:
        self.max = max

    def encode(self, out: bytearray) -> None:
        write_int(out, self.max)

    @staticmethod
    def decode(buf: Buffer, at: int = 0) -> tuple[GetMaxChildrenResponse, int]:
        max, at = read_int(buf, at, "GetMaxChildrenResponse.max")
        return GetMaxChildrenResponse(max), at

    @staticmethod
    def from_bytes(buf: Buffer) -> GetMaxChildrenResponse:
        return GetMaxChildrenResponse.decode(buf)[0]


class SetMaxChildrenRequest(Record):
    __slots__ = ("path", "max")

    def __init__(self, path: str | None, max: int) -> None:
        self.path = path
        self.max = max

    def encode(self, out: bytearray) -> None:
        write_ustring(out, self.path)
        write_int(out, self.max)

    @staticmethod
    def decode(buf: Buffer, at: int = 0) -> tuple[SetMaxChildrenRequest, int]:
        path, at = read_ustring(buf, at, "SetMaxChildrenRequest.path")
        max, at = read_int(buf, at, "SetMaxChildrenRequest.max")
        return SetMaxChildrenRequest(path, max), at

    @staticmethod
    def from_bytes(buf: Buffer) -> SetMaxChildrenRequest:
        return SetMaxChildrenRequest.decode(buf)[0]


class SyncRequest(Record):
    __slots__ = ("path",)

    def __init__(self, path: str | None) -> None:
        self.path = path

    def encode(self, out: bytearray) -> None:
        write_ustring(out, self.path)

    @staticmethod
    def decode(buf: Buffer, at: int = 0) -> tuple[SyncRequest, int]:
        path, at = read_ustring(buf, at, "SyncRequest.path")
        return SyncRequest(path), at

    @staticmethod
    def from_bytes(buf: Buffer) -> SyncRequest:
        return SyncRequest.decode(buf)[0]


class SyncResponse(Record):
    __slots__ = ("path",)

    def __init__(self, path: str | None) -> None:
        self.path = path

    def encode(self, out: bytearray) -> None:
        write_ustring(out, self.path)

    @staticmethod
    def decode(buf: Buffer, at: int = 0) -> tuple[SyncResponse, int]:
        path, at = read_ustring(buf, at, "SyncResponse.path")
        return SyncResponse(path), at

    @staticmethod
    def from_bytes(buf: Buffer) -> SyncResponse:
        return SyncResponse.decode(buf)[0]


class GetACLRequest(Record):
    __slots__ = ("path",)

    def __init__(self, path: str | None) -> None:
        self.path = path

    def encode(self, out: bytearray) -> None:
        write_ustring(out, self.path)

    @staticmethod
    def decode(buf: Buffer, at: int = 0) -> tuple[GetACLRequest, int]:
        path, at = read_ustring(buf, at, "GetACLRequest.path")
        return GetACLRequest(path), at

    @staticmethod
    def from_bytes(buf: Buffer) -> GetACLRequest:
        return GetACLRequest.decode(buf)[0]


class SetACLRequest(Record):
    __slots__ = ("path", "acl", "version")

    def __init__(self, path: str | None, acl: list[ACL] | None, version: int) -> None:
        self.path = path
        self.acl = acl
        self.version = version

    def encode(self, out: bytearray) -> None:
        write_ustring(out, self.path)
        write_records(out, self.acl)
        write_int(out, self.version)

    @staticmethod
    def decode(buf: Buffer, at: int = 0) -> tuple[SetACLRequest, int]:
        path, at = read_ustring(buf, at, "SetACLRequest.path")
        acl, at = read_records(buf, at, "SetACLRequest.acl", ACL.decode, 12)
        version, at = read_int(buf, at, "SetACLRequest.version")
        return SetACLRequest(path, acl, version), at

    @staticmethod
    def from_bytes(buf: Buffer) -> SetACLRequest:
        return SetACLRequest.decode(buf)[0]


class SetACLResponse(Record):
    __slots__ = ("stat",)

    def __init__(self, stat: Stat) -> None:
        self.stat = stat

    def encode(self, out: bytearray) -> None:
        self.stat.encode(out)

    @staticmethod
    def decode(buf: Buffer, at: int = 0) -> tuple[SetACLResponse, int]:
        stat, at = Stat.decode(buf, at)
        return SetACLResponse(stat), at

    @staticmethod
    def from_bytes(buf: Buffer) -> SetACLResponse:
        return SetACLResponse.decode(buf)[0]


class AddWatchRequest(Record):
    __slots__ = ("path", "mode")

    def __init__(self, path: str | None, mode: int) -> None:
        self.path = path
        self.mode = mode  # 0 persistent, 1 persistent and recursive

    def encode(self, out: bytearray) -> None:
        write_ustring(out, self.path)
        write_int(out, self.mode)

    @staticmethod
    def decode(buf: Buffer, at: int = 0) -> tuple[AddWatchRequest, int]:
        path, at = read_ustring(buf, at, "AddWatchRequest.path")
        mode, at = read_int(buf, at, "AddWatchRequest.mode")
        return AddWatchRequest(path, mode), at

    @staticmethod
    def from_bytes(buf: Buffer) -> AddWatchRequest:
        return AddWatchRequest.decode(buf)[0]


class WatcherEvent(Record):
    """The body of an event frame."""

    __slots__ = ("type", "state", "path")

    def __init__(self, type: int, state: int, path: str | None) -> None:
        self.type = type  # events.NODE_*
        self.state = state  # events.SYNC_CONNECTED, when a server sends it
        self.path = path

    def encode(self, out: bytearray) -> None:
        out += _WATCHER_EVENT.pack(self.type, self.state)
        write_ustring(out, self.path)

    @staticmethod
    def decode(buf: Buffer, at: int = 0) -> tuple[WatcherEvent, int]:
        try:
            type, state = _WATCHER_EVENT.unpack_from(buf, at)
        except StructError:
            raise short_run(buf, at, _WATCHER_EVENT, "WatcherEvent", "type state") from None
        at += 8
        path, at = read_ustring(buf, at, "WatcherEvent.path")
        return WatcherEvent(type, state, path), at

    @staticmethod
    def from_bytes(buf: Buffer) -> WatcherEvent:
        return WatcherEvent.decode(buf)[0]


class ErrorResponse(Record):
    """A failed operation's result within a multi; also the answer to addWatch."""

    __slots__ = ("err",)

    def __init__(self, err: int) -> None:
        self.err = err

    def encode(self, out: bytearray) -> None:
        write_int(out, self.err)

    @staticmethod
    def decode(buf: Buffer, at: int = 0) -> tuple[ErrorResponse, int]:
        err, at = read_int(buf, at, "ErrorResponse.err")
        return ErrorResponse(err), at

    @staticmethod
    def from_bytes(buf: Buffer) -> ErrorResponse:
        return ErrorResponse.decode(buf)[0]


class CreateResponse(Record):
    __slots__ = ("path",)

    def __init__(self, path: str | None) -> None:
        self.path = path

    def encode(self, out: bytearray) -> None:
        write_ustring(out, self.path)

    @staticmethod
    def decode(buf: Buffer, at: int = 0) -> tuple[CreateResponse, int]:
        path, at = read_ustring(buf, at, "CreateResponse.path")
        return CreateResponse(path), at

    @staticmethod
    def from_bytes(buf: Buffer) -> CreateResponse:
        return CreateResponse.decode(buf)[0]


class Create2Response(Record):
    __slots__ = ("path", "stat")

    def __init__(self, path: str | None, stat: Stat) -> None:
        self.path = path
        self.stat = stat

    def encode(self, out: bytearray) -> None:
        write_ustring(out, self.path)
        self.stat.encode(out)

    @staticmethod
    def decode(buf: Buffer, at: int = 0) -> tuple[Create2Response, int]:
        path, at = read_ustring(buf, at, "Create2Response.path")
        stat, at = Stat.decode(buf, at)
        return Create2Response(path, stat), at

    @staticmethod
    def from_bytes(buf: Buffer) -> Create2Response:
        return Create2Response.decode(buf)[0]


class ExistsRequest(Record):
    __slots__ = ("path", "watch")

    def __init__(self, path: str | None, watch: bool) -> None:
        self.path = path
        self.watch = watch

    def encode(self, out: bytearray) -> None:
        write_ustring(out, self.path)
        write_bool(out, self.watch)

    @staticmethod
    def decode(buf: Buffer, at: int = 0) -> tuple[ExistsRequest, int]:
        path, at = read_ustring(buf, at, "ExistsRequest.path")
        watch, at = read_bool(buf, at, "ExistsRequest.watch")
        return ExistsRequest(path, watch), at

    @staticmethod
    def from_bytes(buf: Buffer) -> ExistsRequest:
        return ExistsRequest.decode(buf)[0]


class ExistsResponse(Record):
    __slots__ = ("stat",)

    def __init__(self, stat: Stat) -> None:
        self.stat = stat

    def encode(self, out: bytearray) -> None:
        self.stat.encode(out)

    @staticmethod
    def decode(buf: Buffer, at: int = 0) -> tuple[ExistsResponse, int]:
        stat, at = Stat.decode(buf, at)
        return ExistsResponse(stat), at

    @staticmethod
    def from_bytes(buf: Buffer) -> ExistsResponse:
        return ExistsResponse.decode(buf)[0]


class GetDataResponse(Record):
    __slots__ = ("data", "stat")

    def __init__(self, data: bytes | None, stat: Stat) -> None:
        self.data = data
        self.stat = stat

    def encode(self, out: bytearray) -> None:
        write_buffer(out, self.data)
        self.stat.encode(out)

    @staticmethod
    def decode(buf: Buffer, at: int = 0) -> tuple[GetDataResponse, int]:
        data, at = read_buffer(buf, at, "GetDataResponse.data")
        stat, at = Stat.decode(buf, at)
        return GetDataResponse(data, stat), at

    @staticmethod
    def from_bytes(buf: Buffer) -> GetDataResponse:
        return GetDataResponse.decode(buf)[0]


class GetChildrenResponse(Record):
    __slots__ = ("children",)

    def __init__(self, children: list[str] | None) -> None:
        self.children = children

    def encode(self, out: bytearray) -> None:
        write_vector(out, self.children, write_ustring)

    @staticmethod
    def decode(buf: Buffer, at: int = 0) -> tuple[GetChildrenResponse, int]:
        children, at = read_vector(buf, at, "GetChildrenResponse.children", read_some_ustring, 4)
        return GetChildrenResponse(children), at

    @staticmethod
    def from_bytes(buf: Buffer) -> GetChildrenResponse:
        return GetChildrenResponse.decode(buf)[0]


class GetAllChildrenNumberResponse(Record):
    __slots__ = ("total_number",)

    def __init__(self, total_number: int) -> None:
        self.total_number = total_number

    def encode(self, out: bytearray) -> None:
        write_int(out, self.total_number)

    @staticmethod
    def decode(buf: Buffer, at: int = 0) -> tuple[GetAllChildrenNumberResponse, int]:
        total_number, at = read_int(buf, at, "GetAllChildrenNumberResponse.totalNumber")
        return GetAllChildrenNumberResponse(total_number), at

    @staticmethod
    def from_bytes(buf: Buffer) -> GetAllChildrenNumberResponse:
        return GetAllChildrenNumberResponse.decode(buf)[0]


class GetChildren2Response(Record):
    __slots__ = ("children", "stat")

    def __init__(self, children: list[str] | None, stat: Stat) -> None:
        self.children = children
        self.stat = stat

    def encode(self, out: bytearray) -> None:
        write_vector(out, self.children, write_ustring)
        self.stat.encode(out)

    @staticmethod
    def decode(buf: Buffer, at: int = 0) -> tuple[GetChildren2Response, int]:
        children, at = read_vector(buf, at, "GetChildren2Response.children", read_some_ustring, 4)
        stat, at = Stat.decode(buf, at)
        return GetChildren2Response(children, stat), at

    @staticmethod
    def from_bytes(buf: Buffer) -> GetChildren2Response:
        return GetChildren2Response.decode(buf)[0]


class GetACLResponse(Record):
    __slots__ = ("acl", "stat")

    def __init__(self, acl: list[ACL] | None, stat: Stat) -> None:
        self.acl = acl
        self.stat = stat

    def encode(self, out: bytearray) -> None:
        write_records(out, self.acl)
        self.stat.encode(out)

    @staticmethod
    def decode(buf: Buffer, at: int = 0) -> tuple[GetACLResponse, int]:
        acl, at = read_records(buf, at, "GetACLResponse.acl", ACL.decode, 12)
        stat, at = Stat.decode(buf, at)
        return GetACLResponse(acl, stat), at

    @staticmethod
    def from_bytes(buf: Buffer) -> GetACLResponse:
        return GetACLResponse.decode(buf)[0]


class CheckWatchesRequest(Record):
    __slots__ = ("path", "type")

    def __init__(self, path: str | None, type: int) -> None:
        self.path = path
        self.type = type

    def encode(self, out: bytearray) -> None:
        write_ustring(out, self.path)
        write_int(out, self.type)

    @staticmethod
    def decode(buf: Buffer, at: int = 0) -> tuple[CheckWatchesRequest, int]:
        path, at = read_ustring(buf, at, "CheckWatchesRequest.path")
        type, at = read_int(buf, at, "CheckWatchesRequest.type")
        return CheckWatchesRequest(path, type), at

    @staticmethod
    def from_bytes(buf: Buffer) -> CheckWatchesRequest:
        return CheckWatchesRequest.decode(buf)[0]


class RemoveWatchesRequest(Record):
    __slots__ = ("path", "type")

    def __init__(self, path: str | None, type: int) -> None:
        self.path = path
        self.type = type

    def encode(self, out: bytearray) -> None:
        write_ustring(out, self.path)
        write_int(out, self.type)

    @staticmethod
    def decode(buf: Buffer, at: int = 0) -> tuple[RemoveWatchesRequest, int]:
        path, at = read_ustring(buf, at, "RemoveWatchesRequest.path")
        type, at = read_int(buf, at, "RemoveWatchesRequest.type")
        return RemoveWatchesRequest(path, type), at

    @staticmethod
    def from_bytes(buf: Buffer) -> RemoveWatchesRequest:
        return RemoveWatchesRequest.decode(buf)[0]


class GetEphemeralsRequest(Record):
    __slots__ = ("prefix_path",)

    def __init__(self, prefix_path: str | None) -> None:
        self.prefix_path = prefix_path

    def encode(self, out: bytearray) -> None:
        write_ustring(out, self.prefix_path)

    @staticmethod
    def decode(buf: Buffer, at: int = 0) -> tuple[GetEphemeralsRequest, int]:
        prefix_path, at = read_ustring(buf, at, "GetEphemeralsRequest.prefixPath")
        return GetEphemeralsRequest(prefix_path), at

    @staticmethod
    def from_bytes(buf: Buffer) -> GetEphemeralsRequest:
        return GetEphemeralsRequest.decode(buf)[0]


class GetEphemeralsResponse(Record):
    __slots__ = ("ephemerals",)

    def __init__(self, ephemerals: list[str] | None) -> None:
        self.ephemerals = ephemerals

    def encode(self, out: bytearray) -> None:
        write_vector(out, self.ephemerals, write_ustring)

    @staticmethod
    def decode(buf: Buffer, at: int = 0) -> tuple[GetEphemeralsResponse, int]:
        ephemerals, at = read_vector(buf, at, "GetEphemeralsResponse.ephemerals", read_some_ustring, 4)
        return GetEphemeralsResponse(ephemerals), at

    @staticmethod
    def from_bytes(buf: Buffer) -> GetEphemeralsResponse:
        return GetEphemeralsResponse.decode(buf)[0]


class WhoAmIResponse(Record):
    __slots__ = ("client_info",)

    def __init__(self, client_info: list[ClientInfo] | None) -> None:
        self.client_info = client_info

    def encode(self, out: bytearray) -> None:
        write_records(out, self.client_info)

    @staticmethod
    def decode(buf: Buffer, at: int = 0) -> tuple[WhoAmIResponse, int]:
        client_info, at = read_records(buf, at, "WhoAmIResponse.clientInfo", ClientInfo.decode, 8)
        return WhoAmIResponse(client_info), at

    @staticmethod
    def from_bytes(buf: Buffer) -> WhoAmIResponse:
        return WhoAmIResponse.decode(buf)[0]


# org.apache.zookeeper.server.quorum


class LearnerInfo(Record):
    """What a learner says of itself, in the data of its FOLLOWERINFO or OBSERVERINFO."""

    __slots__ = ("serverid", "protocol_version", "config_version")

    def __init__(self, serverid: int, protocol_version: int, config_version: int) -> None:
        self.serverid = serverid
        self.protocol_version = protocol_version
        self.config_version = config_version

    def encode(self, out: bytearray) -> None:
        out += _LEARNER_INFO.pack(self.serverid, self.protocol_version, self.config_version)

    @staticmethod
    def decode(buf: Buffer, at: int = 0) -> tuple[LearnerInfo, int]:
        try:
            serverid, protocol_version, config_version = _LEARNER_INFO.unpack_from(buf, at)
        except StructError:
            raise short_run(buf, at, _LEARNER_INFO, "LearnerInfo", "serverid protocolVersion configVersion") from None
        return LearnerInfo(serverid, protocol_version, config_version), at + 20

    @staticmethod
    def from_bytes(buf: Buffer) -> LearnerInfo:
        return LearnerInfo.decode(buf)[0]


class QuorumPacket(Record):
    """Every packet between a leader and a learner."""

    __slots__ = ("type", "zxid", "data", "authinfo")

    def __init__(self, type: int, zxid: int, data: bytes | None, authinfo: list[Id] | None) -> None:
        self.type = type
        self.zxid = zxid
        self.data = data
        self.authinfo = authinfo

    def encode(self, out: bytearray) -> None:
        out += _QUORUM_PACKET.pack(self.type, self.zxid)
        write_buffer(out, self.data)
        write_records(out, self.authinfo)

    @staticmethod
    def decode(buf: Buffer, at: int = 0) -> tuple[QuorumPacket, int]:
        try:
            type, zxid = _QUORUM_PACKET.unpack_from(buf, at)
        except StructError:
            raise short_run(buf, at, _QUORUM_PACKET, "QuorumPacket", "type zxid") from None
        at += 12
        data, at = read_buffer(buf, at, "QuorumPacket.data")
        authinfo, at = read_records(buf, at, "QuorumPacket.authinfo", Id.decode, 8)
        return QuorumPacket(type, zxid, data, authinfo), at

    @staticmethod
    def from_bytes(buf: Buffer) -> QuorumPacket:
        return QuorumPacket.decode(buf)[0]


class QuorumAuthPacket(Record):
    """A step of SASL between two peers."""

    __slots__ = ("magic", "status", "token")

    def __init__(self, magic: int, status: int, token: bytes | None) -> None:
        self.magic = magic
        self.status = status
        self.token = token

    def encode(self, out: bytearray) -> None:
        out += _QUORUM_AUTH_PACKET.pack(self.magic, self.status)
        write_buffer(out, self.token)

    @staticmethod
    def decode(buf: Buffer, at: int = 0) -> tuple[QuorumAuthPacket, int]:
        try:
            magic, status = _QUORUM_AUTH_PACKET.unpack_from(buf, at)
        except StructError:
            raise short_run(buf, at, _QUORUM_AUTH_PACKET, "QuorumAuthPacket", "magic status") from None
        at += 12
        token, at = read_buffer(buf, at, "QuorumAuthPacket.token")
        return QuorumAuthPacket(magic, status, token), at

    @staticmethod
    def from_bytes(buf: Buffer) -> QuorumAuthPacket:
        return QuorumAuthPacket.decode(buf)[0]


# org.apache.zookeeper.server.persistence


class FileHeader(Record):
    """The first 16 bytes of a log or a snapshot."""

    __slots__ = ("magic", "version", "dbid")

    def __init__(self, magic: int, version: int, dbid: int) -> None:
        self.magic = magic
        self.version = version
        self.dbid = dbid

    def encode(self, out: bytearray) -> None:
        out += _FILE_HEADER.pack(self.magic, self.version, self.dbid)

    @staticmethod
    def decode(buf: Buffer, at: int = 0) -> tuple[FileHeader, int]:
        try:
            magic, version, dbid = _FILE_HEADER.unpack_from(buf, at)
        except StructError:
            raise short_run(buf, at, _FILE_HEADER, "FileHeader", "magic version dbid") from None
        return FileHeader(magic, version, dbid), at + 16

    @staticmethod
    def from_bytes(buf: Buffer) -> FileHeader:
        return FileHeader.decode(buf)[0]


# org.apache.zookeeper.txn


class TxnDigest(Record):
    """The tree's digest once the txn has been applied."""

    __slots__ = ("version", "tree_digest")

    def __init__(self, version: int, tree_digest: int) -> None:
        self.version = version
        self.tree_digest = tree_digest

    def encode(self, out: bytearray) -> None:
        out += _TXN_DIGEST.pack(self.version, self.tree_digest)

    @staticmethod
    def decode(buf: Buffer, at: int = 0) -> tuple[TxnDigest, int]:
        try:
            version, tree_digest = _TXN_DIGEST.unpack_from(buf, at)
        except StructError:
            raise short_run(buf, at, _TXN_DIGEST, "TxnDigest", "version treeDigest") from None
        return TxnDigest(version, tree_digest), at + 12

    @staticmethod
    def from_bytes(buf: Buffer) -> TxnDigest:
        return TxnDigest.decode(buf)[0]


class TxnHeader(Record):
    """Before every txn, in the log and in proposals."""

    __slots__ = ("client_id", "cxid", "zxid", "time", "type")

    def __init__(self, client_id: int, cxid: int, zxid: int, time: int, type: int) -> None:
        self.client_id = client_id  # the session
        self.cxid = cxid  # the xid of its request
        self.zxid = zxid
        self.time = time
        self.type = type  # the opcode, which tells the record that follows

    def encode(self, out: bytearray) -> None:
        out += _TXN_HEADER.pack(self.client_id, self.cxid, self.zxid, self.time, self.type)

    @staticmethod
    def decode(buf: Buffer, at: int = 0) -> tuple[TxnHeader, int]:
        try:
            client_id, cxid, zxid, time, type = _TXN_HEADER.unpack_from(buf, at)
        except StructError:
            raise short_run(buf, at, _TXN_HEADER, "TxnHeader", "clientId cxid zxid time type") from None
        return TxnHeader(client_id, cxid, zxid, time, type), at + 32

    @staticmethod
    def from_bytes(buf: Buffer) -> TxnHeader:
        return TxnHeader.decode(buf)[0]


class CreateTxnV0(Record):
    """A create as very old logs have it."""

    __slots__ = ("path", "data", "acl", "ephemeral")

    def __init__(self, path: str | None, data: bytes | None, acl: list[ACL] | None, ephemeral: bool) -> None:
        self.path = path
        self.data = data
        self.acl = acl
        self.ephemeral = ephemeral

    def encode(self, out: bytearray) -> None:
        write_ustring(out, self.path)
        write_buffer(out, self.data)
        write_records(out, self.acl)
        write_bool(out, self.ephemeral)

    @staticmethod
    def decode(buf: Buffer, at: int = 0) -> tuple[CreateTxnV0, int]:
        path, at = read_ustring(buf, at, "CreateTxnV0.path")
        data, at = read_buffer(buf, at, "CreateTxnV0.data")
        acl, at = read_records(buf, at, "CreateTxnV0.acl", ACL.decode, 12)
        ephemeral, at = read_bool(buf, at, "CreateTxnV0.ephemeral")
        return CreateTxnV0(path, data, acl, ephemeral), at

    @staticmethod
    def from_bytes(buf: Buffer) -> CreateTxnV0:
        return CreateTxnV0.decode(buf)[0]


class CreateTxn(Record):
    __slots__ = ("path", "data", "acl", "ephemeral", "parent_c_version")

    def __init__(
        self, path: str | None, data: bytes | None, acl: list[ACL] | None, ephemeral: bool, parent_c_version: int
    ) -> None:
        self.path = path
        self.data = data
        self.acl = acl
        self.ephemeral = ephemeral
        self.parent_c_version = parent_c_version

    def encode(self, out: bytearray) -> None:
        write_ustring(out, self.path)
        write_buffer(out, self.data)
        write_records(out, self.acl)
        out += _CREATE_TXN.pack(self.ephemeral, self.parent_c_version)

    @staticmethod
    def decode(buf: Buffer, at: int = 0) -> tuple[CreateTxn, int]:
        path, at = read_ustring(buf, at, "CreateTxn.path")
        data, at = read_buffer(buf, at, "CreateTxn.data")
        acl, at = read_records(buf, at, "CreateTxn.acl", ACL.decode, 12)
        try:
            ephemeral, parent_c_version = _CREATE_TXN.unpack_from(buf, at)
        except StructError:
            raise short_run(buf, at, _CREATE_TXN, "CreateTxn", "ephemeral parentCVersion") from None
        return CreateTxn(path, data, acl, ephemeral, parent_c_version), at + 5

    @staticmethod
    def from_bytes(buf: Buffer) -> CreateTxn:
        return CreateTxn.decode(buf)[0]


class CreateTTLTxn(Record):
    __slots__ = ("path", "data", "acl", "parent_c_version", "ttl")

    def __init__(
        self, path: str | None, data: bytes | None, acl: list[ACL] | None, parent_c_version: int, ttl: int
    ) -> None:
        self.path = path
        self.data = data
        self.acl = acl
        self.parent_c_version = parent_c_version
        self.ttl = ttl  # milliseconds

    def encode(self, out: bytearray) -> None:
        write_ustring(out, self.path)
        write_buffer(out, self.data)
        write_records(out, self.acl)
        out += _CREATE_TTL_TXN.pack(self.parent_c_version, self.ttl)

    @staticmethod
    def decode(buf: Buffer, at: int = 0) -> tuple[CreateTTLTxn, int]:
        path, at = read_ustring(buf, at, "CreateTTLTxn.path")
        data, at = read_buffer(buf, at, "CreateTTLTxn.data")
        acl, at = read_records(buf, at, "CreateTTLTxn.acl", ACL.decode, 12)
        try:
            parent_c_version, ttl = _CREATE_TTL_TXN.unpack_from(buf, at)
        except StructError:
            raise short_run(buf, at, _CREATE_TTL_TXN, "CreateTTLTxn", "parentCVersion ttl") from None
        return CreateTTLTxn(path, data, acl, parent_c_version, ttl), at + 12

    @staticmethod
    def from_bytes(buf: Buffer) -> CreateTTLTxn:
        return CreateTTLTxn.decode(buf)[0]


class CreateContainerTxn(Record):
    __slots__ = ("path", "data", "acl", "parent_c_version")

    def __init__(self, path: str | None, data: bytes | None, acl: list[ACL] | None, parent_c_version: int) -> None:
        self.path = path
        self.data = data
        self.acl = acl
        self.parent_c_version = parent_c_version

    def encode(self, out: bytearray) -> None:
        write_ustring(out, self.path)
        write_buffer(out, self.data)
        write_records(out, self.acl)
        write_int(out, self.parent_c_version)

    @staticmethod
    def decode(buf: Buffer, at: int = 0) -> tuple[CreateContainerTxn, int]:
        path, at = read_ustring(buf, at, "CreateContainerTxn.path")
        data, at = read_buffer(buf, at, "CreateContainerTxn.data")
        acl, at = read_records(buf, at, "CreateContainerTxn.acl", ACL.decode, 12)
        parent_c_version, at = read_int(buf, at, "CreateContainerTxn.parentCVersion")
        return CreateContainerTxn(path, data, acl, parent_c_version), at

    @staticmethod
    def from_bytes(buf: Buffer) -> CreateContainerTxn:
        return CreateContainerTxn.decode(buf)[0]


class DeleteTxn(Record):
    __slots__ = ("path",)

    def __init__(self, path: str | None) -> None:
        self.path = path

    def encode(self, out: bytearray) -> None:
        write_ustring(out, self.path)

    @staticmethod
    def decode(buf: Buffer, at: int = 0) -> tuple[DeleteTxn, int]:
        path, at = read_ustring(buf, at, "DeleteTxn.path")
        return DeleteTxn(path), at

    @staticmethod
    def from_bytes(buf: Buffer) -> DeleteTxn:
        return DeleteTxn.decode(buf)[0]


class SetDataTxn(Record):
    """Here and below, version is the one after the change."""

    __slots__ = ("path", "data", "version")

    def __init__(self, path: str | None, data: bytes | None, version: int) -> None:
        self.path = path
        self.data = data
        self.version = version

    def encode(self, out: bytearray) -> None:
        write_ustring(out, self.path)
        write_buffer(out, self.data)
        write_int(out, self.version)

    @staticmethod
    def decode(buf: Buffer, at: int = 0) -> tuple[SetDataTxn, int]:
        path, at = read_ustring(buf, at, "SetDataTxn.path")
        data, at = read_buffer(buf, at, "SetDataTxn.data")
        version, at = read_int(buf, at, "SetDataTxn.version")
        return SetDataTxn(path, data, version), at

    @staticmethod
    def from_bytes(buf: Buffer) -> SetDataTxn:
        return SetDataTxn.decode(buf)[0]


class CheckVersionTxn(Record):
    __slots__ = ("path", "version")

    def __init__(self, path: str | None, version: int) -> None:
        self.path = path
        self.version = version

    def encode(self, out: bytearray) -> None:
        write_ustring(out, self.path)
        write_int(out, self.version)

    @staticmethod
    def decode(buf: Buffer, at: int = 0) -> tuple[CheckVersionTxn, int]:
        path, at = read_ustring(buf, at, "CheckVersionTxn.path")
        version, at = read_int(buf, at, "CheckVersionTxn.version")
        return CheckVersionTxn(path, version), at

    @staticmethod
    def from_bytes(buf: Buffer) -> CheckVersionTxn:
        return CheckVersionTxn.decode(buf)[0]


class SetACLTxn(Record):
    __slots__ = ("path", "acl", "version")

    def __init__(self, path: str | None, acl: list[ACL] | None, version: int) -> None:
        self.path = path
        self.acl = acl
        self.version = version

    def encode(self, out: bytearray) -> None:
        write_ustring(out, self.path)
        write_records(out, self.acl)
        write_int(out, self.version)

    @staticmethod
    def decode(buf: Buffer, at: int = 0) -> tuple[SetACLTxn, int]:
        path, at = read_ustring(buf, at, "SetACLTxn.path")
        acl, at = read_records(buf, at, "SetACLTxn.acl", ACL.decode, 12)
        version, at = read_int(buf, at, "SetACLTxn.version")
        return SetACLTxn(path, acl, version), at

    @staticmethod
    def from_bytes(buf: Buffer) -> SetACLTxn:
        return SetACLTxn.decode(buf)[0]


class SetMaxChildrenTxn(Record):
    __slots__ = ("path", "max")

    def __init__(self, path: str | None, max: int) -> None:
        self.path = path
        self.max = max

    def encode(self, out: bytearray) -> None:
        write_ustring(out, self.path)
        write_int(out, self.max)

    @staticmethod
    def decode(buf: Buffer, at: int = 0) -> tuple[SetMaxChildrenTxn, int]:
        path, at = read_ustring(buf, at, "SetMaxChildrenTxn.path")
        max, at = read_int(buf, at, "SetMaxChildrenTxn.max")
        return SetMaxChildrenTxn(path, max), at

    @staticmethod
    def from_bytes(buf: Buffer) -> SetMaxChildrenTxn:
        return SetMaxChildrenTxn.decode(buf)[0]


class CreateSessionTxn(Record):
    __slots__ = ("time_out",)

    def __init__(self, time_out: int) -> None:
        self.time_out = time_out  # milliseconds

    def encode(self, out: bytearray) -> None:
        write_int(out, self.time_out)

    @staticmethod
    def decode(buf: Buffer, at: int = 0) -> tuple[CreateSessionTxn, int]:
        time_out, at = read_int(buf, at, "CreateSessionTxn.timeOut")
        return CreateSessionTxn(time_out), at

    @staticmethod
    def from_bytes(buf: Buffer) -> CreateSessionTxn:
        return CreateSessionTxn.decode(buf)[0]


class CloseSessionTxn(Record):
    """The session's ephemerals go with it."""

    __slots__ = ("paths2_delete",)

    def __init__(self, paths2_delete: list[str] | None) -> None:
        self.paths2_delete = paths2_delete

    def encode(self, out: bytearray) -> None:
        write_vector(out, self.paths2_delete, write_ustring)

    @staticmethod
    def decode(buf: Buffer, at: int = 0) -> tuple[CloseSessionTxn, int]:
        paths2_delete, at = read_vector(buf, at, "CloseSessionTxn.paths2Delete", read_some_ustring, 4)
        return CloseSessionTxn(paths2_delete), at

    @staticmethod
    def from_bytes(buf: Buffer) -> CloseSessionTxn:
        return CloseSessionTxn.decode(buf)[0]


class ErrorTxn(Record):
    """A write that was refused: it still takes its zxid."""

    __slots__ = ("err",)

    def __init__(self, err: int) -> None:
        self.err = err

    def encode(self, out: bytearray) -> None:
        write_int(out, self.err)

    @staticmethod
    def decode(buf: Buffer, at: int = 0) -> tuple[ErrorTxn, int]:
        err, at = read_int(buf, at, "ErrorTxn.err")
        return ErrorTxn(err), at

    @staticmethod
    def from_bytes(buf: Buffer) -> ErrorTxn:
        return ErrorTxn.decode(buf)[0]


class Txn(Record):
    """One operation of a multi; data holds the txn record that type tells."""

    __slots__ = ("type", "data")

    def __init__(self, type: int, data: bytes | None) -> None:
        self.type = type
        self.data = data

    def encode(self, out: bytearray) -> None:
        write_int(out, self.type)
        write_buffer(out, self.data)

    @staticmethod
    def decode(buf: Buffer, at: int = 0) -> tuple[Txn, int]:
        type, at = read_int(buf, at, "Txn.type")
        data, at = read_buffer(buf, at, "Txn.data")
        return Txn(type, data), at

    @staticmethod
    def from_bytes(buf: Buffer) -> Txn:
        return Txn.decode(buf)[0]


class MultiTxn(Record):
    __slots__ = ("txns",)

    def __init__(self, txns: list[Txn] | None) -> None:
        self.txns = txns

    def encode(self, out: bytearray) -> None:
        write_records(out, self.txns)

    @staticmethod
    def decode(buf: Buffer, at: int = 0) -> tuple[MultiTxn, int]:
        txns, at = read_records(buf, at, "MultiTxn.txns", Txn.decode, 8)
        return MultiTxn(txns), at

    @staticmethod
    def from_bytes(buf: Buffer) -> MultiTxn:
        return MultiTxn.decode(buf)[0]
