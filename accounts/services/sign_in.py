"""Opening sessions. An existing player's sign-in is one statement, and one commit.

The statement locks the player's row FOR KEY SHARE, as its foreign key would anyway. A ban takes the
row FOR UPDATE: either it waits for the new session and revokes it too, or the sign-in waits,
reads the row again, and is refused (accounts/services/sanctions.py).
"""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

import msgspec
from django.db import connection
from django.utils import timezone

from accounts import names, passwords
from accounts.errors import IdentityTaken, InvalidCredentials, PlayerBanned
from accounts.metrics import SIGN_INS
from accounts.models import Identity
from accounts.selectors import PlayerProfile, banned_detail
from accounts.services import players
from accounts.services.opening import (
    NEW_SESSION,
    SESSION_COLUMNS,
    Client,
    NewSession,
    Opened,
    hash_device_secret,
    issue,
    session_parameters,
)
from config.db.together import Together

ATTEMPTS = 3


class _Found(NamedTuple):
    player: PlayerProfile
    knows_secret: bool
    blocked_until: datetime | None
    opened: bool
    is_merged: bool


# One statement for all attempts that come at the same moment, in the order of their identities, so
# that two such statements lock in one order. Identities and players are looked up by their indexes,
# whatever PostgreSQL thinks of the number of rows: joined in the plain way, who was seen last was
# found by reading all players.
OPEN = f"""
WITH asked AS MATERIALIZED (
    SELECT * FROM json_to_recordset(%(attempts)s::json) AS a ({NEW_SESSION})
), commit AS MATERIALIZED (
    SELECT set_config('synchronous_commit', coalesce(%(commit)s::text, setting), true)
    FROM current_setting('synchronous_commit') AS setting
), found AS (
    SELECT a.*, known.*
    FROM commit, asked a CROSS JOIN LATERAL (
        SELECT p.id AS player_id, p.display_name, p.tag, p.avatar, p.locale, p.country,
               p.timezone, p.is_guest, p.is_tester, p.created_at, p.blocked_until,
               p.analytics_consent, p.last_seen_at, p.merged_into_id IS NOT NULL AS is_merged,
               i.secret = a.secret AS knows_secret
        FROM accounts_identity i JOIN accounts_player p ON p.id = i.player_id
        WHERE i.game_id = a.game AND i.method = a.method AND i.subject = a.subject
        LIMIT 1
        FOR KEY SHARE OF p
    ) known
), opened AS (
    INSERT INTO accounts_session ({SESSION_COLUMNS})
    SELECT session, game, player_id, method, 1, now, expires, '', device, place, platform,
           app_version, now, now
    FROM found
    WHERE knows_secret AND NOT is_merged AND (blocked_until IS NULL OR blocked_until <= now)
    RETURNING id AS session
), stale AS (
    SELECT array_agg(p.id) AS players
    FROM found JOIN opened USING (session) CROSS JOIN LATERAL (
        SELECT id FROM accounts_player WHERE id = found.player_id
        LIMIT 1
        FOR NO KEY UPDATE SKIP LOCKED
    ) p
    WHERE found.last_seen_at < statement_timestamp() - interval '1 hour'
), seen AS (
    UPDATE accounts_player SET last_seen_at = statement_timestamp()
    WHERE id = ANY ((SELECT players FROM stale)::uuid[])
)
SELECT player_id, display_name, tag, avatar, locale, country, timezone, is_guest, is_tester,
       created_at AT TIME ZONE 'UTC', knows_secret, blocked_until, opened.session IS NOT NULL,
       is_merged, found.session,
       CASE WHEN opened.session IS NOT NULL
            THEN analytics_record_for(
                game, player_id, analytics_consent, is_tester, platform, country, app_version,
                'session_start',
                jsonb_build_object('method', method, 'platform', platform,
                                   'app_version', app_version),
                found.session, now) END
FROM found LEFT JOIN opened ON opened.session = found.session
"""  # noqa: S608 (constants of this module)


def with_device(
    *, game_id: UUID, device_id: str, device_secret: str, create: bool, client: Client
) -> Opened:
    """Sign in the guest of a device, or make one where there is none and `create` is set.

    Raises `InvalidCredentials`, `PlayerBanned`.
    """
    method = Identity.Method.DEVICE.value
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

    Raises `InvalidCredentials`, `PlayerBanned`, `SignInBusy`.
    """
    method = Identity.Method.EMAIL.value
    passwords.lane.refuse_when_full()
    subject = names.email_key(email)
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


def _open(
    *, game_id: UUID, method: str, subject: str, secret: str, client: Client
) -> Opened | None:
    """A session of the player with this identity; None where there is none.

    Raises `InvalidCredentials` where the secret differs, `PlayerBanned`.
    """
    attempt = NewSession(
        subject=subject,
        secret=secret,
        **session_parameters(game_id, method, client, timezone.now()),
    )
    found = _together.ask(attempt)
    if found is not None and found.is_merged:
        # Merged while this waited: the identity is another player's by now.
        found = _together.ask(attempt)
    if found is None:
        return None
    if found.is_merged or not found.knows_secret:
        SIGN_INS.labels(method, "wrong").inc()
        raise InvalidCredentials
    if not found.opened:
        SIGN_INS.labels(method, "banned").inc()
        detail, extra = banned_detail(player_id=found.player.id)
        raise PlayerBanned(detail, **extra)
    SIGN_INS.labels(method, "done").inc()
    return issue(attempt.session, 1, game_id, found.player)


def _open_all(attempts: Sequence[NewSession]) -> list[_Found | None]:
    ordered = sorted(attempts, key=lambda a: (a.game.int, a.method, a.subject))
    with connection.cursor() as cursor:
        cursor.execute(
            OPEN,
            {
                "attempts": msgspec.json.encode(ordered).decode(),
                "commit": "off" if _may_be_forgotten(attempts) else None,
            },
        )
        found = {
            row[14]: _Found(PlayerProfile.of(row[:10]), *row[10:14]) for row in cursor.fetchall()
        }
    return [found.get(attempt.session) for attempt in attempts]


def _may_be_forgotten(attempts: Sequence[NewSession]) -> bool:
    """Whether losing these sessions with the machine's power is nothing to anybody: a guest's game
    signs in again by itself (docs/adr/0080-a-guests-sign-in-does-not-wait-for-the-disk.md)."""
    guests = all(attempt.method == Identity.Method.DEVICE for attempt in attempts)
    return guests and not connection.in_atomic_block


_together = Together(_open_all)
