"""Tells Redis which sessions have ended, so that access tokens end with them, at once.

The truth is `Session.revoked_at`. Redis holds one key for each session that was revoked while
an access token of it may still live; the gate looks for it in the round trip of every request.
What could not be told (Redis was away) is told by `publish_recent`, which a job calls.
"""

from collections.abc import Iterable
from datetime import datetime, timedelta
from functools import partial
from itertools import islice
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db import connection, transaction
from django.utils import timezone

from accounts.metrics import REVOCATIONS_REPEATED
from accounts.models import Game
from config import redis
from config.api.gate import revocation_key, version_key
from config.db.definitions import PUBLISH_SCRIPT, publish_version, version_in_database

# Clocks of servers differ, and a transaction's rows are seen only when it commits.
SLACK = timedelta(seconds=60)
CHUNK = 1_000


def token_life() -> timedelta:
    """For how long after its revocation a session may still have a valid access token."""
    return timedelta(seconds=settings.ACCESS_TOKEN_SECONDS) + SLACK


def publish_after_commit(sessions: Iterable[tuple[UUID, UUID]]) -> None:
    """Tell Redis of revoked sessions, (player, session), once this transaction is committed."""
    pairs = list(sessions)
    if pairs:
        transaction.on_commit(lambda: publish(pairs))


def publish(sessions: Iterable[tuple[UUID, UUID]]) -> bool:
    """Tell Redis of revoked sessions, (player, session). False when it did not answer."""
    seconds = int(token_life().total_seconds())
    rest = iter(sessions)
    try:
        while chunk := list(islice(rest, CHUNK)):
            redis.call(partial(_set, pairs=chunk, seconds=seconds), purpose="revoke")
    except redis.RedisAway:
        return False
    return True


def _set(client: Any, *, pairs: list[tuple[UUID, UUID]], seconds: int) -> None:
    with client.pipeline(transaction=False) as pipe:
        for player_id, session_id in pairs:
            pipe.set(revocation_key(player_id, session_id), 1, ex=seconds)
        pipe.execute()


def rebuild(*, game_id: UUID) -> int:
    """Put a game's revocations back into a Redis that was emptied; the game's version.

    The version is published last: while it is missing, the gate lets nobody pass unrebuilt.
    Raises `RedisAway` when Redis goes away meanwhile.
    """
    version = version_in_database(game_id)
    if not publish(_revoked_since(timezone.now() - token_life(), game_id)):
        raise redis.RedisAway
    if version >= 0:
        publish_version(game_id, version)
    return version


def _revoked_since(since: datetime, game_id: UUID | None = None) -> list[tuple[UUID, UUID]]:
    with connection.cursor() as cursor:
        cursor.execute(
            """SELECT player_id, id FROM accounts_session
               WHERE revoked_at IS NOT NULL AND revoked_at >= %s
                 AND (%s::uuid IS NULL OR game_id = %s::uuid)""",
            [since, game_id, game_id],
        )
        return list(cursor.fetchall())


def publish_recent() -> int:
    """Repeat to Redis what it may have missed; how many revocations were told.

    Redis itself remembers up to when it was told everything. After an outage that is long ago,
    after a flush it is gone: then everything that still matters is told again.
    """
    marker = redis.key("revocations", "told_until")
    now = timezone.now()
    oldest = now - token_life()
    try:
        told: Any = redis.call(lambda client: client.get(marker), purpose="revoke")
    except redis.RedisAway:
        return 0
    since = oldest
    if told is not None:
        since = max(oldest, datetime.fromisoformat(told.decode()) - SLACK)
    revoked = _revoked_since(since)
    if not publish(revoked):
        return 0
    try:
        redis.call(lambda client: client.set(marker, now.isoformat()), purpose="revoke")
        redis.call(_publish_versions, purpose="definitions")
    except redis.RedisAway:
        return 0
    REVOCATIONS_REPEATED.inc(len(revoked))
    return len(revoked)


def _publish_versions(client: Any) -> None:
    """The versions of all games, for those whose change could not be told."""
    with client.pipeline(transaction=False) as pipe:
        for game_id, version in Game.objects.values_list("id", "definition_version"):
            pipe.eval(PUBLISH_SCRIPT, 1, version_key(game_id), version)
        pipe.execute()
