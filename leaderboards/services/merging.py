"""What leaderboards bring to a merge: entries of the seasons that run, as each board keeps scores.

Only ranked entries come over; what staff have hidden or removed stays. Every change is logged, so
that the rank index hears of it or is repaired. docs/adr/0044 has the rules.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import Any
from uuid import UUID

import msgspec
from django.db import connection, transaction
from django.db.models import Q, QuerySet
from django.utils import timezone

from accounts.merging import Json, Moved, Pair
from accounts.models import Player
from config.api.parsing import INT64_MAX, INT64_MIN
from config.db.ids import uuid7
from leaderboards import ranking
from leaderboards.index import Change
from leaderboards.models import Board, Entry, Season, Submission
from leaderboards.order import order_key

name, order = "leaderboards", 40
AUTHOR = "merge"
Verdict = Submission.Verdict
SHOWN = 100
# What an entry says; `_write` and the journal take it as JSON.
KEPT = ("score", "order_key", "achieved_at", "previous_score", "metadata", "state")

# The entries' rows as they are to be, each with its line in the log.
_WRITE = """
WITH asked AS MATERIALIZED (
    SELECT * FROM json_to_recordset(%(rows)s::json) AS a (
        season uuid, player uuid, score bigint, order_key bigint, achieved_at timestamptz,
        previous_score bigint, metadata jsonb, state text, id uuid, logged bigint, verdict text)
), written AS (
    INSERT INTO leaderboards_entry AS e (season_id, player_id, score, order_key, achieved_at,
                                         previous_score, metadata, version, state)
    SELECT season, player, score, order_key, achieved_at, previous_score, metadata, 1, state
    FROM asked ORDER BY season, player
    ON CONFLICT (season_id, player_id) DO UPDATE SET
        score = EXCLUDED.score, order_key = EXCLUDED.order_key,
        achieved_at = EXCLUDED.achieved_at, previous_score = EXCLUDED.previous_score,
        metadata = EXCLUDED.metadata, state = EXCLUDED.state, version = e.version + 1
    RETURNING season_id, player_id, order_key, achieved_at, version, state
), noted AS (
    INSERT INTO leaderboards_submission
        (created_at, id, game_id, season_id, player_id, score, metadata, verdict, reason, author)
    SELECT statement_timestamp(), id, %(game)s::uuid, season, player, logged, metadata, verdict,
           %(reason)s::text, %(author)s::text
    FROM asked
)
SELECT season_id, player_id, order_key, achieved_at, version, state FROM written
"""


Place = tuple[UUID, UUID]  # (season, player)


def holds(player: Player) -> Json:
    running = {season.pk: season.board.key for season in _running(player.game_id, timezone.now())}
    entries = Entry.objects.filter(
        season_id__in=list(running), player=player, state=Entry.State.RANKED
    )
    scores = {running[season]: score for season, score in entries.values_list("season", "score")}
    return {"scores": dict(sorted(scores.items())[:SHOWN])}


def lock(player_ids: Sequence[UUID]) -> None:
    """Entries are locked after their players, as a new entry's foreign key does it."""


def merge(pair: Pair, choices: Mapping[str, Any]) -> Moved:
    since = timezone.now()
    entries, told = _bring(pair, since, {})
    return Moved({"since": since.isoformat(), "entries": entries}, {"scores": told})


def settle(pair: Pair, journal: Json) -> Json:
    """Scores that were being written for the absorbed player: they have begun a new entry where
    the merge had removed one. Of seasons, too, that have ended since."""
    if not journal:
        return journal
    since = datetime.fromisoformat(journal["since"])
    entries, _ = _bring(pair, since, journal["entries"])
    return journal | {"entries": entries}


def _running(game_id: UUID, moment: datetime) -> "QuerySet[Season]":
    """The game's seasons that have not ended by then, of archived boards too."""
    seasons = Season.objects.filter(Q(ends_at__isnull=True) | Q(ends_at__gt=moment))
    return seasons.filter(board__game_id=game_id).select_related("board")


def _bring(pair: Pair, since: datetime, journal: Json) -> tuple[Json, dict[str, int]]:
    """Combine the absorbed player's ranked entries into the survivor's, of seasons that had not
    ended by `since`: the journal with what was done by season, and board key → the score now."""
    boards = {season.pk: season.board for season in _running(pair.game_id, since)}
    entries = _entries(pair, boards)
    rows, told = [], {}
    for (season, player), theirs in entries.items():
        if player != pair.absorbed.pk or theirs.state != Entry.State.RANKED:
            continue
        own = entries.get((season, pair.survivor.pk))
        new = _combined(boards[season], own, theirs)
        if new is not None:
            rows.append(_row(season, pair.survivor, new, Verdict.ACCEPTED, theirs.score))
        gone = _values(theirs) | {"state": Entry.State.REMOVED}
        rows.append(_row(season, pair.absorbed, gone, Verdict.REMOVED))
        told[boards[season].key] = new["score"] if new else entries[season, pair.survivor.pk].score
    versions = _write(pair, rows)
    noted = dict(journal)
    for row in rows:
        season, player = row["season"], row["player"]
        if player == pair.survivor.pk:
            own = entries.get((season, player))
            noted[str(season)] = _noted(own, row, versions[season, player], noted.get(str(season)))
        else:
            before = noted.get(str(season), {"was": None, "wrote": None, "added": 0})
            noted[str(season)] = before | {"theirs": versions[season, player]}
    return noted, dict(sorted(told.items()))


def _combined(board: Board, own: Entry | None, theirs: Entry) -> Json | None:
    """The survivor's entry with the other one in it, as the board keeps scores; None: it stands."""
    if own is None or own.state == Entry.State.REMOVED:
        return _values(theirs) | {"previous_score": None}
    if board.keep == Board.Keep.BEST:
        winner = min(own, theirs, key=lambda entry: (entry.order_key, entry.achieved_at))
    else:
        winner = max(own, theirs, key=lambda entry: entry.achieved_at)
    if board.keep == Board.Keep.SUM:
        score = _fitting(own.score + theirs.score)
    elif winner is own:
        return None
    else:
        score = winner.score
    return _values(winner) | {
        "score": score,
        "order_key": order_key(score, board.sort),
        "previous_score": own.score,
        "state": own.state,
    }


def _fitting(score: int) -> int:
    return min(max(score, INT64_MIN), INT64_MAX)


def _noted(own: Entry | None, row: Json, version: int, before: Json | None) -> Json:
    """What an undo needs: the entry as it `was`, the version that was written, what was `added`."""
    is_new = own is None or own.state == Entry.State.REMOVED
    added = row["score"] - (0 if own is None or is_new else own.score)
    if before is None or before["wrote"] is None or is_new:
        return {"was": _values(own) if own else None, "wrote": version, "added": added}
    if own is not None and own.version == before["wrote"]:
        return before | {"wrote": version, "added": before["added"] + added}
    # Changed by others in between: it can't be put back, but what was added can be taken out.
    return before | {"added": before["added"] + added}


def undo(pair: Pair, journal: Json) -> Json:
    """Rank the absorbed player's entries again. The survivor's are put back where they are as they
    were left; else what was added goes from a sum, and others stay. So does all of seasons that
    have ended since: their ranks are history."""
    notes: Json = journal.get("entries", {})
    now = timezone.now()
    boards, stay = {}, set()
    for season in Season.objects.filter(pk__in=list(notes)).select_related("board"):
        if season.ends_at is None or season.ends_at > now:
            boards[season.pk] = season.board
        else:
            stay.add(season.board.key)
    entries = _entries(pair, boards)
    rows, back = [], set()
    for season_id, board in boards.items():
        noted = notes[str(season_id)]
        theirs = entries.get((season_id, pair.absorbed.pk))
        if theirs and theirs.version == noted["theirs"]:
            state = Entry.State.TESTER if pair.absorbed.is_tester else Entry.State.RANKED
            again = _values(theirs) | {"state": state}
            rows.append(_row(season_id, pair.absorbed, again, Verdict.SHOWN))
            back.add(board.key)
        own = entries.get((season_id, pair.survivor.pk))
        if own is None or noted["wrote"] is None or own.state == Entry.State.REMOVED:
            continue
        if own.version == noted["wrote"]:
            was = noted["was"] or _values(own) | {"state": Entry.State.REMOVED}
        elif board.keep == Board.Keep.SUM:
            score = _fitting(own.score - noted["added"])
            was = _values(own) | {"score": score, "order_key": order_key(score, board.sort)}
        else:
            stay.add(board.key)
            continue
        is_gone = was["state"] == Entry.State.REMOVED
        verdict = Verdict.REMOVED if is_gone else Verdict.ACCEPTED
        rows.append(_row(season_id, pair.survivor, was, verdict))
    _write(pair, rows)
    return {"scores": sorted(back), "stays": sorted(stay)}


def _entries(pair: Pair, seasons: Iterable[UUID]) -> dict[Place, Entry]:
    """Both players' entries, locked in the order in which scores lock them."""
    found = (
        Entry.objects.select_for_update(of=("self",))
        .filter(season_id__in=list(seasons), player__in=[pair.survivor, pair.absorbed])
        .order_by("season_id", "player_id")
    )
    return {(entry.season_id, entry.player_id): entry for entry in found}


def _values(entry: Entry) -> Json:
    values = {field: getattr(entry, field) for field in KEPT}
    return values | {"achieved_at": entry.achieved_at.isoformat()}


def _row(
    season: UUID, player: Player, values: Json, verdict: Verdict, logged: int | None = None
) -> Json:
    """An entry to be written, and its line in the log: with its score unless told."""
    return values | {
        "season": season,
        "player": player.pk,
        "id": uuid7(),
        "verdict": verdict,
        "logged": values["score"] if logged is None else logged,
    }


def _write(pair: Pair, rows: Sequence[Json]) -> dict[Place, int]:
    """Write and log entries of two locked players, in one statement; their versions.

    No other writer can have made one that was not there when they were locked: at its commit
    it would wait for its player.
    """
    if not rows:
        return {}
    with connection.cursor() as cursor:
        cursor.execute(
            _WRITE,
            {
                "rows": msgspec.json.encode(rows).decode(),
                "game": pair.game_id,
                "reason": f"merge {pair.merge_id}",
                "author": AUTHOR,
            },
        )
        written = cursor.fetchall()
    for season, player, key, achieved_at, version, state in written:
        change = Change(player, key, achieved_at, version, state == Entry.State.RANKED)
        transaction.on_commit(partial(ranking.bring_in, season, change))
    return {(season, player): version for season, player, *_, version, _state in written}
