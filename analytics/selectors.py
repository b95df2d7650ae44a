"""What analytics reads."""

from collections.abc import Sequence
from datetime import date, datetime, timedelta
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import msgspec
from django.conf import settings
from django.utils import timezone

from accounts.models import Game
from analytics.definitions import METRICS
from analytics.errors import InvalidPeriod, InvalidSplit, UnknownMetric
from analytics.models import DailyFigure, RollupProgress
from analytics.services.rollups import day_bounds

MAX_DAYS = 400


class Point(msgspec.Struct, frozen=True):
    """A metric's value on one day, for one label (empty: the whole)."""

    day: date
    label: str
    value: int
    provisional: bool


def games_with_figures() -> list[UUID]:
    return list(Game.objects.filter(is_active=True).order_by("pk").values_list("pk", flat=True))


def is_provisional(day: date, *, zone: str, seen_until: datetime | None) -> bool:
    """Whether late events may still change a day, or the rollup has not looked at all of them."""
    closes = day_bounds(day, zone)[1] + timedelta(seconds=settings.EVENT_MAX_AGE_SECONDS)
    return timezone.now() < closes or seen_until is None or seen_until < closes


def today_of(game_id: UUID) -> date:
    """The date in the game's time zone."""
    zone = Game.objects.values_list("timezone", flat=True).get(pk=game_id)
    return timezone.now().astimezone(ZoneInfo(zone)).date()


def metric_series(
    *, game_id: UUID, metric: str, first: date, last: date, by: str = "day"
) -> list[Point]:
    """A metric from `first` to `last`, both included, by day and label; never beyond today.

    Raises `UnknownMetric`, `InvalidSplit` or `InvalidPeriod`.
    """
    definition = METRICS.get(metric)
    if definition is None:
        raise UnknownMetric(f"The metrics are: {', '.join(METRICS)}")
    if by != "day" and by not in definition.splits:
        raise InvalidSplit(f"{metric} is split by: day, {', '.join(definition.splits)}")
    if last < first or (last - first).days >= MAX_DAYS:
        raise InvalidPeriod(f"From the first to the last day there may be {MAX_DAYS} days")
    split = "" if by == "day" else by
    rows = list(
        DailyFigure.objects.filter(
            game_id=game_id, metric=metric, split=split, day__gte=first, day__lte=last
        )
        .order_by("day", "label")
        .values_list("day", "label", "value")
    )
    zone = Game.objects.values_list("timezone", flat=True).get(pk=game_id)
    if not split:
        rows = _without_gaps(rows, first, min(last, today_of(game_id)))
    seen_until = (
        RollupProgress.objects.filter(game_id=game_id).values_list("seen_until", flat=True).first()
    )
    return [
        Point(day, label, value, is_provisional(day, zone=zone, seen_until=seen_until))
        for day, label, value in rows
    ]


def _without_gaps(
    rows: Sequence[tuple[date, str, int]], first: date, last: date
) -> list[tuple[date, str, int]]:
    values: dict[Any, int] = {day: value for day, _, value in rows}
    days = (first + timedelta(days=offset) for offset in range((last - first).days + 1))
    return [(day, "", values.get(day, 0)) for day in days]
