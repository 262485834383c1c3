"""tests/recipes/test_locks.py against Apache's server."""

from tests.recipes.test_locks import *  # noqa: F403
