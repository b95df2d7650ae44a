"""Writing a game's apps in the platforms' stores."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from django.db import transaction

from config.db import definitions
from store.models import PlatformApp


def write(*, game_id: UUID, writes: Mapping[str, Mapping[str, Any]]) -> None:
    """Create or change a game's apps: provider → fields. All processes see it at once."""
    if not writes:
        return
    with transaction.atomic():
        for provider, fields in writes.items():
            PlatformApp.objects.update_or_create(
                game_id=game_id, provider=provider, defaults=dict(fields)
            )
        definitions.changed(game_id)
