"""Who is calling, from the request's headers. `settings.API_AUTHENTICATE` names this module.

Keys are kept in each process once they were read. Every key change raises the version of its
game's definitions, which the gate reads with each request; a kept key that is older than that is
read again, so that a revoked key ends with the commit that revokes it.
"""

import ipaddress
import time
from datetime import datetime
from functools import lru_cache
from threading import Lock
from typing import Any, cast
from uuid import UUID

import msgspec
from django.db import connection
from django.http import HttpRequest

from accounts.models import ApiKey
from accounts.services.keys import hash_key
from accounts.tokens import caller_of
from config.api.callers import ApiRequest, Caller
from config.api.problems import NotAuthenticated
from config.db.definitions import version_in_database

TOUCH_SECONDS = 60.0
CACHE_SIZE = 10_000
KEY_LENGTH = 46


class KnownKey(msgspec.Struct):
    """A key that works, as this process read it at the game's `version`."""

    caller: Caller
    kind: str
    version: int
    expires_at: datetime | None
    touched: float = float("-inf")


_known: dict[bytes, KnownKey] = {}
_lock = Lock()


def authenticate(request: HttpRequest) -> Caller:
    """The caller of a request. Raises `NotAuthenticated`.

    `Authorization` (`Bearer` of a player, `Api-Key` of a server) counts before `X-Game-Key`.
    """
    header = request.META.get("HTTP_AUTHORIZATION", "")
    if header:
        scheme, _, credential = header.partition(" ")
        match scheme.lower():
            case "bearer":
                return caller_of(credential.strip())
            case "api-key":
                return _caller_of_key(request, credential.strip(), ApiKey.Kind.SECRET)
        raise NotAuthenticated("Authorization takes Bearer (players) or Api-Key (servers)")
    key = request.META.get("HTTP_X_GAME_KEY", "")
    if not key:
        raise NotAuthenticated("Send X-Game-Key, or Authorization")
    caller = _caller_of_key(request, key.strip(), ApiKey.Kind.PUBLISHABLE)
    address = limited_address(cast(ApiRequest, request).client_ip)
    return msgspec.structs.replace(caller, limit_id=address)


@lru_cache(4096)
def limited_address(address: str) -> str:
    """Whose limit an address counts in: itself, or its /64 (one customer) for IPv6."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return "unknown"
    if isinstance(parsed, ipaddress.IPv6Address):
        if parsed.ipv4_mapped is not None:
            return str(parsed.ipv4_mapped)
        return str(ipaddress.ip_network((parsed, 64), strict=False))
    return str(parsed)


def _caller_of_key(request: Any, text: str, kind: str) -> Caller:
    if len(text) != KEY_LENGTH or not text.isascii():
        raise NotAuthenticated("The key is not valid")
    hashed = hash_key(text)
    known = _known.get(hashed) or _read(hashed)
    if known is None or known.kind != kind:
        raise NotAuthenticated("The key is not valid")
    request.known_key = hashed
    return known.caller


def _read(hashed: bytes) -> KnownKey | None:
    """The key from the database, with the version it had; None unless it works now."""
    with connection.cursor() as cursor:
        cursor.execute(
            """SELECT k.id, k.game_id, k.kind, k.scopes, k.expires_at, g.definition_version
               FROM accounts_apikey k JOIN accounts_game g ON g.id = k.game_id
               WHERE k.hash = %s AND k.revoked_at IS NULL AND g.is_active
                 AND (k.expires_at IS NULL OR k.expires_at > now())""",
            [hashed],
        )
        row = cursor.fetchone()
    with _lock:
        if row is None:
            _known.pop(hashed, None)
            return None
        key_id, game_id, kind, scopes, expires_at, version = row
        is_secret = kind == ApiKey.Kind.SECRET
        caller = Caller(
            kind="server" if is_secret else "game",
            game_id=game_id,
            limit_id=str(key_id),
            key_id=key_id,
            scopes=frozenset(scopes),
        )
        known = _known[hashed] = KnownKey(caller, kind, version, expires_at)
        while len(_known) > CACHE_SIZE:
            del _known[next(iter(_known))]
        return known


def confirm_key(request: Any) -> None:
    """After the gate: the key still works at the version that the gate has read.

    Without Redis the version is asked of PostgreSQL. Raises `NotAuthenticated`.
    """
    hashed: bytes = request.known_key
    known = _known.get(hashed)
    version = request.definition_version
    if version < 0:
        version = version_in_database(request.caller.game_id)
    if known is None or known.version < version:
        touched = known.touched if known else float("-inf")
        known = _read(hashed)
        if known is not None:
            known.touched = touched
    if known is None or (
        known.expires_at is not None and known.expires_at.timestamp() <= time.time()
    ):
        raise NotAuthenticated("The key is not valid")
    if time.monotonic() - known.touched > TOUCH_SECONDS:
        known.touched = time.monotonic()
        _note_use(known.caller.key_id)


def _note_use(key_id: UUID | None) -> None:
    """Write `last_used_at`, at most once a minute over all processes."""
    with connection.cursor() as cursor:
        cursor.execute(
            """UPDATE accounts_apikey SET last_used_at = now() WHERE id = %s
               AND (last_used_at IS NULL OR last_used_at < now() - interval '1 minute')""",
            [key_id],
        )


def forget_keys() -> None:
    """Read every key anew (between tests)."""
    with _lock:
        _known.clear()
