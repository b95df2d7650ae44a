"""Submitting scores over HTTP."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from config import hooks
from config.hooks import HookRefused
from leaderboards.models import Entry, Submission
from tests.factories.accounts import PlayerFactory
from tests.factories.leaderboards import board_of
from tests.fixtures.api import ApiClient, PlayerClient, assert_problem, server_client_of

pytestmark = pytest.mark.django_db(transaction=True)
SCORES = "/v1/leaderboards/harvest/scores"
INT64_MAX, INT64_MIN = 2**63 - 1, -(2**63)


def submit(client: ApiClient, score: int, path: str = SCORES, **more: Any) -> Any:
    answer = client.post(path, {"score": score, **more})
    assert answer.status_code == 201, answer.content
    return answer.json()


def test_first_score__answers_with_rank_and_season(board: Any, player: PlayerClient) -> None:
    answer = player.post(SCORES, {"score": 10, "metadata": {"level": 3}})
    assert answer.status_code == 201
    assert answer["Cache-Control"] == "no-store"
    body = answer.json()
    achieved_at = body["entry"].pop("achieved_at")
    assert achieved_at.endswith("Z")
    assert body == {
        "verdict": "accepted",
        "entry": {"score": 10, "rank": 1},
        "improved": True,
        "previous_rank": None,
        "season": 1,
    }


def test_better_score__moves_up_and_names_the_rank_before(
    board: Any, player: PlayerClient, new: Callable[..., PlayerClient]
) -> None:
    submit(player, 10)
    submit(new(), 20)
    submit(new(), 30)
    body = submit(player, 25)
    assert (body["entry"]["rank"], body["previous_rank"], body["improved"]) == (2, 3, True)


def test_worse_score__changes_nothing(board: Any, player: PlayerClient) -> None:
    first = submit(player, 10, metadata={"n": 1})
    body = submit(player, 9, metadata={"n": 2})
    assert body["entry"] == first["entry"]
    assert body["improved"] is False
    assert body["previous_rank"] == 1
    assert player.get("/v1/leaderboards/harvest/entries/me").json()["metadata"] == {"n": 1}
    assert Submission.objects.filter(verdict="accepted").count() == 2


def test_equal_score__keeps_its_time(board: Any, player: PlayerClient) -> None:
    first = submit(player, 10)
    assert submit(player, 10)["entry"] == first["entry"]


def test_tie__goes_to_whoever_got_there_first(
    board: Any, player: PlayerClient, new: Callable[..., PlayerClient]
) -> None:
    submit(player, 10)
    assert submit(new(), 10)["entry"]["rank"] == 2


def test_ascending_board__lowest_first(game: Any, new: Callable[..., PlayerClient]) -> None:
    board_of(game, key="time", sort="asc")
    path = "/v1/leaderboards/time/scores"
    slow, fast = new(), new()
    submit(slow, 90, path)
    assert submit(fast, 30, path)["entry"]["rank"] == 1
    worse = submit(fast, 40, path)
    assert (worse["entry"]["score"], worse["improved"]) == (30, False)
    better = submit(slow, 20, path)
    assert (better["entry"]["rank"], better["previous_rank"], better["improved"]) == (1, 2, True)


def test_keep_last__takes_worse_ones_too(game: Any, player: PlayerClient) -> None:
    board_of(game, key="latest", keep="last")
    path = "/v1/leaderboards/latest/scores"
    submit(player, 10, path, metadata={"n": 1})
    worse = submit(player, 5, path, metadata={"n": 2})
    assert (worse["entry"]["score"], worse["improved"]) == (5, False)
    assert player.get("/v1/leaderboards/latest/entries/me").json()["metadata"] == {"n": 2}
    assert submit(player, 6, path)["improved"] is True


def test_keep_sum__adds_up(game: Any, player: PlayerClient) -> None:
    board_of(game, key="total", keep="sum")
    path = "/v1/leaderboards/total/scores"
    assert submit(player, 10, path)["entry"]["score"] == 10
    assert submit(player, 5, path)["entry"]["score"] == 15
    down = submit(player, -1, path)
    assert (down["entry"]["score"], down["improved"]) == (14, False)


def test_keep_sum__beyond_64_bits_is_refused_and_logged(game: Any, player: PlayerClient) -> None:
    board_of(game, key="total", keep="sum")
    path = "/v1/leaderboards/total/scores"
    submit(player, INT64_MAX, path)
    for key in (None, "again"):
        headers = {"idempotency_key": key} if key else {}
        assert_problem(player.post(path, {"score": 1}, **headers), 422, "score_out_of_bounds")
    assert Entry.objects.get().score == INT64_MAX
    assert Submission.objects.filter(verdict="refused", reason="score_out_of_bounds").count() == 2


@pytest.mark.parametrize("score", [INT64_MAX, INT64_MIN, 2**53 + 1, 0, -1])
@pytest.mark.parametrize("sort", ["asc", "desc"])
def test_any_64_bit_score__is_kept_exactly(
    game: Any, player: PlayerClient, score: int, sort: str
) -> None:
    board_of(game, key="wide", sort=sort)
    assert submit(player, score, "/v1/leaderboards/wide/scores")["entry"]["score"] == score
    top = player.get("/v1/leaderboards/wide/entries").json()["results"]
    assert [entry["score"] for entry in top] == [score]


@pytest.mark.parametrize("score", [-1, 101])
def test_out_of_bounds__is_refused_and_logged(game: Any, player: PlayerClient, score: int) -> None:
    board_of(game, key="small", min_score=0, max_score=100)
    path = "/v1/leaderboards/small/scores"
    assert_problem(player.post(path, {"score": score}), 422, "score_out_of_bounds")
    assert_problem(
        player.post(path, {"score": score}, idempotency_key="k"), 422, "score_out_of_bounds"
    )
    assert not Entry.objects.exists()
    logged = Submission.objects.all()
    assert [(line.verdict, line.score, line.reason) for line in logged] == [
        ("refused", score, "score_out_of_bounds")
    ] * 2
    assert submit(player, 100, path)["entry"]["rank"] == 1


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"score": "10"},
        {"score": 1.5},
        {"score": True},
        {"score": 2**63},
        {"score": 1, "metadata": []},
        {"score": 1, "run": "x"},
        {"score": 1, "metadata": {"text": "x" * 1024}},
        {"score": 1, "player": "00000000-0000-0000-0000-000000000000"},
    ],
)
def test_malformed_score__is_a_400(board: Any, player: PlayerClient, body: Any) -> None:
    answer = player.post(SCORES, body)
    assert answer.status_code == 400
    assert answer["Content-Type"] == "application/problem+json"
    assert not Submission.objects.exists()


def test_metadata__may_have_exactly_1024_bytes(board: Any, player: PlayerClient) -> None:
    frame = len(json.dumps({"t": ""}, separators=(",", ":")))
    submit(player, 1, metadata={"t": "x" * (1024 - frame)})
    assert_problem(
        player.post(SCORES, {"score": 2, "metadata": {"t": "x" * (1025 - frame)}}),
        400,
        "validation_failed",
    )


def test_idempotency_key__counts_once(game: Any, player: PlayerClient) -> None:
    board_of(game, key="total", keep="sum")
    path = "/v1/leaderboards/total/scores"
    first = player.post(path, {"score": 5}, idempotency_key="a")
    again = player.post(path, {"score": 5}, idempotency_key="a")
    assert again["Idempotent-Replayed"] == "true"
    assert again.content == first.content
    assert_problem(
        player.post(path, {"score": 6}, idempotency_key="a"), 422, "idempotency_key_reused"
    )
    assert Entry.objects.get().score == 5


def test_idempotency_key__ranks_are_those_after_the_commit(
    board: Any, player: PlayerClient, new: Callable[..., PlayerClient]
) -> None:
    submit(new(), 20)
    first = player.post(SCORES, {"score": 10}, idempotency_key="a").json()
    assert (first["entry"]["rank"], first["previous_rank"]) == (2, None)
    second = player.post(SCORES, {"score": 30}, idempotency_key="b").json()
    assert (second["entry"]["rank"], second["previous_rank"]) == (1, 2)
    worse = player.post(SCORES, {"score": 25}, idempotency_key="c").json()
    assert (worse["entry"]["rank"], worse["previous_rank"]) == (1, 1)
    assert submit(new(), 25)["entry"]["rank"] == 2


def test_server_key__submits_for_a_player(game: Any, board: Any, player: PlayerClient) -> None:
    server = server_client_of(game, "scores:write")
    body = server.post(SCORES, {"score": 7, "player": str(player.player_id)})
    assert body.status_code == 201
    assert Submission.objects.get().author == "server"
    assert player.get("/v1/leaderboards/harvest/entries/me").json()["score"] == 7


def test_server_key__needs_player_scope_and_own_game(
    game: Any, other_game: Any, board: Any, player: PlayerClient
) -> None:
    body = {"score": 7, "player": str(player.player_id)}
    server = server_client_of(game, "scores:write")
    assert_problem(server.post(SCORES, {"score": 7}), 400, "validation_failed")
    foreigner = PlayerFactory.create(game=other_game)
    assert_problem(server.post(SCORES, body | {"player": str(foreigner.pk)}), 404, "not_found")
    poor = server_client_of(game, "stats:write")
    assert_problem(poor.post(SCORES, body), 403, "scope_missing")
    foreign = server_client_of(other_game, "scores:write")
    assert_problem(foreign.post(SCORES, body), 404, "not_found")
    board_of(other_game, key="harvest")
    assert_problem(foreign.post(SCORES, body), 404, "not_found")
    assert not Entry.objects.exists()
    assert not Submission.objects.exists()


def test_tester__is_on_no_board_but_sees_the_rank_it_would_have(
    board: Any, new: Callable[..., PlayerClient]
) -> None:
    honest, tester = new(), new(is_tester=True)
    submit(honest, 10)
    assert submit(tester, 99)["entry"]["rank"] == 1
    assert submit(honest, 11)["entry"]["rank"] == 1
    top = honest.get("/v1/leaderboards/harvest/entries").json()["results"]
    assert [entry["player"]["id"] for entry in top] == [str(honest.player_id)]
    own = tester.get("/v1/leaderboards/harvest/entries/me").json()
    assert (own["score"], own["rank"]) == (99, 1)


def test_rate_limit__30_scores_a_minute(
    board: Any, player: PlayerClient, settings: Any, game: Any
) -> None:
    settings.RATE_LIMITS = settings.RATE_LIMITS | {"scores": (2, 60)}
    submit(player, 1)
    submit(player, 2)
    answer = player.post(SCORES, {"score": 3})
    assert_problem(answer, 429, "rate_limited")
    assert int(answer["Retry-After"]) > 0
    server = server_client_of(game, "scores:write")
    for score in range(3):
        submit(server, score, player=str(player.player_id))


def test_hooks__may_refuse_and_hear_of_it(
    board: Any, player: PlayerClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard: list[dict[str, Any]] = []

    def before(*, score: int, **_: Any) -> None:
        if score == 13:
            raise HookRefused("Not that one")

    monkeypatch.setitem(hooks._before, "score", [before])
    monkeypatch.setitem(hooks._after, "score", {"test.after": lambda **given: heard.append(given)})
    assert_problem(player.post(SCORES, {"score": 13}), 422, "refused_by_game")
    assert not Entry.objects.exists()
    assert submit(player, 14)["entry"]["rank"] == 1
    assert hooks.run_due() == 1
    assert (heard[0]["board"], heard[0]["score"], heard[0]["improved"]) == ("harvest", 14, True)


def test_server_event__is_recorded_with_the_score(board: Any, player: PlayerClient) -> None:
    submit(player, 10)
    with connection.cursor() as cursor:
        cursor.execute("SELECT name, props FROM analytics_event")
        ((name, props),) = cursor.fetchall()
    assert name == "score"
    assert json.loads(props) == {"leaderboard": "harvest", "season": 1, "score": 10}


def test_score__is_one_statement(
    board: Any, player: PlayerClient, new: Callable[..., PlayerClient]
) -> None:
    submit(player, 1)
    submit(player, 2)
    for score in (3, 1):
        with CaptureQueriesContext(
            connection,
        ) as queries:
            submit(player, score)
        assert len(queries) == 1, queries.captured_queries


@pytest.mark.parametrize("headers", [{}, {"Authorization": "Bearer x.y.z"}, {"X-Game-Key": "pk_x"}])
def test_no_credential__is_a_401(board: Any, headers: dict[str, str]) -> None:
    answer = ApiClient(headers).post(SCORES, {"score": 1})
    assert_problem(answer, 401, "not_authenticated")


def test_unknown_board__is_a_404(player: PlayerClient) -> None:
    assert_problem(player.post(SCORES, {"score": 1}), 404, "not_found")
