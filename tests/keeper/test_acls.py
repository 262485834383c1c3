"""Identities and ACLs: who one is, what may be set, and what that lets one do (client protocol, section 9)."""

from base64 import b64encode
from hashlib import sha256

import pytest

from jute.wire import write_records
from tests.keeper.harness import OPEN, Client, Reply, World, acl
from zkpy.keeper.auth import FEW_ENTRIES, digest_identity, each_once, in_network
from zkpy.proto import errors, opcodes
from zkpy.proto.records import ACL, GetACLResponse, Id

READ, WRITE, CREATE = opcodes.PERM_READ, opcodes.PERM_WRITE, opcodes.PERM_CREATE
DELETE, ADMIN, ALL = opcodes.PERM_DELETE, opcodes.PERM_ADMIN, opcodes.PERM_ALL
U_P = "u:Jq7wMyA/w2Vd5WIDAKdu4OIIFEQ="
SUPER = "super:D/InIHSb7yEEbrWz8b9l71RjZJU="


def entries_of(client: Client, path: str) -> list[tuple[int, str | None, str | None]]:
    """The ACL that getACL shows."""
    reply = client.get_acl(path)
    assert reply.err == 0, reply
    return [(entry.perms, entry.id.scheme, entry.id.id) for entry in GetACLResponse.decode(reply.body, 0)[0].acl or []]


# --- auth packets --------------------------------------------------------------------------------------------------


def test_digests_are_the_known_ones() -> None:
    assert digest_identity(b"u:p") == ("digest", U_P)
    assert digest_identity(b"super:test") == ("digest", SUPER)
    assert digest_identity(b"u")[1].startswith("u:")
    assert digest_identity(b"u:p", "SHA-256")[1] == "u:" + b64encode(sha256(b"u:p").digest()).decode()


def test_good_auth_is_answered_with_zxid_zero_and_the_xid_it_had(client: Client) -> None:
    assert client.auth("digest", b"u:p") == Reply(-4, 0, 0)
    assert client.connection.identities == (("ip", "127.0.0.1"), ("digest", U_P))
    client.auth("digest", b"u:p")
    client.auth("ip", b"9.9.9.9")
    assert client.connection.identities == (("ip", "127.0.0.1"), ("digest", U_P))
    client.auth("digest", b"v:p")
    assert len(client.connection.identities) == 3


@pytest.mark.parametrize(
    ("scheme", "credentials"),
    [
        ("world", b"anyone"),
        ("nonsense", b"x"),
        ("super", b"x"),
        ("auth", b""),
        (None, b"x"),
        ("digest", None),
        ("", b""),
    ],
)
def test_bad_auth_is_answered_and_then_closed(
    world: World, client: Client, scheme: str | None, credentials: bytes | None
) -> None:
    assert client.auth(scheme, credentials) == Reply(-4, 0, errors.AUTHFAILED)
    assert client.is_closed
    assert client.session_id in world.tree.sessions.timeouts, "the session lives on"


def test_digest_may_be_switched_off() -> None:
    world = World(digest_auth_enabled=False)
    client = world.client()
    assert client.create("/a", entries=acl((ALL, "digest", U_P))).err == errors.INVALIDACL
    assert client.auth("digest", b"u:p").err == errors.AUTHFAILED


def test_auth_overtakes_what_waits(world: World, client: Client) -> None:
    world.holds_log = True
    client.post(opcodes.MULTI, b"\xff\xff\xff\xff\1\xff\xff\xff\xff")
    assert client.auth("digest", b"u:p").xid == -4
    world.sync()
    assert client.reply().xid == 1


def test_sasl_without_a_mechanism_is_answered_with_a_null_token(client: Client) -> None:
    assert client.call(opcodes.SASL, b"\0\0\0\2hi") == Reply(client.xid, 0, 0, b"\xff\xff\xff\xff")


def test_required_authentication_refuses_everything_else() -> None:
    world = World(enforce_auth_schemes=("digest",))
    stranger, friend = world.client(), world.client()
    assert stranger.exists("/") == Reply(1, 0, errors.SESSIONCLOSEDREQUIRESASLAUTH)
    assert stranger.is_closed
    assert friend.auth("digest", b"u:p").err == 0
    assert friend.exists("/").err == 0


# --- what may be set -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "entry",
    [
        (ALL, "world", "anyone"),
        (READ, "digest", "u:h"),
        (READ, "digest", ":x"),
        (READ, "digest", "u:h:"),
        (READ, "ip", "10.0.0.1"),
        (READ, "ip", "10.0.0.0/8"),
        (READ, "ip", "10.0.0.0/0"),
        (READ, "ip", "10.0.0.0/32"),
        (READ, "ip", "::1"),
        (READ, "ip", "fe80::/10"),
        (READ, "ip", "0:0:0:0:0:0:0:1/128"),
        (0, "world", "anyone"),
        (0x7FFFFFFF, "world", "anyone"),
        (-1, "world", "anyone"),
    ],
)
def test_valid_entry_is_kept_as_it_is(client: Client, entry: tuple[int, str, str]) -> None:
    wanted = acl(entry, (ALL, "world", "anyone"))
    assert client.create("/a", entries=wanted).err == 0
    expected = list(dict.fromkeys([entry, (ALL, "world", "anyone")]))
    assert entries_of(client, "/a") == expected


@pytest.mark.parametrize(
    "entries",
    [
        None,
        [],
        acl((ALL, "world", "everyone")),
        acl((ALL, "world", "")),
        acl((ALL, "super", "")),
        acl((ALL, "sasl", "user")),
        acl((ALL, "x509", "CN=a")),
        acl((ALL, "", "")),
        acl((ALL, "digest", "u")),
        acl((ALL, "digest", "u:")),
        acl((ALL, "digest", "a:b:c")),
        acl((ALL, "digest", "")),
        acl((ALL, "ip", "10.0.0")),
        acl((ALL, "ip", "10.0.0.256")),
        acl((ALL, "ip", "10.0.0.1/33")),
        acl((ALL, "ip", "10.0.0.1/-1")),
        acl((ALL, "ip", "10.0.0.1/x")),
        acl((ALL, "ip", "::1/129")),
        acl((ALL, "ip", ":::1")),
        acl((ALL, "auth", "")),
        acl((ALL, "world", "anyone"), (ALL, "nonsense", "x")),
    ],
)
def test_invalid_acl_is_refused_by_create_and_set_acl(client: Client, entries: list[ACL] | None) -> None:
    assert client.create("/a", entries=entries).err == errors.INVALIDACL
    assert client.set_acl("/", entries).err == errors.INVALIDACL


def test_duplicates_are_dropped_and_the_first_kept(client: Client) -> None:
    one, two = (READ, "ip", "1.2.3.4"), (ALL, "world", "anyone")
    client.create("/a", entries=acl(two, one, two, one, (WRITE, "ip", "1.2.3.4")))
    assert entries_of(client, "/a") == [two, one, (WRITE, "ip", "1.2.3.4")]


@pytest.mark.parametrize("count", [FEW_ENTRIES, FEW_ENTRIES + 1, 5000])
def test_many_repetitions_are_dropped_as_few_are(client: Client, count: int) -> None:
    three = [(ALL, "world", "anyone"), (READ, "ip", "10.0.0.1"), (READ, "digest", "a:b")]
    many = [three[number * number % 3 if number % 7 else number % 3] for number in range(count)]
    expected = list(dict.fromkeys(many))
    assert client.create("/many", entries=acl(*many)).err == 0
    assert entries_of(client, "/many") == expected
    assert client.create("/set").err == 0
    assert client.set_acl("/set", acl(*many)).err == 0
    assert entries_of(client, "/set") == expected


@pytest.mark.parametrize("cut", range(1, 60, 7))
def test_what_is_wrong_with_many_entries_is_seen_as_with_few(cut: int) -> None:
    good = frame_of([ACL(1, Id("world", "anyone"))] * (FEW_ENTRIES + 1))
    assert each_once(good, 0) == frame_of([ACL(1, Id("world", "anyone"))])
    assert each_once(good[:-cut], 0) == good[:-cut]
    for wrong in (ACL(1, Id(None, "anyone")), ACL(1, Id("world", None))):
        mixed = frame_of([ACL(1, Id("world", "anyone"))] * (FEW_ENTRIES + 1) + [wrong])
        assert each_once(mixed, 0) == mixed
    hostile = (1 << 30).to_bytes(4, "big") + good[4:]
    assert each_once(hostile, 0) == hostile
    assert each_once(good, len(good) + cut) == good


def frame_of(entries: list[ACL]) -> bytes:
    """The vector's bytes."""
    out = bytearray()
    write_records(out, entries)
    return bytes(out)


def test_auth_stands_for_all_authenticated_ids_but_never_the_address(client: Client) -> None:
    client.auth("digest", b"u:p")
    client.auth("digest", b"v:p")
    client.auth("ip", b"")
    client.create("/a", entries=acl((READ | ADMIN, "auth", "ignored")))
    assert entries_of(client, "/a") == [(READ | ADMIN, "digest", U_P), (READ | ADMIN, *digest_identity(b"v:p"))]


def test_auth_means_who_one_was_when_the_request_came(world: World, client: Client) -> None:
    create = client.request(opcodes.CREATE, b"\0\0\0\2/a\0\0\0\0\0\0\0\1\0\0\0\x1f\0\0\0\4auth\0\0\0\0\0\0\0\0")
    client.send(create, client.request(opcodes.AUTH, b"\0\0\0\0\0\0\0\6digest\0\0\0\3u:p", -4), create)
    assert [packet.err for packet in client.take() if isinstance(packet, Reply)] == [0, errors.INVALIDACL, 0]


# --- what it lets one do -------------------------------------------------------------------------------------------


def attempts(client: Client) -> dict[str, int]:
    """The code of each operation on /n (which has a child c), tried in an order that does not disturb."""
    return {
        "read": client.get("/n").err,
        "exists": client.exists("/n").err,
        "children": client.children("/n").err,
        "write": client.set("/n").err,
        "create": client.create("/n/new").err,
        "delete": client.delete("/n/c").err,
        "set_acl": client.set_acl("/n", OPEN).err,
    }


@pytest.mark.parametrize(
    ("perms", "allowed"),
    [
        (READ, {"read", "exists", "children"}),
        (WRITE, {"write"}),
        (CREATE, {"create"}),
        (DELETE, {"delete"}),
        (ADMIN, {"set_acl"}),
        (ALL, {"read", "exists", "children", "write", "create", "delete", "set_acl"}),
        (0, set()),
    ],
)
@pytest.mark.parametrize("who", [("world", "anyone"), ("digest", U_P), ("ip", "127.0.0.0/8")])
def test_each_permission_allows_its_own_operations(
    world: World, client: Client, who: tuple[str, str], perms: int, allowed: set[str]
) -> None:
    client.create("/n")
    client.create("/n/c")
    client.set_acl("/n", acl((perms, *who)))
    client.auth("digest", b"u:p")
    codes = attempts(client)
    assert {name for name, code in codes.items() if code == 0} == allowed
    assert {code for name, code in codes.items() if name not in allowed} <= {errors.NOAUTH}


@pytest.mark.parametrize("credentials", [b"u:wrong", b"v:p", b"u", b":p"])
def test_other_credentials_do_not_help(client: Client, credentials: bytes) -> None:
    client.create("/n", entries=acl((ALL, "digest", U_P)))
    client.auth("digest", credentials)
    assert client.get("/n").err == errors.NOAUTH


def test_entries_are_alternatives_without_inheritance(client: Client) -> None:
    client.create("/n", entries=acl((READ, "digest", "x:y"), (WRITE, "ip", "127.0.0.1"), (CREATE, "world", "anyone")))
    assert client.get("/n").err == errors.NOAUTH
    assert client.set("/n").err == 0
    assert client.create("/n/open").err == 0
    assert client.get("/n/open").err == 0


@pytest.mark.parametrize(
    ("address", "network", "inside"),
    [
        ("10.1.2.3", "10.1.2.3", True),
        ("10.1.2.3", "10.1.2.4", False),
        ("10.1.2.3", "10.0.0.0/8", True),
        ("11.1.2.3", "10.0.0.0/8", False),
        ("10.1.2.3", "10.1.2.0/31", False),
        ("10.1.2.3", "10.1.2.2/31", True),
        ("11.1.2.3", "10.0.0.0/0", True),
        ("0:0:0:0:0:0:0:1", "::1", True),
        ("fe80:0:0:0:0:0:0:9", "fe80::/64", True),
        ("fe81:0:0:0:0:0:0:9", "fe80::/64", False),
        ("0:0:0:0:0:0:0:1", "0.0.0.0/0", False),
        ("127.0.0.1", "::/0", False),
    ],
)
def test_addresses_match_networks_of_their_own_family(address: str, network: str, inside: bool) -> None:
    assert in_network(address, network) is inside


def test_super_user_passes_every_check() -> None:
    world = World(super_digest=SUPER)
    client = world.client()
    client.create("/n")
    client.create("/n/c")
    client.set_acl("/n", acl((0, "digest", "x:y")))
    assert set(attempts(client).values()) == {errors.NOAUTH}
    client.auth("digest", b"super:test")
    assert ("super", "") in client.connection.identities
    assert set(attempts(client).values()) == {0}
    world.check()


def test_nobody_is_super_without_the_setting(client: Client) -> None:
    client.auth("digest", b"super:test")
    assert [scheme for scheme, _ in client.connection.identities] == ["ip", "digest"]


def test_skip_acl_lets_everybody_do_everything() -> None:
    world = World(skip_acl=True)
    client = world.client()
    client.create("/n")
    client.create("/n/c")
    client.set_acl("/n", acl((0, "digest", "x:y")))
    assert entries_of(client, "/n") == [(0, "digest", "x:y")]
    assert set(attempts(client).values()) == {0}


def test_config_node_may_only_be_read(client: Client) -> None:
    assert client.get("/zookeeper/config").err == 0
    assert client.set("/zookeeper/config").err == errors.NOAUTH
    assert client.create("/zookeeper/config/x").err == errors.NOAUTH


# --- getACL --------------------------------------------------------------------------------------------------------


def test_get_acl_hides_digests_from_whoever_may_only_read(client: Client) -> None:
    entries = [(ALL, "digest", "u:hash"), (ALL, "digest", ":abc"), (WRITE, "ip", "1.2.3.4"), (READ, "world", "anyone")]
    client.create("/a", entries=acl(*entries))
    assert entries_of(client, "/a") == [(ALL, "digest", "u:x"), (ALL, "digest", ":x"), *entries[2:]]


def test_get_acl_shows_everything_to_an_admin(client: Client) -> None:
    entries = [(ALL, "digest", "u:hash"), (ADMIN, "world", "anyone")]
    client.create("/a", entries=acl(*entries))
    assert entries_of(client, "/a") == entries


def test_get_acl_needs_read_or_admin(client: Client) -> None:
    client.create("/a", entries=acl((WRITE | CREATE | DELETE, "world", "anyone")))
    assert client.get_acl("/a").err == errors.NOAUTH
    assert client.get_acl("/missing").err == errors.NONODE
