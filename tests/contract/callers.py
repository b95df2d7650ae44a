"""Credentials of every kind, good and bad."""

import base64
import json
import time
from dataclasses import dataclass
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from accounts import tokens
from accounts.models import Game, Player, Session
from config.api.callers import CallerKind
from tests.factories.accounts import (
    PlayerFactory,
    SessionFactory,
    access_token,
    publishable_key,
    secret_key,
)
from tests.fixtures.api import SCOPES, ApiClient


@dataclass
class World:
    """One game with a signed-in player and its keys."""

    game: Game
    player: Player
    session: Session

    @property
    def names(self) -> dict[str, object]:
        """Values of path parameters that exist in this world."""
        return {
            "player": self.player.pk,
            "board": "harvest",
            "item": "koi",
            "key": "first_bloom",
            "slot": "garden",
        }

    def headers(self, kind: CallerKind) -> dict[str, str]:
        """The headers of a caller of this kind."""
        if kind == "game":
            return {"X-Game-Key": publishable_key(self.game)}
        if kind == "player":
            return {"Authorization": f"Bearer {access_token(self.session)}"}
        return {"Authorization": f"Api-Key {secret_key(self.game, SCOPES)}"}

    def client(self, kind: CallerKind) -> ApiClient:
        return ApiClient(self.headers(kind))


def new_world(game: Game) -> World:
    player = PlayerFactory(game=game)
    return World(game, player, SessionFactory(player=player))


def forged_tokens(session: Session) -> dict[str, str]:
    """Access tokens that say the right things, and must not be believed."""
    good = access_token(session)
    header, payload, signature = good.split(".")
    claims: dict[str, Any] = jwt.decode(good, options={"verify_signature": False})
    head: dict[str, Any] = jwt.get_unverified_header(good)
    stranger = Ed25519PrivateKey.generate()
    ours = tokens.keys()[0]

    def signed(key: Any = ours.private, algorithm: str = "EdDSA", **changed: Any) -> str:
        extra = {**head, **changed.pop("head", {})}
        extra.pop("alg", None)
        return jwt.encode({**claims, **changed}, key, algorithm, extra)

    def raw(part: dict[str, Any]) -> str:
        return base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=")

    return {
        "expired": access_token(session, now=time.time() - 7200),
        "signed by a stranger": signed(stranger),
        "of an unknown key": signed(stranger, head={"kid": "nobody"}),
        "without a signature": f"{raw({**head, 'alg': 'none'})}.{payload}.",
        "with another payload": f"{header}.{raw({**claims, 'exp': claims['exp'] + 9})}.{signature}",
        "signed with the public key": signed(
            ours.public.public_bytes_raw().ljust(32, b"0"), "HS256"
        ),
        "of another type": signed(head={"typ": "JWT"}),
        "of another issuer": signed(iss="someone"),
        "cut short": good[:-8],
        "no token": "x.y.z",
    }
