"""What analytics reads."""

from collections.abc import Sequence
from datetime import date, datetime, timedelta
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import msgspec
from django.conf import settings
from django.db.models import Q
from django.utils import timezone

from accounts.models import Game, Player
from analytics.definitions import METRICS
from analytics.errors import InvalidPeriod, InvalidSplit, UnknownMetric
from analytics.models import DailyFigure, Event, RollupProgress
from analytics.services.rollups import day_bounds

MAX_DAYS = 400


class Point(msgspec.Struct, frozen=True):
    """A metric's value on one day, for one label (empty: the whole)."""

    day: date
    label: str
    value: int
    provisional: bool


class Dashboard(msgspec.Struct, frozen=True):
    """One game's days for the first page of the admin, oldest day first.

    values      metric → day → value (days without figures are missing)
    currencies  "currency_source" and "currency_sink" → (day, currency, value)
    top_events  today's most frequent events, (name, count)
    updated_at  until when what came in is counted; None before the first time
    """

    days: list[date]
    values: dict[str, dict[date, int]]
    currencies: dict[str, list[tuple[date, str, int]]]
    top_events: list[tuple[str, int]]
    updated_at: datetime | None


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


def games_for_dashboard() -> list[Game]:
    return list(Game.objects.filter(is_active=True).order_by("name", "pk")[:50])


def dashboard(*, game: Game, days: int) -> Dashboard:
    """The last `days` days of a game, today included, in a fixed number of queries."""
    today = timezone.now().astimezone(ZoneInfo(game.timezone)).date()
    first = today - timedelta(days=days - 1)
    values: dict[str, dict[date, int]] = {key: {} for key in METRICS}
    currencies: dict[str, list[tuple[date, str, int]]] = {
        "currency_source": [],
        "currency_sink": [],
    }
    rows = DailyFigure.objects.filter(
        game=game, metric__in=list(METRICS), split__in=("", "currency"), day__gte=first
    ).order_by("day", "label")
    for metric, split, day, label, value in rows.values_list(
        "metric", "split", "day", "label", "value"
    ):
        if split:
            currencies[metric].append((day, label, value))
        elif metric in values:
            values[metric][day] = value
    top = DailyFigure.objects.filter(game=game, metric="events", split="name", day=today)
    progress = RollupProgress.objects.filter(game=game).first()
    return Dashboard(
        days=[first + timedelta(days=offset) for offset in range(days)],
        values=values,
        currencies=currencies,
        top_events=list(top.order_by("-value", "label").values_list("label", "value")[:10]),
        updated_at=progress.seen_until if progress else None,
    )


class EventFilter(msgspec.Struct, frozen=True, kw_only=True):
    """Which events the back office looks for; at least a game, and a bounded time."""

    game_id: UUID
    first: datetime
    last: datetime
    players: list[UUID] | None = None
    name: str = ""


def events(
    *, wanted: EventFilter, limit: int, before: tuple[datetime, UUID] | None = None
) -> list[Event]:
    """The newest events that fit, at most `limit`; `before` is the last one already seen."""
    rows = Event.objects.filter(game_id=wanted.game_id, at__gte=wanted.first, at__lt=wanted.last)
    if wanted.players is not None:
        rows = rows.filter(player_id__in=wanted.players)
    if wanted.name:
        rows = rows.filter(name=wanted.name)
    if before is not None:
        at, event_id = before
        rows = rows.filter(Q(at__lt=at) | Q(at=at, id__lt=event_id)).filter(at__lte=at)
    return list(rows.order_by("-at", "-id")[:limit])


def recent_events_of(player: Player, *, limit: int) -> list[Event]:
    """A player's newest events; empty for a player without consent, whose events name nobody."""
    rows = Event.objects.filter(player_id=player.pk, game_id=player.game_id)
    return list(rows.order_by("-at", "-id")[:limit])
