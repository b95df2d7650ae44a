"""Rows of leaderboards for tests."""

from typing import Any
from uuid import UUID

from factory.declarations import LazyAttribute, Sequence, SubFactory
from factory.django import DjangoModelFactory

from config.db import definitions
from leaderboards.boards import BoardDefinition, definition_of
from leaderboards.models import Board
from leaderboards.services import scores
from tests.factories.accounts import GameFactory


class BoardFactory(DjangoModelFactory[Board]):
    """A permanent board that keeps the best, highest first."""

    class Meta:
        model = Board

    game = SubFactory(GameFactory)
    key = Sequence(lambda n: f"board-{n}")
    name = LazyAttribute(lambda board: board.key)

    @classmethod
    def _create(cls, model_class: type[Board], *args: Any, **kwargs: Any) -> Board:
        board = super()._create(model_class, *args, **kwargs)
        definitions.changed(board.game_id)
        return board


def board_of(game: Any, **fields: Any) -> BoardDefinition:
    """A new board of `game`, as requests see it."""
    return definition_of(BoardFactory.create(game=game, **fields))


def submit(board: BoardDefinition, player_id: UUID, score: int, **more: Any) -> scores.Outcome:
    """A score, as a player submits it."""
    return scores.submit(board=board, player_id=player_id, score=score, **more)
