"""Four-letter words: every one in Apache's shape, and only those that are allowed (client protocol, section 17)."""

import re

import pytest

from tests.keeper.harness import START_MS, WALL_MS, Client, World
from zkpy.keeper.commands import WORDS
from zkpy.keeper.host import Host
from zkpy.proto import opcodes

HOST = Host(
    version="3.9.5-zkpy, built on today",
    environment=(("host.name", "here"), ("java.version", "none")),
    client_port=2181,
    data_dir="/data/version-2",
    data_log_dir="/log/version-2",
    max_client_cnxns=60,
    sizes=lambda: (67108880, 458),
    memory=lambda: (1, 2, 3),
)


@pytest.fixture
def world() -> World:
    """A server that answers every word."""
    made = World(four_letter_words=frozenset("*"))
    made.keeper.host = HOST
    return made


@pytest.fixture
def client(world: World) -> Client:
    return world.client()


def words() -> list[str]:
    return [name for name in WORDS.values() if len(name) == 4]


@pytest.mark.parametrize("word", [word for word in words() if word != "srvr"])
def test_word_that_is_not_allowed_says_so(word: str) -> None:
    world = World(four_letter_words=frozenset(("none",)))
    assert world.word(word.encode()) == f"{word} is not executed because it is not in the whitelist.\n"


def test_srvr_alone_is_allowed_by_default() -> None:
    world = World()
    assert world.word(b"srvr").startswith("Zookeeper version: ")
    assert "not in the whitelist" in world.word(b"ruok")


def test_srvr_is_allowed_whatever_the_list_says() -> None:
    world = World(four_letter_words=frozenset(("ruok",)))
    assert world.word(b"srvr").startswith("Zookeeper version: ")


@pytest.mark.parametrize("word", sorted(set(words()) - {"stmk"}))
def test_every_word_is_answered_and_the_connection_closed(world: World, client: Client, word: str) -> None:
    assert isinstance(world.word(word.encode()), str)
    assert list(world.keeper.connections) == [client.connection]


def test_word_may_come_in_pieces(world: World) -> None:
    client = world.open()
    client.speaks_frames = False
    for byte in b"ruo":
        client.send(bytes((byte,)))
        assert not client.raw
    client.send(b"k")
    assert client.raw == b"imok"
    assert client.is_closed


def test_what_follows_a_word_is_not_looked_at(world: World) -> None:
    assert world.word(b"ruok\r\nsrvr") == "imok"


def test_word_after_the_handshake_is_a_length(world: World, client: Client) -> None:
    client.send(b"ruok")
    assert client.take() == []
    assert client.is_closed


def test_unknown_word_is_a_length_too(world: World) -> None:
    assert world.word(b"abcd") == ""


def test_simple_words(world: World) -> None:
    assert world.word(b"ruok") == "imok"
    assert world.word(b"isro") == "rw"
    assert world.word(b"gtmk") == "306"
    assert world.word(b"crst") == "Connection stats reset.\n"
    assert world.word(b"srst") == "Server stats reset.\n"
    assert world.word(b"\xff\xf4\xff\xfd") == ""
    assert world.word(b"dirs") == "datadir_size: 67108880\nlogdir_size: 458\n"


def test_stmk_takes_eight_bytes_more(world: World) -> None:
    client = world.open()
    client.speaks_frames = False
    client.send(b"stmk" + bytes(7))
    assert not client.raw
    client.send(b"\5")
    assert (client.raw, client.is_closed) == (b"5", True)
    assert world.word(b"gtmk") == "5"
    assert world.word(b"stmk" + b"\xff" * 8) == "-1"


def test_srvr_of_a_fresh_server(world: World) -> None:
    assert world.word(b"srvr") == (
        "Zookeeper version: 3.9.5-zkpy, built on today\n"
        "Latency min/avg/max: 0/0.0/0\n"
        "Received: 1\n"
        "Sent: 0\n"
        "Connections: 1\n"
        "Outstanding: 0\n"
        "Zxid: 0x0\n"
        "Mode: standalone\n"
        "Node count: 5\n"
    )


def test_srvr_counts(world: World, client: Client) -> None:
    other = world.client()
    client.create("/a")
    client.exists("/a")
    world.holds_log = True
    other.post(opcodes.MULTI, b"\xff\xff\xff\xff\1\xff\xff\xff\xff")
    text = world.word(b"srvr")
    assert "Connections: 3\n" in text
    assert "Outstanding: 1\n" in text
    assert "Zxid: 0x3\n" in text
    assert "Node count: 6\n" in text
    assert "Received: 6\nSent: 0\n" in text  # its own question, but not yet its answer
    assert "Received: 7\nSent: 1\n" in world.word(b"srvr")
    world.sync()


def test_latencies_are_in_milliseconds_with_up_to_four_decimals(world: World, client: Client) -> None:
    world.word(b"srst")
    client.exists("/")
    client.exists("/")
    world.holds_log = True
    client.post(opcodes.MULTI, b"\xff\xff\xff\xff\1\xff\xff\xff\xff")
    world.advance(20)
    world.sync()
    assert "Latency min/avg/max: 0/6.6667/20\n" in world.word(b"srvr")


def test_stat_is_srvr_with_the_clients(world: World, client: Client) -> None:
    text = world.word(b"stat")
    head, clients, rest = re.fullmatch(r"(.*\n)Clients:\n(.*?)\n(Latency.*)", text, re.DOTALL).groups()  # type: ignore[union-attr]
    assert head == "Zookeeper version: 3.9.5-zkpy, built on today\n"
    first, second = clients.splitlines()
    assert re.fullmatch(r" /127\.0\.0\.1:\d+\[1\]\(queued=0,recved=1,sent=\d+\)", first)
    assert re.fullmatch(r" /127\.0\.0\.1:\d+\[0\]\(queued=0,recved=1,sent=0\)", second)
    assert rest.endswith("Mode: standalone\nNode count: 5\n")


def test_cons_shows_a_session_in_full(world: World, client: Client) -> None:
    client.create("/a")
    text = world.word(b"cons")
    first, second, blank, end = text.split("\n")
    assert (blank, end) == ("", "")
    expected = (
        rf" /127\.0\.0\.1:\d+\[1\]\(queued=0,recved=2,sent=\d+,sid=0x{client.session_id:x},lop=CREA"
        rf",est={WALL_MS},to=10000,lcxid=0x1,lzxid=0x2,lresp={START_MS},llat=0,minlat=0,avglat=0,maxlat=0\)"
    )
    assert re.fullmatch(expected, first)
    assert second.endswith("[0](queued=0,recved=1,sent=0)")


@pytest.mark.parametrize(
    ("op", "name"),
    [
        (opcodes.PING, "PING"),
        (opcodes.EXISTS, "EXIS"),
        (opcodes.GET_DATA, "GETD"),
        (opcodes.GET_CHILDREN, "GETC"),
        (opcodes.GET_CHILDREN2, "GETC"),
        (opcodes.GET_ACL, "GETA"),
        (opcodes.SYNC, "SYNC"),
        (opcodes.WHO_AM_I, "HOMI"),
        (opcodes.GET_EPHEMERALS, "GETE"),
        (opcodes.GET_ALL_CHILDREN_NUMBER, "GETACN"),
        (opcodes.SET_DATA, "SETD"),
        (opcodes.DELETE, "DELE"),
    ],
)
def test_cons_names_the_last_operation(world: World, client: Client, op: int, name: str) -> None:
    client.create("/a")
    client.call(
        op,
        b"\0\0\0\2/a"
        + b"\0\0\0\0" * (op == opcodes.SET_DATA)
        + b"\xff" * 4 * (op in (2, 5))
        + b"\0" * (op in (3, 4, 8, 12)),
    )
    assert f",lop={name}," in world.word(b"cons")


def test_write_that_failed_is_no_operation_for_cons(world: World, client: Client) -> None:
    assert client.delete("/none").err
    assert ",lop=NA," in world.word(b"cons")


def test_word_that_waits_for_more_bytes_is_counted_once(world: World, client: Client) -> None:
    before = int(re.search(r"Received: (\d+)", world.word(b"srvr"))[1])  # type: ignore[index]
    asking = world.open()
    asking.speaks_frames = False
    for piece in (b"stmk", b"\0\0\0\0", b"\0\0\0\5"):
        asking.send(piece)
    assert f"Received: {before + 2}\n" in world.word(b"srvr")


def test_session_without_requests_has_no_cxid_of_its_own(world: World, client: Client) -> None:
    # createSession has cxid 0, which is the last one seen.
    assert ",lop=SESS," in world.word(b"cons")
    assert ",lcxid=0x0," in world.word(b"cons")
    world.word(b"crst")
    text = world.word(b"cons")
    assert ",lop=NA," in text
    assert "lcxid" not in text


def test_conf_has_apaches_lines(world: World) -> None:
    assert world.word(b"conf") == (
        "clientPort=2181\n"
        "secureClientPort=-1\n"
        "dataDir=/data/version-2\n"
        "dataDirSize=67108880\n"
        "dataLogDir=/log/version-2\n"
        "dataLogSize=458\n"
        "tickTime=3000\n"
        "maxClientCnxns=60\n"
        "minSessionTimeout=6000\n"
        "maxSessionTimeout=60000\n"
        "clientPortListenBacklog=-1\n"
        "serverId=0\n"
    )


def test_envi_has_the_environment(world: World) -> None:
    assert world.word(b"envi") == (
        "Environment:\nzookeeper.version=3.9.5-zkpy, built on today\nhost.name=here\njava.version=none\n"
        "os.memory.free=1MB\nos.memory.max=2MB\nos.memory.total=3MB\n"
    )


def test_dump_shows_sessions_ephemerals_and_connections(world: World) -> None:
    client = world.client(40000)
    client.create("/e", flags=opcodes.EPHEMERAL)
    client.create("/f", flags=opcodes.EPHEMERAL)
    sid = f"0x{client.session_id:x}"
    date = r"\w{3} \w{3} \d\d \d\d:\d\d:\d\d UTC \d{4}"
    assert re.fullmatch(
        "SessionTracker dump:\n"
        r"Session Sets \(1\)/\(1\):" + "\n"
        f"1 expire at {date}:\n"
        f"\t{sid}\n"
        "ephemeral nodes dump:\n"
        r"Sessions with Ephemerals \(1\):" + "\n"
        f"{sid}:\n"
        "\t/e\n"
        "\t/f\n"
        "Connections dump:\n"
        r"Connections Sets \(2\)/\(2\):" + "\n"
        f"1 expire at {date}:\n"
        rf"\tip: /127\.0\.0\.1:\d+ sessionId: 0x0" + "\n"
        f"1 expire at {date}:\n"
        rf"\tip: /127\.0\.0\.1:\d+ sessionId: {sid}" + "\n",
        world.word(b"dump"),
    )


def test_connections_are_due_at_whole_intervals_of_one_without_session(world: World) -> None:
    """A connection without a session has 10 s, and so has an interval."""
    for timeout_ms in (6000, 7000, 20000):
        world.client(timeout_ms)
    world.advance(world.now_ms // -10000 * -10000 - world.now_ms)
    for client in [world.client(timeout_ms) for timeout_ms in (6000, 9999, 10000, 20000)]:
        client.call(opcodes.PING)
    text = world.word(b"dump").partition("Connections Sets ")[2]
    assert text.startswith("(3)/(8):\n")
    counts = [int(line.split()[0]) for line in text.splitlines() if " expire at " in line]
    seconds = [int(line[line.index(":") - 2 :][6:8]) for line in text.splitlines() if " expire at " in line]
    assert sorted(counts) == [2, 2, 4]
    assert len({second % 10 for second in seconds}) == 1


def test_watch_words_speak_of_the_data_table(world: World, client: Client) -> None:
    other = world.client()
    client.exists("/a", watch=True)
    client.exists("/b", watch=True)
    client.children("/", watch=True)
    other.exists("/a", watch=True)
    one, two = (f"0x{each.session_id:x}" for each in (client, other))
    assert world.word(b"wchs") == "2 connections watching 2 paths\nTotal watches:3\n"
    assert world.word(b"wchc") == f"{one}\n\t/a\n\t/b\n{two}\n\t/a\n\n"
    assert world.word(b"wchp") == f"/a\n\t{one}\n\t{two}\n/b\n\t{one}\n\n"


def test_hash_lists_every_128th_digest(world: World, client: Client) -> None:
    assert world.word(b"hash") == ""
    for _ in range(300):
        client.set("/")
    lines = world.word(b"hash").splitlines()
    assert [line.split(":")[0] for line in lines] == ["80", "100"]
    assert all(re.fullmatch(r"[0-9a-f]+: \d+", line) for line in lines)


def test_srst_forgets_counts_but_not_states(world: World, client: Client) -> None:
    client.create("/a")
    world.word(b"srst")
    text = world.word(b"srvr")
    assert "Received: 1\nSent: 1\nConnections: 2\n" in text
    assert "Zxid: 0x2\n" in text
    assert "Node count: 6\n" in text


@pytest.mark.parametrize("word", words())
def test_words_say_when_no_client_is_served(world: World, word: str) -> None:
    world.keeper.is_serving = False
    answer = world.word(word.encode() + (bytes(8) if word == "stmk" else b""))
    not_serving = "This ZooKeeper instance is not currently serving requests"
    if word in ("envi", "ruok", "gtmk", "stmk"):
        assert not_serving not in answer
    else:
        assert answer == {"isro": "null", "hash": not_serving}.get(word, f"{not_serving}\n")
