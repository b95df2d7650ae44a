"""What leaderboards refuse with."""

from typing import TYPE_CHECKING

from config.api.problems import Problem

if TYPE_CHECKING:
    from leaderboards.services.scores import Refusal


class ScoreRefused(Problem):
    """A score that is not taken. It carries what has to be logged once the transaction is over."""

    status, code, title = 422, "score_refused", "The score was not taken"
    refusal: "Refusal | None" = None


class ScoreOutOfBounds(ScoreRefused):
    """The score is below the board's `min_score` or above its `max_score`, or a sum of scores
    would not fit 64 bits. It is kept in the board's log."""

    status, code, title = 422, "score_out_of_bounds", "The score is out of the board's bounds"


class ScopeNotAvailable(Problem):
    """This board has no such part: friends, countries and buckets are not kept here."""

    status, code, title = 422, "scope_not_available", "This part of the board is not available"


class RanksUnavailable(Problem):
    """The ranks are being rebuilt and could not be counted in time. Scores are taken meanwhile;
    ask again after Retry-After seconds."""

    status, code, title = 503, "ranks_unavailable", "Ranks can't be told just now"


class BoardInUse(Problem):
    """A board that has entries keeps its `sort`: they would all be ranked the wrong way round."""

    status, code, title = 409, "board_in_use", "The board has entries"
