"""Work that must happen: a state on a row, committed with its cause, and a sweeper that finds it.

A row says when it is next due (`next_attempt_at`) and how often it was tried (`attempts`).
`claim` hands each due row to one worker and moves its due time ahead by a lease, so that a
worker that is killed loses nothing: the row is due again when the lease runs out. Whatever a
row asks for may therefore happen twice, and has to bear it.
"""

import random
from datetime import timedelta
from typing import Any, TypeVar

from django.db import models, transaction
from django.db.models import F, QuerySet
from django.utils import timezone

M = TypeVar("M", bound=models.Model)


def claim(due: "QuerySet[M]", *, limit: int, lease: timedelta) -> list[Any]:
    """At most `limit` rows of `due`, oldest first, counted as tried and leased to the caller.

    The model has `next_attempt_at` and `attempts`. Rows that another worker holds are passed
    over. Must not be called inside a transaction: the claim has to be visible at once.
    """
    now = timezone.now()
    with transaction.atomic(durable=True):
        rows = list(
            due.filter(next_attempt_at__lte=now)
            .order_by("next_attempt_at")
            .select_for_update(skip_locked=True)[:limit]
        )
        due.model._default_manager.filter(pk__in=[row.pk for row in rows]).update(
            next_attempt_at=now + lease, attempts=F("attempts") + 1
        )
    for row in rows:
        row.attempts += 1  # type: ignore[attr-defined]  # not every model has it; these do
    return rows


def count_due(due: "QuerySet[Any]", *, most: int) -> int:
    """How many rows of `due` could be claimed now, counted no further than to `most`."""
    return due.filter(next_attempt_at__lte=timezone.now())[:most].count()


def backoff(
    attempt: int,
    *,
    first: timedelta = timedelta(seconds=5),
    longest: timedelta = timedelta(hours=1),
) -> timedelta:
    """How long to wait after the `attempt`-th failure: doubling, with full jitter.

    Source: Marc Brooker, "Exponential Backoff And Jitter" (AWS Architecture Blog, 2015).
    """
    ceiling = min(first.total_seconds() * 2 ** min(attempt, 30), longest.total_seconds())
    return timedelta(seconds=random.uniform(1, max(1.0, ceiling)))  # noqa: S311 (no secret)
