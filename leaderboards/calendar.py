"""When seasons start and end: a board's cron expression, in its game's time zone."""

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
    """The latest time at or before `moment` at which a season starts, in UTC."""
    local = (moment + timedelta(seconds=1)).astimezone(ZoneInfo(zone)).replace(microsecond=0)
    return _utc(next(CronSim(expression, local, reverse=True)))


def end_after(expression: str, zone: str, moment: datetime) -> datetime:
    """The first time after `moment` at which a season ends, in UTC."""
    return _utc(next(CronSim(expression, moment.astimezone(ZoneInfo(zone)))))


def _utc(moment: datetime) -> datetime:
    return moment.astimezone(UTC)
