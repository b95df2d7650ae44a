"""Seasons: made when they are first needed, by whoever needs them first."""

from collections.abc import Sequence
from datetime import datetime
from threading import Lock
from uuid import UUID

import msgspec
from django.db import connection, transaction
from django.db.models import Q
from django.utils import timezone

from config import calendar
from config.redis import RedisAway
from leaderboards import index
from leaderboards.boards import BoardDefinition
from leaderboards.models import Board, Season

CACHE_SIZE = 20_000


class SeasonInfo(msgspec.Struct, frozen=True):
    """A season as requests use it. `ends_at` is null for a permanent one."""

    id: UUID
    number: int
    starts_at: datetime
    ends_at: datetime | None

    def runs_at(self, moment: datetime) -> bool:
        return self.starts_at <= moment and (self.ends_at is None or moment < self.ends_at)


# board id → (the definition it was found with, the season). A definition that was changed is
# another object, so that a season is looked up again after every change of the board.
_running: dict[UUID, tuple[BoardDefinition, SeasonInfo]] = {}
_lock = Lock()


def current(board: BoardDefinition, *, now: datetime | None = None) -> SeasonInfo:
    """The season that runs now, made if there is none yet. `now` is given in UTC when the
    database's clock says otherwise than ours; the cache is then passed over."""
    if now is None and (season := _kept(board, timezone.now())):
        return season
    moment = now or timezone.now()
    return _keep(board, _find([board.id], moment).get(board.id) or _create(board, moment))


def current_of(boards: Sequence[BoardDefinition]) -> list[SeasonInfo]:
    """The running season of each board, with at most one query for those that are there."""
    now = timezone.now()
    kept = {board.id: _kept(board, now) for board in boards}
    missing = [board_id for board_id, season in kept.items() if season is None]
    found = _find(missing, now) if missing else {}
    return [
        kept[board.id] or _keep(board, found.get(board.id) or _create(board, now))
        for board in boards
    ]


def _kept(board: BoardDefinition, now: datetime) -> SeasonInfo | None:
    kept = _running.get(board.id)
    return kept[1] if kept and kept[0] is board and kept[1].runs_at(now) else None


def _keep(board: BoardDefinition, season: SeasonInfo) -> SeasonInfo:
    if not connection.in_atomic_block:
        with _lock:
            _running[board.id] = (board, season)
            while len(_running) > CACHE_SIZE:
                del _running[next(iter(_running))]
    return season


def _find(board_ids: Sequence[UUID], moment: datetime) -> dict[UUID, SeasonInfo]:
    """Board id → the season that runs at `moment`, where there is one."""
    seasons = (
        Season.objects.filter(Q(ends_at__isnull=True) | Q(ends_at__gt=moment))
        .filter(board_id__in=board_ids, starts_at__lte=moment)
        .order_by("board_id", "-number")
        .distinct("board_id")
    )
    return {season.board_id: info(season) for season in seasons}


def info(season: Season) -> SeasonInfo:
    return SeasonInfo(season.id, season.number, season.starts_at, season.ends_at)


def _create(board: BoardDefinition, moment: datetime) -> SeasonInfo:
    with transaction.atomic():
        # Whoever else needs this season waits here, and then finds it.
        row = Board.objects.select_for_update(of=("self",)).get(pk=board.id)
        found = _find([board.id], moment)
        if found:
            return found[board.id]
        latest = Season.objects.filter(board_id=board.id).order_by("-number").first()
        # By the database's clock, which also dates the log: nothing of this season is older.
        since = database_now()
        if board.reset:
            starts_at = calendar.start_before(board.reset, board.timezone, moment)
            ends_at = calendar.end_after(board.reset, board.timezone, moment)
        else:
            starts_at, ends_at = row.created_at, None
        if latest is not None and latest.ends_at is not None:
            starts_at = max(starts_at, latest.ends_at)
        season = Season.objects.create(
            board_id=board.id,
            number=latest.number + 1 if latest else 1,
            starts_at=min(starts_at, moment),
            ends_at=ends_at,
            created_at=since,
        )
        transaction.on_commit(lambda: _begin_index(season.id, since))
    return info(season)


def _begin_index(season_id: UUID, since: datetime) -> None:
    try:
        index.begin(season_id, since=since)
    except RedisAway:
        return  # the reconciler will build it


def database_now() -> datetime:
    """PostgreSQL's clock at the start of this statement."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT statement_timestamp()")
        moment: datetime = cursor.fetchone()[0]
    return moment


def reschedule(board: Board, *, now: datetime | None = None) -> None:
    """After a change of `reset`: the running season ends when the new calendar says."""
    moment = now or timezone.now()
    running = (
        Season.objects.filter(Q(ends_at__isnull=True) | Q(ends_at__gt=moment), board=board)
        .order_by("-number")
        .first()
    )
    if running is not None:
        running.ends_at = (
            calendar.end_after(board.reset, board.game.timezone, moment) if board.reset else None
        )
        running.save(update_fields=["ends_at"])
