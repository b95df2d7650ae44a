"""A game's boards as requests use them: cached in each process, exactly."""

from typing import Literal, cast
from uuid import UUID

import msgspec

from config.api.problems import NotFound
from config.db.definitions import Definitions
from leaderboards.models import Board


class BoardDefinition(msgspec.Struct, frozen=True, kw_only=True):
    """An active board. `timezone` is the game's; `reset` is empty for one permanent season."""

    id: UUID
    game_id: UUID
    key: str
    name: str
    sort: Literal["desc", "asc"]
    keep: Literal["best", "last", "sum"]
    reset: str
    timezone: str
    min_score: int | None
    max_score: int | None


def definition_of(board: Board) -> BoardDefinition:
    """`board` (with its game) as a definition."""
    return BoardDefinition(
        id=board.id,
        game_id=board.game_id,
        key=board.key,
        name=board.name,
        sort=cast(Literal["desc", "asc"], str(board.sort)),
        keep=cast(Literal["best", "last", "sum"], str(board.keep)),
        reset=board.reset,
        timezone=board.game.timezone,
        min_score=board.min_score,
        max_score=board.max_score,
    )


def _load(game_id: UUID) -> dict[str, BoardDefinition]:
    boards = Board.objects.filter(game_id=game_id, is_active=True).select_related("game")
    return {board.key: definition_of(board) for board in boards.order_by("key")}


boards = Definitions("leaderboards.boards", _load)


def board_get(*, game_id: UUID, key: str) -> BoardDefinition:
    """An active board of this game. Raises `NotFound`."""
    board = boards.get(game_id).get(key)
    if board is None:
        raise NotFound("There is no such leaderboard")
    return board
