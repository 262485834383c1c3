"""tests/recipes/test_retries.py against Apache's server."""

from tests.recipes.test_retries import *  # noqa: F403
