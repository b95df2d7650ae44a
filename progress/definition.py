"""The sections `stats` and `achievements` of a game file. See docs/game-definition.md."""

from collections.abc import Callable
from typing import Annotated, Any, Literal
from uuid import UUID

import msgspec

from accounts.definition import Report
from accounts.models import Game
from config.api.parsing import INT64_MAX, INT64_MIN, convert
from config.api.problems import Problem
from config.api.wire import Amount, Input, Int64, Key, Quantity
from progress.models import Achievement, Stat
from progress.services import content
from store.catalogue import catalogue

MAX_STATS = 500
MAX_ACHIEVEMENTS = 1000
Name = Annotated[str, msgspec.Meta(max_length=100)]


class Rate(Input, frozen=True):
    """At most so much change in so many seconds."""

    amount: Amount
    seconds: Annotated[int, msgspec.Meta(ge=1, le=31 * 86400)]


class StatFile(Input, frozen=True, omit_defaults=True, kw_only=True):
    """A stat in the file."""

    key: Key
    name: Name = ""
    aggregation: Literal["sum", "max", "min", "last"]
    min: Int64 | None = None
    max: Int64 | None = None
    max_step: Amount | None = None
    rate: Rate | None = None
    writer: Literal["player", "server"] = "player"


def _bounds(entry: StatFile) -> tuple[int, int]:
    """The smallest and the largest value; left out: all that 64 bits hold."""
    return (
        INT64_MIN if entry.min is None else entry.min,
        INT64_MAX if entry.max is None else entry.max,
    )


class RewardFile(Input, frozen=True, omit_defaults=True, kw_only=True):
    """What an unlock grants."""

    currencies: dict[Key, Amount] = {}
    items: dict[Key, Quantity] = {}


class AchievementFile(Input, frozen=True, omit_defaults=True, kw_only=True):
    """An achievement in the file."""

    key: Key
    name: Annotated[str, msgspec.Meta(min_length=1, max_length=100)]
    description: Annotated[str, msgspec.Meta(max_length=500)] = ""
    stat: Key | None = None
    threshold: Int64 = 1
    hidden: bool = False
    reportable: bool = False
    reward: RewardFile | None = None


def _read(section: str, data: list[Any], kind: type[Any], most: int, report: Report) -> list[Any]:
    """The entries that are well formed, with their place in the file; mistakes are reported."""
    if len(data) > most:
        report.error(f"/{section}", f"A game has at most {most}")
    entries: list[Any] = []
    seen: set[str] = set()
    for index, raw in enumerate(data[:most]):
        try:
            entry = convert(raw, kind)
        except Problem as problem:
            where = problem.errors[0].pointer if problem.errors else ""
            text = problem.errors[0].detail if problem.errors else problem.detail
            report.error(f"/{section}/{index}{where}", text)
            continue
        if entry.key in seen:
            report.error(f"/{section}/{index}/key", f"{entry.key} is there twice")
        seen.add(entry.key)
        entries.append((index, entry))
    return entries


def reward_mistakes(game_id: UUID, reward: Any) -> list[str]:
    """What is wrong with a reward, as staff enter it: its shape, or keys that the game lacks."""
    try:
        read = convert(reward, RewardFile)
    except Problem as problem:
        return [problem.detail]
    known = catalogue(game_id)
    missing = sorted(set(read.currencies) - set(known.currencies))
    missing += sorted(set(read.items) - set(known.items))
    return [f"The game has no {key}." for key in missing]


class StatsSection:
    """`stats`."""

    name = "stats"
    order = 40

    def plan(self, game: Game, data: list[Any], report: Report) -> Callable[[], None]:
        entries = _read(self.name, data, StatFile, MAX_STATS, report)
        for index, entry in entries:
            self._check(f"/{self.name}/{index}", entry, report)
        report.keys[self.name] = {entry.key for _, entry in entries}
        wanted = {entry.key: self._fields(entry) for _, entry in entries}
        existing = {row.key: row for row in Stat.objects.filter(game=game)}
        for index, entry in entries:
            row = existing.get(entry.key)
            if row is not None and row.aggregation != entry.aggregation:
                report.error(
                    f"/{self.name}/{index}/aggregation",
                    f"{entry.key} is a {row.aggregation}; players have values of it. "
                    "Use another key",
                )
        writes = report.compare(self.name, wanted, existing)
        return lambda: content.write_stats(game_id=game.id, writes=writes)

    def _check(self, where: str, entry: StatFile, report: Report) -> None:
        low, high = _bounds(entry)
        if low > high:
            report.error(f"{where}/min", "min is larger than max")
        elif entry.aggregation == "sum" and not low <= 0 <= high:
            report.error(f"{where}/min", "A sum begins at 0, so 0 has to be within min and max")

    def _fields(self, entry: StatFile) -> dict[str, Any]:
        low, high = _bounds(entry)
        return {
            "name": entry.name,
            "aggregation": entry.aggregation,
            "minimum": low,
            "maximum": high,
            "max_step": entry.max_step,
            "rate_amount": entry.rate.amount if entry.rate else None,
            "rate_seconds": entry.rate.seconds if entry.rate else None,
            "writer": entry.writer,
            "is_active": True,
        }

    def export(self, game: Game) -> list[dict[str, Any]]:
        return [
            msgspec.to_builtins(
                StatFile(
                    key=row.key,
                    name=row.name,
                    aggregation=msgspec.convert(
                        row.aggregation, Literal["sum", "max", "min", "last"]
                    ),
                    min=None if row.minimum == INT64_MIN else row.minimum,
                    max=None if row.maximum == INT64_MAX else row.maximum,
                    max_step=row.max_step,
                    rate=Rate(amount=row.rate_amount, seconds=row.rate_seconds)
                    if row.rate_amount is not None and row.rate_seconds is not None
                    else None,
                    writer="server" if row.writer == Stat.Writer.SERVER else "player",
                )
            )
            for row in Stat.objects.filter(game=game, is_active=True).order_by("key")
        ]

    def known_keys(self, game: Game) -> set[str]:
        return set(Stat.objects.filter(game=game, is_active=True).values_list("key", flat=True))


class AchievementsSection:
    """`achievements`. Their order in the file is the order in which players see them."""

    name = "achievements"
    order = 50

    def plan(self, game: Game, data: list[Any], report: Report) -> Callable[[], None]:
        entries = _read(self.name, data, AchievementFile, MAX_ACHIEVEMENTS, report)
        for index, entry in entries:
            self._check(f"/{self.name}/{index}", entry, report)
        report.keys[self.name] = {entry.key for _, entry in entries}
        wanted = {
            entry.key: self._fields(position, entry) for position, (_, entry) in enumerate(entries)
        }
        existing = {
            row.key: row for row in Achievement.objects.filter(game=game).select_related("stat")
        }
        writes = report.compare(self.name, wanted, existing)
        return lambda: content.write_achievements(game_id=game.id, writes=writes)

    def _check(self, where: str, entry: AchievementFile, report: Report) -> None:
        if entry.stat is not None:
            if entry.stat not in report.keys.get("stats", set()):
                report.error(f"{where}/stat", f"There is no stat {entry.stat}")
            if entry.reportable:
                report.error(
                    f"{where}/reportable", "An achievement follows a stat or takes reports"
                )
        elif entry.threshold < 1:
            report.error(f"{where}/threshold", "Without a stat the threshold is at least 1")
        if entry.reward is None:
            return
        for member, keys in (
            ("currencies", entry.reward.currencies),
            ("items", entry.reward.items),
        ):
            for key in sorted(set(keys) - report.keys.get(member, set())):
                report.error(f"{where}/reward/{member}/{key}", f"There is no {key}")

    def _fields(self, position: int, entry: AchievementFile) -> dict[str, Any]:
        return {
            "name": entry.name,
            "description": entry.description,
            "stat_key": entry.stat,
            "threshold": entry.threshold,
            "hidden": entry.hidden,
            "reportable": entry.reportable,
            "reward": msgspec.to_builtins(entry.reward) if entry.reward else {},
            "position": position,
            "is_active": True,
        }

    def export(self, game: Game) -> list[dict[str, Any]]:
        rows = Achievement.objects.filter(game=game, is_active=True).select_related("stat")
        return [
            msgspec.to_builtins(
                AchievementFile(
                    key=row.key,
                    name=row.name,
                    description=row.description,
                    stat=row.stat.key if row.stat else None,
                    threshold=row.threshold,
                    hidden=row.hidden,
                    reportable=row.reportable,
                    reward=RewardFile(**row.reward) if row.reward else None,
                )
            )
            for row in rows
        ]

    def known_keys(self, game: Game) -> set[str]:
        rows = Achievement.objects.filter(game=game, is_active=True)
        return set(rows.values_list("key", flat=True))
