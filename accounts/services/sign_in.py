"""Opening sessions. An existing player's sign-in is one statement, and one commit.

The statement locks the player's row FOR KEY SHARE, as its foreign key would anyway. A ban takes the
row FOR UPDATE: either it waits for the new session and revokes it too, or the sign-in waits,
reads the row again, and is refused (accounts/services/sanctions.py).
"""

import hashlib
from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from django.db import connection
from django.utils import timezone

from accounts import names, passwords
from accounts.errors import IdentityTaken, InvalidCredentials, PlayerBanned
from accounts.metrics import SIGN_INS
from accounts.models import Identity
from accounts.selectors import PlayerProfile, banned_detail
from accounts.services import players
from accounts.services.opening import (
    SESSION_COLUMNS,
    SESSION_EVENT,
    SESSION_VALUES,
    Client,
    Opened,
    hash_device_secret,
    issue,
    session_parameters,
)
from config.api import gate

ATTEMPTS = 3


class _Found(NamedTuple):
    player: PlayerProfile
    knows_secret: bool
    blocked_until: datetime | None
    opened: bool


OPEN = f"""
WITH found AS (
    SELECT p.id AS player_id, p.display_name, p.tag, p.avatar, p.locale, p.country, p.timezone,
           p.is_guest, p.is_tester, p.created_at, p.blocked_until,
           i.secret = %(secret)s::text AS knows_secret
    FROM accounts_identity i JOIN accounts_player p ON p.id = i.player_id
    WHERE i.game_id = %(game)s::uuid AND i.method = %(method)s::text
      AND i.subject = %(subject)s::text
    FOR KEY SHARE OF p
), opened AS (
    INSERT INTO accounts_session ({SESSION_COLUMNS})
    SELECT {SESSION_VALUES} FROM found
    WHERE knows_secret AND (blocked_until IS NULL OR blocked_until <= %(now)s::timestamptz)
    RETURNING player_id
), seen AS (
    UPDATE accounts_player SET last_seen_at = %(now)s::timestamptz
    WHERE id IN (SELECT player_id FROM opened)
      AND last_seen_at < %(now)s::timestamptz - interval '1 hour'
)
SELECT found.player_id, display_name, tag, avatar, locale, country, timezone, is_guest, is_tester,
       created_at, knows_secret, blocked_until, opened.player_id IS NOT NULL,
       CASE WHEN opened.player_id IS NOT NULL THEN {SESSION_EVENT} END
FROM found LEFT JOIN opened ON true
"""  # noqa: S608 (constants of this module)


def with_device(
    *, game_id: UUID, device_id: str, device_secret: str, create: bool, client: Client
) -> Opened:
    """Sign in the guest of a device, or make one where there is none and `create` is set.

    Raises `InvalidCredentials`, `PlayerBanned`, `RateLimited`.
    """
    method = Identity.Method.DEVICE.value
    count_attempt(game_id, method, device_id)
    secret = hash_device_secret(device_secret)
    for _ in range(ATTEMPTS):
        opened = _open(
            game_id=game_id, method=method, subject=device_id, secret=secret, client=client
        )
        if opened is not None:
            return opened
        if not create:
            break
        created = players.create_guest(
            parameters=session_parameters(game_id, method, client, timezone.now()),
            device_id=device_id,
            secret=secret,
            client=client,
        )
        if created is not None:
            SIGN_INS.labels(method, "created").inc()
            return issue(created.session_id, 1, game_id, created.player, created=True)
        # Another request made this device's player in between: sign in as that one.
    SIGN_INS.labels(method, "unknown").inc()
    raise InvalidCredentials


def with_email(*, game_id: UUID, email: str, password: str, client: Client) -> Opened:
    """Sign in with an e-mail address and password.

    Raises `InvalidCredentials`, `PlayerBanned`, `RateLimited`, `SignInBusy`.
    """
    method = Identity.Method.EMAIL.value
    passwords.lane.refuse_when_full()
    subject = names.email_key(email)
    count_attempt(game_id, method, subject)
    stored = (
        Identity.objects.filter(game_id=game_id, method=method, subject=subject)
        .values_list("secret", flat=True)
        .first()
    )
    right, fresh = passwords.check_password(password, stored)
    if not right or stored is None:
        SIGN_INS.labels(method, "wrong").inc()
        raise InvalidCredentials
    # Compared once more with what is stored: a password that was changed meanwhile is wrong.
    opened = _open(game_id=game_id, method=method, subject=subject, secret=stored, client=client)
    if opened is None:
        raise InvalidCredentials
    if fresh is not None:
        Identity.objects.filter(
            game_id=game_id, method=method, subject=subject, secret=stored
        ).update(secret=fresh)
    return opened


def register(
    *, game_id: UUID, email: str, password: str, display_name: str | None, client: Client
) -> Opened:
    """A new player who signs in by e-mail address, signed in.

    Raises `IdentityTaken`, `ValidationFailed`, `NameExhausted`, `SignInBusy`.
    """
    method = Identity.Method.EMAIL.value
    passwords.lane.refuse_when_full()
    subject = names.email_key(email)
    name = players.checked_name(game_id, None, display_name) if display_name is not None else None
    passwords.validate_new_password(password, email=subject, display_name=name or "")
    # Before the look-up, so that a taken address takes as long as a free one.
    secret = passwords.hash_password(password)
    created = players.create_registered(
        parameters=session_parameters(game_id, method, client, timezone.now()),
        subject=subject,
        secret=secret,
        display_name=name,
        client=client,
    )
    if created is None:
        raise IdentityTaken
    SIGN_INS.labels(method, "created").inc()
    return issue(created.session_id, 1, game_id, created.player, created=True)


def count_attempt(game_id: UUID, method: str, subject: str) -> None:
    """Count a sign-in to one identity. Raises `RateLimited`. Redis sees a hash of the subject."""
    named = hashlib.sha256(f"{game_id}:{method}:{subject}".encode()).hexdigest()[:32]
    gate.take("sign_in_identity", named)


def _open(
    *, game_id: UUID, method: str, subject: str, secret: str, client: Client
) -> Opened | None:
    """A session of the player with this identity; None where there is none.

    Raises `InvalidCredentials` where the secret differs, `PlayerBanned`.
    """
    now = timezone.now()
    parameters = session_parameters(game_id, method, client, now)
    parameters |= {"subject": subject, "secret": secret}
    with connection.cursor() as cursor:
        cursor.execute(OPEN, parameters)
        row = cursor.fetchone()
    if row is None:
        return None
    found = _found(row)
    if not found.knows_secret:
        SIGN_INS.labels(method, "wrong").inc()
        raise InvalidCredentials
    if not found.opened:
        SIGN_INS.labels(method, "banned").inc()
        detail, extra = banned_detail(player_id=found.player.id)
        raise PlayerBanned(detail, **extra)
    SIGN_INS.labels(method, "done").inc()
    session_id: Any = parameters["session"]
    return issue(session_id, 1, game_id, found.player)


def _found(row: Sequence[Any]) -> _Found:
    return _Found(PlayerProfile.of(row[:10]), row[10], row[11], row[12])
