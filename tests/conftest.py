"""What every test can use; the fixtures themselves are in tests/fixtures/."""

from collections.abc import Generator
from typing import Any

import pytest
from django.conf import settings
from django.core.servers.basehttp import WSGIRequestHandler

pytest_plugins = ["tests.fixtures.api", "tests.fixtures.broker", "tests.fixtures.database"]

# Live servers send heads and bodies apart: each answer would wait for the client's delayed ACK.
WSGIRequestHandler.disable_nagle_algorithm = True


LAZY: Any = settings


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    vars(item)["settings_before"] = LAZY._wrapped


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item) -> Generator[None, None, None]:
    """Settings are as before when a test's fixtures are gone: two ways of changing them, put back
    in the wrong order, would leave the next test with one of them."""
    yield
    before = vars(item)["settings_before"]
    if LAZY._wrapped is not before:
        LAZY._wrapped = before
        pytest.fail("The test has left changed settings", pytrace=False)
