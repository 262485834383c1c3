"""Options of the test run."""

import signal

import pytest


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
