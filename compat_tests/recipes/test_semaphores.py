"""tests/recipes/test_semaphores.py against Apache's server."""

from tests.recipes.test_semaphores import *  # noqa: F403
