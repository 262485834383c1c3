"""What a server has to put up with: one `Case` a kind of bad input, with what is to come of it.

A case is a function that gives one or more inputs; each is sent on a connection of its own, before the handshake
(FRESH) or after it (SESSION).
"""

import random
import ssl
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from struct import Struct, pack

from jute.record import Record
from tests.system.clients import HEADER, OPEN, PING, create, hello, request
from zkpy.proto import errors, opcodes
from zkpy.proto.frames import frame
from zkpy.proto.records import (
    ACL,
    AddWatchRequest,
    AuthPacket,
    CheckVersionRequest,
    CheckWatchesRequest,
    CreateRequest,
    CreateTTLRequest,
    DeleteRequest,
    GetACLRequest,
    GetDataRequest,
    GetEphemeralsRequest,
    GetSASLRequest,
    Id,
    MultiHeader,
    ReconfigRequest,
    SetACLRequest,
    SetDataRequest,
    SetWatches,
    SetWatches2,
    SyncRequest,
)

FRESH = "before the handshake"
SESSION = "in a session"

# What comes of it.
CLOSED = "the server hangs up, and says so in one line of its log"
REFUSED = "the handshake is answered without a session, and the server hangs up"
WORD = "a text comes back, and the server hangs up"
WAITS = "nothing happens: the server waits for the rest"
ANSWERED = "each request is answered, the connection is as good as before"

LIMIT = 0xFFFFF
INT_MAX = 0x7FFFFFFF
INT_MIN = -INT_MAX - 1
_INT = Struct(">i")
END = MultiHeader(-1, True, -1).to_bytes()


@dataclass(frozen=True)
class Case:
    """One kind of bad input. `errors`: for ANSWERED, the codes that come back for each input; None: whatever."""

    name: str
    stage: str
    outcome: str
    inputs: Callable[[], list[bytes]]
    errors: tuple[int, ...] | None = None
    #: How long another client may wait meanwhile.
    late_ms: int = 100


CASES: list[Case] = []


def _case(name: str, stage: str, outcome: str, *inputs: bytes, errors: tuple[int, ...] | None = None) -> None:
    CASES.append(Case(name.replace(" ", "_"), stage, outcome, lambda: list(inputs), errors))


def _lazy(
    name: str, stage: str, outcome: str, make: Callable[[], list[bytes]], *codes: int, late_ms: int = 100
) -> None:
    CASES.append(Case(name.replace(" ", "_"), stage, outcome, make, codes or None, late_ms))


def _cuts(data: bytes) -> Iterator[bytes]:
    return (data[:end] for end in range(len(data)))


def _one(op: int, body: Record | bytes) -> bytes:
    return request(1, op, body)


def _ustring(text: bytes) -> bytes:
    return _INT.pack(len(text)) + text


def _multi(*parts: tuple[int, Record | bytes], end: bytes = END) -> bytes:
    return b"".join(
        MultiHeader(op, False, -1).to_bytes() + (body if isinstance(body, bytes) else body.to_bytes())
        for op, body in parts
    ) + end  # fmt: skip


# --- frames and other protocols ---------------------------------------------------------------------------------

_case("a frame of length minus one", FRESH, CLOSED, pack(">i", -1) + b"x" * 50)
_case("a frame of the most negative length", FRESH, CLOSED, pack(">i", INT_MIN) + b"x" * 50)
_case("a frame of two gigabytes", FRESH, CLOSED, pack(">i", INT_MAX) + b"x" * 50)
_case("a frame one byte longer than jute maxbuffer", FRESH, CLOSED, pack(">i", LIMIT + 1) + b"x" * 50)
_case("a frame of no bytes", FRESH, CLOSED, pack(">i", 0))
_case("many frames of no bytes", FRESH, CLOSED, bytes(4096))
_case("a length cut short", FRESH, WAITS, *(b"\0" * n for n in (1, 2, 3)))
_case("a length and nothing behind it", FRESH, WAITS, pack(">i", 45), pack(">i", LIMIT))
_case("a handshake cut short anywhere on its way", FRESH, WAITS, *_cuts(hello()))
_case("nothing but ones", FRESH, CLOSED, b"\xff" * 2000)
_lazy(
    "random bytes",
    FRESH,
    CLOSED,
    lambda: [bytes([0x40 | dice.randrange(256)]) + dice.randbytes(3000) for dice in map(random.Random, range(20))],
)
_case(
    "an HTTP request",
    FRESH,
    CLOSED,
    *(f"{verb} / HTTP/1.1\r\nHost: x\r\n\r\n".encode() for verb in ("GET", "HEAD", "POST", "PUT", "OPTIONS", "DELETE")),
)
_case("an HTTP/2 preface", FRESH, CLOSED, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")


def _client_hello() -> bytes:
    context = ssl.create_default_context()
    out = ssl.MemoryBIO()
    tls = context.wrap_bio(ssl.MemoryBIO(), out, server_hostname="localhost")
    try:
        tls.do_handshake()
    except ssl.SSLWantReadError:
        pass
    return out.read()


_lazy("a TLS ClientHello", FRESH, CLOSED, lambda: [_client_hello()])
_case("an SSL 2 hello", FRESH, CLOSED, b"\x80\x2e\x01\x00\x02" + b"x" * 44)
_case("the banner of SSH", FRESH, CLOSED, b"SSH-2.0-OpenSSH_9.2\r\n")
_case("a PROXY line", FRESH, CLOSED, b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n")
_case("a line of Redis", FRESH, CLOSED, b"PING\r\n", b"*1\r\n$4\r\nPING\r\n")
_case("a binary memcached request", FRESH, CLOSED, b"\x80\x0a" + bytes(22))

# --- four-letter words ------------------------------------------------------------------------------------------

_case("a four-letter word cut short", FRESH, WAITS, b"r", b"ru", b"ruo")
_case("a four-letter word that does not exist", FRESH, CLOSED, b"abcd", b"zzzz\n")
_case("a four-letter word in capitals", FRESH, CLOSED, b"RUOK", b"Stat")
_case("a four-letter word with a tail", FRESH, WORD, b"ruok\n", b"srvr" + b"x" * 5000, b"statstat", b"ruok" + hello())
_case("stmk with its mask cut short", FRESH, WAITS, *(b"stmk" + bytes(n) for n in range(8)))
_case("stmk with any mask", FRESH, WORD, b"stmk" + b"\xff" * 8, b"stmk" + bytes(100))
_case("a telnet that hangs up", FRESH, WORD, b"\xff\xf4\xff\xfd\x06")

# --- handshakes -------------------------------------------------------------------------------------------------

_HELLO = hello()[4:]
_case("a handshake cut short inside its frame", FRESH, CLOSED, *(frame(_HELLO[:end]) for end in range(44)))
_case("a handshake with a tail", FRESH, ANSWERED, frame(_HELLO + b"tail"), frame(_HELLO + bytes(1000)), errors=())
_case("a handshake without the last byte", FRESH, ANSWERED, frame(_HELLO[:44]), errors=())
_case(
    "a handshake whose password has a hostile length",
    FRESH,
    CLOSED,
    *(frame(_HELLO[:24] + pack(">i", n) + bytes(17)) for n in (-2, INT_MIN, INT_MAX, 18, 1 << 20)),
)
_case("a handshake with a null password", FRESH, ANSWERED, hello(password=None), errors=())
_lazy("a handshake with a huge password", FRESH, ANSWERED, lambda: [hello(password=bytes(LIMIT - 29))])
_case("a handshake with a short password", FRESH, ANSWERED, *(hello(password=bytes(n)) for n in (0, 1, 15)), errors=())
_case("a handshake with a strange timeout", FRESH, ANSWERED, *(hello(n) for n in (-1, 0, 1, INT_MIN, INT_MAX)))
_case("a handshake of another protocol version", FRESH, ANSWERED, *(hello(version=n) for n in (-1, 1, 99, INT_MIN)))
_case("a handshake from the future", FRESH, CLOSED, hello(zxid=1 << 62))
_case("a handshake from before the beginning", FRESH, ANSWERED, hello(zxid=-1), hello(zxid=-(1 << 63)))
_case(
    "a handshake for a session that does not exist",
    FRESH,
    REFUSED,
    *(hello(session_id=n) for n in (1, -1, 1 << 62, -(1 << 63))),
)
_case("a handshake for no session with a wrong password", FRESH, REFUSED, hello(session_id=7, password=b"wrong"))
_case("a request in place of a handshake", FRESH, CLOSED, _one(opcodes.GET_DATA, GetDataRequest("/", False)), PING)
_case("a handshake and requests in one packet", FRESH, ANSWERED, hello() + PING + PING)
_case("a second handshake behind the first", SESSION, CLOSED, hello(), hello(session_id=1))
_case("a second handshake in the packet of the first", FRESH, CLOSED, hello() + hello())
_case("a four-letter word in a session", SESSION, CLOSED, b"ruok", b"mntr")

# --- frames in a session ----------------------------------------------------------------------------------------

_case("a request without a whole header", SESSION, CLOSED, *(frame(bytes(n)) for n in range(8)))
_case("a length that is no length in a session", SESSION, CLOSED, *(pack(">i", n) for n in (-1, INT_MIN, INT_MAX)))
_case("a bad length behind a good request", SESSION, CLOSED, PING + pack(">i", -5) + PING)
_case("a request cut short in a session", SESSION, WAITS, *_cuts(_one(opcodes.GET_DATA, GetDataRequest("/", False))))
_case(
    "an unknown opcode",
    SESSION,
    CLOSED,
    *(_one(op, b"") for op in (0, 10, 20, 23, 99, 108, 1000, -1, -2, -10, -12, INT_MAX, INT_MIN)),
)
_case("an opcode only the server uses", SESSION, CLOSED, _one(opcodes.DELETE_CONTAINER, DeleteRequest("/", -1)))
_case("an unknown opcode behind good requests", SESSION, CLOSED, PING + PING + _one(77, b"x" * 100) + PING)
_case(
    "negative xids",
    SESSION,
    ANSWERED,
    b"".join(
        request(xid, opcodes.GET_DATA, GetDataRequest("/", False)) for xid in (-1, -2, -4, -8, -9, INT_MIN, INT_MAX, 0)
    ),
    errors=(0,) * 8,
)
_case("the same xid again and again", SESSION, ANSWERED, create(5, "/bad/same") * 50, errors=(0, *[-110] * 49))
_case(
    "requests behind closeSession",
    SESSION,
    WORD,
    _one(opcodes.CLOSE_SESSION, b"") + create(2, "/bad/late") + PING * 100,
    _one(opcodes.CLOSE_SESSION, b"body") * 3,
)

# --- records: every opcode, cut and with hostile lengths ----------------------------------------------------------

_PATH = "/bad/x"
_BODIES: dict[int, Record] = {
    opcodes.CREATE: CreateRequest(_PATH, b"data", OPEN, 0),
    opcodes.CREATE2: CreateRequest(_PATH, b"data", OPEN, 0),
    opcodes.CREATE_CONTAINER: CreateRequest(_PATH, b"data", OPEN, 4),
    opcodes.CREATE_TTL: CreateTTLRequest(_PATH, b"data", OPEN, 5, 100),
    opcodes.DELETE: DeleteRequest(_PATH, 7),
    opcodes.EXISTS: GetDataRequest(_PATH, True),
    opcodes.GET_DATA: GetDataRequest(_PATH, True),
    opcodes.SET_DATA: SetDataRequest(_PATH, b"data", -1),
    opcodes.GET_ACL: GetACLRequest(_PATH),
    opcodes.SET_ACL: SetACLRequest(_PATH, OPEN, -1),
    opcodes.GET_CHILDREN: GetDataRequest(_PATH, True),
    opcodes.GET_CHILDREN2: GetDataRequest(_PATH, True),
    opcodes.SYNC: SyncRequest(_PATH),
    opcodes.CHECK: CheckVersionRequest(_PATH, 1),
    opcodes.RECONFIG: ReconfigRequest("server.1=a:1:2", None, None, -1),
    opcodes.CHECK_WATCHES: CheckWatchesRequest(_PATH, 1),
    opcodes.REMOVE_WATCHES: CheckWatchesRequest(_PATH, 1),
    opcodes.SET_WATCHES: SetWatches(0, [_PATH], [_PATH], [_PATH]),
    opcodes.SET_WATCHES2: SetWatches2(0, [_PATH], [_PATH], [_PATH], [_PATH], [_PATH]),
    opcodes.GET_EPHEMERALS: GetEphemeralsRequest(_PATH),
    opcodes.GET_ALL_CHILDREN_NUMBER: GetACLRequest(_PATH),
    opcodes.ADD_WATCH: AddWatchRequest(_PATH, 0),
}
#: Opcodes whose connection is closed when the record is bad.
_CLOSING = {opcodes.CHECK}


def _at_once(op: int, bodies: list[bytes]) -> list[bytes]:
    """One input per body if bad ones close the connection, else all of them pipelined."""
    packets = [request(xid, op, body) for xid, body in enumerate(bodies, 1)]
    return packets if op in _CLOSING else [b"".join(packets)]


for _op, _body in _BODIES.items():
    _bytes = _body.to_bytes()
    _outcome = CLOSED if _op in _CLOSING else ANSWERED
    _name = opcodes.NAMES.get(_op, str(_op))
    _case(f"{_name} cut short anywhere", SESSION, _outcome, *_at_once(_op, list(_cuts(_bytes))))
    # The first int of every body is the length of a string, but for setWatches (a zxid, then a count).
    _at = 8 if _op in (opcodes.SET_WATCHES, opcodes.SET_WATCHES2) else 0
    _lengths = (-1, -2, INT_MIN, INT_MAX, LIMIT, len(_bytes) - _at - 3)
    _hostile = [_bytes[:_at] + _INT.pack(length) + _bytes[_at + 4 :] for length in _lengths]
    _case(f"{_name} with a hostile length", SESSION, _outcome, *_at_once(_op, _hostile))
    _case(f"{_name} with a tail", SESSION, _outcome, *_at_once(_op, [_bytes + b"tail"]))
    if _at == 0:
        _texts = (b"\xff\xfe", b"/\xc0\xaf", b"/\xed\xa0\x80", b"/\xf5\x80\x80\x80", b"/a\0b", b"", b"no/slash", b"//")
        _strange = [_ustring(text) + _bytes[4 + len(_PATH) :] for text in _texts]
        _case(f"{_name} with a strange path", SESSION, _outcome, *_at_once(_op, _strange))


def _create_with(acl: bytes, path: bytes = b"/bad/y", data: bytes = b"\0\0\0\0") -> bytes:
    return _ustring(path) + data + acl + bytes(4)


_ACL = OPEN[0].to_bytes()
for _op in (opcodes.CREATE, opcodes.SET_ACL):
    _case(
        f"{opcodes.NAMES[_op]} with a hostile count of ACL entries",
        SESSION,
        ANSWERED,
        b"".join(
            request(
                n,
                _op,
                _create_with(_INT.pack(count) + _ACL)
                if _op == opcodes.CREATE
                else _ustring(b"/bad") + _INT.pack(count) + _ACL + bytes(4),
            )
            for n, count in enumerate((INT_MAX, INT_MIN, -2, 1_000_000, 50_000), 1)
        ),
    )
_case(
    "create with ACLs that are none",
    SESSION,
    ANSWERED,
    b"".join(
        request(n, opcodes.CREATE, CreateRequest("/bad/acl", b"", acl, 0))
        for n, acl in enumerate(
            (
                None,
                [],
                [ACL(31, Id(None, None))],
                [ACL(31, Id("world", None))],
                [ACL(31, Id("nobody", "x"))],
                [ACL(31, Id("digest", "no colon"))],
                [ACL(31, Id("ip", "999.1.1.1/77"))],
                [ACL(-1, Id("auth", ""))],
            ),
            1,
        )
    ),
)
_lazy(
    "create with as many ACL entries as fit",
    SESSION,
    ANSWERED,
    lambda: [request(1, opcodes.CREATE, CreateRequest("/bad/acls", b"", OPEN * 40_000, 0))],
)
_case(
    "create with flags that are none",
    SESSION,
    ANSWERED,
    b"".join(create(n, "/bad/flags", flags=flags) for n, flags in enumerate((-1, 7, 99, INT_MAX, INT_MIN), 1)),
    errors=(errors.BADARGUMENTS,) * 5,
)
_case(
    "createTTL with times that are none",
    SESSION,
    ANSWERED,
    b"".join(
        request(n, opcodes.CREATE_TTL, CreateTTLRequest("/bad/ttl", b"", OPEN, 5, ttl))
        for n, ttl in enumerate((-1, 0, -(1 << 63), (1 << 63) - 1, 1 << 40), 1)
    ),
)
_lazy(
    "a path of a megabyte",
    SESSION,
    ANSWERED,
    lambda: [
        create(1, "/" + "a" * (LIMIT - 60), b"")
        + create(2, "/a" * (LIMIT // 2 - 40), b"")
        + _one(opcodes.GET_DATA, GetDataRequest("/a" * (LIMIT // 2 - 40), True))
        + _one(opcodes.SYNC, SyncRequest("/" * (LIMIT - 20)))
    ],
)
_lazy(
    "a frame of exactly jute maxbuffer",
    SESSION,
    ANSWERED,
    lambda: [request(1, opcodes.SET_DATA, SetDataRequest("/bad", bytes(LIMIT - 8 - 4 - 4 - 4 - 4), -1))],
    0,
)
_lazy("a ping with a body of a megabyte", SESSION, ANSWERED, lambda: [request(-2, opcodes.PING, bytes(LIMIT - 8))], 0)

# --- multi ----------------------------------------------------------------------------------------------------

_CHECK = (opcodes.CHECK, CheckVersionRequest("/bad", 1000))
_GET = (opcodes.GET_DATA, GetDataRequest("/", False))
for _op, _part in ((opcodes.MULTI, _CHECK), (opcodes.MULTI_READ, _GET)):
    _name = opcodes.NAMES[_op]
    _whole = _multi(_part, _part)
    _case(f"{_name} cut short anywhere", SESSION, ANSWERED, b"".join(request(1, _op, cut) for cut in _cuts(_whole)))
    _case(
        f"{_name} inside itself",
        SESSION,
        ANSWERED,
        request(1, _op, _multi((_op, _multi(_part)))) + request(2, _op, _multi(*[(_op, b"")] * 2000)),
    )
    _case(
        f"{_name} with parts of unknown type",
        SESSION,
        ANSWERED,
        b"".join(request(1, _op, _multi((kind, b""))) for kind in (0, -1, -11, 11, 100, 999, INT_MAX, INT_MIN)),
    )
    _case(f"{_name} of nothing", SESSION, ANSWERED, request(1, _op, END), errors=(0,))
    _case(f"{_name} without an end", SESSION, ANSWERED, request(1, _op, _multi(*[_part] * 100, end=b"")))
    _case(f"{_name} with more behind its end", SESSION, ANSWERED, request(1, _op, _whole + _whole))
_lazy(
    "a multi of as many parts as fit",
    SESSION,
    ANSWERED,
    lambda: [request(1, opcodes.MULTI, _multi(*[(opcodes.CHECK, CheckVersionRequest("/bad", -1))] * 40_000))],
    0,
    # One txn is judged and applied in one go, with nothing in between: that is what it is for.
    late_ms=300,
)
_lazy(
    "a multi of as many failing parts as fit",
    SESSION,
    ANSWERED,
    lambda: [request(1, opcodes.MULTI, _multi(*[_CHECK] * 40_000))],
)
_lazy(
    "a multiRead that asks for gigabytes",
    SESSION,
    ANSWERED,
    lambda: [request(1, opcodes.MULTI_READ, _multi(*[(opcodes.GET_DATA, GetDataRequest("/big", False))] * 40_000))],
)
_case(
    "a multi whose parts have null paths",
    SESSION,
    ANSWERED,
    b"".join(
        request(n, opcodes.MULTI, _multi((op, body)))
        for n, (op, body) in enumerate(
            (
                (opcodes.CREATE, CreateRequest(None, None, None, 0)),
                (opcodes.DELETE, DeleteRequest(None, -1)),
                (opcodes.SET_DATA, SetDataRequest(None, None, -1)),
                (opcodes.CHECK, CheckVersionRequest(None, -1)),
            ),
            1,
        )
    ),
)

# --- auth -------------------------------------------------------------------------------------------------------

_AUTH = AuthPacket(0, "digest", b"user:password").to_bytes()


def _auth(scheme: str | None, credentials: bytes | None) -> bytes:
    return request(-4, opcodes.AUTH, AuthPacket(0, scheme, credentials))


_case("auth cut short anywhere", SESSION, CLOSED, *(request(-4, opcodes.AUTH, cut) for cut in _cuts(_AUTH)))
_case("auth by an unknown scheme", SESSION, CLOSED, _auth("kerberos", b"x"), _auth("", b""), _auth(None, None))
_case("auth with a scheme that forges a log line", SESSION, CLOSED, _auth("x\n2026-01-01 ERROR forged\r\n\x1b[2J", b""))
_case("auth by digest without credentials", SESSION, CLOSED, _auth("digest", None))
_case(
    "auth by digest with garbage",
    SESSION,
    ANSWERED,
    _auth("digest", b"") + _auth("digest", b"\xff\xfe\0") + _auth("digest", b":::") + _auth("ip", b"garbage"),
    errors=(0,) * 4,
)
_lazy("auth with a megabyte of credentials", SESSION, ANSWERED, lambda: [_auth("digest", bytes(900_000))], 0)
_lazy(
    "thousands of identities on one connection",
    SESSION,
    ANSWERED,
    lambda: [b"".join(_auth("digest", b"user%d:x" % n) for n in range(3000)) + PING],
)
_case("sasl cut short", SESSION, CLOSED, *(request(1, opcodes.SASL, cut) for cut in _cuts(pack(">i", 8) + bytes(8))))
_case("sasl without a token", SESSION, CLOSED, request(1, opcodes.SASL, GetSASLRequest(None)))
_case("sasl with garbage", SESSION, ANSWERED, request(1, opcodes.SASL, GetSASLRequest(b"\xff" * 1000)), errors=(0,))

# --- watches ----------------------------------------------------------------------------------------------------

_lazy(
    "setWatches that counts a million paths",
    SESSION,
    ANSWERED,
    lambda: [
        b"".join(
            request(-8, op, pack(">qi", 0, 1_000_000) + b"\0\0\0\2/a" * 100_000)
            for op in (opcodes.SET_WATCHES, opcodes.SET_WATCHES2)
        )
    ],
    errors.MARSHALLINGERROR,
    errors.MARSHALLINGERROR,
)
_lazy(
    "setWatches with as many paths as fit",
    SESSION,
    ANSWERED,
    lambda: [request(-8, opcodes.SET_WATCHES, SetWatches(1 << 60, [], [f"/w{n:07}" for n in range(80_000)], []))],
    0,
)
_lazy(
    "setWatches with a million paths in twelve packets",
    SESSION,
    ANSWERED,
    lambda: [
        b"".join(
            request(-8, opcodes.SET_WATCHES, SetWatches(1 << 60, [], [f"/{n:x}" for n in range(at, at + 85_000)], []))
            for at in range(0, 12 * 85_000, 85_000)
        )
    ],
    *[0] * 12,
    # A full packet takes some 80 ms, and forgetting a million watches when their connection closes 150 ms.
    late_ms=400,
)
_case(
    "setWatches with null lists and paths",
    SESSION,
    ANSWERED,
    request(-8, opcodes.SET_WATCHES, SetWatches(0, None, None, None))
    + request(-8, opcodes.SET_WATCHES, SetWatches(0, [None], [None], [None]))
    + request(-8, opcodes.SET_WATCHES2, SetWatches2(0, [], [], [], [None], [None])),
)
_case(
    "watches of unknown kinds",
    SESSION,
    ANSWERED,
    b"".join(request(1, opcodes.ADD_WATCH, AddWatchRequest("/", mode)) for mode in (-1, 2, 99, INT_MIN))
    + b"".join(request(1, opcodes.CHECK_WATCHES, CheckWatchesRequest("/", kind)) for kind in (0, -1, 9))
    + b"".join(request(1, opcodes.REMOVE_WATCHES, CheckWatchesRequest("/", kind)) for kind in (0, -1, 9)),
)
_case("a header and random bodies", SESSION, ANSWERED, b"".join(
    frame(HEADER.pack(n, random.Random(n).choice(list(_BODIES.keys() - _CLOSING))) + random.Random(n).randbytes(n % 90))
    for n in range(1, 400)
))  # fmt: skip
