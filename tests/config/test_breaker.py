"""The circuit breaker, with Redis and without."""

import time
from collections.abc import Iterator
from contextlib import nullcontext

import pytest

from config.breaker import Breaker
from tests.fixtures.faults import redis_down
from tests.threads import at_once


@pytest.fixture(params=["with Redis", "without Redis"])
def breaker(request: pytest.FixtureRequest) -> Iterator[Breaker]:
    with nullcontext() if request.param == "with Redis" else redis_down():
        yield Breaker("test", threshold=3, window=60.0, pause=0.3, probe=30.0)


def wait_until_it_opens_again(breaker: Breaker) -> float:
    """What `ask` says when it first lets somebody through, within two seconds."""
    end = time.monotonic() + 2
    while (wait := breaker.ask()) and time.monotonic() < end:
        time.sleep(min(wait, 0.05))
    return wait


def test_breaker__fewer_failures_than_it_bears__closed(breaker: Breaker) -> None:
    breaker.failed()
    breaker.failed()
    assert breaker.ask() == 0
    breaker.worked()
    breaker.failed()
    breaker.failed()
    assert breaker.ask() == 0


def test_breaker__too_many__open_and_then_one_probe(breaker: Breaker) -> None:
    for _ in range(3):
        breaker.failed()
    assert 0 < breaker.ask() <= 0.3

    assert wait_until_it_opens_again(breaker) == 0
    assert breaker.ask() > 1  # somebody is trying
    breaker.worked()
    assert breaker.ask() == 0


def test_breaker__the_probe_fails__open_again(breaker: Breaker) -> None:
    for _ in range(3):
        breaker.failed()
    wait_until_it_opens_again(breaker)

    breaker.failed()

    assert 0 < breaker.ask() <= 0.3


def test_breaker__long_ago__forgotten(breaker: Breaker) -> None:
    short = Breaker("short", threshold=1, window=0.05, pause=0.05, probe=30.0)
    short.failed()
    end = time.monotonic() + 2
    while short.ask() and time.monotonic() < end:
        time.sleep(0.01)
    short.worked()
    assert short.ask() == 0


def test_breaker__32_threads_after_the_pause__one_probe() -> None:
    breaker = Breaker("threads", threshold=1, window=60.0, pause=0.2, probe=30.0)
    breaker.failed()
    end = time.monotonic() + 2

    def ask(_: int) -> float:
        while 0 < (wait := breaker.ask()) <= 0.2 and time.monotonic() < end:
            time.sleep(0.005)
        return wait

    waits = at_once(32, ask)

    assert waits.count(0.0) == 1
