"""What can go wrong in a recipe, beside what kazoo raises itself (`kazoo.exceptions`).

Law: nothing here is retried by the recipes; by the time one of these is raised, they have done what could be done.
"""


class RecipeError(Exception):
    """The base of all errors of this package."""


class NotAcquired(RecipeError):
    """The lock was not to be had within the time given. No contender is left behind."""


class Cancelled(RecipeError):
    """The attempt was cancelled by another thread. No contender is left behind."""


class NotHeld(RecipeError):
    """The lock is not held any more, or never was; what was guarded by it has not happened."""


class BadSequencer(RecipeError, ValueError):
    """A text that is not the text form of a sequencer."""


class StaleSequencer(RecipeError):
    """The fence has seen a newer holder: this one must not touch the resource."""


class HoldersDiffer(RecipeError, ValueError):
    """Another contender of this semaphore says another number of holders."""
