"""Wire formats of leaderboards."""

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

import msgspec

from accounts.selectors import PublicPlayer
from config.api.pagination import MAX_LIMIT
from config.api.wire import Input, Int64, Output

AROUND_LIMIT = 11
PAGE_LIMIT = 50


class SeasonOut(Output):
    """A season. `ends_at` is null for one that never ends."""

    number: int
    starts_at: datetime
    ends_at: datetime | None


class BoardOut(Output):
    """A leaderboard with its running season. `min_score` and `max_score` bound each score."""

    key: str
    name: str
    sort: Literal["desc", "asc"]
    keep: Literal["best", "last", "sum"]
    min_score: int | None
    max_score: int | None
    season: SeasonOut


class ScoreIn(Input, frozen=True):
    """A score. `player` is for game servers alone, and required of them. `metadata` is what the
    game wants to show beside the score, up to 1 KB as compact JSON."""

    score: Int64
    metadata: dict[str, Any] | None = None
    player: UUID | None = None


class ScoredEntry(Output):
    """What the board keeps of the player now. `rank` is null only while it can't be told."""

    score: int
    rank: int | None
    achieved_at: datetime


class ScoreOut(Output):
    """What became of a score. `improved`: the player's entry is better than before.
    `previous_rank` is null if there was no entry, or it can't be told."""

    verdict: Literal["accepted", "held"]
    entry: ScoredEntry
    improved: bool
    previous_rank: int | None
    season: int


class EntryOut(Output):
    """One entry of a board."""

    rank: int
    score: int
    achieved_at: datetime
    metadata: dict[str, Any] | None
    player: PublicPlayer


class OwnEntryOut(Output):
    """The player's own entry. `percentile` is 100 × rank / total: 10.0 is within the best tenth."""

    rank: int
    score: int
    achieved_at: datetime
    metadata: dict[str, Any] | None
    player: PublicPlayer
    percentile: float
    total: int


SeasonParameter = Annotated[
    str, msgspec.Meta(pattern=r"^(current|[1-9][0-9]{0,8})$", description="`current` or a number")
]


class SeasonQuery(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """Which season."""

    season: SeasonParameter = "current"


class EntriesQuery(SeasonQuery, kw_only=True):
    """Which entries: from the top by pages, or with `around=me` the player's neighbours."""

    limit: Annotated[int, msgspec.Meta(ge=1, le=MAX_LIMIT)] | None = None
    cursor: Annotated[str, msgspec.Meta(max_length=500)] | None = None
    around: Literal["me"] | None = None
    scope: Literal["friends", "country", "bucket"] | None = None
