"""tests/recipes/test_config.py against Apache's server."""

from tests.recipes.test_config import *  # noqa: F403
