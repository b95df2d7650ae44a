"""Stats and achievements of two players who are merged. No reward is granted a second time.

Both are copied by the same steps: what the absorbed player has is noted as `seen`, and of the
survivor what it had (`was`) and has since (`now`), so that a second run finds what is new and an
undo finds what was not changed.
"""

from collections.abc import Collection, Iterable
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db import connection

from accounts.merging import Json, Pair
from progress import rules
from progress.models import AchievementState, Stat, StatValue

Values = dict[UUID, StatValue]
States = dict[UUID, AchievementState]


def bring_stats(pair: Pair, journal: Json) -> Json:
    """Combine those stats of the absorbed player that have changed since `journal`, as their
    aggregation says, within the stat's bounds. Returns the journal with them."""
    mine, theirs = _values(pair)
    noted: Json = dict(journal)
    writes = []
    for stat_id, brought in theirs.items():
        before, seen = journal.get(str(stat_id)), _of_value(brought)
        if before and before["seen"] == seen:
            continue
        own = mine.get(stat_id)
        was, now = _of_value(own), _of_value(own)
        since = before["seen"][0] if before and brought.stat.aggregation == "sum" else 0
        value = _combined(own, brought, brought.value - since)
        if own is None or value != own.value:
            at = max(brought.updated_at, own.updated_at if own else brought.updated_at)
            now = [value, at.isoformat()]
            writes.append((stat_id, value, at))
        added = value - (own.value if own else 0)
        if before:
            added += before["added"]
            was = before["was"] if was == before["now"] else was
        noted[str(stat_id)] = {"seen": seen, "was": was, "now": now, "added": added}
    _write_values(pair, writes)
    return noted


def _combined(own: StatValue | None, brought: StatValue, given: int) -> int:
    if own is None:
        return _within(brought.stat, given)
    kind: Any = brought.stat.aggregation
    if kind == "last" and own.updated_at >= brought.updated_at:
        return own.value
    value = rules.combine(kind, own.value, given)
    return value if value == own.value else _within(brought.stat, value)


def _within(stat: Stat, value: int) -> int:
    return min(max(value, stat.minimum), stat.maximum)


def take_back_stats(pair: Pair, journal: Json) -> tuple[list[str], list[str]]:
    """Undo `bring_stats`: (stats taken back, stats that stay because they were reported since).

    From a sum what was added goes, whatever was added since.
    """
    mine, _ = _values(pair)
    back, stay, writes, gone = [], [], [], []
    for stat_id, noted in journal.items():
        own = mine.get(UUID(stat_id))
        if own is None:
            continue
        is_sum = own.stat.aggregation == "sum"
        if not noted["added"] if is_sum else noted["now"] == noted["was"]:
            continue
        is_untouched = _of_value(own) == noted["now"]
        if is_untouched and noted["was"] is None:
            gone.append(own.stat_id)
        elif is_sum:
            value = _within(own.stat, own.value - noted["added"])
            writes.append((own.stat_id, value, own.updated_at))
        elif is_untouched:
            value, at = noted["was"]
            writes.append((own.stat_id, value, datetime.fromisoformat(at)))
        else:
            stay.append(own.stat.key)
            continue
        back.append(own.stat.key)
    _write_values(pair, writes)
    StatValue.objects.filter(player=pair.survivor, stat__in=gone).delete()
    return sorted(back), sorted(stay)


def bring_achievements(pair: Pair, journal: Json) -> Json:
    """Those of the absorbed player that have changed since `journal`: the greater progress and the
    earlier unlock of both. Returns the journal with them."""
    mine, theirs = _states(pair)
    noted: Json = dict(journal)
    writes = []
    for achievement_id, brought in theirs.items():
        before, seen = journal.get(str(achievement_id)), _of_state(brought)
        if before and before["seen"] == seen:
            continue
        own = mine.get(achievement_id)
        was = _of_state(own)
        both = [brought] if own is None else [own, brought]
        times = [state.unlocked_at for state in both if state.unlocked_at is not None]
        now = AchievementState(
            achievement_id=achievement_id,
            progress=max(state.progress for state in both),
            unlocked_at=min(times, default=None),
            updated_at=max(state.updated_at for state in both),
        )
        if _of_state(now) != was:
            writes.append(now)
        if before and was == before["now"]:
            was = before["was"]
        noted[str(achievement_id)] = {"seen": seen, "was": was, "now": _of_state(now)}
    _write_states(pair, writes)
    return noted


def is_new_unlock(noted: Json) -> bool:
    """Whether the survivor has this achievement by the merge alone."""
    return noted["now"][1] is not None and (noted["was"] is None or noted["was"][1] is None)


def take_back_achievements(pair: Pair, journal: Json) -> tuple[list[str], list[str]]:
    """Undo `bring_achievements`, once the stats are back: (unlocks taken back, unlocks that stay,
    since the survivor has reported more or has reached them by its own stats)."""
    mine, _ = _states(pair)
    values, _ = _values(pair)
    back, stay, writes, gone = [], [], [], []
    for achievement_id, noted in journal.items():
        own = mine.get(UUID(achievement_id))
        if own is None or noted["now"] == noted["was"]:
            continue
        is_copied = is_new_unlock(noted)
        if _of_state(own) != noted["now"] or (is_copied and _is_reached(own, values)):
            stay += [own.achievement.key] if is_copied else []
            continue
        if noted["was"] is None:
            gone.append(own.achievement_id)
        else:
            progress, unlocked_at, updated_at = noted["was"]
            own.progress, own.updated_at = progress, datetime.fromisoformat(updated_at)
            own.unlocked_at = datetime.fromisoformat(unlocked_at) if unlocked_at else None
            writes.append(own)
        back += [own.achievement.key] if is_copied else []
    _write_states(pair, writes)
    AchievementState.objects.filter(player=pair.survivor, achievement__in=gone).delete()
    return sorted(back), sorted(stay)


def _is_reached(state: AchievementState, values: Values) -> bool:
    achievement = state.achievement
    value = values.get(achievement.stat_id) if achievement.stat_id else None
    if value is None:
        return False
    kind: Any = value.stat.aggregation
    return rules.is_reached(kind, value.value, achievement.threshold)


def _of_value(row: StatValue | None) -> list[Any] | None:
    return None if row is None else [row.value, row.updated_at.isoformat()]


def _of_state(row: AchievementState | None) -> list[Any] | None:
    if row is None:
        return None
    unlocked_at = row.unlocked_at.isoformat() if row.unlocked_at else None
    return [row.progress, unlocked_at, row.updated_at.isoformat()]


def _values(pair: Pair) -> tuple[Values, Values]:
    """The survivor's and the absorbed player's."""
    rows = StatValue.objects.filter(player__in=[pair.survivor, pair.absorbed])
    found: dict[UUID, Values] = {pair.survivor.pk: {}, pair.absorbed.pk: {}}
    for row in rows.select_related("stat"):
        found[row.player_id][row.stat_id] = row
    return found[pair.survivor.pk], found[pair.absorbed.pk]


def _states(pair: Pair) -> tuple[States, States]:
    """The survivor's and the absorbed player's."""
    rows = AchievementState.objects.filter(player__in=[pair.survivor, pair.absorbed])
    found: dict[UUID, States] = {pair.survivor.pk: {}, pair.absorbed.pk: {}}
    for row in rows.select_related("achievement"):
        found[row.player_id][row.achievement_id] = row
    return found[pair.survivor.pk], found[pair.absorbed.pk]


def _write_values(pair: Pair, writes: Collection[tuple[UUID, int, datetime]]) -> None:
    """The survivor's values of stats, in one statement. The level of a rate stays as it is."""
    if not writes:
        return
    ids, values, times = zip(*writes, strict=True)
    _run(
        """INSERT INTO progress_statvalue
               (player_id, stat_id, value, spent, spent_at, updated_at)
           SELECT %s::uuid, id, value, 0, at, at
           FROM unnest(%s::uuid[], %s::bigint[], %s::timestamptz[]) AS given(id, value, at)
           ON CONFLICT (player_id, stat_id) DO UPDATE SET
               value = EXCLUDED.value, updated_at = EXCLUDED.updated_at""",
        [pair.survivor.pk, list(ids), list(values), list(times)],
    )


def _write_states(pair: Pair, states: Collection[AchievementState]) -> None:
    """The survivor's achievements, in one statement."""
    if not states:
        return
    _run(
        """INSERT INTO progress_achievementstate
               (player_id, achievement_id, progress, unlocked_at, updated_at)
           SELECT %s::uuid, id, progress, unlocked_at, updated_at
           FROM unnest(%s::uuid[], %s::bigint[], %s::timestamptz[], %s::timestamptz[])
                AS given(id, progress, unlocked_at, updated_at)
           ON CONFLICT (player_id, achievement_id) DO UPDATE SET
               progress = EXCLUDED.progress, unlocked_at = EXCLUDED.unlocked_at,
               updated_at = EXCLUDED.updated_at""",
        [
            pair.survivor.pk,
            [state.achievement_id for state in states],
            [state.progress for state in states],
            [state.unlocked_at for state in states],
            [state.updated_at for state in states],
        ],
    )


def _run(statement: str, arguments: Iterable[Any]) -> None:
    with connection.cursor() as cursor:
        cursor.execute(statement, list(arguments))
