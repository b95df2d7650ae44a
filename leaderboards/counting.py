"""Ranks from PostgreSQL, for the time that Redis has none: bounded in time and in number.

Counting is quick near the top and slow in the middle of a large board (at a million entries
about 80 ms), so each question has `RANKS_TIMEOUT_MS`, and only a few threads of a process may
count at once: the others answer that they can't, instead of taking the database down with them.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from threading import BoundedSemaphore
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db import OperationalError, connection, transaction
from psycopg.errors import QueryCanceled

from leaderboards.errors import RanksUnavailable
from leaderboards.metrics import RANKS_FROM_DATABASE
from leaderboards.order import Position

AT_ONCE = 3
_slots = BoundedSemaphore(AT_ONCE)

_RANKED = "leaderboards_entry WHERE season_id = %s::uuid AND state = 'ranked'"
_AT = "(%s::bigint, %s::timestamptz, %s::uuid)"
_ORDER = "order_key, achieved_at, player_id"


@contextmanager
def _bounded() -> Iterator[Any]:
    """A cursor with a time limit. Raises `RanksUnavailable`."""
    seconds = settings.RANKS_TIMEOUT_MS / 1000
    if not _slots.acquire(timeout=seconds):
        RANKS_FROM_DATABASE.labels("busy").inc()
        raise _unavailable()
    try:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute("SELECT current_setting('statement_timeout')")
            before = cursor.fetchone()[0]
            cursor.execute(
                "SELECT set_config('statement_timeout', %s::text, true)",
                [f"{settings.RANKS_TIMEOUT_MS}ms"],
            )
            yield cursor
            # A caller's transaction would keep it.
            cursor.execute("SELECT set_config('statement_timeout', %s::text, true)", [before])
        RANKS_FROM_DATABASE.labels("answered").inc()
    except OperationalError as error:
        if isinstance(error.__cause__, QueryCanceled):
            RANKS_FROM_DATABASE.labels("late").inc()
            raise _unavailable() from None
        raise
    finally:
        _slots.release()


def _unavailable() -> RanksUnavailable:
    return RanksUnavailable(headers={"Retry-After": "5"})


def _count_before(cursor: Any, season_id: UUID, position: Position) -> int:
    cursor.execute(
        f"SELECT count(*) FROM {_RANKED} AND ({_ORDER}) < {_AT}",  # noqa: S608 (constants)
        [season_id, *position],
    )
    return int(cursor.fetchone()[0])


def _count(cursor: Any, season_id: UUID) -> int:
    cursor.execute(f"SELECT count(*) FROM {_RANKED}", [season_id])  # noqa: S608 (constants)
    return int(cursor.fetchone()[0])


def rank(season_id: UUID, position: Position) -> int:
    """The 1-based rank that `position` has or would have. Raises `RanksUnavailable`."""
    with _bounded() as cursor:
        return _count_before(cursor, season_id, position) + 1


def rank_and_total(season_id: UUID, position: Position) -> tuple[int, int]:
    """(rank, how many entries are ranked). Raises `RanksUnavailable`."""
    with _bounded() as cursor:
        return _count_before(cursor, season_id, position) + 1, _count(cursor, season_id)


def page(
    season_id: UUID, *, start: Position | None, backward: bool, limit: int
) -> tuple[int, list[Position], bool]:
    """(rank of the first, positions in rank order, whether more follow in that direction)."""
    with _bounded() as cursor:
        found = _neighbours(cursor, season_id, start, backward=backward, limit=limit + 1)
        more = len(found) > limit
        found = found[:limit]
        if backward:
            found.reverse()
        first = _count_before(cursor, season_id, found[0]) + 1 if found and start else 1
    return first, found, more


def around(season_id: UUID, position: Position, *, limit: int) -> tuple[int, list[Position], bool]:
    """(rank of the first, `position` and its neighbours in rank order, whether more follow)."""
    ahead = (limit - 1) // 2
    with _bounded() as cursor:
        better = _neighbours(cursor, season_id, position, backward=True, limit=limit - 1)
        worse = _neighbours(cursor, season_id, position, backward=False, limit=limit)
        # At either end the other side fills up.
        take = max(ahead, limit - 1 - len(worse))
        above = better[:take][::-1]
        below = worse[: limit - 1 - len(above)]
        found = [*above, position, *below]
        first = _count_before(cursor, season_id, found[0]) + 1
    return first, found, len(worse) > len(below)


def _neighbours(
    cursor: Any, season_id: UUID, start: Position | None, *, backward: bool, limit: int
) -> list[Position]:
    """The nearest positions after (or before) `start`, nearest first."""
    condition = f"AND ({_ORDER}) {'<' if backward else '>'} {_AT}" if start else ""
    way = "DESC" if backward else "ASC"
    order = ", ".join(f"{name} {way}" for name in _ORDER.split(", "))
    cursor.execute(
        f"SELECT {_ORDER} FROM {_RANKED} {condition} "  # noqa: S608 (constants)
        f"ORDER BY {order} LIMIT %s::integer",
        [season_id, *(start or ()), limit],
    )
    return [Position(*row) for row in cursor.fetchall()]
