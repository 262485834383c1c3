"""tests/recipes/test_kazoo_contenders.py against Apache's server."""

from tests.recipes.test_kazoo_contenders import *  # noqa: F403
