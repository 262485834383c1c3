"""Verbs on the ensemble: config, reconfig; and version."""

from __future__ import annotations

from zkpy import __version__
from zkpy.cli.shell.options import Grammar, Parsed, VerbError
from zkpy.cli.shell.printing import print_stat, text_of
from zkpy.cli.shell.verb import VERBS, Desk, parse_long, verb


@verb("config", "[-c] [-w] [-s]", Grammar("c w s"), least=1)
def config(desk: Desk, given: Parsed) -> None:
    """The ensemble's configuration, or (-c) what clients need of it."""
    data, stat = desk.session.config(watch=given.has("w"))
    desk.say(_client_part(text_of(data)) if given.has("c") else text_of(data))
    if given.has("s"):
        print_stat(stat, desk.say)


def _client_part(text: str) -> str:
    """`version addresses`: where clients find the servers."""
    version, addresses = "", []
    for key, value in _properties(text):
        if key == "version":
            version = value
        elif key.startswith("server."):
            client = value.partition(";")[2].strip()
            if client:
                addresses.append(client if ":" in client else f"0.0.0.0:{client}")
    return f"{version} {','.join(addresses)}"


def _properties(text: str) -> list[tuple[str, str]]:
    pairs = []
    for line in text.splitlines():
        if line.strip() and line.strip()[0] not in "#!":
            key, _, value = line.partition("=")
            pairs.append((key.strip(), value.strip()))
    return pairs


@verb(
    "reconfig",
    "[-s] [-v version] [[-file path] | [-members serverID=host:port1:port2;port3[,...]*]] |"
    " [-add serverId=host:port1:port2;port3[,...]]* [-remove serverId[,...]*]",
    Grammar("s", "v file members add remove"),
    least=0,
)
def reconfig(desk: Desk, given: Parsed) -> None:
    """Change the ensemble, by what joins and leaves it or as a whole."""
    whole = [option for option in ("file", "members") if given.has(option)]
    parts = [option for option in ("add", "remove") if given.has(option)]
    if not whole and not parts:
        raise VERBS["reconfig"].misused()
    version = parse_long(given.options["v"], 16) if given.has("v") else -1
    if version is None:
        raise VerbError("-v must be followed by a long (configuration version)")
    if whole and parts:
        raise VerbError(
            "Can't use -file or -members together with -add or -remove (mixing incremental and non-incremental modes"
            " is not allowed)"
        )
    if len(whole) == 2:
        raise VerbError("Can't use -file and -members together (conflicting non-incremental modes)")
    said = {option: given.options[option].lower() for option in ("add", "remove", "members") if given.has(option)}
    members = _members_of(given.options["file"]) if given.has("file") else said.get("members")
    data, stat = desk.session.reconfig(said.get("add"), said.get("remove"), members, version)
    desk.say(f"Committed new configuration:\n{text_of(data)}")
    if given.has("s"):
        print_stat(stat, desk.say)


def _members_of(path: str) -> str:
    """The members of a dynamic configuration file, as a request takes them."""
    try:
        with open(path, encoding="utf-8") as file:
            pairs = _properties(file.read())
    except OSError as error:
        raise VerbError(f"Error processing {path}{path} ({error.strerror})") from None
    except UnicodeDecodeError:
        raise VerbError(f"Error processing {path}{path} (not a text file)") from None
    return "\n".join(f"{key}={value}" for key, value in pairs if key.partition(".")[0] in ("server", "group", "weight"))


@verb("version", "", least=1, most=1)
def version(desk: Desk, given: Parsed) -> None:
    """The shell's own."""
    desk.say(f"ZooKeeper CLI version: zkpy {__version__}")
