"""Locks, as services use them.

One service call is one transaction. Locks are taken in one order per app, rows of a kind by
primary key. Nothing inside a transaction talks to the network.
"""

from django.db import connection


def advisory_lock(*parts: object) -> None:
    """Wait for this transaction's turn on a name; the lock ends with the transaction."""
    if not connection.in_atomic_block:
        raise AssertionError("An advisory lock needs a transaction")
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT pg_advisory_xact_lock(hashtextextended(%s::text, 0))",
            [":".join(map(str, parts))],
        )
