"""The ledger with guards taken away, for the controls of its races."""

from collections.abc import Iterator
from contextlib import contextmanager

from django.db import connection

LOCK = " FOR NO KEY UPDATE"
# Between reading the wallet and writing it, wait until the other threads have read it too.
WRITES_BEGIN = "    posted_at := greatest("
SLOWLY = "    PERFORM pg_sleep(0.2);\n"


def _definition(function: str) -> str:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_get_functiondef(oid) FROM pg_proc WHERE proname = %s", [function])
        (text,) = cursor.fetchone()
    return str(text)


def _execute(sql: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(sql)


@contextmanager
def without_lock() -> Iterator[None]:
    """The functions do not lock the player, and dawdle between reading and writing."""
    post, buy = _definition("store_post"), _definition("store_buy")
    assert LOCK in post
    assert LOCK in buy
    assert WRITES_BEGIN in post
    _execute(post.replace(LOCK, "").replace(WRITES_BEGIN, SLOWLY + WRITES_BEGIN))
    _execute(buy.replace(LOCK, ""))
    try:
        yield
    finally:
        _execute(post)
        _execute(buy)


@contextmanager
def without_triggers() -> Iterator[None]:
    """Nothing holds balances to their entries."""
    tables = ("store_balance", "store_stack", "store_entry")
    for table in tables:
        _execute(f"ALTER TABLE {table} DISABLE TRIGGER USER")
    try:
        yield
    finally:
        for table in tables:
            _execute(f"ALTER TABLE {table} ENABLE TRIGGER USER")


@contextmanager
def impatient() -> Iterator[None]:
    """The functions wait a tenth of a second for a lock."""
    patient = "SET lock_timeout TO '5s'"
    originals = [_definition(function) for function in ("store_post", "store_buy")]
    for original in originals:
        assert patient in original
        _execute(original.replace(patient, "SET lock_timeout TO '100ms'"))
    try:
        yield
    finally:
        for original in originals:
            _execute(original)
