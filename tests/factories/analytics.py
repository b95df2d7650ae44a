"""Events and callers for tests of analytics."""

from datetime import UTC, datetime, timedelta
from typing import Any

from accounts.models import Game, Player
from config.db.ids import uuid7
from tests.factories.accounts import PlayerFactory, SessionFactory, access_token
from tests.fixtures.api import PlayerClient


def event(
    name: str = "level_complete", *, ago: timedelta = timedelta(), **more: Any
) -> dict[str, Any]:
    """An event as a game sends it, `ago` before now."""
    at = datetime.now(UTC) - ago
    return {"id": str(uuid7()), "name": name, "at": at.isoformat(), **more}


def client_of(player: Player, **session: str) -> PlayerClient:
    """A client signed in as an existing player, without a request (and so without its event)."""
    row = SessionFactory(player=player, **session)
    return PlayerClient(
        {"Authorization": f"Bearer {access_token(row)}"},
        player_id=player.pk,
        session={"session": str(row.pk)},
    )


def consenting(game: Game, **more: Any) -> Player:
    """A player who agreed to analytics."""
    return PlayerFactory(game=game, analytics_consent=True, **more)
