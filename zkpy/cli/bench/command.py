"""`zkpy bench [SHAPE...]`: how much a server or an ensemble does, and how fast it answers."""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import click

from zkpy.cli.bench.shapes import MOST_IN_FLIGHT, ONE_AT_A_TIME, OPERATIONS, Shape, parse_shapes
from zkpy.cli.connecting import CommandError, Unavailable, addresses_of, connecting, probe

if TYPE_CHECKING:
    from zkpy.cli.bench.interval import Interval
    from zkpy.cli.bench.report import Progress
    from zkpy.cli.bench.tree import Tree
    from zkpy.cli.bench.wire import Address, Asked

EXIT_INTERRUPTED: Final = 128
MOST_CONNECTIONS: Final = 20_000
#: What get, set and mixed work on, unless that were more than NODE_BYTES.
NODES: Final = 1000
NODE_BYTES: Final = 64_000_000
#: Files that this process has open beside its connections.
OTHER_FILES: Final = 32

_OPERATIONS_HELP: Final = "\n".join(f"  {op:8} {meaning}" for op, meaning in OPERATIONS.items())
HELP: Final = f"""Measure throughput and latency of a server or an ensemble, under load of several shapes.

SHAPE is an operation, or OPERATION:CONNECTIONSxINFLIGHT, as in get:50x16 (50 connections that keep 16 requests each in
flight) or watch:500. Without any: all six of them.

\b
{_OPERATIONS_HELP}

Connections are spread over the servers of --hosts in turn. Each answer brings the next request, so latency and
throughput depend on one another; all answers are checked.

This is one process in Python: "own CPU" is the part of a core that it has used itself, "waiting" the part of the time
that it had nothing to do. Where it was the limit, or had a part in the figures, the table says so. Against a server
that does nothing but answer, on two cores shared with it, it comes to 100,000 gets a second at 50x1, 870,000 at
50x16, 9,000 sessions and 30,000 events; at 1x1, where its own part is in each answer's latency, to 15,000 gets.
"""


@click.command(
    help=HELP,
    epilog="Exit status: 0; 1 if a server gave an error or a wrong answer, or the node is there already; 69 without a"
    " server or if the connection was lost; 77 if it is not permitted; 130 or 143 if interrupted. What was measured"
    " until then is printed all the same.",
)
@connecting
@click.option(
    "-c", "--connections", type=click.IntRange(1, MOST_CONNECTIONS), default=50, show_default=True,
    help="For shapes that do not say it themselves.",
)  # fmt: skip
@click.option(
    "-f", "--in-flight", type=click.IntRange(1, MOST_IN_FLIGHT), default=1, show_default=True,
    help="Requests under way on each connection, for shapes that do not say it themselves.",
)  # fmt: skip
@click.option(
    "--size", type=click.IntRange(0, 1 << 24), default=100, show_default=True, help="Bytes of data in a node."
)
@click.option(
    "--nodes", type=click.IntRange(1, 1_000_000), help="Nodes that get, set and mixed work on. [default: 1000; fewer"
    " where that were more than 64 MB]",
)  # fmt: skip
@click.option(
    "-d", "--duration", type=click.FloatRange(0, min_open=True), default=5.0, show_default=True, metavar="SECONDS",
    help="Of each measurement.",
)  # fmt: skip
@click.option(
    "--warmup", type=click.FloatRange(0), default=1.0, show_default=True, metavar="SECONDS",
    help="Of the same load before each.",
)  # fmt: skip
@click.option(
    "--path", default="/zkpy-bench", show_default=True,
    help="The node that all happens below: made for this run, and removed again. It must not be there.",
)  # fmt: skip
@click.option("--histogram", is_flag=True, help="Show how many operations took how long. With one shape, always.")
@click.option("--json", "wants_json", is_flag=True, help="Print a JSON object.")
@click.argument("words", nargs=-1, metavar="[SHAPE]...")
def bench(
    hosts: str,
    auth: tuple[tuple[str, str], ...],
    connections: int,
    in_flight: int,
    size: int,
    nodes: int | None,
    duration: float,
    warmup: float,
    path: str,
    histogram: bool,
    wants_json: bool,
    words: tuple[str, ...],
) -> None:
    from zkpy.cli.shell.paths import BadPath, validate

    sizes = {op: [str(connections) if op in ONE_AT_A_TIME else f"{connections}x{in_flight}"] for op in OPERATIONS}
    try:
        shapes = parse_shapes(words or OPERATIONS, sizes, MOST_CONNECTIONS)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="SHAPE") from None
    try:
        validate(path)
    except BadPath as error:
        raise click.BadParameter(str(error), param_hint="--path") from None
    if path == "/":
        raise click.BadParameter("the root is always there: name a node that is not", param_hint="--path")
    if nodes is None:
        nodes = max(1, min(NODES, NODE_BYTES // max(1, size)))
    settings = {
        "hosts": hosts, "size": size, "nodes": nodes, "duration": duration, "warmup": warmup, "path": path,
    }  # fmt: skip
    credentials = [(scheme, credential.encode()) for scheme, credential in auth]
    run = Run(hosts, credentials, shapes, settings)
    failure = run.run()
    run.print(wants_json=wants_json, histogram=histogram or len(shapes) == 1)
    if failure is not None:
        raise failure
    if run.signal_number:
        sys.exit(EXIT_INTERRUPTED + run.signal_number)


class Run:
    """One call of the command, from the first look at the servers to the last node removed."""

    def __init__(
        self, hosts: str, auth: list[tuple[str, bytes]], shapes: list[Shape], settings: dict[str, Any]
    ) -> None:
        self.hosts = hosts
        self.auth = auth
        self.shapes = shapes
        self.settings = settings
        self.servers: list[Asked] = []
        self.intervals: list[Interval] = []
        self.notes: list[str] = []
        self.signal_number = 0
        self._running: Interval | None = None

    def run(self) -> CommandError | None:
        """All shapes, until one fails or a signal comes; what failed."""
        from zkpy.cli.bench.report import Progress

        allow_files(max(shape.connections for shape in self.shapes) + OTHER_FILES)
        progress = Progress(len(self.shapes))
        failure: CommandError | None = None
        with self._signals():
            try:
                self._measure_all(progress)
            except CommandError as error:
                failure = error
            except KeyboardInterrupt:
                pass
            finally:
                progress.clear()
        return failure

    def print(self, *, wants_json: bool, histogram: bool) -> None:
        """What came of it, if anything did."""
        from zkpy.cli.bench import report

        done = [interval for interval in self.intervals if interval.seconds]
        if wants_json:
            click.echo(json.dumps(report.as_json(self.servers, self.settings, done, self.notes), indent=1))
        elif done:
            settings = self.settings
            click.echo(report.title(self.servers, settings["size"], settings["nodes"], settings["duration"]) + "\n")
            for line in report.result_table(done):
                click.echo(line)
            for interval in done if histogram else ():
                click.echo()
                for line in report.histogram_lines(interval):
                    click.echo(line)
        for note in self.notes:
            click.echo(f"zkpy: {note}", err=True)

    @contextmanager
    def _signals(self) -> Iterator[None]:
        """The first Ctrl-C or SIGTERM ends a measurement early and in peace; at other times it interrupts at once."""

        def stop(number: int, frame: object) -> None:
            is_first = not self.signal_number
            self.signal_number = number
            if is_first and self._running is not None:
                self._running.is_interrupted = True
            else:
                raise KeyboardInterrupt

        numbers = (signal.SIGINT, signal.SIGTERM)
        before = [signal.signal(number, stop) for number in numbers]
        try:
            yield
        finally:
            for number, handler in zip(numbers, before, strict=True):
                signal.signal(number, handler)

    def _measure_all(self, progress: Progress) -> None:
        from zkpy.cli.bench.tree import Tree

        probe(addresses_of(self.hosts), self.hosts)
        addresses = self._look_at_servers()
        settings = self.settings
        tree = Tree(self.hosts, self.auth, settings["path"], settings["nodes"], settings["size"])
        failure: BaseException | None = None
        try:
            self._measure_below(tree, addresses, progress)
        except (CommandError, KeyboardInterrupt) as error:
            failure = error
        progress.say("removing what was made")
        try:
            tree.remove(progress.removing)
        except CommandError as error:
            self.notes.append(tree.left_behind())
            failure = failure or error
        except KeyboardInterrupt:
            self.notes.append(tree.left_behind())
            raise
        finally:
            tree.close()
        if failure is not None:
            raise failure

    def _measure_below(self, tree: Tree, addresses: list[Address], progress: Progress) -> None:
        ops = {shape.op for shape in self.shapes}
        if ops != {"session"}:
            progress.say("making nodes")
            tree.make(ops)
        for shape in self.shapes:
            progress.number += 1
            self._measure(shape, addresses, tree, progress)
            if self.signal_number:
                break
            if shape.op == "create":
                tree.empty_parents(progress.removing)

    def _measure(self, shape: Shape, addresses: list[Address], tree: Tree, progress: Progress) -> None:
        from zkpy.cli.bench import load
        from zkpy.cli.bench.interval import Interval
        from zkpy.cli.bench.requests import requests_for
        from zkpy.cli.bench.wire import Connections

        settings, names = self.settings, tree.names
        progress.say(f"[{progress.number}/{progress.total}] {shape.name}: opening connections")
        interval = Interval(shape, settings["warmup"], settings["duration"], progress.tell)
        loop: Callable[[Connections], None]
        if shape.op == "session":
            loop = partial(load.run_sessions, interval=interval)
        elif shape.op == "watch":
            loop = partial(load.run_watches, names=names, size=settings["size"], interval=interval)
        else:
            requests = requests_for(shape.op, names, settings["size"], shape.in_flight)
            loop = partial(load.run_requests, requests=requests, interval=interval)
        connections = Connections(addresses, self.auth, shape.connections + (shape.op == "watch"))
        try:
            if shape.op != "session":
                connections.open(names.root)
            self._running = interval
            loop(connections)
            self.intervals.append(interval)
        except CommandError as error:
            raise type(error)(f"{error.message} ({shape.name})") from None
        finally:
            self._running = None
            connections.close()

    def _look_at_servers(self) -> list[Address]:
        """Where they are, of those that listen."""
        from zkpy.cli.bench.wire import ask, reason, resolve

        found = []
        for host, port in addresses_of(self.hosts):
            try:
                address = resolve(host, port)
            except OSError as error:
                self.notes.append(f"{host}:{port} was left out: {reason(error)}")
            else:
                found.append(address)
                self.servers.append(ask(address))
        if not found:
            raise Unavailable("; ".join(self.notes))
        return found


def allow_files(wanted: int) -> None:
    """Let this process have so many files open. Raises CommandError if it may not."""
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < wanted:
        raise CommandError(f"so many connections need {wanted} open files, and {hard} are allowed here (ulimit -Hn)")
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
