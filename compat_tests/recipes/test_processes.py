"""tests/recipes/test_processes.py against Apache's server."""

from tests.recipes.test_processes import *  # noqa: F403
