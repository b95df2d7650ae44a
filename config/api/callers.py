"""Who is calling: what a credential says, once it has been checked."""

from typing import Literal
from uuid import UUID

import msgspec
from django.http import HttpRequest

CallerKind = Literal["game", "player", "server"]


class Caller(msgspec.Struct, frozen=True, kw_only=True):
    """A checked credential. Everything that it may see belongs to `game_id`.

    kind      "game" (publishable key), "player" (access token) or "server" (secret key)
    limit_id  whose bucket its requests count in: the player, the server key, or the address
    """

    kind: CallerKind
    game_id: UUID
    limit_id: str
    player_id: UUID | None = None
    session_id: UUID | None = None
    key_id: UUID | None = None
    scopes: frozenset[str] = frozenset()
    is_tester: bool = False

    @property
    def player(self) -> UUID:
        """The calling player's id; only after `callers=("player",)` has let the request in."""
        if self.player_id is None:
            raise AssertionError("This endpoint let in a caller that is not a player")
        return self.player_id

    @property
    def owner(self) -> UUID:
        """To whom an idempotency key of this caller belongs: the player, or the server key."""
        return self.player_id or self.key_id or self.game_id


class ApiRequest(HttpRequest):
    """What views receive: Django's request, with what the plumbing found out (for typing)."""

    caller: Caller
    request_id: str
    client_ip: str
    raw_body: bytes
    definition_version: int
    limit_headers: dict[str, str]
    route: str
