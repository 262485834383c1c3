"""A Kafka 3.9 broker in ZooKeeper mode that keeps its metadata in zkpy.

    console producer ─→ broker ─→ console consumer
                          │ session, ephemerals, watches, multis, sequential nodes
                        zkpy        stopped, killed, started again under the running broker; alone, or three of them

Every command has a deadline, and every process ends with its test. With KAFKA_ON=apache in the environment Apache's
server takes zkpy's place, to see whether a failure is zkpy's.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType

import pytest
from kazoo.client import KazooClient
from kazoo.protocol.states import ZnodeStat

from compat_tests.ensembles.alike import check_alike
from compat_tests.ensembles.ensemble import Ensemble
from compat_tests.peers import JAVA_FLAGS, Server, classpath, require, server
from tests.ports import free_ports

pytestmark = pytest.mark.slow

MESSAGES = 2000
#: The broker's session; short, so that a test can outlast it.
SESSION_TIMEOUT_S = 6.0
START_TIMEOUT_S = 60.0
TOOL_TIMEOUT_S = 60.0

TOPICS = "org.apache.kafka.tools.TopicCommand"
PRODUCER = "kafka.tools.ConsoleProducer"
CONSUMER = "org.apache.kafka.tools.consumer.ConsoleConsumer"

PROPERTIES = """broker.id=0
zookeeper.connect={zookeeper}
zookeeper.session.timeout.ms={session_timeout_ms}
listeners=PLAINTEXT://127.0.0.1:{port}
log.dirs={logs}
num.partitions=1
offsets.topic.num.partitions=1
offsets.topic.replication.factor=1
transaction.state.log.num.partitions=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
group.initial.rebalance.delay.ms=0
controlled.shutdown.enable=true
"""
LOG4J = """log4j.rootLogger={level}, OUT
log4j.appender.OUT=org.apache.log4j.ConsoleAppender
log4j.appender.OUT.target={target}
log4j.appender.OUT.layout=org.apache.log4j.PatternLayout
log4j.appender.OUT.layout.ConversionPattern=%d{{ISO8601}} %-5p %m (%c)%n
"""


def wait_until(what: str, done: Callable[[], bool], timeout_s: float = 30.0) -> None:
    """Fail the test unless `done` becomes true in time."""
    deadline = time.monotonic() + timeout_s
    while not done():
        assert time.monotonic() < deadline, f"not within {timeout_s} s: {what}"
        time.sleep(0.1)


def kafka_command(directory: Path, level: str, target: str) -> list[str]:
    """The beginning of the command line of any of Kafka's programs."""
    log4j = directory / f"log4j-{level.lower()}.properties"
    log4j.write_text(LOG4J.format(level=level, target=target))
    return [
        "java", *JAVA_FLAGS, "-Xmx384m", f"-Dlog4j.configuration=file:{log4j}", "-cp", classpath("kafka"),
    ]  # fmt: skip


class Broker:
    """One Kafka broker over one log directory; a context manager that starts and stops it."""

    def __init__(self, zookeeper: str, directory: Path) -> None:
        self.port = free_ports(1)[0]
        self.directory = directory
        self.process: subprocess.Popen[bytes] | None = None
        directory.mkdir()
        self.log_path = directory / "broker.log"
        self.properties = directory / "server.properties"
        self.properties.write_text(
            PROPERTIES.format(
                zookeeper=zookeeper,
                session_timeout_ms=int(SESSION_TIMEOUT_S * 1000),
                port=self.port,
                logs=directory / "logs",
            )
        )

    def start(self) -> None:
        """Start it and wait until it says that it has started."""
        assert self.process is None
        already = self.log().count("started (kafka.server.KafkaServer)")
        with self.log_path.open("ab") as log:
            self.process = subprocess.Popen(
                [*kafka_command(self.directory, "INFO", "System.out"), "kafka.Kafka", str(self.properties)],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            )  # fmt: skip
        deadline = time.monotonic() + START_TIMEOUT_S
        while self.log().count("started (kafka.server.KafkaServer)") == already:
            if self.process.poll() is not None or time.monotonic() > deadline:
                self.end(signal.SIGKILL)
                raise RuntimeError(f"the broker did not start:\n{self.log()[-5000:]}")
            time.sleep(0.1)

    def stop(self) -> int:
        """A controlled shutdown, which needs ZooKeeper; its exit status. Fails if it takes too long."""
        assert self.process is not None
        self.process.terminate()
        try:
            return self.process.wait(30)
        finally:
            self.end(signal.SIGKILL)

    def end(self, signal_number: int) -> None:
        """Send the signal and wait; SIGKILL what does not obey."""
        process, self.process = self.process, None
        if process is None:
            return
        process.send_signal(signal_number)
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def log(self) -> str:
        """All it has logged so far."""
        return self.log_path.read_text(errors="replace") if self.log_path.exists() else ""

    def tool(self, main: str, *arguments: str, text: str = "") -> str:
        """Run one of Kafka's command line programs against this broker; what it printed. Fails with its errors."""
        done = subprocess.run(
            [
                *kafka_command(self.directory, "WARN", "System.err"), main,
                "--bootstrap-server", f"127.0.0.1:{self.port}", *arguments,
            ],
            input=text, capture_output=True, text=True, timeout=TOOL_TIMEOUT_S,
        )  # fmt: skip
        assert done.returncode == 0, f"{main} {arguments}:\n{done.stdout[-2000:]}{done.stderr[-4000:]}"
        return done.stdout

    def create_topic(self, topic: str, partitions: int = 3) -> None:
        """Create a topic."""
        self.tool(TOPICS, "--create", "--topic", topic, "--partitions", str(partitions), "--replication-factor", "1")

    def topics(self) -> set[str]:
        """The topics of the users."""
        return {topic for topic in self.tool(TOPICS, "--list").split() if not topic.startswith("__")}

    def produce(self, topic: str, messages: list[str]) -> None:
        """Send the messages; the producer ends when all are acknowledged."""
        self.tool(PRODUCER, "--topic", topic, "--request-required-acks", "all", text="\n".join(messages))

    def consume(self, topic: str, count: int) -> list[str]:
        """The first `count` messages of each of the topic's partitions together, sorted."""
        printed = self.tool(
            CONSUMER, "--topic", topic, "--from-beginning", "--max-messages", str(count), "--timeout-ms", "30000"
        )
        return sorted(printed.splitlines())

    def __enter__(self) -> Broker:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, tb: TracebackType | None) -> None:
        self.end(signal.SIGTERM)


@contextmanager
def zookeeper_client(zookeeper: Server | Ensemble) -> Iterator[KazooClient]:
    """A client to look at what Kafka keeps."""
    client = KazooClient(hosts=zookeeper.hosts)
    client.start(timeout=15)
    try:
        yield client
    finally:
        client.stop()
        client.close()


def registration(zookeeper: Server | Ensemble) -> ZnodeStat | None:
    """The stat of the broker's ephemeral, if it is there."""
    with zookeeper_client(zookeeper) as client:
        return client.exists("/brokers/ids/0")


def messages(name: str, count: int = MESSAGES) -> list[str]:
    """`count` different lines, sorted."""
    return [f"{name}-{number:06d}" for number in range(count)]


@pytest.fixture
def zookeeper(tmp_path: Path) -> Iterator[Server]:
    """The server that Kafka is given: zkpy, unless the environment names Apache's."""
    kind = os.environ.get("KAFKA_ON", "zkpy")
    require("kafka", *(["apache"] if kind == "apache" else []))
    with server(kind, tmp_path / "zookeeper") as running:
        yield running


@pytest.fixture
def broker(zookeeper: Server, tmp_path: Path) -> Iterator[Broker]:
    """A running broker."""
    with Broker(zookeeper.hosts, tmp_path / "kafka") as running:
        yield running


def test_kafka_serves_topics_and_messages_and_finds_them_after_its_restart(zookeeper: Server, broker: Broker) -> None:
    sent = messages("first")
    broker.create_topic("letters")
    broker.produce("letters", sent)
    assert broker.consume("letters", MESSAGES) == sent
    before = registration(zookeeper)
    assert before is not None
    assert before.ephemeralOwner
    with zookeeper_client(zookeeper) as client:
        assert json.loads(client.get("/controller")[0])["brokerid"] == 0
        partitions = json.loads(client.get("/brokers/topics/letters")[0])["partitions"]
        assert partitions == {"0": [0], "1": [0], "2": [0]}

    broker.stop()
    assert registration(zookeeper) is None, "a broker that shut down in order has closed its session"
    broker.start()

    after = registration(zookeeper)
    assert after is not None
    assert after.ephemeralOwner != before.ephemeralOwner
    assert broker.topics() == {"letters"}
    assert broker.consume("letters", MESSAGES) == sent
    more = messages("second")
    broker.produce("letters", more)
    assert broker.consume("letters", 2 * MESSAGES) == sent + more


def test_a_killed_brokers_registration_goes_with_its_session(zookeeper: Server, broker: Broker) -> None:
    broker.create_topic("letters")
    assert registration(zookeeper) is not None
    broker.end(signal.SIGKILL)
    assert registration(zookeeper) is not None, "its session lives on for a while"
    wait_until("the ephemeral is gone", lambda: registration(zookeeper) is None, 3 * SESSION_TIMEOUT_S)
    broker.start()
    assert registration(zookeeper) is not None
    assert broker.topics() == {"letters"}


@pytest.mark.parametrize("signal_name", ["SIGTERM", "SIGKILL"])
def test_kafka_keeps_its_session_and_serves_while_its_zookeeper_restarts(
    zookeeper: Server, broker: Broker, signal_name: str
) -> None:
    sent = messages("before")
    broker.create_topic("letters")
    broker.produce("letters", sent)
    before = registration(zookeeper)
    assert before is not None

    if signal_name == "SIGKILL":
        zookeeper.kill()
    else:
        zookeeper.stop()
    during = messages("during", 10)
    broker.produce("letters", during)  # partitions that have a leader need no ZooKeeper
    zookeeper.start()
    restarted = time.monotonic()

    broker.create_topic("parcels")
    broker.produce("parcels", sent)
    assert broker.consume("parcels", MESSAGES) == sent
    assert broker.consume("letters", MESSAGES + 10) == sorted(sent + during)
    assert broker.topics() == {"letters", "parcels"}
    # Longer than its timeout: only a session whose client came back can still be there.
    time.sleep(max(0.0, restarted + 2 * SESSION_TIMEOUT_S - time.monotonic()))
    after = registration(zookeeper)
    assert after is not None
    assert (after.ephemeralOwner, after.czxid) == (before.ephemeralOwner, before.czxid)
    assert broker.stop() in (0, 143)
    assert registration(zookeeper) is None


def test_kafka_keeps_its_session_and_serves_while_its_ensembles_leader_dies(tmp_path: Path) -> None:
    kind = os.environ.get("KAFKA_ON", "zkpy")
    require("kafka", *(["apache"] if kind == "apache" else []))
    sent = messages("after")
    with Ensemble(tmp_path / "ensemble", dict.fromkeys((1, 2, 3), kind)) as ensemble:
        ensemble.start(leader=3)
        with Broker(ensemble.hosts, tmp_path / "kafka") as broker:
            broker.create_topic("letters")
            before = registration(ensemble)
            assert before is not None

            ensemble.kill(3)
            killed = time.monotonic()
            assert ensemble.leader().sid != 3
            broker.create_topic("parcels")
            broker.produce("parcels", sent)
            ensemble.launch(3)
            assert ensemble.leader().sid != 3
            assert broker.consume("parcels", MESSAGES) == sent
            assert broker.topics() == {"letters", "parcels"}
            # A new leader gives every session its whole timeout: only one whose client came back lives on beyond that.
            time.sleep(max(0.0, killed + 2 * SESSION_TIMEOUT_S - time.monotonic()))
            after = registration(ensemble)
            assert after is not None
            assert (after.ephemeralOwner, after.czxid) == (before.ephemeralOwner, before.czxid)
            with zookeeper_client(ensemble) as client:
                assert json.loads(client.get("/controller")[0])["brokerid"] == 0
                assert json.loads(client.get("/brokers/topics/parcels")[0])["partitions"] == {
                    "0": [0],
                    "1": [0],
                    "2": [0],
                }
            assert broker.stop() in (0, 143)
            assert registration(ensemble) is None
        check_alike(ensemble)
