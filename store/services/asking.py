"""Asking the platforms: never inside a transaction, not while they are broken, and again later.

A row that waits for a platform (an order, a notification, a purchase) has `attempts`,
`next_attempt_at` and `last_error`; config/db/sweeper.py claims it.
"""

import random
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from functools import cache
from typing import Any, TypeVar
from uuid import UUID

import structlog
from django.db import connection
from django.db.models import QuerySet
from django.utils import timezone

from config.breaker import Breaker
from config.db.sweeper import backoff
from store.metrics import PLATFORM_CALLS
from store.platforms import Platform, platform_of
from store.providers.base import MisconfiguredError, ProviderError, TryAgainError

T = TypeVar("T")
log = structlog.get_logger(__name__)
# A worker that was killed in the middle is followed by another after this time.
LEASE = timedelta(minutes=5)
GIVE_UP = timedelta(hours=24)
# The longest pause between two tries: at first, for so long, and then.
SOON, SOON_FOR, LATER = timedelta(minutes=1), timedelta(minutes=30), timedelta(hours=1)
# A platform that answers every other time still gets everybody what they paid for: a row of 20
# failures is one in a million then, and soon complete where nothing works.
FAILURES_IN_A_ROW = 20
# Rows that were put off come back at random times within a second for each ten of them, but within
# no less than so many seconds: however many they are, at most twenty a second do.
PUT_OFF_RATE, LEAST_SPREAD = 10, 10.0
# Each process counts them anew after so many seconds: (until when it holds, how many).
COUNTED_FOR = 10.0
_counted: dict[tuple[str, str], tuple[float, int]] = {}


class PutOffError(TryAgainError):
    """The provider's platform is known to be broken: it was not asked at all, and nobody asks it
    for `after` seconds."""

    def __init__(self, provider: str, after: float) -> None:
        super().__init__("platform_away", "The platform is left alone", after=after, counts=False)
        self.provider, self.wait = provider, timedelta(seconds=after)


@cache
def _breaker(provider: str) -> Breaker:
    return Breaker(f"platform:{provider}", threshold=FAILURES_IN_A_ROW)


def ask(provider: str, call: Callable[[], T]) -> T:
    """What `call()` returns, which asks this provider's platform.

    Raises `PutOffError` while its breaker is open, and what the provider raises.
    """
    if connection.in_atomic_block and not getattr(
        connection.atomic_blocks[0], "_from_testcase", False
    ):
        raise AssertionError("A platform is never asked inside a transaction")
    breaker = _breaker(provider)
    if wait := breaker.ask():
        PLATFORM_CALLS.labels(provider, "put_off").inc()
        raise PutOffError(provider, wait)
    try:
        found = call()
    except TryAgainError as error:
        if error.counts:
            breaker.failed()
        PLATFORM_CALLS.labels(provider, "failed").inc()
        raise
    except ProviderError:
        breaker.worked()
        PLATFORM_CALLS.labels(provider, "refused").inc()
        raise
    breaker.worked()
    PLATFORM_CALLS.labels(provider, "answered").inc()
    return found


def platform_for(game_id: UUID, provider: str) -> Platform:
    """The game's app in the platform's store. Raises `MisconfiguredError` where there is none (any
    more): what players sent is kept until there is."""
    found = platform_of(game_id, provider)
    if found is None:
        raise MisconfiguredError("platform_missing", f"The game has no active app of {provider}")
    return found


def next_attempt(
    attempts: int, first: datetime, error: Exception, due: "QuerySet[Any]"
) -> datetime | None:
    """When to try a row of `due` again after the `attempts`-th failure; None when it is time to
    give up.

    Doubling from 5 s to 1 minute with full jitter, and after half an hour to 1 h; later where the
    platform asks for it. What was not asked at all is never given up.
    """
    now = timezone.now()
    if isinstance(error, PutOffError):
        return now + error.wait + _spread(due, error.provider)
    if now - first >= GIVE_UP:
        return None
    # Somebody waits for what was bought. A platform where nothing works is kept from all of them
    # by its breaker; one that answers now and then has answered all by the end of this time.
    longest = LATER if now - first >= SOON_FOR else SOON
    wait = backoff(attempts, longest=longest)
    if isinstance(error, TryAgainError) and error.after is not None:
        wait = max(wait, timedelta(seconds=min(error.after, GIVE_UP.total_seconds())))
    return now + wait


def _spread(due: "QuerySet[Any]", provider: str) -> timedelta:
    """A random pause, the longer the more rows of `due` wait for the provider: while its platform
    is away they would all be claimed, only to be put off again, as soon as anybody may ask."""
    key, now = (due.model._meta.label, provider), time.monotonic()
    until, waiting = _counted.get(key, (now, 0))
    if until <= now:
        soon = due.filter(provider=provider, next_attempt_at__lte=timezone.now() + LATER)
        waiting = soon[: PUT_OFF_RATE * int(LATER.total_seconds())].count()
        _counted[key] = (now + COUNTED_FOR, waiting)
    longest = max(LEAST_SPREAD, waiting / PUT_OFF_RATE)
    return timedelta(seconds=random.uniform(1, longest))  # noqa: S311 (no secret)


def told(error: Exception) -> str:
    """An error in a few words, for staff. Providers keep receipts and tokens out of theirs."""
    if isinstance(error, ProviderError):
        return f"{error.code}: {error.detail}"[:500] if error.detail else error.code
    return type(error).__name__
