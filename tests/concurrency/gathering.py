"""Questions of several threads that are sure to be asked together."""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from django.db import connections

from config.combining import Combiner

T = TypeVar("T")


def together(
    combiner: Combiner[Any, Any], acts: list[Callable[[], T]], *, timeout: float = 30.0
) -> list[T | Exception]:
    """Run each of `acts`, which ask `combiner`, in a thread of its own; nobody is asked before all
    of them wait. Returns what each returned or raised."""

    def run(act: Callable[[], T]) -> T | Exception:
        try:
            return act()
        except Exception as error:
            return error
        finally:
            connections.close_all()

    # As if somebody were asking.
    with combiner._lock:
        assert combiner._is_free
        combiner._is_free = False
    with ThreadPoolExecutor(len(acts)) as pool:
        running = [pool.submit(run, act) for act in acts]
        until = time.monotonic() + timeout
        while len(combiner._waiting) < len(acts) and not all(each.done() for each in running):
            assert time.monotonic() < until, "Not all of them asked"
            time.sleep(0.001)
        combiner._pass_on()
        return [each.result(timeout) for each in running]
