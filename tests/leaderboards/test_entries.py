"""Reading boards, seasons and rankings over HTTP."""

from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from accounts.services.players import set_tester
from config import hooks
from leaderboards import index, selectors
from leaderboards.services import entries, seasons
from tests.factories.accounts import PlayerFactory
from tests.factories.leaderboards import board_of, submit
from tests.fixtures.api import ApiClient, PlayerClient, assert_problem, server_client_of
from tests.fixtures.faults import redis_down

pytestmark = pytest.mark.django_db(transaction=True)
BOARD = "/v1/leaderboards/harvest"


@pytest.fixture(params=["index", "database"])
def source(request: pytest.FixtureRequest, season: seasons.SeasonInfo) -> Any:
    """Everything is asked twice: of the index, and of PostgreSQL without one."""
    if request.param == "index":
        return lambda: None
    return lambda: index.forget(season.id)


def fill(game: Any, board: Any, scores: list[int]) -> list[Any]:
    """A player for each score."""
    players = [PlayerFactory.create(game=game) for _ in scores]
    for player, score in zip(players, scores, strict=True):
        submit(board, player.pk, score)
    return players


def scores_of(answer: Any) -> list[tuple[int, int]]:
    assert answer.status_code == 200, answer.content
    return [(entry["rank"], entry["score"]) for entry in answer.json()["results"]]


def test_top__ranks_names_and_metadata(
    game: Any, board: Any, player: PlayerClient, source: Callable[[], None]
) -> None:
    friend = PlayerFactory.create(game=game, display_name="Ada", tag=7, avatar="koi")
    submit(board, friend.pk, 20, metadata={"level": 4})
    submit(board, player.player_id, 10)
    source()
    first = player.get(f"{BOARD}/entries").json()["results"][0]
    assert first.pop("achieved_at").endswith("Z")
    assert first == {
        "rank": 1,
        "score": 20,
        "metadata": {"level": 4},
        "player": {
            "id": str(friend.pk),
            "display_name": "Ada",
            "tag": "0007",
            "avatar": "koi",
        },
    }


def test_pages__there_and_back_without_loss_among_ties(
    game: Any, board: Any, player: PlayerClient, source: Callable[[], None]
) -> None:
    fill(game, board, [5] * 17 + [9, 1])
    source()
    pages, cursor = [], ""
    while True:
        answer = player.get(f"{BOARD}/entries?limit=4{cursor}")
        pages.append(answer.json())
        if pages[-1]["next"] is None:
            break
        cursor = f"&cursor={pages[-1]['next']}"
    ranks = [entry["rank"] for page in pages for entry in page["results"]]
    assert ranks == list(range(1, 20))
    ids = [entry["player"]["id"] for page in pages for entry in page["results"]]
    assert len(set(ids)) == 19
    assert pages[0]["previous"] is None
    back = [pages[-1]["results"]]
    before = pages[-1]["previous"]
    while before:
        page = player.get(f"{BOARD}/entries?limit=4&cursor={before}").json()
        back.insert(0, page["results"])
        before = page["previous"]
    assert [entry["player"]["id"] for page in back for entry in page] == ids


@pytest.mark.parametrize(("own", "first"), [(100, 1), (55, 5), (1, 8)])
def test_around_me__fills_up_at_both_ends(
    game: Any,
    board: Any,
    player: PlayerClient,
    source: Callable[[], None],
    own: int,
    first: int,
) -> None:
    fill(game, board, [10, 20, 30, 40, 50, 60, 70, 80, 90, 95])
    submit(board, player.player_id, own)
    source()
    answer = player.get(f"{BOARD}/entries?around=me&limit=4")
    found = scores_of(answer)
    assert [rank for rank, _ in found] == list(range(first, first + 4))
    assert own in [score for _, score in found]
    assert (answer.json()["previous"] is None) == (first == 1)
    assert (answer.json()["next"] is None) == (first == 8)


def test_around_me__eleven_unless_told_and_fewer_on_a_small_board(
    game: Any, board: Any, player: PlayerClient, source: Callable[[], None]
) -> None:
    submit(board, player.player_id, 5)
    assert scores_of(player.get(f"{BOARD}/entries?around=me")) == [(1, 5)]
    fill(game, board, list(range(100, 120)))
    source()
    assert len(scores_of(player.get(f"{BOARD}/entries?around=me"))) == 11


def test_around_me__without_an_entry_is_empty(
    game: Any, board: Any, player: PlayerClient, source: Callable[[], None]
) -> None:
    fill(game, board, [1, 2])
    source()
    page = player.get(f"{BOARD}/entries?around=me").json()
    assert page == {"results": [], "next": None, "previous": None}


def test_own_entry__rank_percentile_total(
    game: Any, board: Any, player: PlayerClient, source: Callable[[], None]
) -> None:
    assert_problem(player.get(f"{BOARD}/entries/me"), 404, "not_found")
    fill(game, board, [1, 2, 3, 40, 50, 60, 70])
    submit(board, player.player_id, 30, metadata={"n": 1})
    source()
    own = player.get(f"{BOARD}/entries/me").json()
    assert (own["rank"], own["total"], own["percentile"]) == (5, 8, 62.5)
    assert own["metadata"] == {"n": 1}
    assert own["player"]["id"] == str(player.player_id)


def test_removed_entry__is_gone_and_starts_anew(
    game: Any, board: Any, player: PlayerClient, source: Callable[[], None]
) -> None:
    (other,) = fill(game, board, [50])
    server = server_client_of(game, "scores:write")
    assert server.delete(f"{BOARD}/entries/{other.pk}").status_code == 204
    source()
    assert scores_of(player.get(f"{BOARD}/entries")) == []
    assert_problem(server.delete(f"{BOARD}/entries/{other.pk}"), 404, "not_found")
    outcome = submit(board, other.pk, 10)
    assert (outcome.score, outcome.improved, outcome.previous_rank) == (10, True, None)
    assert scores_of(player.get(f"{BOARD}/entries")) == [(1, 10)]


def test_removal__needs_a_server_key_of_the_game(
    game: Any, other_game: Any, board: Any, player: PlayerClient
) -> None:
    submit(board, player.player_id, 1)
    path = f"{BOARD}/entries/{player.player_id}"
    assert_problem(player.delete(path), 403, "forbidden")
    assert_problem(server_client_of(game, "stats:write").delete(path), 403, "scope_missing")
    board_of(other_game, key="harvest")
    assert_problem(server_client_of(other_game).delete(path), 404, "not_found")
    assert len(scores_of(player.get(f"{BOARD}/entries"))) == 1


def test_hidden_entry__is_seen_by_its_player_alone(
    game: Any,
    board: Any,
    season: seasons.SeasonInfo,
    player: PlayerClient,
    source: Callable[[], None],
) -> None:
    fill(game, board, [10, 20])
    submit(board, player.player_id, 15)
    given: Any = {
        "game_id": game.pk,
        "season_id": season.id,
        "player_id": player.player_id,
        "author": "staff",
        "reason": "Bot",
    }
    assert entries.entry_hide(**given)
    assert not entries.entry_hide(**given)
    source()
    assert scores_of(player.get(f"{BOARD}/entries")) == [(1, 20), (2, 10)]
    own = player.get(f"{BOARD}/entries/me").json()
    assert (own["rank"], own["score"]) == (2, 15)
    better = submit(board, player.player_id, 30)
    assert (better.rank, better.improved) == (1, True)
    assert scores_of(player.get(f"{BOARD}/entries")) == [(1, 20), (2, 10)]
    assert entries.entry_show(**given)
    assert not entries.entry_show(**given)
    assert scores_of(player.get(f"{BOARD}/entries")) == [(1, 30), (2, 20), (3, 10)]


def test_tester_changed__leaves_and_comes_back(game: Any, board: Any, player: PlayerClient) -> None:
    submit(board, player.player_id, 15)
    given: Any = {"game_id": game.pk, "player_id": player.player_id, "author": "staff"}
    assert entries.tester_changed(is_tester=True, **given) == 1
    assert scores_of(player.get(f"{BOARD}/entries")) == []
    assert entries.tester_changed(is_tester=True, **given) == 0
    assert entries.tester_changed(is_tester=False, **given) == 1
    assert scores_of(player.get(f"{BOARD}/entries")) == [(1, 15)]


def test_player_made_a_tester__leaves_the_boards_by_itself(
    game: Any, board: Any, player: PlayerClient
) -> None:
    submit(board, player.player_id, 15)
    for is_tester, shown in ((True, []), (False, [(1, 15)])):
        set_tester(game_id=game.pk, player_id=player.player_id, is_tester=is_tester)
        assert hooks.run_due() == 1
        assert scores_of(player.get(f"{BOARD}/entries")) == shown


def test_kept_first_page__is_never_older_than_the_last_score(
    game: Any, board: Any, player: PlayerClient
) -> None:
    for score in range(1, 8):
        submit(board, player.player_id, score)
        assert scores_of(player.get(f"{BOARD}/entries"))[0] == (1, score)
        fill(game, board, [-score])
        assert len(scores_of(player.get(f"{BOARD}/entries"))) == score + 1


def test_kept_first_page__costs_no_query_while_nothing_changes(
    game: Any, board: Any, player: PlayerClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(selectors, "NAMES_SECONDS", 600.0)
    fill(game, board, [10, 20, 30])
    player.post(f"{BOARD}/scores", {"score": 0})
    first = player.get(f"{BOARD}/entries?limit=2")
    with CaptureQueriesContext(connection) as queries:
        assert player.get(f"{BOARD}/entries?limit=2").content == first.content
        below = player.post(f"{BOARD}/scores", {"score": 1}).json()
        assert below["entry"]["rank"] == 4
        assert player.get(f"{BOARD}/entries?limit=2").content == first.content
    assert len(queries) == 1, queries.captured_queries  # the score's own


def test_kept_first_page__is_not_kept_from_a_rebuilt_index_of_the_same_count(
    game: Any, board: Any, season: seasons.SeasonInfo, player: PlayerClient
) -> None:
    from leaderboards.services import ranks

    fill(game, board, [10])
    player.get(f"{BOARD}/entries")
    index.forget(season.id)
    fill(game, board, [20])
    ranks.rebuild(season.id)
    assert scores_of(player.get(f"{BOARD}/entries")) == [(1, 20), (2, 10)]


@pytest.mark.parametrize("count", [1, 20])
@pytest.mark.parametrize(
    ("path", "expected"),
    [
        (f"{BOARD}/entries", 1),
        (f"{BOARD}/entries?around=me", 1),
        (f"{BOARD}/entries/me", 2),
        (BOARD, 0),
        ("/v1/leaderboards", 0),
    ],
)
def test_query_count__does_not_grow(
    game: Any, board: Any, player: PlayerClient, path: str, expected: int, count: int
) -> None:
    fill(game, board, list(range(count)))
    submit(board, player.player_id, 5)
    player.get(BOARD)
    selectors._first_pages.clear()
    with CaptureQueriesContext(connection) as queries:
        assert player.get(path).status_code == 200
    assert len(queries) == expected, queries.captured_queries


@pytest.mark.parametrize("count", [1, 20])
def test_boards__cost_one_query_for_seasons_that_are_not_known(
    game: Any, player: PlayerClient, count: int
) -> None:
    for _ in range(count):
        seasons.current(board_of(game))
    player.get("/v1/leaderboards/none")
    seasons._running.clear()
    with CaptureQueriesContext(connection) as queries:
        assert len(player.get("/v1/leaderboards").json()["results"]) == count
    assert len(queries) == 1, queries.captured_queries


@pytest.mark.parametrize("scope", ["friends", "country", "bucket"])
def test_scopes__are_refused_clearly(board: Any, player: PlayerClient, scope: str) -> None:
    assert_problem(player.get(f"{BOARD}/entries?scope={scope}"), 422, "scope_not_available")


@pytest.mark.parametrize(
    "query",
    [
        "limit=0",
        "limit=201",
        "limit=x",
        "cursor=nonsense",
        "cursor=W2ZhbHNlLFsxXV0",
        "around=them",
        "scope=world",
        "season=0",
        "season=last",
        "page=2",
        "around=me&cursor=x",
        "limit=1&limit=2",
    ],
)
def test_bad_query__is_a_400(board: Any, player: PlayerClient, query: str) -> None:
    answer = player.get(f"{BOARD}/entries?{query}")
    assert answer.status_code == 400, answer.content


def test_server_key__reads_but_has_no_neighbours(game: Any, board: Any) -> None:
    fill(game, board, [1])
    server = server_client_of(game, "scores:write")
    assert scores_of(server.get(f"{BOARD}/entries")) == [(1, 1)]
    assert_problem(server.get(f"{BOARD}/entries?around=me"), 400, "validation_failed")


@pytest.mark.parametrize(
    "path", ["", "/harvest", "/harvest/entries", "/harvest/entries/me", "/harvest/seasons"]
)
def test_foreign_and_missing_credentials__see_nothing(
    game: Any, other_game: Any, board: Any, player: PlayerClient, path: str
) -> None:
    submit(board, player.player_id, 1)
    url = f"/v1/leaderboards{path}"
    assert_problem(ApiClient().get(url), 401, "not_authenticated")
    foreign = server_client_of(other_game).get(url)
    if path == "":
        assert foreign.json()["results"] == []
    elif path != "/harvest/entries/me":
        assert_problem(foreign, 404, "not_found")
    else:
        assert_problem(foreign, 403, "forbidden")


def test_boards__list_and_detail(game: Any, board: Any, player: PlayerClient) -> None:
    board_of(game, key="arena", name="Arena", sort="asc", keep="last", min_score=0, max_score=9)
    board_of(game, key="old", is_active=False)
    answer = player.get("/v1/leaderboards").json()
    assert [each["key"] for each in answer["results"]] == ["arena", "harvest"]
    detail = player.get("/v1/leaderboards/arena").json()
    assert detail == answer["results"][0]
    assert detail.pop("season").keys() == {"number", "starts_at", "ends_at"}
    assert detail == {
        "key": "arena",
        "name": "Arena",
        "sort": "asc",
        "keep": "last",
        "min_score": 0,
        "max_score": 9,
    }
    assert_problem(player.get("/v1/leaderboards/old"), 404, "not_found")


def test_boards__pages_there_and_back(game: Any, player: PlayerClient) -> None:
    for key in "abcde":
        board_of(game, key=key)
    first = player.get("/v1/leaderboards?limit=2").json()
    second = player.get(f"/v1/leaderboards?limit=2&cursor={first['next']}").json()
    third = player.get(f"/v1/leaderboards?limit=2&cursor={second['next']}").json()
    assert [b["key"] for page in (first, second, third) for b in page["results"]] == list("abcde")
    assert third["next"] is None
    assert first["previous"] is None
    back = player.get(f"/v1/leaderboards?limit=2&cursor={second['previous']}").json()
    assert (back["results"], back["previous"]) == (first["results"], None)


def test_without_redis__all_reads_and_writes_go_on(
    game: Any, board: Any, player: PlayerClient
) -> None:
    fill(game, board, [10, 30])
    with redis_down():
        answer = player.post(f"{BOARD}/scores", {"score": 20})
        assert answer.status_code == 201
        assert answer.json()["entry"]["rank"] == 2
        assert scores_of(player.get(f"{BOARD}/entries")) == [(1, 30), (2, 20), (3, 10)]
        assert scores_of(player.get(f"{BOARD}/entries?around=me&limit=1")) == [(2, 20)]
        assert player.get(f"{BOARD}/entries/me").json()["rank"] == 2
        assert player.get("/v1/leaderboards").status_code == 200


def test_too_slow_to_count__is_told_but_the_score_is_kept(
    game: Any,
    board: Any,
    season: seasons.SeasonInfo,
    player: PlayerClient,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from leaderboards import counting

    index.forget(season.id)
    monkeypatch.setattr(counting, "_RANKED", counting._RANKED + " AND pg_sleep(2) IS NOT NULL")
    submit(board, PlayerFactory.create(game=game).pk, 30)
    for _ in range(2):
        answer = player.post(f"{BOARD}/scores", {"score": 20})
        assert answer.status_code == 201
        assert answer.json()["entry"]["rank"] is None
    problem = player.get(f"{BOARD}/entries")
    assert_problem(problem, 503, "ranks_unavailable")
    assert problem["Retry-After"] == "5"
    monkeypatch.undo()
    assert scores_of(player.get(f"{BOARD}/entries")) == [(1, 30), (2, 20)]


def test_counting__is_done_by_a_few_at_once(
    board: Any, season: seasons.SeasonInfo, player: PlayerClient, settings: Any
) -> None:
    from leaderboards import counting

    settings.RANKS_TIMEOUT_MS = 20
    index.forget(season.id)
    for _ in range(counting.AT_ONCE):
        assert counting._slots.acquire(blocking=False)
    try:
        assert_problem(player.get(f"{BOARD}/entries"), 503, "ranks_unavailable")
    finally:
        for _ in range(counting.AT_ONCE):
            counting._slots.release()
    assert scores_of(player.get(f"{BOARD}/entries")) == []
