"""Boards: made, changed and archived, by the game's file and by the back office."""

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from django.db import transaction

from accounts.models import Game
from config import calendar
from config.db import definitions
from leaderboards.errors import BoardInUse
from leaderboards.models import Board, Entry, Season
from leaderboards.services import seasons

FIELDS: Sequence[str] = (
    "name",
    "sort",
    "keep",
    "reset",
    "min_score",
    "max_score",
    "requires_run",
    "bucket_size",
    "rewards",
    "is_active",
)
NOT_YET = "is not available yet"


def mistakes_in(values: Mapping[str, Any]) -> dict[str, str]:
    """Field → what is wrong, for rules beyond a field's type."""
    found = {}
    if values.get("reset") and (mistake := calendar.mistake_in(values["reset"])):
        found["reset"] = mistake
    low, high = values.get("min_score"), values.get("max_score")
    if low is not None and high is not None and low > high:
        found["min_score"] = "min_score is above max_score"
    for name in ("requires_run", "bucket_size"):
        if values.get(name):
            found[name] = f"{name} {NOT_YET}"
    return found


def in_use(board_id: UUID) -> bool:
    """Whether the board has an entry, in any season."""
    seasons_of = Season.objects.filter(board_id=board_id).values("id")
    return Entry.objects.filter(season_id__in=seasons_of).exists()


def board_save(*, game: Game, key: str, values: Mapping[str, Any]) -> Board:
    """Make the board `key`, or give it these values (see `FIELDS`), checked by `mistakes_in`.

    A change of `reset` moves the end of the running season. Raises `BoardInUse` when `sort`
    would change although there are entries.
    """
    with transaction.atomic():
        board = Board.objects.select_for_update().filter(game=game, key=key).first()
        before = None if board is None else (board.sort, board.reset)
        board = board or Board(game=game, key=key)
        for name, value in values.items():
            setattr(board, name, value)
        if before is not None and before[0] != board.sort and in_use(board.id):
            raise BoardInUse(f"The board {key} has entries: its sort can't change")
        board.save()
        if before is not None and before[1] != board.reset:
            seasons.reschedule(board)
        definitions.changed(game.id)
    return board


def board_archive(*, board: Board) -> None:
    """Take a board out of the game. Its entries stay, and are there again if it comes back."""
    with transaction.atomic():
        board.is_active = False
        board.save(update_fields=["is_active"])
        definitions.changed(board.game_id)
