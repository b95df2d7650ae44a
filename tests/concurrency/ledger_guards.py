"""The ledger with guards taken away, for the controls of its races."""

from collections.abc import Iterator
from contextlib import contextmanager

from django.db import connection

LOCK = " FOR NO KEY UPDATE"
# Between reading the wallet and writing it, wait until all threads have read it. They are counted
# by a sequence, as all see at once what it is at; nobody waits for those that never come.
WRITES_BEGIN = "    posted_at := greatest("
MEET = """
    PERFORM nextval('test_meeting');
    FOR i IN 1 .. 2000 LOOP
        EXIT WHEN (SELECT last_value FROM test_meeting) >= {threads};
        PERFORM pg_sleep(0.005);
    END LOOP;
"""


def _definition(function: str) -> str:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_get_functiondef(oid) FROM pg_proc WHERE proname = %s", [function])
        (text,) = cursor.fetchone()
    return str(text)


def _execute(sql: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(sql)


@contextmanager
def without_lock(threads: int) -> Iterator[None]:
    """store_post does not lock the player, and each of so many threads has read before any of
    them writes."""
    post = _definition("store_post")
    assert LOCK in post
    assert WRITES_BEGIN in post
    _execute("CREATE SEQUENCE test_meeting")
    meet = MEET.format(threads=threads)
    _execute(post.replace(LOCK, "").replace(WRITES_BEGIN, meet + WRITES_BEGIN))
    try:
        yield
    finally:
        _execute(post)
        _execute("DROP SEQUENCE test_meeting")


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
    """store_post waits a tenth of a second for a lock."""
    patient = "SET lock_timeout TO '5s'"
    original = _definition("store_post")
    assert patient in original
    _execute(original.replace(patient, "SET lock_timeout TO '100ms'"))
    try:
        yield
    finally:
        _execute(original)
