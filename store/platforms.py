"""A game's apps in the platforms' stores as requests and workers need them, kept exactly as
the catalogue is."""

from typing import Any
from uuid import UUID

import msgspec
from django.conf import settings

from config.db.definitions import Definitions
from store.models import PlatformApp
from store.providers.base import App


class Platform(msgspec.Struct, frozen=True):
    """An active `PlatformApp`."""

    id: int
    game_id: UUID
    provider: str
    app_id: str
    options: dict[str, Any]
    key_name: str
    sandbox: str

    def app(self) -> App:
        """What a provider is given; the secret comes from the environment."""
        secret = settings.PLATFORM_KEYS.get(self.key_name, "") if self.key_name else ""
        return App(app_id=self.app_id, options=self.options, secret=secret)


def _load(game_id: UUID) -> dict[str, Platform]:
    return {
        row.provider: Platform(
            row.pk, row.game_id, row.provider, row.app_id, row.options, row.key_name, row.sandbox
        )
        for row in PlatformApp.objects.filter(game_id=game_id, is_active=True)
    }


_definitions = Definitions("store.platforms", _load)


def platform_of(game_id: UUID, provider: str) -> Platform | None:
    """The game's app in a platform's store, if it has one."""
    return _definitions.get(game_id).get(provider)


def platform_by_app(provider: str, app_id: str) -> Platform | None:
    """The app that a platform names, of whichever game it is."""
    game_id = (
        PlatformApp.objects.filter(provider=provider, app_id=app_id, is_active=True)
        .values_list("game_id", flat=True)
        .first()
    )
    return platform_of(game_id, provider) if game_id else None
