"""Options of the test run."""

import os
import signal

import pytest
from hypothesis import HealthCheck, settings

# Hypothesis would fail what takes long on a machine that does something else as well. Where no failure may depend on
# chance its examples are always the same ones; on everybody's own machine they are new ones each time.
settings.register_profile(
    "patient", deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize="CI" in os.environ
)
settings.load_profile("patient")


def pytest_configure() -> None:
    # A shell starts what it runs in the background with SIGINT ignored, and what a test starts would inherit that.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--rewrite", action="store_true", help="write the answers in transcripts anew")


@pytest.fixture
def rewrite(request: pytest.FixtureRequest) -> bool:
    """Are the answers in transcripts to be written anew?"""
    return bool(request.config.getoption("--rewrite"))
