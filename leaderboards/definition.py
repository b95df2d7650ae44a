"""The section `leaderboards` of a game file. See docs/leaderboards.md."""

from collections.abc import Callable, Mapping
from typing import Annotated, Any, Literal

import msgspec

from accounts.definition import Report
from accounts.models import Game
from config.api.parsing import INT64_MAX, convert
from config.api.problems import Problem
from config.api.wire import Amount, Input, Int64, Key, Quantity
from leaderboards.models import Board
from leaderboards.services import boards

MAX_BOARDS = 1_000
MAX_REWARDS = 100
Name = Annotated[str, msgspec.Meta(min_length=1, max_length=100)]
Rank = Annotated[int, msgspec.Meta(ge=1, le=INT64_MAX)]
Percent = Annotated[float, msgspec.Meta(ge=0, le=100)]


class RewardGrant(Input, frozen=True, omit_defaults=True):
    """What a reward gives."""

    currencies: dict[Key, Amount] = {}
    items: dict[Key, Quantity] = {}


class RewardFile(Input, frozen=True, omit_defaults=True):
    """A reward for final ranks, or for a share of the best entries in per cent; from, to."""

    grant: RewardGrant
    ranks: tuple[Rank, Rank] | None = None
    percentile: tuple[Percent, Percent] | None = None


class BoardFile(Input, frozen=True, omit_defaults=True):
    """A leaderboard in the file."""

    key: Key
    name: Name | None = None
    sort: Literal["desc", "asc"] = "desc"
    keep: Literal["best", "last", "sum"] = "best"
    reset: Annotated[str, msgspec.Meta(max_length=100)] | None = None
    min_score: Int64 | None = None
    max_score: Int64 | None = None
    requires_run: bool = False
    bucket_size: Annotated[int, msgspec.Meta(ge=2, le=1_000)] | None = None
    rewards: Annotated[list[RewardFile], msgspec.Meta(max_length=MAX_REWARDS)] = []

    def values(self) -> dict[str, Any]:
        """The board's fields."""
        fields: dict[str, Any] = msgspec.structs.asdict(self)
        del fields["key"]
        return fields | {
            "name": self.name or self.key,
            "reset": self.reset or "",
            "rewards": [_plain(reward) for reward in self.rewards],
            "is_active": True,
        }


class LeaderboardsSection:
    """`leaderboards`."""

    name = "leaderboards"
    order = 60

    def plan(self, game: Game, data: list[Any], report: Report) -> Callable[[], None]:
        wanted = self._read(data, report)
        report.keys[self.name] = set(wanted)
        writes: dict[str, Mapping[str, Any]] = {}
        existing = {board.key: board for board in Board.objects.filter(game=game)}
        for key, values in wanted.items():
            board = existing.get(key)
            if board is None:
                report.change("created", self.name, key)
                writes[key] = values
            elif changed := [name for name, new in values.items() if getattr(board, name) != new]:
                if "sort" in changed and boards.in_use(board.id):
                    report.error(
                        f"/{self.name}", f"{key} has entries: its sort can't change any more"
                    )
                report.change("changed", self.name, key, ", ".join(changed))
                writes[key] = values
        gone = [board for key, board in existing.items() if key not in wanted and board.is_active]
        for board in gone:
            report.change("removed", self.name, board.key)

        def apply() -> None:
            for key, values in writes.items():
                boards.board_save(game=game, key=key, values=values)
            for board in gone:
                boards.board_archive(board=board)

        return apply

    def _read(self, data: list[Any], report: Report) -> dict[str, dict[str, Any]]:
        """Key → values of the entries; mistakes are reported."""
        found: dict[str, dict[str, Any]] = {}
        if len(data) > MAX_BOARDS:
            report.error(f"/{self.name}", f"A game has at most {MAX_BOARDS}")
        for number, raw in enumerate(data[:MAX_BOARDS]):
            at = f"/{self.name}/{number}"
            try:
                entry = convert(raw, BoardFile)
            except Problem as problem:
                first = problem.errors[0] if problem.errors else None
                where, text = (first.pointer, first.detail) if first else ("", problem.detail)
                report.error(at + where, text)
                continue
            values = entry.values()
            if entry.key in found:
                report.error(f"{at}/key", f"{entry.key} is there twice")
            for name, text in boards.mistakes_in(values).items():
                report.error(f"{at}/{name}", text)
            for place, reward in enumerate(entry.rewards):
                _check_reward(f"{at}/rewards/{place}", reward, report)
            found[entry.key] = values
        return found

    def export(self, game: Game) -> list[dict[str, Any]]:
        names = BoardFile.__struct_fields__
        rows = Board.objects.filter(game=game, is_active=True).order_by("key").values(*names)
        return [
            _plain(
                msgspec.convert(
                    row
                    | {
                        "name": None if row["name"] == row["key"] else row["name"],
                        "reset": row["reset"] or None,
                    },
                    BoardFile,
                )
            )
            for row in rows
        ]

    def known_keys(self, game: Game) -> set[str]:
        keys = Board.objects.filter(game=game, is_active=True).values_list("key", flat=True)
        return set(keys)


def _check_reward(at: str, reward: RewardFile, report: Report) -> None:
    if (reward.ranks is None) == (reward.percentile is None):
        report.error(at, "A reward has either ranks or percentile")
    for name, span in (("ranks", reward.ranks), ("percentile", reward.percentile)):
        if span is not None and span[0] > span[1]:
            report.error(f"{at}/{name}", "The first is above the second")
    if not reward.grant.currencies and not reward.grant.items:
        report.error(f"{at}/grant", "It grants nothing")
    for section in ("currencies", "items"):
        known = report.keys.get(section, set())
        for key in getattr(reward.grant, section):
            if key not in known:
                report.error(f"{at}/grant/{section}/{key}", f"{key} is not in {section}")


def _plain(entry: Input) -> dict[str, Any]:
    """As YAML and JSON columns give it back: lists instead of tuples."""
    built: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(entry))
    return built
