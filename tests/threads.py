"""Races, with real threads on the real database."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from django.db import connections

T = TypeVar("T")


def at_once(count: int, act: Callable[[int], T], *, timeout: float = 60.0) -> list[T | Exception]:
    """`act(0)` … `act(count - 1)`, each in a thread of its own, started together by a barrier.

    Returns what each returned or raised, in order. Each thread's connections are closed. The test
    needs `django_db(transaction=True)`: other connections have to see what it made.
    """
    barrier = threading.Barrier(count)

    def run(number: int) -> T | Exception:
        try:
            barrier.wait(timeout)
            return act(number)
        except Exception as error:
            return error
        finally:
            connections.close_all()

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(run, range(count), timeout=timeout))


class Meeting:
    """Where each of `count` threads waits for all of them, the first time that it gets there.

    Controls let every thread look before any of them acts, so that they fail without their guard
    each time and on every machine:

        monkeypatch.setattr(services, "check", Meeting(8).after(services.check))
    """

    def __init__(self, count: int, *, timeout: float = 30.0) -> None:
        self._barrier = threading.Barrier(count, timeout=timeout)
        self._mine = threading.local()

    def wait(self) -> None:
        if not hasattr(self._mine, "met"):
            self._mine.met = True
            self._barrier.wait()

    def after(self, act: Callable[..., T]) -> Callable[..., T]:
        """`act`, followed by the meeting."""

        def act_and_meet(*args: Any, **named: Any) -> T:
            found = act(*args, **named)
            self.wait()
            return found

        return act_and_meet

    def before(self, act: Callable[..., T]) -> Callable[..., T]:
        """`act`, preceded by the meeting."""

        def meet_and_act(*args: Any, **named: Any) -> T:
            self.wait()
            return act(*args, **named)

        return meet_and_act
