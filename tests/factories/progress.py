"""Rows of progress for tests."""

from typing import Any

from factory.declarations import Sequence, SubFactory
from factory.django import DjangoModelFactory

from accounts.models import Game
from config.db import definitions
from progress.models import Achievement, Stat
from tests.factories.accounts import GameFactory


class StatFactory(DjangoModelFactory[Stat]):
    """A sum that players report, without further rules."""

    class Meta:
        model = Stat

    game = SubFactory(GameFactory)
    key = Sequence(lambda n: f"stat_{n}")
    aggregation = Stat.Aggregation.SUM


class AchievementFactory(DjangoModelFactory[Achievement]):
    """An achievement that players report, with a threshold of 1 and no reward."""

    class Meta:
        model = Achievement

    game = SubFactory(GameFactory)
    key = Sequence(lambda n: f"achievement_{n}")
    name = Sequence(lambda n: f"Achievement {n}")
    position = Sequence(lambda n: n)


def make_stat(game: Game, key: str, aggregation: str = "sum", **fields: Any) -> Stat:
    """A stat of `game`, known to all processes from now on."""
    stat = StatFactory.create(game=game, key=key, aggregation=aggregation, **fields)
    definitions.changed(game.pk)
    return stat


def make_achievement(
    game: Game, key: str, stat: Stat | None = None, threshold: int = 1, **fields: Any
) -> Achievement:
    """An achievement of `game` that follows `stat`, or takes reports where there is none."""
    achievement = AchievementFactory.create(
        game=game,
        key=key,
        stat=stat,
        threshold=threshold,
        **{"reportable": stat is None, **fields},
    )
    definitions.changed(game.pk)
    return achievement
