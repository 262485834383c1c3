"""tests/recipes/test_election.py against Apache's server."""

from tests.recipes.test_election import *  # noqa: F403
