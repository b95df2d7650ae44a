"""Cron expressions in a game's time zone: seasons of boards, schedules and limits of offers."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError


def mistake_in(expression: str) -> str | None:
    """What is wrong with a cron expression, in words; None when it can be used.

    Five fields (minute, hour, day of month, month, day of week) that match some day.
    """
    if len(expression.split()) != 5:
        return "a cron expression has five fields"
    try:
        next(CronSim(expression, datetime(2024, 1, 1, tzinfo=UTC)))
    except CronSimError as error:
        return str(error) or "this is not a cron expression"
    except StopIteration:
        return "this never happens"
    return None


def start_before(expression: str, zone: str, moment: datetime) -> datetime:
    """The latest time at or before `moment` that the expression names, in UTC."""
    local = (moment + timedelta(seconds=1)).astimezone(ZoneInfo(zone)).replace(microsecond=0)
    return _utc(next(CronSim(expression, local, reverse=True)))


def end_after(expression: str, zone: str, moment: datetime) -> datetime:
    """The first time after `moment` that the expression names, in UTC."""
    return _utc(next(CronSim(expression, moment.astimezone(ZoneInfo(zone)))))


def _utc(moment: datetime) -> datetime:
    return moment.astimezone(UTC)


# (expression, zone) → the times around the latest moment asked about. Requests ask about now.
_latest: dict[tuple[str, str], tuple[datetime, datetime]] = {}
_KEPT = 10_000


def span_around(expression: str, zone: str, moment: datetime) -> tuple[datetime, datetime]:
    """(`start_before`, `end_after`) of `moment`, remembered for as long as it holds."""
    kept = _latest.get((expression, zone))
    if kept is not None and kept[0] <= moment < kept[1]:
        return kept
    found = start_before(expression, zone, moment), end_after(expression, zone, moment)
    if len(_latest) >= _KEPT:
        _latest.clear()
    _latest[expression, zone] = found
    return found
