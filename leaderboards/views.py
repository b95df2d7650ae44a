"""Endpoints of leaderboards."""

from uuid import UUID

from django.http import HttpResponse

from accounts.errors import PlayerMerged
from accounts.selectors import player_get
from config.api.callers import ApiRequest
from config.api.idempotency import once, read_key
from config.api.pagination import Page, PageQuery
from config.api.parsing import invalid
from config.api.problems import NotFound
from config.api.views import JSON, ApiViewSet, answer, endpoint
from config.api.wire import utc
from config.hooks import HookRefused
from leaderboards import selectors
from leaderboards.boards import board_get
from leaderboards.errors import (
    RanksUnavailable,
    ScopeNotAvailable,
    ScoreOutOfBounds,
    ScoreRefused,
)
from leaderboards.serializers import (
    AROUND_LIMIT,
    PAGE_LIMIT,
    BoardOut,
    EntriesQuery,
    EntryOut,
    OwnEntryOut,
    ScoredEntry,
    ScoreIn,
    ScoreOut,
    SeasonOut,
    SeasonQuery,
)
from leaderboards.services import entries, scores, seasons


class BoardViewSet(ApiViewSet):
    """Definitions."""

    @endpoint(callers=("player", "server"), answers={200: Page[BoardOut]}, query=PageQuery)
    def list(self, request: ApiRequest, query: PageQuery) -> HttpResponse:
        """The game's leaderboards, each with its running season."""
        return answer(selectors.boards_page(request.caller.game_id, query))

    @endpoint(callers=("player", "server"), answers={200: BoardOut}, problems=(NotFound,))
    def retrieve(self, request: ApiRequest, board: str) -> HttpResponse:
        """One leaderboard with its running season."""
        found = board_get(game_id=request.caller.game_id, key=board)
        return answer(selectors.board_out(found, seasons.current(found)))

    @endpoint(
        callers=("player", "server"),
        answers={200: Page[SeasonOut]},
        query=PageQuery,
        problems=(NotFound,),
    )
    def seasons(self, request: ApiRequest, board: str, query: PageQuery) -> HttpResponse:
        """A leaderboard's seasons, the running one first."""
        found = board_get(game_id=request.caller.game_id, key=board)
        return answer(selectors.seasons_page(found, query))


class ScoreViewSet(ApiViewSet):
    """Scores."""

    @endpoint(
        callers=("player", "server"),
        answers={201: ScoreOut},
        body=ScoreIn,
        scope="scores:write",
        limits=("scores",),
        # The handler opens the transaction itself: a refusal is logged after it.
        idempotent="domain-optional",
        problems=(NotFound, PlayerMerged, ScoreOutOfBounds, HookRefused, RanksUnavailable),
        example={"score": 1200, "metadata": {"level": 3}},
    )
    def create(self, request: ApiRequest, board: str, body: ScoreIn) -> HttpResponse:
        """Submit a score; the answer has the exact rank.

        Game servers name the `player`; players submit for themselves.
        """
        caller = request.caller
        found = board_get(game_id=caller.game_id, key=board)
        if caller.kind == "server":
            if body.player is None:
                raise invalid("/player", "A server key names the player", "required")
            player_id = body.player
        elif body.player is not None:
            raise invalid("/player", "Players submit for themselves", "forbidden")
        else:
            player_id = caller.player

        def act() -> HttpResponse:
            outcome = scores.submit(
                board=found,
                player_id=player_id,
                score=body.score,
                metadata=body.metadata,
                author=caller.kind,
                session_id=caller.session_id,
            )
            return answer(
                ScoreOut(
                    verdict="accepted",
                    entry=ScoredEntry(
                        score=outcome.score,
                        rank=outcome.rank,
                        achieved_at=utc(outcome.achieved_at),
                    ),
                    improved=outcome.improved,
                    previous_rank=outcome.previous_rank,
                    season=outcome.season,
                ),
                status=201,
            )

        key = read_key(request)
        try:
            return act() if key is None else once(request, request.route, key, act)
        except ScoreRefused as refusal:
            scores.log_refusal(refusal)
            raise


class EntryViewSet(ApiViewSet):
    """The ranking."""

    @endpoint(
        callers=("player", "server"),
        answers={200: Page[EntryOut]},
        query=EntriesQuery,
        problems=(NotFound, ScopeNotAvailable, RanksUnavailable),
    )
    def list(self, request: ApiRequest, board: str, query: EntriesQuery) -> HttpResponse:
        """The ranking from the top, page by page, or the player's neighbours (`around=me`)."""
        caller = request.caller
        found = board_get(game_id=caller.game_id, key=board)
        if query.scope is not None:
            raise ScopeNotAvailable(f"Leaderboards can't be read by {query.scope} yet")
        if query.around is not None:
            if caller.player_id is None:
                raise invalid("/around", "A server key is no player")
            if query.cursor is not None:
                raise invalid("/cursor", "around and cursor exclude each other")
        season = selectors.season_get(found, query.season)
        if query.around is not None:
            body = selectors.entries_around(
                found, season.id, caller.player, limit=query.limit or AROUND_LIMIT
            )
        else:
            body = selectors.entries_page(
                found, season.id, cursor=query.cursor, limit=query.limit or PAGE_LIMIT
            )
        return HttpResponse(body, content_type=JSON)

    @endpoint(
        callers=("player",),
        answers={200: OwnEntryOut},
        query=SeasonQuery,
        problems=(NotFound, RanksUnavailable),
    )
    def me(self, request: ApiRequest, board: str, query: SeasonQuery) -> HttpResponse:
        """The player's own entry, with rank, percentile and the number of entries."""
        found = board_get(game_id=request.caller.game_id, key=board)
        season = selectors.season_get(found, query.season)
        return answer(selectors.entry_own(found, season.id, request.caller.player))

    @endpoint(
        callers=("server",),
        answers={204: None},
        scope="scores:write",
        query=SeasonQuery,
        problems=(NotFound, PlayerMerged),
    )
    def destroy(
        self, request: ApiRequest, board: str, player: UUID, query: SeasonQuery
    ) -> HttpResponse:
        """Remove a player's entry; the player's next score starts anew."""
        found = board_get(game_id=request.caller.game_id, key=board)
        player_get(game_id=request.caller.game_id, player_id=player)
        season = selectors.season_get(found, query.season)
        entries.entry_remove(
            game_id=request.caller.game_id,
            season_id=season.id,
            player_id=player,
            author="server",
        )
        return answer()
