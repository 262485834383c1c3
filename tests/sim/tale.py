"""Words for a reader: packets, disk work and zxids in short."""

from __future__ import annotations

from zkpy.proto import packets
from zkpy.proto.notification import STATE_NAMES, Notification
from zkpy.proto.records import QuorumPacket
from zkpy.zab.ready import Entry, Ready


def short(zxid: int) -> str:
    """A zxid as epoch.counter."""
    return f"{zxid >> 32}.{zxid & 0xFFFFFFFF}" if zxid >= 0 else str(zxid)


def span(entries: list[Entry]) -> str:
    """The zxids of txns."""
    first, last = short(entries[0][0]), short(entries[-1][0])
    return first if first == last else f"{first}..{last}"


def describe_disk(ready: Ready) -> str:
    """A Ready's disk work."""
    parts = []
    if ready.restore is not None:
        parts.append("a snapshot in place of all")
    if ready.truncate >= 0:
        parts.append(f"a cut behind {short(ready.truncate)}")
    if ready.append:
        parts.append(f"txns {span(ready.append)}")
    if ready.epochs is not None:
        parts.append("epochs {}/{}".format(*ready.epochs))
    return ", ".join(parts)


def describe_packets(received: list[QuorumPacket]) -> str:
    """Packets, runs of one type drawn together."""
    runs: list[list[int]] = []
    for packet in received:
        if runs and runs[-1][0] == packet.type:
            runs[-1][2] = packet.zxid
        else:
            runs.append([packet.type, packet.zxid, packet.zxid])
    parts = []
    for type_, first, last in runs:
        text = packets.NAMES.get(type_, str(type_))
        if type_ not in (packets.UPTODATE, packets.REQUEST, packets.SYNC, packets.REVALIDATE):
            text += f" {short(first)}" if first == last else f" {short(first)}..{short(last)}"
        parts.append(text)
    return ", ".join(parts)


def describe_notification(message: bytes) -> str:
    """A vote, and who its voter is."""
    vote = Notification.decode(message)
    return (
        f"{STATE_NAMES[vote.state]}, votes for {vote.leader} ({short(vote.zxid)}, epoch {vote.peer_epoch})"
        f" in round {vote.election_epoch}"
    )
