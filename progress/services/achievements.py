"""Unlocking achievements: once each, with their reward, in the transaction of what caused it."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from django.db import connection, transaction

from config import events, hooks
from config.api.problems import NotFound
from config.db.transactions import advisory_lock
from progress.errors import AchievementNotReportable
from progress.metrics import UNLOCKS
from progress.selectors import AchievementRule, content
from store.services import grants


def report(
    *, game_id: UUID, player_id: UUID, key: str, progress: int, trusted: bool = False
) -> tuple[AchievementRule, int, datetime | None]:
    """Note that a player has come as far as `progress`; unlock where that reaches the threshold.

    Progress never goes down, so a report that is repeated or late does no harm. `trusted` (game
    servers, staff) may report every achievement that follows no stat. Returns the achievement,
    its progress, and when it was unlocked. Raises `NotFound` or `AchievementNotReportable`.
    """
    rule = content.get(game_id).achievements.get(key)
    if rule is None or (rule.hidden and not rule.reportable and not trusted):
        raise NotFound("There is no such achievement")
    if rule.stat_id is not None or not (rule.reportable or trusted):
        raise AchievementNotReportable
    with transaction.atomic():
        advisory_lock("progress", player_id)
        with connection.cursor() as cursor:
            cursor.execute(
                """INSERT INTO progress_achievementstate AS state
                       (player_id, achievement_id, progress, updated_at)
                   VALUES (%s::uuid, %s::uuid, %s::bigint, statement_timestamp())
                   ON CONFLICT (player_id, achievement_id) DO UPDATE SET
                       progress = GREATEST(state.progress, EXCLUDED.progress),
                       updated_at = EXCLUDED.updated_at
                   RETURNING progress, unlocked_at""",
                [player_id, rule.id, min(progress, rule.threshold)],
            )
            reached, unlocked_at = cursor.fetchone()
        if unlocked_at is None and reached >= rule.threshold:
            unlocked = unlock(game_id=game_id, player_id=player_id, rules=[rule])
            unlocked_at = unlocked.get(rule.id)
    return rule, reached, unlocked_at


def unlock(
    *, game_id: UUID, player_id: UUID, rules: Sequence[AchievementRule]
) -> dict[UUID, datetime]:
    """Unlock those of `rules` that are not yet: id → time of those that this call unlocked.

    Runs in the caller's transaction. Each new unlock grants its reward, records a server event
    and calls the hooks after `unlock`.
    """
    unlocked = _mark(player_id, [rule.id for rule in rules])
    for rule in rules:
        if rule.id not in unlocked:
            continue
        if rule.currencies or rule.items:
            grants.grant(
                game_id=game_id,
                player_id=player_id,
                currencies=rule.currencies,
                items=rule.items,
                key=f"achievement:{player_id}:{rule.key}",
                reason="achievement",
                reference=rule.key,
            )
        events.record(
            game_id=game_id,
            player_id=player_id,
            name="achievement_unlocked",
            props={"achievement": rule.key},
        )
        hooks.run_after(
            "unlock", game_id=str(game_id), player_id=str(player_id), achievement=rule.key
        )
        UNLOCKS.inc()
    return unlocked


def _mark(player_id: UUID, ids: list[UUID]) -> dict[UUID, datetime]:
    """The guard: a row is unlocked by whoever finds it locked, and the primary key holds it."""
    with connection.cursor() as cursor:
        cursor.execute(
            """INSERT INTO progress_achievementstate AS state
                   (player_id, achievement_id, progress, unlocked_at, updated_at)
               SELECT %s::uuid, id, 0, statement_timestamp(), statement_timestamp()
               FROM unnest(%s::uuid[]) AS given(id) ORDER BY id
               ON CONFLICT (player_id, achievement_id) DO UPDATE SET
                   unlocked_at = EXCLUDED.unlocked_at, updated_at = EXCLUDED.updated_at
               WHERE state.unlocked_at IS NULL
               RETURNING achievement_id, unlocked_at""",
            [player_id, ids],
        )
        return dict(cursor.fetchall())
