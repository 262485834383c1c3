"""Are all members of an ensemble the same ensemble's? Each is asked by itself, after a sync of its own."""

from __future__ import annotations

from dataclasses import dataclass, replace

from compat_tests.datadirs.served import Node, digest_mismatches, last_zxid, monitored, read_nodes, word

from .ensemble import Ensemble, Member, await_true

CONFIG_NODE = "/zookeeper/config"
#: Of mntr, those that follow from the tree. Not approximate_data_size: Apache forgets what quotas add to it.
FIGURES = ("znode_count", "ephemerals_count")


@dataclass(frozen=True)
class Told:
    """What one member serves."""

    nodes: dict[str, Node]
    figures: dict[str, str]
    digests: dict[str, str]


def check_alike(ensemble: Ensemble) -> dict[str, Node]:
    """Fail with what is different between the running members, or wrong with one; else the nodes that all serve.

    Nobody may write meanwhile.
    """
    leader = ensemble.leader()
    nodes = {member.sid: _read_nodes(member) for member in ensemble.running}
    await_true(
        lambda: len({last_zxid(member) for member in ensemble.running}) == 1,
        "all members have applied the same txns",
    )
    told = {member.sid: _tell(member, nodes[member.sid]) for member in ensemble.running}
    expected = told[leader.sid]
    for member in ensemble.running:
        found = _differences(expected, told[member.sid])
        assert not found, f"{leader} | {member}:\n" + "\n".join(line[:400] for line in found[:20])
        assert digest_mismatches(member) == 0, f"{member} counts digests that do not fit"
        assert monitored(member)["server_state"] == member.mode()
    assert ensemble.wrong_digests() == []
    return expected.nodes


def _read_nodes(member: Member) -> dict[str, Node]:
    with member.client() as client:
        client.do("sync", path="/")
        nodes = read_nodes(client)
    # Each member writes it by itself as it starts, so the stat is its own.
    return {**nodes, CONFIG_NODE: replace(nodes[CONFIG_NODE], stat=())}


def _tell(member: Member, nodes: dict[str, Node]) -> Told:
    figures = monitored(member)
    lines = (line.split(": ", 1) for line in word(member, "hash").splitlines() if ": " in line)
    return Told(nodes, {name: figures[name] for name in FIGURES}, {line[0]: line[1] for line in lines})


def _differences(left: Told, right: Told) -> list[str]:
    """In words. Digests are kept from a member's last start on: those that both have count."""
    found = [
        f"{path}: {left.nodes.get(path)} | {right.nodes.get(path)}"
        for path in sorted({*left.nodes, *right.nodes})
        if left.nodes.get(path) != right.nodes.get(path)
    ]
    if left.figures != right.figures:
        found.append(f"{left.figures} | {right.figures}")
    found += [
        f"digest at {zxid}: {left.digests[zxid]} | {right.digests[zxid]}"
        for zxid in left.digests.keys() & right.digests.keys()
        if left.digests[zxid] != right.digests[zxid]
    ]
    return found
