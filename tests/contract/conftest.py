"""Games with content for the contract tests: two of them, the same in all but their slug."""

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from pytest_django import DjangoDbBlocker

from accounts.models import Block, FriendRequest, Game
from accounts.services import game_files
from tests.contract.callers import World, new_world
from tests.contract.operations import Owned
from tests.factories.accounts import (
    IdentityFactory,
    PlayerFactory,
    SanctionFactory,
    SessionFactory,
    befriend,
)
from tests.fixtures.api import PlayerClient
from tests.fixtures.database import empty_database

EXAMPLE = Path(settings.BASE_DIR) / "examples" / "lantern_garden.yaml"
_numbers = itertools.count()


def game_with_content() -> Game:
    """A new game that is what the example file says."""
    slug = f"contract-{next(_numbers)}"
    text = EXAMPLE.read_text(encoding="utf-8").replace("slug: lantern-garden", f"slug: {slug}")
    game_files.apply(text=text, dry_run=False, new_server_key=False)
    return Game.objects.get(slug=slug)


@pytest.fixture(autouse=True)
def far_limits(settings: Any) -> None:
    """One caller makes more calls here than a person does."""
    settings.RATE_LIMITS = dict.fromkeys(settings.RATE_LIMITS, (100000, 60))


@pytest.fixture(scope="module")
def applied_games(
    django_db_setup: None, django_db_blocker: DjangoDbBlocker
) -> Iterator[tuple[Game, Game]]:
    """Two games, applied once for all tests of a module: each of them takes back what it did."""
    with django_db_blocker.unblock():
        yield game_with_content(), game_with_content()
        empty_database()


@pytest.fixture
def game(applied_games: tuple[Game, Game], db: None) -> Game:
    return Game.objects.get(pk=applied_games[0].pk)


@pytest.fixture
def other_game(applied_games: tuple[Game, Game], db: None) -> Game:
    return Game.objects.get(pk=applied_games[1].pk)


@pytest.fixture
def world(game: Game) -> World:
    return new_world(game)


@pytest.fixture
def owned(world: World) -> Owned:
    """What the world's player has, by where its name stands in addresses."""
    player = world.player
    client = PlayerClient(world.headers("player"), player_id=player.pk)
    saved: Any = client.put("/v1/saves/garden", {"beds": 3}, if_none_match="*")
    assert saved.status_code == 201, saved.content
    friend, asker, blocked = PlayerFactory.create_batch(3, game=player.game)
    befriend(player, friend)
    FriendRequest.objects.create(sender=asker, recipient=player)
    Block.objects.create(player=player, blocked=blocked)
    return Owned(
        {
            ("v1/players/<", "player"): player.pk,
            ("v1/leaderboards/", "player"): player.pk,
            ("v1/players/me/identities/", "identity"): IdentityFactory(player=player).pk,
            ("v1/players/<", "sanction"): SanctionFactory(player=player).pk,
            ("v1/friends/<", "player"): friend.pk,
            ("v1/friends/requests/<", "player"): asker.pk,
            ("v1/blocks/<", "player"): blocked.pk,
            ("v1/sessions/<", "session"): SessionFactory(player=player).pk,
        },
        {
            ("v1/leaderboards/", "board"): "harvest",
            ("v1/saves/", "slot"): "garden",
            ("v1/players/<", "slot"): "garden",
            ("v1/saves/", "number"): "1",
            ("v1/achievements/", "key"): "first_bloom",
            ("v1/store/inventory/", "item"): "koi",
        },
    )
