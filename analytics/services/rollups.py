"""The figures of a day: computed from what was recorded, again whenever something came in late.

Computing a day replaces its figures, so it may be done twice, at once, or be killed half way:
nothing is added to what was there. One lock per game and day keeps a computation that began
earlier from overwriting a later one's result with older figures.
"""

import time
from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import msgspec
import structlog
from django.conf import settings
from django.db import connection, transaction
from django.utils import timezone

from accounts.models import Game
from analytics.definitions import METRICS
from analytics.metrics import ROLLUP_LAG, ROLLUP_SECONDS
from analytics.models import RollupDay, RollupProgress
from config.db.transactions import advisory_lock

log = structlog.get_logger(__name__)
MAX_LABELS = 500
OTHER = "other"
# A transaction may commit this long after it noted when its events were received, which of players
# without consent is cut to the minute.
MARGIN = timedelta(minutes=5)
# A day is computed at most a tenth of the time.
REST_FACTOR = 10


class DayFigure(msgspec.Struct, frozen=True):
    """One row to be: "" as `split` is the whole day."""

    metric: str
    split: str
    label: str
    value: int


ACTIVE_SQL = """
WITH players AS (
    SELECT DISTINCT ON (who) platform, country, app_version
    FROM analytics_activeplayer
    WHERE game_id = %(game)s::uuid AND day = %(day)s::date
    ORDER BY who, seen_at
)
SELECT CASE WHEN GROUPING(platform) = 0 THEN 'platform'
            WHEN GROUPING(country) = 0 THEN 'country'
            WHEN GROUPING(app_version) = 0 THEN 'app_version' ELSE '' END,
       coalesce(platform, country, app_version, ''),
       count(*)
FROM players
GROUP BY GROUPING SETS ((), (platform), (country), (app_version))
"""

# The day is read once, into cells; all figures are sums of cells. An amount that is no number
# counts as 0; what the server itself records always is one.
CELLS_SQL = """
SELECT CASE WHEN source = 1 THEN name ELSE '' END AS fact, name, platform, country, app_version,
       CASE WHEN source = 1 THEN coalesce(props ->> 'currency', '') ELSE '' END AS currency,
       count(*),
       sum(CASE WHEN source = 1 AND jsonb_typeof(props -> 'amount') = 'number'
                THEN (props ->> 'amount')::numeric ELSE 0 END)
FROM analytics_event
WHERE game_id = %(game)s::uuid AND at >= %(begin)s::timestamptz AND at < %(end)s::timestamptz
      AND NOT is_tester
GROUP BY 1, 2, 3, 4, 5, 6
"""

REPLACE_SQL = """
WITH fresh AS MATERIALIZED (
    SELECT * FROM jsonb_to_recordset(%(figures)s::jsonb)
        AS figure(metric text, split text, label text, value bigint)
), gone AS (
    DELETE FROM analytics_dailyfigure old
    WHERE game_id = %(game)s::uuid AND day = %(day)s::date AND NOT EXISTS (
        SELECT FROM fresh WHERE fresh.metric = old.metric AND fresh.split = old.split
                                AND fresh.label = old.label)
)
INSERT INTO analytics_dailyfigure AS figure (game_id, day, metric, split, label, value)
SELECT %(game)s::uuid, %(day)s::date, metric, split, label, value FROM fresh
ON CONFLICT (game_id, metric, split, day, label)
    DO UPDATE SET value = excluded.value WHERE figure.value <> excluded.value
"""

TOUCHED_SQL = """
SELECT DISTINCT (at AT TIME ZONE %(timezone)s::text)::date
FROM analytics_event
WHERE game_id = %(game)s::uuid AND received_at >= %(since)s::timestamptz
      AND at >= %(oldest)s::timestamptz
"""


def day_bounds(day: date, zone: str) -> tuple[datetime, datetime]:
    """When a day of a time zone begins and ends, in UTC (23 to 25 hours apart)."""
    info = ZoneInfo(zone)
    begin = datetime(day.year, day.month, day.day, tzinfo=info)
    after = day + timedelta(days=1)
    end = datetime(after.year, after.month, after.day, tzinfo=info)
    return begin.astimezone(UTC), end.astimezone(UTC)


def compute_day(*, game_id: UUID, day: date) -> int:
    """Compute one day of a game from its events; how many figures it has."""
    started = time.perf_counter()
    zone = Game.objects.values_list("timezone", flat=True).get(pk=game_id)
    with transaction.atomic(durable=True):
        advisory_lock("rollup", game_id, day)
        figures = _read(game_id, day, zone)
        _replace(game_id, day, figures)
        took = time.perf_counter() - started
        RollupDay.objects.update_or_create(
            game_id=game_id,
            day=day,
            defaults={"computed_at": timezone.now(), "took_ms": int(took * 1000)},
        )
    ROLLUP_SECONDS.observe(took)
    return len(figures)


def _read(game_id: UUID, day: date, zone: str) -> list[DayFigure]:
    begin, end = day_bounds(day, zone)
    totals: dict[tuple[str, str, str], int] = {(key, "", ""): 0 for key in METRICS}
    with connection.cursor() as cursor:
        cursor.execute(ACTIVE_SQL, {"game": game_id, "day": day})
        for split, label, count in cursor.fetchall():
            totals["dau", split, label] = count
        cursor.execute(CELLS_SQL, {"game": game_id, "begin": begin, "end": end})
        # One chunk at a time: a large game has many cells, and only their sums are kept.
        while cells := cursor.fetchmany(5_000):
            _add_up(totals, cells)
    return _bounded(totals)


def _add_up(totals: dict[tuple[str, str, str], int], cells: Iterable[tuple[Any, ...]]) -> None:
    for fact, name, platform, country, app_version, currency, count, amount in cells:
        labels = {
            "": "",
            "platform": platform,
            "country": country,
            "app_version": app_version,
            "name": name,
            "currency": currency,
        }
        for metric in METRICS.values():
            if metric.source != "events" or (metric.event is not None and metric.event != fact):
                continue
            value = int(amount) if metric.sums else count
            for split in ("", *metric.splits):
                key = (metric.key, split, labels[split])
                totals[key] = totals.get(key, 0) + value


def _bounded(totals: dict[tuple[str, str, str], int]) -> list[DayFigure]:
    """At most `MAX_LABELS` labels a split, the rest added up: clients invent names at will."""
    groups: dict[tuple[str, str], list[tuple[int, str]]] = {}
    for (metric, split, label), value in totals.items():
        groups.setdefault((metric, split), []).append((value, label))
    figures = []
    for (metric, split), values in groups.items():
        values.sort(key=lambda pair: (-pair[0], pair[1]))
        kept = {label: value for value, label in values[:MAX_LABELS]}
        if len(values) > MAX_LABELS:
            kept[OTHER] = kept.get(OTHER, 0) + sum(value for value, _ in values[MAX_LABELS:])
        figures += [
            DayFigure(metric, split, label, min(value, 2**63 - 1)) for label, value in kept.items()
        ]
    return figures


def _replace(game_id: UUID, day: date, figures: list[DayFigure]) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            REPLACE_SQL,
            {
                "game": game_id,
                "day": day,
                "figures": msgspec.json.encode(figures).decode(),
            },
        )


def update(*, game_id: UUID) -> list[date]:
    """Compute the days of a game that something came in for; which they were.

    What came in is found by when it was received, from where the last run stopped. A day whose
    computation takes long is left to a later run until it has rested, and then the next run
    looks again from the same point.
    """
    zone = Game.objects.values_list("timezone", flat=True).get(pk=game_id)
    now = timezone.now()
    progress = RollupProgress.objects.filter(game_id=game_id).first()
    late = timedelta(seconds=settings.EVENT_MAX_AGE_SECONDS) + timedelta(days=1)
    since = progress.seen_until if progress else now - late
    days = _touched_days(game_id, zone, since=since, oldest=since - late)
    # Signing in again and refreshing make a player active without making an event.
    today = now.astimezone(ZoneInfo(zone)).date()
    days |= {today, (since - MARGIN).astimezone(ZoneInfo(zone)).date()}
    computed, resting = [], False
    for day in sorted(days):
        if _rests(game_id, day, now):
            resting = True
            continue
        compute_day(game_id=game_id, day=day)
        computed.append(day)
    if not resting:
        # Two runs at once: whichever ends last, events later than both are still to be seen.
        RollupProgress.objects.update_or_create(game_id=game_id, defaults={"seen_until": now})
    ROLLUP_LAG.set((timezone.now() - (since if resting else now)).total_seconds())
    return computed


def _touched_days(game_id: UUID, zone: str, *, since: datetime, oldest: datetime) -> set[date]:
    with connection.cursor() as cursor:
        cursor.execute(
            TOUCHED_SQL,
            {"timezone": zone, "game": game_id, "since": since - MARGIN, "oldest": oldest},
        )
        return {day for (day,) in cursor.fetchall()}


def _rests(game_id: UUID, day: date, now: datetime) -> bool:
    last = RollupDay.objects.filter(game_id=game_id, day=day).first()
    if last is None:
        return False
    return now - last.computed_at < timedelta(milliseconds=last.took_ms * REST_FACTOR)


def recompute(*, game_id: UUID, first: date, last: date) -> int:
    """Compute each day from `first` to `last` again; how many days."""
    days = (last - first).days + 1
    for offset in range(days):
        compute_day(game_id=game_id, day=first + timedelta(days=offset))
    return max(days, 0)
