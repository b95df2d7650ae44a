"""Transactions and locks, as services use them.

One service call is one transaction. Locks are taken in one order per app (its locks.py), rows
of a kind by primary key. Nothing inside a transaction talks to the network.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypeVar

from django.db import connection, models

M = TypeVar("M", bound=models.Model)


@contextmanager
def lock_timeout(milliseconds: int) -> Iterator[None]:
    """Inside a transaction: a statement that waits longer for a lock fails (55P03)."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT set_config('lock_timeout', %s, true)", [f"{milliseconds}ms"])
    yield
    with connection.cursor() as cursor:
        cursor.execute("SELECT set_config('lock_timeout', '0', true)")


def lock_rows(queryset: "models.QuerySet[M]") -> list[M]:
    """The rows, locked for update in primary-key order, so that two callers can't deadlock."""
    return list(queryset.order_by("pk").select_for_update(of=("self",)))


def advisory_lock(*parts: object) -> None:
    """Wait for this transaction's turn on a name; the lock ends with the transaction."""
    if not connection.in_atomic_block:
        raise AssertionError("An advisory lock needs a transaction")
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT pg_advisory_xact_lock(hashtextextended(%s::text, 0))",
            [":".join(map(str, parts))],
        )


def try_advisory_lock(*parts: object) -> bool:
    """Take the lock of this name if nobody has it; it ends with the transaction."""
    if not connection.in_atomic_block:
        raise AssertionError("An advisory lock needs a transaction")
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT pg_try_advisory_xact_lock(hashtextextended(%s::text, 0))",
            [":".join(map(str, parts))],
        )
        (locked,) = cursor.fetchone()
    return bool(locked)
