"""Definitions of stats and achievements: written by `apply_game` and in the admin."""

from typing import Any
from uuid import UUID

from django.db import transaction

from config.db import definitions
from progress.models import Achievement, Stat


def write_stats(*, game_id: UUID, writes: dict[str, dict[str, Any]]) -> None:
    """Create or change stats: key → fields. What is not named keeps its value."""
    if not writes:
        return
    with transaction.atomic():
        for key, fields in writes.items():
            Stat.objects.update_or_create(game_id=game_id, key=key, defaults=fields)
        definitions.changed(game_id)


def write_achievements(*, game_id: UUID, writes: dict[str, dict[str, Any]]) -> None:
    """Create or change achievements: key → fields, the stat by its key as `stat_key`."""
    if not writes:
        return
    with transaction.atomic():
        stats = {row.key: row for row in Stat.objects.filter(game_id=game_id)}
        for key, fields in writes.items():
            values = dict(fields)
            if "stat_key" in values:
                name = values.pop("stat_key")
                values["stat"] = stats[name] if name is not None else None
            Achievement.objects.update_or_create(game_id=game_id, key=key, defaults=values)
        definitions.changed(game_id)
