"""Every read of leaderboards, shaped for its caller."""

import time
from collections.abc import Sequence
from datetime import datetime
from threading import Lock
from typing import Any
from uuid import UUID

import msgspec
from django.db import connection

from accounts.models import Player
from accounts.selectors import PublicPlayer, public_players
from config.api.pagination import Page, PageQuery, decode_cursor, encode_cursor, keyset_page
from config.api.problems import NotFound
from config.api.wire import encode, utc
from leaderboards import ranking
from leaderboards.boards import BoardDefinition, boards
from leaderboards.models import Entry, Season
from leaderboards.order import Position, score_of
from leaderboards.serializers import BoardOut, EntryOut, OwnEntryOut, SeasonOut
from leaderboards.services import seasons

# Names, avatars and metadata in a kept first page may be this old. Ranks and scores never are.
NAMES_SECONDS = 1.0
KEPT_PAGES = 200


class KeptPage(msgspec.Struct, frozen=True):
    """A first page as it was last answered, with the state of the index that it shows."""

    state: bytes
    places: Sequence[ranking.Place]
    body: bytes
    made: float


_first_pages: dict[tuple[UUID, int], KeptPage] = {}
_lock = Lock()


def board_out(board: BoardDefinition, season: seasons.SeasonInfo) -> BoardOut:
    return BoardOut(
        key=board.key,
        name=board.name,
        sort=board.sort,
        keep=board.keep,
        min_score=board.min_score,
        max_score=board.max_score,
        season=season_out(season),
    )


def boards_page(game_id: UUID, query: PageQuery) -> Page[BoardOut]:
    """The game's active boards, by key. All are in memory: the cursor is a key."""
    defined = list(boards.get(game_id).values())
    backward, after = False, None
    if query.cursor is not None:
        backward, (after,) = decode_cursor(query.cursor, (str,))
    if backward:
        before = [board for board in defined if after is None or board.key < after]
        found, more = before[-query.limit :], len(before) > query.limit
    else:
        rest = [board for board in defined if after is None or board.key > after]
        found, more = rest[: query.limit], len(rest) > query.limit
    has_next = bool(found) and (backward or more)
    has_previous = bool(found) and (more if backward else query.cursor is not None)
    return Page(
        results=[
            board_out(board, season)
            for board, season in zip(found, seasons.current_of(found), strict=True)
        ],
        next=encode_cursor([found[-1].key]) if has_next else None,
        previous=encode_cursor([found[0].key], backward=True) if has_previous else None,
    )


def season_out(season: seasons.SeasonInfo) -> SeasonOut:
    return SeasonOut(
        number=season.number,
        starts_at=utc(season.starts_at),
        ends_at=None if season.ends_at is None else utc(season.ends_at),
    )


def seasons_page(board: BoardDefinition, query: PageQuery) -> Page[SeasonOut]:
    """A board's seasons, the latest first."""
    seasons.current(board)
    found, after, before = keyset_page(
        Season.objects.filter(board_id=board.id), order=("-number",), kinds=(int,), query=query
    )
    return Page(
        results=[season_out(seasons.info(season)) for season in found], next=after, previous=before
    )


def season_get(board: BoardDefinition, wanted: str) -> seasons.SeasonInfo:
    """The season `wanted`: "current" or a number. Raises `NotFound`."""
    running = seasons.current(board)
    if wanted == "current" or int(wanted) == running.number:
        return running
    season = Season.objects.filter(board_id=board.id, number=int(wanted)).first()
    if season is None:
        raise NotFound("There is no such season")
    return seasons.info(season)


def entries_page(
    board: BoardDefinition, season_id: UUID, *, cursor: str | None, limit: int
) -> bytes:
    """A page of the ranking as JSON bytes. Raises `RanksUnavailable`, `InvalidCursor`.

    The first page is kept in this process, and answered again as long as the index says
    that nothing has changed.
    """
    if cursor is None:
        return _first_page(board, season_id, limit)
    backward, values = decode_cursor(cursor, (int, datetime, UUID))
    found = ranking.page(season_id, start=Position(*values), backward=backward, limit=limit)
    if found is None:
        raise AssertionError("Only a first page can be known already")
    return _page_bytes(
        board,
        season_id,
        found.places,
        has_next=backward or found.more,
        has_previous=found.more if backward else True,
    )


def _first_page(board: BoardDefinition, season_id: UUID, limit: int) -> bytes:
    kept = _first_pages.get((season_id, limit))
    now = time.monotonic()
    if kept is not None and now - kept.made > NAMES_SECONDS:
        kept = None
    found = ranking.page(
        season_id, start=None, backward=False, limit=limit, known=kept.state if kept else b""
    )
    if found is None and kept is not None:
        return kept.body
    if found is None:
        raise AssertionError("Nothing was known")
    if kept is not None and found.state and found.places == kept.places:
        # The board has changed below this page.
        body, made = kept.body, kept.made
    else:
        body, made = (
            _page_bytes(board, season_id, found.places, has_next=found.more, has_previous=False),
            now,
        )
    if found.state:
        with _lock:
            _first_pages[season_id, limit] = KeptPage(found.state, found.places, body, made)
            while len(_first_pages) > KEPT_PAGES:
                del _first_pages[next(iter(_first_pages))]
    return body


def entries_around(
    board: BoardDefinition, season_id: UUID, player_id: UUID, *, limit: int
) -> bytes:
    """The player's entry in the middle of `limit`, as JSON bytes; empty without a ranked entry.

    Raises `RanksUnavailable`.
    """
    found = ranking.around(season_id, player_id, limit=limit)
    return _page_bytes(
        board,
        season_id,
        found.places,
        has_next=found.more,
        has_previous=bool(found.places) and found.places[0].rank > 1,
    )


def _page_bytes(
    board: BoardDefinition,
    season_id: UUID,
    places: Sequence[ranking.Place],
    *,
    has_next: bool,
    has_previous: bool,
) -> bytes:
    shown = _shown(season_id, [place.position.player_id for place in places])
    results = [
        EntryOut(
            rank=rank,
            score=score_of(position.order_key, board.sort),
            achieved_at=position.achieved_at,
            metadata=shown[position.player_id][1],
            player=shown[position.player_id][0],
        )
        for rank, position in places
        # A player who was erased a moment ago has no name any more.
        if position.player_id in shown
    ]
    return encode(
        Page(
            results=results,
            next=encode_cursor(places[-1].position) if places and has_next else None,
            previous=encode_cursor(places[0].position, backward=True)
            if places and has_previous
            else None,
        )
    )


def _shown(season_id: UUID, players: Sequence[UUID]) -> dict[UUID, tuple[PublicPlayer, Any]]:
    """What is shown beside a rank: the player, and the entry's metadata as JSON."""
    if not players:
        return {}
    with connection.cursor() as cursor:
        cursor.execute(
            """SELECT p.id, p.display_name, lpad(p.tag::text, 4, '0'), p.avatar, e.metadata
               FROM accounts_player p
               LEFT JOIN leaderboards_entry e ON e.season_id = %s::uuid AND e.player_id = p.id
               WHERE p.id = ANY(%s::uuid[])""",
            [season_id, list(players)],
        )
        return {
            row[0]: (
                PublicPlayer(id=row[0], display_name=row[1], tag=row[2], avatar=row[3]),
                _raw(row[4]),
            )
            for row in cursor.fetchall()
        }


def _raw(text: str | None) -> Any:
    """JSON from the database (Django's connection gives jsonb as text), passed on as it is."""
    return None if text is None else msgspec.Raw(text.encode())


def entry_own(board: BoardDefinition, season_id: UUID, player_id: UUID) -> OwnEntryOut:
    """A player's own entry, also one that others don't see.

    Raises `NotFound` without one, `RanksUnavailable`.
    """
    entry = (
        Entry.objects.filter(season_id=season_id, player_id=player_id)
        .exclude(state=Entry.State.REMOVED)
        .first()
    )
    if entry is None:
        raise NotFound("You have no entry in this season")
    rank, total, position = ranking.rank_and_total(season_id, entry)
    total = max(total, rank)
    players = public_players(board.game_id, [player_id])
    return OwnEntryOut(
        rank=rank,
        score=score_of(position.order_key, board.sort),
        achieved_at=utc(position.achieved_at),
        metadata=entry.metadata,
        player=players[player_id],
        percentile=round(100 * rank / total, 2),
        total=total,
    )


def player_entries(player: Player, *, limit: int = 50) -> list[tuple[Season, Entry]]:
    """A player's entries for the player page: of the latest seasons first."""
    recent = list(
        Season.objects.filter(board__game_id=player.game_id)
        .select_related("board")
        .order_by("-starts_at")[:200]
    )
    found = {
        entry.season_id: entry
        for entry in Entry.objects.filter(
            season_id__in=[season.id for season in recent], player_id=player.pk
        )
    }
    return [(season, found[season.id]) for season in recent if season.id in found][:limit]
