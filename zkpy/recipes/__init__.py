"""Recipes on kazoo, for any ZooKeeper server: locks, elections, fences and configuration that are safe by default.

Read in this order:

    sequencer    what a grant is, to be sent along with requests      contenders  names and order of those in line
    lease        the holder's local deadline                          asking      requests with an end to the waiting
    traces       what a contender leaves, and how it goes             guards      check_sequencer, guarded transactions
    grants       a lock while it is held                              attempts    the waiting for one
    delays       lock-delay                                           locks       exclusive and shared
    semaphores   a number of holders                                  holders     who holds, who waits
    election     one leader, and events                               fence       what a protected resource needs
    config       configuration that all see at once: reads from a local cache, changes in order
    errors       what is raised
"""

from zkpy.recipes.config import Change, Config, ConfigError, Conflict, Snapshot, Stale
from zkpy.recipes.delays import MAX_LOCK_DELAY_S
from zkpy.recipes.election import Election
from zkpy.recipes.errors import (
    BadSequencer,
    Cancelled,
    HoldersDiffer,
    NotAcquired,
    NotHeld,
    RecipeError,
    StaleSequencer,
)
from zkpy.recipes.fence import MemoryFence, SqlFence
from zkpy.recipes.grants import Event, EventKind, Grant, Standing
from zkpy.recipes.guards import GuardedTransaction, check_sequencer
from zkpy.recipes.holders import Standee, Standings, who
from zkpy.recipes.locks import Contention, Lock
from zkpy.recipes.semaphores import Semaphore
from zkpy.recipes.sequencer import Mode, Sequencer

__all__ = [
    "MAX_LOCK_DELAY_S",
    "BadSequencer",
    "Cancelled",
    "Change",
    "Config",
    "ConfigError",
    "Conflict",
    "Contention",
    "Election",
    "Event",
    "EventKind",
    "Grant",
    "GuardedTransaction",
    "HoldersDiffer",
    "Lock",
    "MemoryFence",
    "Mode",
    "NotAcquired",
    "NotHeld",
    "RecipeError",
    "Semaphore",
    "Sequencer",
    "Snapshot",
    "SqlFence",
    "Stale",
    "StaleSequencer",
    "Standee",
    "Standing",
    "Standings",
    "check_sequencer",
    "who",
]
