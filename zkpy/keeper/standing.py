"""Standing: what a member of an ensemble is now, and what that changes for its clients.

    not serving            nobody is served; whatever was under way is forgotten; the tree may be replaced
    leading, serving       every session of the tree gets its whole timeout; txns begin the leader's epoch
    looking for long       with read-only mode on: readers are served, until there is a leader
    learning, serving      sessions are the leader's; here are only those of the clients that come

A server that is alone never changes its standing.
"""

from typing import TYPE_CHECKING, Final

from zkpy.keeper.leading import Leading
from zkpy.keeper.learning import Learning
from zkpy.keeper.prepare import CLIENT_WRITES
from zkpy.keeper.readonly import ReadOnly
from zkpy.keeper.reads import READS
from zkpy.keeper.reaper import Reaper
from zkpy.proto import errors, opcodes
from zkpy.proto.notification import FOLLOWING, LEADING, LOOKING, OBSERVING
from zkpy.proto.zxid import make_zxid
from zkpy.tree.datatree import DataTree

if TYPE_CHECKING:
    from zkpy.keeper.keeper import Keeper

#: How long a member looks for a leader, at least, before it serves readers without one.
READ_ONLY_DELAY_MS: Final = 2000

_NAMES: Final = {LOOKING: "looking", FOLLOWING: "follower", LEADING: "leader", OBSERVING: "observer"}

#: In an ensemble a sync has to ask the others, so it is a read no more.
_READS: Final = {op: handler for op, handler in READS.items() if op != opcodes.SYNC}
_WRITES: Final = CLIENT_WRITES | {opcodes.SYNC}


def stand(keeper: "Keeper", role: int, is_serving: bool, epoch: int) -> None:
    """The standing has changed. `role`: a state of `zkpy.proto.notification`; `epoch`: its leader's."""
    is_leader = role == LEADING and is_serving
    keeper.is_serving = is_serving and (not is_leader or keeper.settings.leader_serves)
    keeper.role = _NAMES[role]
    if not keeper.is_serving:
        for client in list(keeper.connections):
            client.is_abandoned = True
            keeper.close(client)
    keeper.read_only = keeper.read_only_at_ms = None
    if role == LOOKING and keeper.settings.read_only_mode:
        keeper.read_only_at_ms = keeper.now_ms + max(READ_ONLY_DELAY_MS, keeper.settings.tick_time_ms)
    keeper.in_flight.clear()
    keeper.proposals = []
    keeper.large_bytes = 0
    keeper.read_handlers, keeper.write_ops = _READS, _WRITES
    if is_serving:
        # All that its leader had applied when it sent the tree, or that was on this disk, has come by now.
        keeper.tree.is_fuzzy = False
    keeper.sessions.clear()
    keeper.reads.forget()
    keeper.sessions.unknown_code = errors.SESSIONEXPIRED
    keeper.sessions.admits_foreign = keeper.settings.local_sessions
    keeper.serve_tree(keeper.tree)
    if is_leader:
        keeper.leading, keeper.learning = Leading(keeper), None
        keeper.submit = keeper.leading.submit
        keeper.reaper = Reaper(keeper.tree, keeper.settings, keeper.now_ms)
        keeper.sessions.restore(keeper.tree.sessions.timeouts.items(), keeper.now_ms)
        keeper.next_zxid = make_zxid(epoch, 1)
    else:
        keeper.leading, keeper.learning = None, Learning(keeper)
        keeper.submit = keeper.learning.submit
        keeper.reaper = None
    keeper.choose_ways()


def serve_read_only(keeper: "Keeper") -> None:
    """No leader has been found for a while: readers are served all the same."""
    keeper.read_only_at_ms = None
    keeper.learning = keeper.read_only = ReadOnly(keeper)
    keeper.submit = keeper.read_only.submit
    keeper.role = "read-only"
    keeper.is_serving = True
    keeper.note("info", "read-only mode")


def install(keeper: "Keeper", tree: DataTree) -> None:
    """A snapshot from the leader, or what is left of a history that was cut, takes the place of the tree."""
    assert not keeper.is_serving, "clients have seen the old tree"
    assert keeper.leading is None, "a leader's history is never replaced"
    keeper.reads.forget()
    keeper.serve_tree(tree)
