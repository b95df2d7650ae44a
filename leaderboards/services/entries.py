"""What staff and game servers do to entries. Each is logged with its author and reason, and
reaches the rank index like a score does."""

from uuid import UUID

from django.db import connection, transaction

from config.api.problems import NotFound
from config.db.ids import uuid7
from leaderboards import ranking
from leaderboards.index import Change
from leaderboards.models import Entry, Season, Submission

# The change of state, and in which states of the entry it is one.
_CHANGE = """
WITH changed AS (
    UPDATE leaderboards_entry e SET state = %(state)s::text, version = version + 1
    WHERE season_id = %(season)s::uuid AND player_id = %(player)s::uuid
      AND state = ANY(%(when)s::text[])
    RETURNING season_id, player_id, score, order_key, achieved_at, version, state
), logged AS (
    INSERT INTO leaderboards_submission
        (created_at, id, game_id, season_id, player_id, score, verdict, reason, author)
    SELECT statement_timestamp(), %(id)s::uuid, %(game)s::uuid, season_id, player_id, score,
           %(verdict)s::text, %(reason)s::text, %(author)s::text
    FROM changed
)
SELECT order_key, achieved_at, version, state FROM changed
"""


def entry_remove(
    *, game_id: UUID, season_id: UUID, player_id: UUID, author: str, reason: str = ""
) -> None:
    """Take an entry off its board; the player's next score starts anew.

    Raises `NotFound` when the player has none in this season.
    """
    removed = _change(
        game_id,
        season_id,
        player_id,
        Entry.State.REMOVED,
        Submission.Verdict.REMOVED,
        [Entry.State.RANKED, Entry.State.HIDDEN, Entry.State.TESTER],
        author,
        reason,
    )
    if not removed:
        raise NotFound("This player has no entry in this season")


def entry_hide(
    *, game_id: UUID, season_id: UUID, player_id: UUID, author: str, reason: str
) -> bool:
    """Keep an entry from everybody but its player, also when it improves.

    False: it was not shown.
    """
    return _change(
        game_id,
        season_id,
        player_id,
        Entry.State.HIDDEN,
        Submission.Verdict.HIDDEN,
        [Entry.State.RANKED],
        author,
        reason,
    )


def entry_show(
    *, game_id: UUID, season_id: UUID, player_id: UUID, author: str, reason: str
) -> bool:
    """Rank a hidden entry again. False: it was not hidden."""
    return _change(
        game_id,
        season_id,
        player_id,
        Entry.State.RANKED,
        Submission.Verdict.SHOWN,
        [Entry.State.HIDDEN],
        author,
        reason,
    )


def tester_changed(*, game_id: UUID, player_id: UUID, is_tester: bool, author: str) -> int:
    """After `is_tester` of a player was changed: rank the entries, or take them off. How many."""
    seasons = Season.objects.filter(board__game_id=game_id).values_list("id", flat=True)
    entries = Entry.objects.filter(season_id__in=list(seasons), player_id=player_id)
    state, verdict, when = (
        (Entry.State.TESTER, Submission.Verdict.HIDDEN, Entry.State.RANKED)
        if is_tester
        else (Entry.State.RANKED, Submission.Verdict.SHOWN, Entry.State.TESTER)
    )
    with transaction.atomic():
        return sum(
            _change(game_id, season_id, player_id, state, verdict, [when], author, "tester")
            for season_id in entries.filter(state=when).values_list("season_id", flat=True)
        )


def _change(
    game_id: UUID,
    season_id: UUID,
    player_id: UUID,
    state: Entry.State,
    verdict: Submission.Verdict,
    when: list[Entry.State],
    author: str,
    reason: str,
) -> bool:
    with connection.cursor() as cursor:
        cursor.execute(
            _CHANGE,
            {
                "state": state.value,
                "season": season_id,
                "player": player_id,
                "when": [each.value for each in when],
                "id": uuid7(),
                "game": game_id,
                "verdict": verdict.value,
                "reason": reason[:200],
                "author": author[:150],
            },
        )
        row = cursor.fetchone()
    if row is None:
        return False
    order_key, achieved_at, version, now = row
    change = Change(player_id, order_key, achieved_at, version, now == Entry.State.RANKED)
    transaction.on_commit(lambda: ranking.bring_in(season_id, change))
    return True
