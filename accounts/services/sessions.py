"""Sessions after sign-in: refreshing with rotation, reuse detection and grace; ending them.

A session's row counts its refreshes in `generation`. A refresh token names the generation it
belongs to, and using it raises the count in one conditional UPDATE: of any number of requests with
the same token one gets through, and the row is locked for the others meanwhile. What comes
after finds out why it was late: the answer was lost (the latest refresh, repeated within the
grace time, is answered with the same refresh token), or the token is spent and someone else
has a copy (RFC 9700, section 4.14.2): then the session ends.
"""

from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db import connection, transaction
from django.db.models import QuerySet
from django.utils import timezone

from accounts.errors import RefreshInvalid, RefreshReused
from accounts.metrics import REFRESHES, SESSIONS_REVOKED
from accounts.models import Session
from accounts.refresh_tokens import read_refresh_token
from accounts.selectors import PlayerProfile
from accounts.services import revocations
from accounts.services.opening import Opened, issue
from config.api.problems import NotFound

# Not only the very generation: after the database was restored from a backup, clients hold newer
# tokens than it knows, made by us all the same.
ROTATE = """
WITH rotated AS (
    UPDATE accounts_session
    SET generation = %(generation)s::int + 1, refreshed_at = %(now)s::timestamptz,
        last_used_at = %(now)s::timestamptz, expires_at = %(expires)s::timestamptz
    WHERE id = %(session)s::uuid AND game_id = %(game)s::uuid
      AND generation <= %(generation)s::int
      AND revoked_at IS NULL AND expires_at > %(now)s::timestamptz
    RETURNING player_id
)
SELECT p.id, p.display_name, p.tag, p.avatar, p.locale, p.country, p.timezone, p.is_guest,
       p.is_tester, p.created_at AT TIME ZONE 'UTC',
       analytics_record(p.game_id, p.id, 'session_refresh', '{}', %(session)s::uuid,
                        %(now)s::timestamptz)
FROM rotated JOIN accounts_player p ON p.id = rotated.player_id
"""


def refresh(*, game_id: UUID, token: str) -> Opened:
    """A new pair of tokens for an unspent refresh token of this game.

    Raises `RefreshInvalid`, `RefreshReused` (and then the session has ended).
    """
    named = read_refresh_token(token)
    if named is None:
        REFRESHES.labels("invalid").inc()
        raise RefreshInvalid
    session_id, generation = named
    now = timezone.now()
    player = _rotate(game_id, session_id, generation, now)
    if player is not None:
        REFRESHES.labels("done").inc()
        return issue(session_id, generation + 1, game_id, player)
    return _too_late(game_id, session_id, generation, now)


def _rotate(
    game_id: UUID, session_id: UUID, generation: int, now: datetime
) -> PlayerProfile | None:
    """Spend a generation; None where it can't be spent (any more)."""
    parameters: dict[str, Any] = {
        "game": game_id,
        "session": session_id,
        "generation": generation,
        "now": now,
        "expires": now + timedelta(seconds=settings.REFRESH_TOKEN_SECONDS),
    }
    with connection.cursor() as cursor:
        cursor.execute(ROTATE, parameters)
        row = cursor.fetchone()
    return None if row is None else PlayerProfile.of(row)


def _too_late(game_id: UUID, session_id: UUID, generation: int, now: datetime) -> Opened:
    """What becomes of a refresh token that could not be spent."""
    session = (
        Session.objects.filter(id=session_id, game_id=game_id).select_related("player").first()
    )
    if session is None or session.revoked_at is not None or session.expires_at <= now:
        REFRESHES.labels("ended").inc()
        raise RefreshInvalid
    grace = timedelta(seconds=settings.REFRESH_GRACE_SECONDS)
    # The winner may have looked at its clock later than we did: no grace stays none.
    is_recent = max(now, session.refreshed_at) < session.refreshed_at + grace
    if session.generation == generation + 1 and is_recent:
        REFRESHES.labels("repeated").inc()
        return issue(
            session_id, session.generation, game_id, PlayerProfile.of_player(session.player)
        )
    REFRESHES.labels("reused").inc()
    _end(Session.objects.filter(id=session_id), "refresh_reused")
    raise RefreshReused


def revoke(*, player_id: UUID, session_id: UUID) -> None:
    """End one session of a player. Raises `NotFound`; ending it twice does no harm."""
    own = Session.objects.filter(id=session_id, player_id=player_id)
    if not _end(own, "signed_out") and not own.exists():
        raise NotFound("There is no such session")


def revoke_all(*, player_id: UUID, reason: str) -> int:
    """End every session of a player; how many there were. Joins the caller's transaction."""
    return _end(Session.objects.filter(player_id=player_id), reason)


def _end(sessions: "QuerySet[Session]", reason: str) -> int:
    with transaction.atomic():
        # In key order, so that two who end the same sessions can't deadlock.
        ids = list(
            sessions.filter(revoked_at__isnull=True)
            .order_by("pk")
            .select_for_update()
            .values_list("player_id", "pk")
        )
        Session.objects.filter(pk__in=[pk for _, pk in ids]).update(
            revoked_at=timezone.now(), revoked_for=reason
        )
        revocations.publish_after_commit(ids)
    SESSIONS_REVOKED.labels(reason).inc(len(ids))
    return len(ids)


def forget_expired(*, batch: int = 5_000, batches: int = 200) -> int:
    """Delete sessions that ended or expired over a refresh token's life ago; how many.

    Walks the primary key, which is in the order of creation, in batches of its own transactions.
    """
    before = timezone.now() - timedelta(seconds=settings.REFRESH_TOKEN_SECONDS)
    last = UUID(int=0)
    total = 0
    for _ in range(batches):
        with connection.cursor() as cursor:
            cursor.execute(
                """WITH batch AS (
                       SELECT id, expires_at, revoked_at FROM accounts_session
                       WHERE id > %(last)s::uuid AND created_at < %(before)s::timestamptz
                       ORDER BY id LIMIT %(batch)s::int
                   ), gone AS (
                       DELETE FROM accounts_session WHERE id IN (
                           SELECT id FROM batch WHERE expires_at < %(before)s::timestamptz
                              OR revoked_at < %(before)s::timestamptz)
                       RETURNING 1
                   )
                   SELECT (SELECT max(id::text)::uuid FROM batch), (SELECT count(*) FROM gone)""",
                {"last": last, "before": before, "batch": batch},
            )
            reached, deleted = cursor.fetchone()
        total += deleted
        if reached is None:
            break
        last = reached
    return total
