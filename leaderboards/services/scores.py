"""Scores: one statement, one commit, one round trip to Redis.

The statement keeps the best, the last or the sum in the entry, writes the log line and the
server event, and is a transaction of its own unless the caller has one open (an idempotency key,
a sync). Then the rank index is changed, and answers with the ranks. In a caller's transaction the
index changes after the commit, and the answer has the ranks that it will then give: an index
that ran ahead of a rolled-back transaction would hold a score that nobody has.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import Any
from uuid import UUID

import msgspec
from django.db import DataError, connection, transaction
from psycopg.errors import NumericValueOutOfRange

from accounts.selectors import player_get
from config import hooks
from config.api.parsing import invalid
from config.db.ids import uuid7
from config.db.together import Together
from leaderboards import index, ranking
from leaderboards.boards import BoardDefinition
from leaderboards.errors import RanksUnavailable, ScoreOutOfBounds, ScoreRefused
from leaderboards.metrics import SCORES
from leaderboards.models import Board, Entry, Submission
from leaderboards.order import order_key
from leaderboards.services import seasons

METADATA_BYTES = 1024
# A season may end between our clock and the database's; then the next one is looked up.
SEASON_TRIES = 3


class Refusal(msgspec.Struct, frozen=True):
    """What the log keeps of a score that was not taken."""

    game_id: UUID
    season_id: UUID
    player_id: UUID
    score: int
    metadata: str | None
    reason: str
    author: str


class Outcome(msgspec.Struct, frozen=True):
    """What became of a score. `score` and `achieved_at` are those that the board keeps.

    `rank` is None only while the ranks can't be told (leaderboards/ranking.py). An entry that is
    not ranked (a tester's, a hidden one) gets the rank that it would have.
    """

    score: int
    achieved_at: datetime
    rank: int | None
    improved: bool
    previous_rank: int | None
    season: int


# What a score does to the entry `e`, by `keep`: (what it becomes, when).
_KEEP = {
    Board.Keep.BEST: ("excluded.score", "excluded.order_key < e.order_key"),
    Board.Keep.LAST: ("excluded.score", "true"),
    Board.Keep.SUM: ("e.score + excluded.score", "true"),
}


def _statement(keep: str, sort: str) -> str:
    """The upsert for one kind of board, of scores that come at the same moment.

    They are written in the order of their entries, so that two such statements lock in one order;
    each row is looked up by its index, whatever PostgreSQL thinks of the number of scores.

    `previous_score` is null where there was nothing to improve on. A score equal to what stands
    keeps its time: whoever got there first stays first. Returns one row, whether the entry
    changed and what it is; nulls if it stands, made by a statement that this one could not see;
    no row if there is no such player (any more), or the season has ended.
    """
    value, condition = _KEEP[Board.Keep(keep)]
    value = f"""CASE WHEN e.state = 'removed' THEN excluded.score
                     WHEN {condition} THEN {value} ELSE e.score END"""
    order = f"~({value})" if sort == Board.Sort.DESC else value
    return f"""
WITH asked AS MATERIALIZED (
    SELECT * FROM json_to_recordset(%(scores)s::json) AS a (
        id uuid, game uuid, season uuid, player uuid, score bigint, sorted bigint, metadata jsonb,
        author text, board text, number integer, session uuid)
), target AS MATERIALIZED (
    SELECT a.*, s.id AS season_id, p.id AS player_id,
           CASE WHEN p.is_tester THEN 'tester' ELSE 'ranked' END AS state,
           p.analytics_consent, p.is_tester, p.country
    FROM asked a
    CROSS JOIN LATERAL (SELECT * FROM accounts_player WHERE id = a.player LIMIT 1) p
    CROSS JOIN LATERAL (SELECT * FROM leaderboards_season WHERE id = a.season LIMIT 1) s
    WHERE p.game_id = a.game AND p.merged_into_id IS NULL
      AND (s.ends_at IS NULL OR s.ends_at > statement_timestamp())
), written AS (
    INSERT INTO leaderboards_entry AS e (season_id, player_id, score, order_key, achieved_at,
                                         metadata, version, state)
    SELECT season_id, player_id, score, sorted, statement_timestamp(), metadata, 1, state
    FROM target ORDER BY season_id, player_id
    ON CONFLICT (season_id, player_id) DO UPDATE SET
        score = {value},
        order_key = {order},
        achieved_at = CASE WHEN e.state = 'removed' OR e.score <> {value}
                      THEN greatest(excluded.achieved_at, e.achieved_at) ELSE e.achieved_at END,
        previous_score = CASE WHEN e.state = 'removed' THEN NULL ELSE e.score END,
        metadata = CASE WHEN e.state = 'removed' OR {condition}
                   THEN excluded.metadata ELSE e.metadata END,
        state = CASE WHEN e.state = 'hidden' THEN e.state ELSE excluded.state END,
        version = e.version + 1
    WHERE e.state = 'removed' OR {condition} OR e.state NOT IN ('hidden', excluded.state)
    RETURNING season_id, player_id, score, order_key, achieved_at, previous_score, version, state
), logged AS (
    INSERT INTO leaderboards_submission
        (created_at, id, game_id, season_id, player_id, score, metadata, verdict, reason, author)
    SELECT statement_timestamp(), id, game, season_id, player_id, score, metadata, 'accepted', '',
           author
    FROM target
), result AS (
    SELECT true AS changed, * FROM written
    UNION ALL
    SELECT false, e.*
    FROM target
    CROSS JOIN LATERAL (
        SELECT season_id, player_id, score, order_key, achieved_at, previous_score, version, state
        FROM leaderboards_entry
        WHERE season_id = target.season_id AND player_id = target.player_id
        LIMIT 1
    ) e
    WHERE (e.season_id, e.player_id) NOT IN (SELECT season_id, player_id FROM written)
)
SELECT changed, result.score, order_key, achieved_at, previous_score, version, result.state,
       target.id,
       analytics_record_for(target.game, player_id, analytics_consent, is_tester,
                            coalesce(session.platform, ''), country,
                            coalesce(session.app_version, ''), 'score',
                            jsonb_build_object('leaderboard', board, 'season', target.number,
                                               'score', target.score),
                            target.session, statement_timestamp())
FROM target LEFT JOIN result USING (season_id, player_id)
LEFT JOIN LATERAL (
    SELECT platform, app_version FROM accounts_session
    WHERE id = target.session AND player_id = target.player LIMIT 1
) session ON true
"""  # noqa: S608 (made of the constants above)


_STATEMENTS = {
    (keep, sort): _statement(keep, sort) for keep in Board.Keep.values for sort in Board.Sort.values
}


def metadata_json(metadata: Mapping[str, Any] | None) -> str | None:
    """Metadata as it is stored. Raises `ValidationFailed` past `METADATA_BYTES` bytes of JSON."""
    if metadata is None:
        return None
    text = msgspec.json.encode(metadata)
    if len(text) > METADATA_BYTES:
        raise invalid("/metadata", f"The metadata may have {METADATA_BYTES} bytes as compact JSON")
    return text.decode()


def submit(
    *,
    board: BoardDefinition,
    player_id: UUID,
    score: int,
    metadata: Mapping[str, Any] | None = None,
    author: str = "player",
    session_id: UUID | None = None,
) -> Outcome:
    """Take a score (a signed 64-bit integer) of a player of the board's game.

    Raises `ScoreRefused` (or what a `before` hook refuses with), `ValidationFailed` for metadata,
    `NotFound` or `PlayerMerged` for the player. A refusal is logged by `log_refusal`, which the
    caller calls when no transaction of its own is left to take the line back.
    """
    text = metadata_json(metadata)
    season = seasons.current(board)
    refusal = Refusal(board.game_id, season.id, player_id, score, text, "", author)
    _check_bounds(board, score, refusal)
    if hooks.has_before("score") or hooks.has_after("score"):
        with transaction.atomic():
            hooks.run_before(
                "score",
                game_id=board.game_id,
                player_id=player_id,
                board=board.key,
                score=score,
                metadata=metadata,
            )
            outcome = _write(board, refusal, session_id)
            hooks.run_after(
                "score",
                game_id=str(board.game_id),
                player_id=str(player_id),
                board=board.key,
                season=outcome.season,
                score=outcome.score,
                improved=outcome.improved,
            )
    else:
        outcome = _write(board, refusal, session_id)
    SCORES.labels("accepted").inc()
    return outcome


def _check_bounds(board: BoardDefinition, score: int, refusal: Refusal) -> None:
    low, high = board.min_score, board.max_score
    if (low is not None and score < low) or (high is not None and score > high):
        raise _refused(
            ScoreOutOfBounds(
                f"This board takes scores from {'any' if low is None else low} "
                f"to {'any' if high is None else high}"
            ),
            refusal,
        )


def _refused(problem: ScoreRefused, refusal: Refusal) -> ScoreRefused:
    problem.refusal = msgspec.structs.replace(refusal, reason=problem.code)
    return problem


def _write(board: BoardDefinition, given: Refusal, session_id: UUID | None) -> Outcome:
    season = seasons.current(board)
    for _ in range(SEASON_TRIES):
        try:
            row = _execute(board, season, given, session_id)
        except DataError as error:
            if isinstance(error.__cause__, NumericValueOutOfRange):
                problem = ScoreOutOfBounds("The sum does not fit 64 bits")
                raise _refused(problem, given) from None
            raise
        if row is not None:
            if row[0] is None:
                row = _entry_made_meanwhile(season.id, given.player_id)
            return _finish(board, season, given.player_id, row)
        player_get(game_id=board.game_id, player_id=given.player_id)
        season = seasons.current(board, now=seasons.database_now())
    raise RanksUnavailable(headers={"Retry-After": "1"})


Row = tuple[bool | None, int, int, datetime, int | None, int, str]


class _Score(msgspec.Struct, frozen=True):
    """A score as the statement takes it. `sorted` is its order key."""

    id: UUID
    game: UUID
    season: UUID
    player: UUID
    score: int
    sorted: int
    metadata: msgspec.Raw | None
    author: str
    board: str
    number: int
    session: UUID | None


def _execute(
    board: BoardDefinition, season: seasons.SeasonInfo, given: Refusal, session_id: UUID | None
) -> Row | None:
    return _TOGETHER[board.keep, board.sort].ask(
        _Score(
            id=uuid7(),
            game=board.game_id,
            season=season.id,
            player=given.player_id,
            score=given.score,
            sorted=order_key(given.score, board.sort),
            metadata=None if given.metadata is None else msgspec.Raw(given.metadata.encode()),
            author=given.author,
            board=board.key,
            number=season.number,
            session=session_id,
        )
    )


def _execute_all(statement: str, scores: Sequence[_Score]) -> list[Row | None]:
    with connection.cursor() as cursor:
        cursor.execute(statement, {"scores": msgspec.json.encode(scores).decode()})
        rows = {row[7]: row[:7] for row in cursor.fetchall()}
    return [rows.get(score.id) for score in scores]


_TOGETHER = {
    kind: Together(
        partial(_execute_all, statement), once=lambda score: (score.season, score.player)
    )
    for kind, statement in _STATEMENTS.items()
}


def _entry_made_meanwhile(season_id: UUID, player_id: UUID) -> Row:
    """The entry that stood against ours, and that our statement's snapshot did not have yet."""
    entry = Entry.objects.get(season_id=season_id, player_id=player_id)
    return (
        False,
        entry.score,
        entry.order_key,
        entry.achieved_at,
        entry.previous_score,
        entry.version,
        entry.state,
    )


def _finish(
    board: BoardDefinition, season: seasons.SeasonInfo, player_id: UUID, row: Row
) -> Outcome:
    changed, score, key, achieved_at, previous_score, version, state = row
    change = index.Change(player_id, key, achieved_at, version, state == Entry.State.RANKED)
    standing = ranking.stand(season.id, change)
    improved = changed is True and (
        previous_score is None or key < order_key(previous_score, board.sort)
    )
    return Outcome(
        score,
        achieved_at,
        standing.rank if standing else None,
        improved,
        standing.previous if standing else None,
        season.number,
    )


def log_refusal(problem: Exception) -> None:
    """Keep a refused score in the log. Call it outside of the transaction that was refused."""
    refusal = problem.refusal if isinstance(problem, ScoreRefused) else None
    if refusal is None:
        return
    SCORES.labels("refused").inc()
    with connection.cursor() as cursor:
        cursor.execute(
            """INSERT INTO leaderboards_submission
                   (created_at, id, game_id, season_id, player_id, score, metadata, verdict,
                    reason, author)
               SELECT statement_timestamp(), %s::uuid, %s::uuid, %s::uuid, p.id, %s::bigint,
                      %s::jsonb, %s::text, %s::text, %s::text
               FROM accounts_player p WHERE p.id = %s::uuid AND p.game_id = %s::uuid""",
            [
                uuid7(),
                refusal.game_id,
                refusal.season_id,
                refusal.score,
                refusal.metadata,
                Submission.Verdict.REFUSED.value,
                refusal.reason,
                refusal.author,
                refusal.player_id,
                refusal.game_id,
            ],
        )
