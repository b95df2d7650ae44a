"""Fixtures of leaderboards: signed-in players and boards of the game."""

from collections.abc import Callable
from typing import Any

import pytest

from leaderboards.boards import BoardDefinition
from leaderboards.services import seasons
from tests.factories.accounts import PlayerFactory, SessionFactory, access_token
from tests.factories.leaderboards import board_of
from tests.fixtures.api import PlayerClient


def sign_in(player: Any) -> PlayerClient:
    """A client of this player, with a session row but without the sign-in request."""
    token = access_token(SessionFactory.create(player=player))
    return PlayerClient({"Authorization": f"Bearer {token}"}, player_id=player.pk)


@pytest.fixture
def board(game: Any) -> BoardDefinition:
    """`harvest`: permanent, keeps the best, highest first."""
    return board_of(game, key="harvest")


@pytest.fixture
def season(board: BoardDefinition) -> seasons.SeasonInfo:
    return seasons.current(board)


@pytest.fixture
def player(game: Any) -> PlayerClient:
    return sign_in(PlayerFactory.create(game=game))


@pytest.fixture
def new(game: Any) -> Callable[..., PlayerClient]:
    """Makes another player of the game."""

    def make(**fields: Any) -> PlayerClient:
        return sign_in(PlayerFactory.create(game=game, **fields))

    return make
