"""Embedded services of a test's own, and processes that use them."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from config.quickstart.layout import ROOT
from config.quickstart.processes import started_at, wait_until
from config.quickstart.services import Services, stop_keepers
from tests.fixtures.services import ADDRESSES


@pytest.fixture
def bare_environment(tmp_path: Path) -> dict[str, str]:
    """This process's environment without any services' addresses, and with a `.local/` apart."""
    return {
        name: value
        for name, value in os.environ.items()
        if name not in ADDRESSES and not name.startswith(("PYTEST_", "COV_"))
    } | {"EVENKEEL_LOCAL": str(tmp_path / "local"), "DJANGO_ENV": "development"}


@pytest.fixture
def base(tmp_path: Path) -> Iterator[Path]:
    """A directory for services; whatever still runs there after the test is stopped."""
    path = tmp_path / "services"
    path.mkdir()
    # PostgreSQL under another account has to reach it when the tests are run by root.
    yield path
    stop_keepers(path)


@pytest.fixture
def durable(base: Path) -> Services:
    return Services(base, durable=True)


@pytest.fixture
def start(bare_environment: dict[str, str]) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Start a module of the quick start as a process; killed at the end of the test."""
    started: list[subprocess.Popen[str]] = []

    def start_module(name: str, *arguments: str, **environment: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-m", f"config.quickstart.{name}", *arguments],
            cwd=ROOT,
            env=bare_environment | environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        started.append(process)
        return process

    yield start_module
    for process in started:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        if process.stdout is not None:
            process.stdout.close()


def gone(pid: int, seconds: float = 20) -> bool:
    """Whether that process ended within `seconds`."""
    return wait_until(lambda: started_at(pid) is None, seconds)
