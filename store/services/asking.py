"""Asking the platforms: never inside a transaction, not while they are broken, and again later.

A row that waits for a platform (an order, a notification, a purchase) has `attempts`,
`next_attempt_at` and `last_error`; config/db/sweeper.py claims it.
"""

from collections.abc import Callable
from datetime import datetime, timedelta
from functools import cache
from typing import TypeVar
from uuid import UUID

import structlog
from django.db import connection
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


class PutOffError(TryAgainError):
    """The platform is known to be broken: it was not asked at all."""


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
        raise PutOffError("platform_away", "The platform is left alone", after=wait, counts=False)
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


def next_attempt(attempts: int, first: datetime, error: Exception) -> datetime | None:
    """When to try again after the `attempts`-th failure; None when it is time to give up.

    Doubling from 5 s to 1 minute with full jitter, and after half an hour to 1 h; later where the
    platform asks for it. What was not asked at all is never given up.
    """
    now = timezone.now()
    if now - first >= GIVE_UP and not isinstance(error, PutOffError):
        return None
    # Somebody waits for what was bought. A platform where nothing works is kept from all of them
    # by its breaker; one that answers now and then has answered all by the end of this time.
    longest = LATER if now - first >= SOON_FOR else SOON
    wait = backoff(attempts, longest=longest)
    if isinstance(error, TryAgainError) and error.after is not None:
        least = timedelta(seconds=min(error.after, GIVE_UP.total_seconds()))
        # A platform that asks everybody to wait ten seconds is not asked by all in the eleventh.
        wait = least + backoff(1) if isinstance(error, PutOffError) else max(wait, least)
    return now + wait


def told(error: Exception) -> str:
    """An error in a few words, for staff. Providers keep receipts and tokens out of theirs."""
    if isinstance(error, ProviderError):
        return f"{error.code}: {error.detail}"[:500] if error.detail else error.code
    return type(error).__name__
