"""Rows of accounts for tests."""

import hashlib
from datetime import timedelta
from typing import Any
from uuid import UUID

import factory
from django.utils import timezone
from factory.django import DjangoModelFactory

from accounts.models import ApiKey, Game, Identity, Player, Sanction, Session, StaffUser
from accounts.names import name_key
from accounts.services import keys
from accounts.tokens import make_access_token


class GameFactory(DjangoModelFactory[Game]):
    class Meta:
        model = Game

    slug = factory.Sequence(lambda n: f"game-{n}")
    name = factory.Sequence(lambda n: f"Game {n}")


class PlayerFactory(DjangoModelFactory[Player]):
    class Meta:
        model = Player

    game = factory.SubFactory(GameFactory)
    display_name = factory.Sequence(lambda n: f"Player {n}")
    name_key = factory.LazyAttribute(lambda player: name_key(player.display_name))
    tag = factory.Sequence(lambda n: n % 10_000)


class ApiKeyFactory(DjangoModelFactory[ApiKey]):
    """A key; its text is in `.text`, which no row holds. All scopes unless told."""

    class Meta:
        model = ApiKey

    game = factory.SubFactory(GameFactory)
    kind = ApiKey.Kind.SECRET

    @classmethod
    def _create(cls, model_class: type[ApiKey], *args: Any, **fields: Any) -> ApiKey:
        game = fields.pop("game")
        key, text = keys.create(game_id=game.pk, **fields)
        key.text = text  # type: ignore[attr-defined]
        return key


class IdentityFactory(DjangoModelFactory[Identity]):
    """A device identity whose secret is `SECRET`."""

    class Meta:
        model = Identity

    player = factory.SubFactory(PlayerFactory)
    game = factory.LazyAttribute(lambda identity: identity.player.game)
    method = Identity.Method.DEVICE
    subject = factory.Sequence(lambda n: f"device-{n}")
    secret = factory.LazyFunction(lambda: hashlib.sha256(SECRET.encode()).hexdigest())


class SessionFactory(DjangoModelFactory[Session]):
    class Meta:
        model = Session

    player = factory.SubFactory(PlayerFactory)
    game = factory.LazyAttribute(lambda session: session.player.game)
    method = Identity.Method.DEVICE
    expires_at = factory.LazyFunction(lambda: timezone.now() + timedelta(days=30))


class SanctionFactory(DjangoModelFactory[Sanction]):
    """A row alone. `accounts.services.sanctions.impose` also blocks and signs out."""

    class Meta:
        model = Sanction

    player = factory.SubFactory(PlayerFactory)
    game = factory.LazyAttribute(lambda sanction: sanction.player.game)
    kind = Sanction.Kind.WARNING
    reason = "Rude words"
    author = "test"


class StaffUserFactory(DjangoModelFactory[StaffUser]):
    class Meta:
        model = StaffUser

    username = factory.Sequence(lambda n: f"staff{n}")
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
