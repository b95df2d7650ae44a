"""Every read of progress, shaped for its caller."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec
from django.db import connection

from config.api.problems import NotFound
from config.db.definitions import Definitions
from progress.models import Achievement, Stat
from progress.rules import Aggregation, StatRule
from progress.services.save_history import restorable_since


class AchievementRule(msgspec.Struct, frozen=True, kw_only=True):
    """An achievement's definition. `aggregation` is its stat's, None where it is reported."""

    id: UUID
    key: str
    name: str
    description: str
    stat_id: UUID | None
    aggregation: Aggregation | None
    threshold: int
    hidden: bool
    reportable: bool
    currencies: dict[str, int]
    items: dict[str, int]


class Content(msgspec.Struct, frozen=True, kw_only=True):
    """A game's stats and achievements. `by_stat`: the achievements that follow each stat."""

    stats: dict[str, StatRule]
    achievements: dict[str, AchievementRule]
    by_stat: dict[UUID, tuple[AchievementRule, ...]]


def _load(game_id: UUID) -> Content:
    stats = {
        stat.key: StatRule(
            id=stat.id,
            key=stat.key,
            aggregation=msgspec.convert(stat.aggregation, Aggregation),
            minimum=stat.minimum,
            maximum=stat.maximum,
            max_step=stat.max_step,
            rate_amount=stat.rate_amount,
            rate_seconds=stat.rate_seconds,
            writer="server" if stat.writer == Stat.Writer.SERVER else "player",
        )
        for stat in Stat.objects.filter(game_id=game_id, is_active=True).order_by("key")
    }
    aggregations = {rule.id: rule.aggregation for rule in stats.values()}
    achievements = {
        row.key: AchievementRule(
            id=row.id,
            key=row.key,
            name=row.name,
            description=row.description,
            stat_id=row.stat_id,
            aggregation=aggregations.get(row.stat_id) if row.stat_id else None,
            threshold=row.threshold,
            hidden=row.hidden,
            reportable=row.reportable,
            currencies=row.reward.get("currencies", {}),
            items=row.reward.get("items", {}),
        )
        for row in Achievement.objects.filter(game_id=game_id, is_active=True)
    }
    by_stat: dict[UUID, tuple[AchievementRule, ...]] = {}
    for rule in achievements.values():
        if rule.stat_id is not None:
            by_stat[rule.stat_id] = (*by_stat.get(rule.stat_id, ()), rule)
    return Content(stats=stats, achievements=achievements, by_stat=by_stat)


content = Definitions("progress.content", _load)


@dataclass(frozen=True, kw_only=True)
class SaveRead:
    """A version of a save for its reader. `body` is None when the reader has it already."""

    version: int
    content_type: str
    sha256: bytes
    updated_at: datetime
    body: bytes | None


def save_read(
    *, game_id: UUID, player_id: UUID, slot: str, public_only: bool = False, known: int = -1
) -> SaveRead:
    """The latest version of a slot. Raises `NotFound`, also for one that the reader may not see.

    `known` is the version that the reader holds: its bytes are not read again.
    """
    return _read(
        """SELECT v.version, v.content_type, v.sha256, v.created_at,
                  CASE WHEN v.version <> %(known)s::bigint THEN v.body END
           FROM progress_save s
           JOIN progress_saveversion v ON v.save_id = s.id AND v.version = s.version
           WHERE s.player_id = %(player)s::uuid AND s.slot = %(slot)s::text
             AND s.game_id = %(game)s::uuid AND s.deleted_at IS NULL
             AND (s.access = 'public' OR NOT %(public_only)s::bool)""",
        {
            "player": player_id,
            "slot": slot,
            "game": game_id,
            "public_only": public_only,
            "known": known,
        },
    )


def save_version_read(*, game_id: UUID, player_id: UUID, slot: str, version: int) -> SaveRead:
    """A kept version, also of a slot that was deleted lately. Raises `NotFound`."""
    return _read(
        """SELECT v.version, v.content_type, v.sha256, v.created_at, v.body
           FROM progress_save s JOIN progress_saveversion v ON v.save_id = s.id
           WHERE s.player_id = %(player)s::uuid AND s.slot = %(slot)s::text
             AND s.game_id = %(game)s::uuid AND v.version = %(version)s::bigint
             AND (s.deleted_at IS NULL OR s.deleted_at > %(since)s::timestamptz)""",
        {
            "player": player_id,
            "slot": slot,
            "game": game_id,
            "version": version,
            "since": restorable_since(),
        },
    )


def _read(statement: str, arguments: dict[str, Any]) -> SaveRead:
    with connection.cursor() as cursor:
        cursor.execute(statement, arguments)
        row = cursor.fetchone()
    if row is None:
        raise NotFound("There is no such save")
    version, content_type, sha256, updated_at, body = row
    return SaveRead(
        version=version,
        content_type=content_type,
        sha256=bytes(sha256),
        updated_at=updated_at,
        body=None if body is None else bytes(body),
    )


def saves(*, game_id: UUID, player_id: UUID) -> list[dict[str, Any]]:
    """What a player's slots say about themselves, by slot; there are at most `SAVE_MAX_SLOTS`."""
    return _dicts(
        """SELECT slot, version, access, size, sha256, content_type, device, updated_at
           FROM progress_save
           WHERE player_id = %s::uuid AND game_id = %s::uuid AND deleted_at IS NULL
           ORDER BY slot""",
        [player_id, game_id],
    )


def save_versions(*, game_id: UUID, player_id: UUID, slot: str) -> list[dict[str, Any]]:
    """The kept versions of a slot, newest first; also of one that was deleted lately.

    Raises `NotFound`.
    """
    found = _dicts(
        """SELECT s.slot, v.version, s.access, v.size, v.sha256, v.content_type, v.device,
                  v.created_at AS updated_at, v.restored_from
           FROM progress_save s JOIN progress_saveversion v ON v.save_id = s.id
           WHERE s.player_id = %s::uuid AND s.slot = %s::text AND s.game_id = %s::uuid
             AND (s.deleted_at IS NULL OR s.deleted_at > %s::timestamptz)
           ORDER BY v.version DESC""",
        [player_id, slot, game_id, restorable_since()],
    )
    if not found:
        raise NotFound("There is no such save")
    return found


def stat_values(*, player_id: UUID) -> dict[UUID, tuple[int, datetime]]:
    """All of a player's stats: id → value and the time of its last change."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT stat_id, value, updated_at FROM progress_statvalue WHERE player_id = %s::uuid",
            [player_id],
        )
        return {stat_id: (value, updated_at) for stat_id, value, updated_at in cursor.fetchall()}


def values_of_stats(game_id: UUID, player_id: UUID, keys: Collection[str]) -> dict[str, int]:
    """The player's values of the game's stats with these keys, where there are any: one query."""
    ids = {rule.id: key for key in keys if (rule := content.get(game_id).stats.get(key))}
    if not ids:
        return {}
    with connection.cursor() as cursor:
        cursor.execute(
            """SELECT stat_id, value FROM progress_statvalue
               WHERE player_id = %s::uuid AND stat_id = ANY (%s::uuid[])""",
            [player_id, list(ids)],
        )
        return {ids[stat_id]: value for stat_id, value in cursor.fetchall()}


def achievement_states(*, player_id: UUID) -> dict[UUID, tuple[int, datetime | None]]:
    """All of a player's achievements: id → reported progress and the time of the unlock."""
    with connection.cursor() as cursor:
        cursor.execute(
            """SELECT achievement_id, progress, unlocked_at FROM progress_achievementstate
               WHERE player_id = %s::uuid""",
            [player_id],
        )
        return {row[0]: (row[1], row[2]) for row in cursor.fetchall()}


def _dicts(statement: str, arguments: Sequence[Any]) -> list[dict[str, Any]]:
    with connection.cursor() as cursor:
        cursor.execute(statement, arguments)
        names = [column.name for column in cursor.description]
        return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]
