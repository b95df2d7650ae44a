"""Keeping the rank index true: brought up to date from the log, rebuilt from the entries.

Nothing that was committed is missed, whatever dies in between, because the index says itself up
to when it is complete (`mark`): every change of an entry has a line in the submission log, dated
by PostgreSQL and committed with it, and the reconciler applies whatever was logged after the mark.
That covers a process that died between its commit and Redis, an update that timed out, and a
Redis that came back with data from some seconds ago (its mark is as old as its data). An index
without a mark is not read, and built anew. See docs/adr/0041-rank-index-repair.md.
"""

import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple
from uuid import UUID

import structlog
from django.db import connection
from django.db.models import Q
from django.utils import timezone

from leaderboards import index
from leaderboards.metrics import (
    INDEX_LAG,
    INDEX_REPAIRED,
    REBUILD_SECONDS,
    SEASONS_WITHOUT_INDEX,
)
from leaderboards.models import Season

log = structlog.get_logger(__name__)
BATCH = 5_000
BEFORE_ALL = UUID(int=0)
# Beyond this the log is no shorter way than the entries themselves.
LOG_REACH = timedelta(hours=1)
# Clocks of a database that failed over may differ by this much.
OVERLAP = timedelta(seconds=2)
# The index of a season that ended is looked after for so long, and then forgotten: PostgreSQL
# answers for it. Forgotten later, so that no run finds it gone and builds it anew.
AFTER_END = timedelta(days=7)
FORGET_AFTER_END = timedelta(days=8)


class Report(NamedTuple):
    """What a run of the reconciler did: entries repaired, seasons rebuilt, seasons still without
    an index (another process is building them)."""

    repaired: int = 0
    rebuilt: int = 0
    missing: int = 0


def horizon() -> datetime:
    """A moment before which no log line can appear any more.

    Lines are dated with the start of their statement. A transaction that is still open may have
    written one since it began, or, while it has no transaction id yet, since its present
    statement began. Statements that have read for over a minute are passed over: a score does
    not read that long, and an export must not hold the index back.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            """SELECT least(
                   statement_timestamp(),
                   min(CASE WHEN backend_xid IS NOT NULL THEN xact_start
                            WHEN state = 'active'
                                 AND query_start > statement_timestamp() - interval '1 minute'
                            THEN query_start END))
               FROM pg_stat_activity
               WHERE datname = current_database() AND pid <> pg_backend_pid()"""
        )
        moment: datetime = cursor.fetchone()[0]
    return moment


def reconcile() -> Report:
    """Bring every running season's index up to date, and build those that are missing.

    Raises `RedisAway`: there is nothing to do until Redis is back.
    """
    now = timezone.now()
    seasons = dict(
        Season.objects.filter(
            Q(ends_at__isnull=True) | Q(ends_at__gt=now - AFTER_END), board__is_active=True
        ).values_list("id", "ends_at")
    )
    marks = dict(zip(seasons, index.marks(list(seasons)), strict=True))
    until = horizon()
    ready = {season: mark for season, mark in marks.items() if mark and mark > now - LOG_REACH}
    repaired = _replay(ready, seasons, until)
    rebuilt = missing = 0
    for season in seasons:
        if season not in ready:
            if rebuild(season):
                rebuilt += 1
            else:
                missing += 1
    SEASONS_WITHOUT_INDEX.set(missing)
    if ready:
        INDEX_LAG.set(max(0.0, (timezone.now() - until).total_seconds()))
    if repaired or rebuilt:
        log.info("ranks_repaired", entries=repaired, seasons=rebuilt)
    return Report(repaired, rebuilt, missing)


def _replay(
    ready: Mapping[UUID, datetime], ends: Mapping[UUID, datetime | None], until: datetime
) -> int:
    """Apply what was logged since the oldest mark. Returns how many entries needed it."""
    if not ready:
        return 0
    since = min(ready.values()) - OVERLAP
    repaired = 0
    for season_id, changes in _logged_changes(since, list(ready)):
        changed = index.apply_many(season_id, changes)
        repaired += max(0, changed)
    index.advance({season: _forget_at(ends[season]) for season in ready}, until)
    if repaired:
        INDEX_REPAIRED.inc(repaired)
    return repaired


def _forget_at(ends_at: datetime | None) -> datetime | None:
    return None if ends_at is None else ends_at + FORGET_AFTER_END


def _logged_changes(
    since: datetime, seasons: Sequence[UUID]
) -> Iterator[tuple[UUID, list[index.Packed]]]:
    """The present state of every entry that was touched since then, season by season."""
    with connection.cursor() as cursor:
        cursor.execute(
            """SELECT DISTINCT season_id, player_id FROM leaderboards_submission
               WHERE created_at >= %s AND verdict <> 'refused' AND season_id = ANY(%s::uuid[])
               ORDER BY season_id, player_id""",
            [since, list(seasons)],
        )
        touched = cursor.fetchall()
    for start in range(0, len(touched), BATCH):
        part = touched[start : start + BATCH]
        for season_id in sorted({season for season, _ in part}):
            players = [player for season, player in part if season == season_id]
            yield season_id, _packed("player_id = ANY(%s::uuid[])", season_id, players)


def _packed(condition: str, season_id: UUID, wanted: UUID | list[UUID]) -> list[index.Packed]:
    """Entries of a season as the index takes them, by player; packed by PostgreSQL, since packing
    a million of them in Python takes longer than all the rest (leaderboards/order.py)."""
    with connection.cursor() as cursor:
        cursor.execute(
            f"""SELECT uuid_send(player_id),
                       int8send(order_key # (-9223372036854775808)::bigint)
                       || int8send((extract(epoch FROM achieved_at) * 1000000)::bigint),
                       version, (state = 'ranked')::integer
                FROM leaderboards_entry WHERE season_id = %s::uuid AND {condition}
                ORDER BY player_id LIMIT {BATCH}""",  # noqa: S608 (constants of this module)
            [season_id, wanted],
        )
        rows: list[index.Packed] = cursor.fetchall()
    return rows


def rebuild(season_id: UUID) -> bool:
    """Build a season's index anew, beside the one that is read, while scores go on.

    False: another process is building it, or has taken over. Raises `RedisAway`.

    Writes go into both from `start_build` on. Whatever was committed before is read below; whatever
    comes later is applied by its writer, or found by the reconciler, since the new index says
    that it is complete only up to the horizon of its start.
    """
    started = time.monotonic()
    token = index.start_build(season_id)
    if token is None:
        return False
    mark = horizon()
    last = BEFORE_ALL
    entries = 0
    while changes := _packed("player_id > %s::uuid", season_id, last):
        if index.apply_many(season_id, changes, token=token) < 0:
            return False
        entries += len(changes)
        last = UUID(bytes=bytes(changes[-1][0]))
    if not index.finish_build(season_id, token=token, mark=mark):
        return False
    ends_at = Season.objects.values_list("ends_at", flat=True).get(pk=season_id)
    if ends_at is not None:
        index.advance({season_id: max(ends_at, timezone.now()) + FORGET_AFTER_END}, mark)
    seconds = time.monotonic() - started
    REBUILD_SECONDS.set(seconds)
    log.info("ranks_rebuilt", season=str(season_id), entries=entries, seconds=round(seconds, 2))
    return True
