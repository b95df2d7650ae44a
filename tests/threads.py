"""Races, with real threads on the real database."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

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
