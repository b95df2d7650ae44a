"""Rows of accounts for tests."""

import hashlib
import secrets
from collections.abc import Sequence as Sequence_
from datetime import timedelta
from uuid import UUID

from django.utils import timezone
from factory.declarations import LazyAttribute, LazyFunction, Sequence, SubFactory
from factory.django import DjangoModelFactory

from accounts.models import (
    ApiKey,
    Friendship,
    Game,
    Identity,
    Player,
    Sanction,
    Session,
    StaffUser,
)
from accounts.names import name_key
from accounts.services import keys
from accounts.tokens import make_access_token
from config.db import definitions


class GameFactory(DjangoModelFactory[Game]):
    class Meta:
        model = Game

    slug = Sequence(lambda n: f"game-{n}")
    name = Sequence(lambda n: f"Game {n}")


class PlayerFactory(DjangoModelFactory[Player]):
    class Meta:
        model = Player

    game = SubFactory(GameFactory)
    display_name = Sequence(lambda n: f"Player {n}")
    name_key = LazyAttribute(lambda player: name_key(player.display_name))
    tag = Sequence(lambda n: n % 10_000)


class ApiKeyFactory(DjangoModelFactory[ApiKey]):
    """A secret key with all scopes, whose text is `text`. The bound of two is not kept here."""

    class Meta:
        model = ApiKey

    class Params:
        text = LazyFunction(lambda: f"sk_{secrets.token_urlsafe(32)}")

    game = SubFactory(GameFactory)
    kind = ApiKey.Kind.SECRET
    scopes = LazyFunction(lambda: sorted(keys.SCOPES))
    shown = LazyAttribute(lambda key: key.text)
    hash = LazyAttribute(lambda key: keys.hash_key(key.text))


def publishable_key(game: Game) -> str:
    """The text of the game's publishable key, made where there is none."""
    return keys.publishable_key(game)


def secret_key(game: Game, scopes: Sequence_[str] | None = None) -> str:
    """The text of a new secret key, with all scopes unless told."""
    text = f"sk_{secrets.token_urlsafe(32)}"
    ApiKeyFactory.create(
        game=game, text=text, scopes=sorted(keys.SCOPES if scopes is None else scopes)
    )
    definitions.changed(game.pk)
    return text


class IdentityFactory(DjangoModelFactory[Identity]):
    """A device identity whose secret is `SECRET`."""

    class Meta:
        model = Identity

    player = SubFactory(PlayerFactory)
    game = LazyAttribute(lambda identity: identity.player.game)
    method = Identity.Method.DEVICE
    subject = Sequence(lambda n: f"device-{n}")
    secret = LazyFunction(lambda: hashlib.sha256(SECRET.encode()).hexdigest())


class SessionFactory(DjangoModelFactory[Session]):
    class Meta:
        model = Session

    player = SubFactory(PlayerFactory)
    game = LazyAttribute(lambda session: session.player.game)
    method = Identity.Method.DEVICE
    expires_at = LazyFunction(lambda: timezone.now() + timedelta(days=30))


class SanctionFactory(DjangoModelFactory[Sanction]):
    """A row alone. `accounts.services.sanctions.impose` also blocks and signs out."""

    class Meta:
        model = Sanction

    player = SubFactory(PlayerFactory)
    game = LazyAttribute(lambda sanction: sanction.player.game)
    kind = Sanction.Kind.WARNING
    reason = "Rude words"
    author = "test"


class StaffUserFactory(DjangoModelFactory[StaffUser]):
    class Meta:
        model = StaffUser

    username = Sequence(lambda n: f"staff{n}")
    role = StaffUser.Role.ADMIN
    is_staff = True


SECRET = "s" * 43


def access_token(session: Session, *, now: float | None = None, game_id: UUID | None = None) -> str:
    """An access token of a session; `now` (Unix time) in the past makes an expired one."""
    return make_access_token(
        player_id=session.player_id,
        session_id=session.pk,
        game_id=game_id or session.game_id,
        is_tester=session.player.is_tester,
        now=now,
    )


def befriend(player: Player, other: Player) -> None:
    """Two rows alone. `accounts.services.friends.accept` also runs hooks."""
    Friendship.objects.bulk_create(
        [
            Friendship(player=player, friend=other),
            Friendship(player=other, friend=player),
        ]
    )
