"""API keys: made once, shown once, stored as SHA-256; two active secret keys for rotation."""

import hashlib
import secrets
from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from django.db import transaction
from django.db.models import Q, QuerySet
from django.utils import timezone

from accounts.errors import TooManyServerKeys, UnknownScope
from accounts.models import ApiKey, Game
from config.db import definitions
from config.db.transactions import advisory_lock

ACTIVE_SECRET_KEYS = 2
# Scope → what a server key with it may do. Listed in docs/security.md.
SCOPES = {
    "players:read": "read players: profile, sign-in methods, sanctions",
    "players:write": "change players: tester flag, sessions",
    "sanctions:write": "warn, suspend, ban and shadow-ban players, and lift it",
    "saves:read": "read players' saves",
    "saves:write": "write players' saves",
    "stats:read": "read players' stats and achievements",
    "stats:write": "update players' stats and achievements",
    "scores:write": "submit and remove leaderboard entries",
    "grants:write": "grant currencies and items",
    "store:read": "read wallets, inventories, orders and the ledger",
    "events:write": "send analytics events",
    "analytics:read": "read metrics, funnels and cohorts",
}


def hash_key(key: str) -> bytes:
    """What is stored of a key. It has 256 random bits: nothing slower than SHA-256 is needed."""
    return hashlib.sha256(key.encode()).digest()


def active(game_id: UUID, kind: str) -> "QuerySet[ApiKey]":
    """A game's keys of a kind that work now, oldest first."""
    return ApiKey.objects.filter(
        Q(expires_at__isnull=True) | Q(expires_at__gt=timezone.now()),
        game_id=game_id,
        kind=kind,
        revoked_at__isnull=True,
    ).order_by("created_at", "id")


def create(
    *,
    game_id: UUID,
    kind: str,
    name: str = "",
    scopes: Sequence[str] | None = None,
    expires_at: datetime | None = None,
) -> tuple[ApiKey, str]:
    """A new key and its text, which is shown this once.

    A secret key without `scopes` gets all of them. Raises `TooManyServerKeys` for a third
    active secret key, `UnknownScope`.
    """
    is_secret = kind == ApiKey.Kind.SECRET
    granted = sorted(SCOPES if scopes is None else set(scopes)) if is_secret else []
    if unknown := set(granted) - SCOPES.keys():
        raise UnknownScope(f"There is no scope {sorted(unknown)[0]}")
    text = ("sk_" if is_secret else "pk_") + secrets.token_urlsafe(32)
    with transaction.atomic():
        advisory_lock("api_keys", game_id)
        if is_secret and active(game_id, kind).count() >= ACTIVE_SECRET_KEYS:
            raise TooManyServerKeys
        key = ApiKey.objects.create(
            game_id=game_id,
            kind=kind,
            name=name,
            shown=f"{text[:9]}…" if is_secret else text,
            hash=hash_key(text),
            scopes=granted,
            expires_at=expires_at,
        )
        definitions.changed(game_id)
    return key, text


def revoke(*, key: ApiKey) -> None:
    """End a key at once, in every process."""
    with transaction.atomic():
        revoked = ApiKey.objects.filter(pk=key.pk, revoked_at__isnull=True).update(
            revoked_at=timezone.now()
        )
        if revoked:
            definitions.changed(key.game_id)


def publishable_key(game: Game) -> str:
    """The game's oldest publishable key that works, made if there is none."""
    key = active(game.pk, ApiKey.Kind.PUBLISHABLE).first()
    if key is None:
        key, _ = create(game_id=game.pk, kind=ApiKey.Kind.PUBLISHABLE)
    return key.shown
