"""What every way of opening a session shares: the client's words, and the SQL of a new row."""

import hashlib
from datetime import datetime, timedelta
from typing import Any, NamedTuple
from uuid import UUID

import msgspec
from django.conf import settings

from accounts.refresh_tokens import make_refresh_token
from accounts.selectors import PlayerProfile
from accounts.tokens import make_access_token
from config.db.ids import uuid7


class Client(msgspec.Struct, frozen=True, kw_only=True):
    """What a game client says about itself, and what a new player begins with."""

    device: str = ""
    place: str = ""
    platform: str = ""
    app_version: str = ""
    locale: str = ""
    country: str = ""
    timezone: str = "UTC"


class Opened(NamedTuple):
    """A session that was just opened or refreshed. Tokens are shown to its client alone."""

    access: str
    refresh: str
    session_id: UUID
    player: PlayerProfile
    created: bool


class NewSession(msgspec.Struct, frozen=True, kw_only=True):
    """A session to be opened, and the identity and secret that open it. Statements read many of
    them from JSON, as `NEW_SESSION`."""

    session: UUID
    game: UUID
    method: str
    subject: str
    secret: str
    now: datetime
    expires: datetime
    device: str
    place: str
    platform: str
    app_version: str


NEW_SESSION = """session uuid, game uuid, method text, subject text, secret text, now timestamptz,
    expires timestamptz, device text, place text, platform text, app_version text"""
SESSION_COLUMNS = """id, game_id, player_id, method, generation, refreshed_at, expires_at,
    revoked_for, device, place, platform, app_version, created_at, last_used_at"""


def hash_device_secret(secret: str) -> str:
    """What is stored of a device's secret: it is random, so SHA-256 is enough."""
    return hashlib.sha256(secret.encode()).hexdigest()


def session_parameters(game_id: UUID, method: str, client: Client, now: datetime) -> dict[str, Any]:
    """What a `NewSession` has whoever opens it: all but subject and secret."""
    return {
        "game": game_id,
        "method": method,
        "session": uuid7(),
        "now": now,
        "expires": now + timedelta(seconds=settings.REFRESH_TOKEN_SECONDS),
        "device": client.device,
        "place": client.place,
        "platform": client.platform,
        "app_version": client.app_version,
    }


def issue(
    session_id: UUID,
    generation: int,
    game_id: UUID,
    player: PlayerProfile,
    *,
    created: bool = False,
) -> Opened:
    """The tokens of a session's generation."""
    access = make_access_token(
        player_id=player.id, session_id=session_id, game_id=game_id, is_tester=player.is_tester
    )
    refresh = make_refresh_token(session_id, generation)
    return Opened(access, refresh, session_id, player, created)
