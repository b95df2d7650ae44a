"""Reports of stats: all of a batch or none, and nothing lost between two at once.

A player's reports are serialised by one advisory lock of the player, which covers values that
have no row yet as well. Under it the values are read, changed by progress/rules.py, and written
by one statement; achievements that they reach are unlocked in the same transaction.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db import connection, transaction

from config import hooks
from config.api.problems import FieldError, Problem
from config.db.transactions import advisory_lock
from progress import rules
from progress.errors import StatNotWritable, UnknownStat
from progress.metrics import STAT_UPDATES
from progress.rules import StatRule
from progress.selectors import AchievementRule, Content, content
from progress.services import achievements


@dataclass(frozen=True)
class StatChange:
    """A stat after a report."""

    stat: str
    value: int
    updated_at: datetime


@dataclass(frozen=True)
class Updated:
    """What a batch did: the stats after it, and the achievements that it unlocked, with times."""

    stats: list[StatChange]
    unlocked: list[tuple[AchievementRule, datetime]]


def update(
    *, game_id: UUID, player_id: UUID, updates: Sequence[tuple[str, int]], trusted: bool = False
) -> Updated:
    """Apply a batch of (stat, value), in one transaction.

    `trusted` (game servers, staff) may write every stat, in steps of any size; bounds hold for
    all. Raises `UnknownStat`, `StatNotWritable`, `StatOutOfBounds`, `StatStepTooLarge`,
    `StatRateExceeded`, each with a pointer to the update that it is about, and what a hook
    before `stat` refuses with.
    """
    defined = content.get(game_id)
    try:
        chosen = [
            (_rule(defined, index, key, trusted=trusted), value)
            for index, (key, value) in enumerate(updates)
        ]
        with transaction.atomic():
            advisory_lock("progress", player_id)
            hooks.run_before("stat", game_id=game_id, player_id=player_id, updates=dict(updates))
            result = _apply(game_id, player_id, defined, chosen, trusted=trusted)
    except Problem as problem:
        STAT_UPDATES.labels(problem.code).inc()
        raise
    STAT_UPDATES.labels("applied").inc(len(updates))
    return result


def set_value(*, game_id: UUID, player_id: UUID, stat: str, value: int) -> Updated:
    """Set a stat to `value`, whatever its aggregation: a correction by staff.

    Achievements that it reaches are unlocked; none is taken back. Raises `UnknownStat` or
    `StatOutOfBounds`.
    """
    defined = content.get(game_id)
    rule = _rule(defined, 0, stat, trusted=True)
    with transaction.atomic():
        advisory_lock("progress", player_id)
        return _apply(game_id, player_id, defined, [(rule, value)], trusted=True, overwrite=True)


def _rule(defined: Content, index: int, key: str, *, trusted: bool) -> StatRule:
    rule = defined.stats.get(key)
    if rule is None:
        problem: Problem = UnknownStat(f"There is no stat {key}")
        raise _at(problem, index, "stat")
    if rule.writer == "server" and not trusted:
        raise _at(StatNotWritable(f"Only the game's server writes {key}"), index, "stat")
    return rule


def _at(problem: Problem, index: int, member: str) -> Problem:
    """`problem`, pointing to the update that it is about."""
    problem.errors = [FieldError(f"/updates/{index}/{member}", problem.code, problem.detail)]
    return problem


def _apply(
    game_id: UUID,
    player_id: UUID,
    defined: Content,
    chosen: list[tuple[StatRule, int]],
    *,
    trusted: bool,
    overwrite: bool = False,
) -> Updated:
    current, unlocked_ids, now = _read(player_id, [rule.id for rule, _ in chosen])
    values: list[int] = []
    levels: list[float] = []
    reached: list[AchievementRule] = []
    for index, (rule, given) in enumerate(chosen):
        value, spent, spent_at = current.get(rule.id, (None, 0.0, now))
        try:
            new = rules.next_value(rule, None if overwrite else value, given, trusted=trusted)
            if not trusted:
                step = rules.step_of(rule, value, new)
                spent = rules.spend(rule, spent, (now - spent_at).total_seconds(), step)
        except Problem as problem:
            raise _at(problem, index, "value") from None
        values.append(new)
        levels.append(spent)
        reached += [
            achievement
            for achievement in defined.by_stat.get(rule.id, ())
            if achievement.id not in unlocked_ids
            and rules.is_reached(rule.aggregation, new, achievement.threshold)
        ]
    _write(player_id, [rule.id for rule, _ in chosen], values, levels, now, trusted=trusted)
    unlocked: dict[UUID, datetime] = {}
    if reached:
        unlocked = achievements.unlock(game_id=game_id, player_id=player_id, rules=reached)
    return Updated(
        [StatChange(rule.key, value, now) for (rule, _), value in zip(chosen, values, strict=True)],
        [(rule, unlocked[rule.id]) for rule in reached if rule.id in unlocked],
    )


def _read(
    player_id: UUID, ids: list[UUID]
) -> tuple[dict[UUID, tuple[int, float, datetime]], set[UUID], datetime]:
    """The values of these stats (with the rate's level and its time), the player's unlocked
    achievements, and the database's time."""
    with connection.cursor() as cursor:
        cursor.execute(
            """SELECT given.id, v.value, v.spent, v.spent_at, statement_timestamp(),
                      (SELECT array_agg(a.achievement_id) FROM progress_achievementstate a
                       WHERE a.player_id = %s::uuid AND a.unlocked_at IS NOT NULL)
               FROM unnest(%s::uuid[]) AS given(id)
               LEFT JOIN progress_statvalue v ON v.player_id = %s::uuid AND v.stat_id = given.id""",
            [player_id, ids, player_id],
        )
        rows: list[tuple[Any, ...]] = cursor.fetchall()
    current = {row[0]: (row[1], row[2], row[3]) for row in rows if row[1] is not None}
    return current, set(rows[0][5] or ()), rows[0][4]


def _write(
    player_id: UUID,
    ids: list[UUID],
    values: list[int],
    levels: list[float],
    now: datetime,
    *,
    trusted: bool,
) -> None:
    """Write what `_read` found, changed. Trusted writes leave the rate's level as it was."""
    with connection.cursor() as cursor:
        cursor.execute(
            """INSERT INTO progress_statvalue AS v
                   (player_id, stat_id, value, spent, spent_at, updated_at)
               SELECT %s::uuid, id, value, spent, %s::timestamptz, %s::timestamptz
               FROM unnest(%s::uuid[], %s::bigint[], %s::float8[]) AS given(id, value, spent)
               ON CONFLICT (player_id, stat_id) DO UPDATE SET
                   value = EXCLUDED.value, updated_at = EXCLUDED.updated_at,
                   spent = CASE WHEN %s::bool THEN v.spent ELSE EXCLUDED.spent END,
                   spent_at = CASE WHEN %s::bool THEN v.spent_at ELSE EXCLUDED.spent_at END""",
            [player_id, now, now, ids, values, levels, trusted, trusted],
        )
