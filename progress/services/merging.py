"""What progress brings to a merge: copies of saves, stats and achievements.

The absorbed player's rows stay as they are; an undo takes out of the survivor what came in and was
not changed since. docs/adr/0034 has the rules.
"""

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from accounts.merging import Json, Moved, Pair
from accounts.models import Player
from config.api.wire import utc
from config.db.transactions import advisory_lock
from progress import rules, selectors
from progress.services import achievements, merge_saves, merge_stats

name, order = "progress", 30


def holds(player: Player) -> Json:
    defined = selectors.content.get(player.game_id).stats
    values = selectors.stat_values(player_id=player.pk)
    states = selectors.achievement_states(player_id=player.pk)
    return {
        "saves": [
            {
                "slot": row["slot"],
                "version": row["version"],
                "size": row["size"],
                "updated_at": utc(row["updated_at"]),
                "device": row["device"],
            }
            for row in selectors.saves(game_id=player.game_id, player_id=player.pk)
        ],
        "stats": {key: values[rule.id][0] for key, rule in defined.items() if rule.id in values},
        "achievements": sum(unlocked_at is not None for _, unlocked_at in states.values()),
    }


def lock(player_ids: Sequence[UUID]) -> None:
    """Creations of slots, then reports of stats and achievements."""
    for purpose in ("saves", "progress"):
        for player_id in player_ids:
            advisory_lock(purpose, player_id)


def merge(pair: Pair, choices: Mapping[str, Any]) -> Moved:
    chosen: Mapping[str, str] = choices.get("saves", {})
    merge_saves.check_choices(pair, chosen)
    saves, told = merge_saves.bring(pair, chosen, {})
    stats = merge_stats.bring_stats(pair, {})
    states = merge_stats.bring_achievements(pair, {})
    told |= {
        "stats": sum(noted["now"] != noted["was"] for noted in stats.values()),
        "achievements": sum(map(merge_stats.is_new_unlock, states.values())),
    }
    own = sorted(slot for slot, side in chosen.items() if side == "this")
    return Moved({"own": own, "saves": saves, "stats": stats, "achievements": states}, told)


def settle(pair: Pair, journal: Json) -> Json:
    """What was written for the absorbed player while it was merged, and what the sums now reach.

    Of the choices only "this" still holds: a content that was chosen from the other one is as old
    as it was there, so that by time the same side wins, unless the survivor has written since.
    """
    own = journal.get("own", [])
    saves, _ = merge_saves.bring(pair, dict.fromkeys(own, "this"), journal.get("saves", {}))
    stats = merge_stats.bring_stats(pair, journal.get("stats", {}))
    states = merge_stats.bring_achievements(pair, journal.get("achievements", {}))
    unlocked = [*journal.get("unlocked", []), *_unlock(pair, stats)]
    return {
        "own": own,
        "saves": saves,
        "stats": stats,
        "achievements": states,
        "unlocked": unlocked,
    }


def _unlock(pair: Pair, stats: Json) -> list[str]:
    """Unlock what the merged stats reach; the keys. For a survivor who was merged meanwhile, that
    merge's settling does it: nothing is granted to a merged player."""
    if pair.survivor.merged_into_id is not None:
        return []
    defined = selectors.content.get(pair.game_id)
    values = selectors.stat_values(player_id=pair.survivor.pk)
    states = selectors.achievement_states(player_id=pair.survivor.pk)
    reached = [
        rule
        for stat_id in map(UUID, stats)
        for rule in defined.by_stat.get(stat_id, ())
        if states.get(rule.id, (0, None))[1] is None
        and rule.aggregation is not None
        and stat_id in values
        and rules.is_reached(rule.aggregation, values[stat_id][0], rule.threshold)
    ]
    if not reached:
        return []
    unlocked = achievements.unlock(game_id=pair.game_id, player_id=pair.survivor.pk, rules=reached)
    return [rule.key for rule in reached if rule.id in unlocked]


def undo(pair: Pair, journal: Json) -> Json:
    saves, saves_stay = merge_saves.take_back(pair, journal.get("saves", {}))
    stats, stats_stay = merge_stats.take_back_stats(pair, journal.get("stats", {}))
    states, states_stay = merge_stats.take_back_achievements(pair, journal.get("achievements", {}))
    return {
        "saves": saves,
        "stats": stats,
        "achievements": states,
        "stays": {
            "saves": saves_stay,
            "stats": stats_stay,
            "achievements": sorted([*states_stay, *journal.get("unlocked", [])]),
        },
    }
