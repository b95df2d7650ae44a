"""Stats over HTTP: aggregation, bounds, all or none, who may write."""

from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from config import hooks
from config.api.parsing import INT64_MAX
from progress.errors import StatOutOfBounds
from progress.models import StatValue
from progress.services import stats
from tests.factories.progress import make_achievement, make_stat
from tests.fixtures.api import ApiClient, PlayerClient, assert_problem, server_client_of


def report(client: ApiClient, path: str = "/v1/stats", /, **values: int) -> Any:
    """One batch of reports."""
    updates = [{"stat": key, "value": value} for key, value in values.items()]
    return client.post(path, {"updates": updates})


def values_of(client: ApiClient) -> dict[str, int]:
    return {row["stat"]: row["value"] for row in client.get("/v1/stats").json()["results"]}


def test_report__each_aggregation__keeps_what_it_says(
    game: Any, player_client: PlayerClient
) -> None:
    for aggregation in ("sum", "max", "min", "last"):
        make_stat(game, aggregation, aggregation)
    answers = [
        report(player_client, sum=value, max=value, min=value, last=value) for value in (5, 9, 2)
    ]
    answer = answers[-1]
    assert [given.status_code for given in answers] == [200, 200, 200]
    assert values_of(player_client) == {"sum": 16, "max": 9, "min": 2, "last": 2}
    first = answer.json()["results"][0]
    assert first == {"stat": "sum", "value": 16, "updated_at": first["updated_at"]}
    assert first["updated_at"].endswith("Z")
    assert answer.json()["unlocked"] == []


def test_report__one_refused_update__none_is_applied(
    game: Any, player_client: PlayerClient
) -> None:
    make_stat(game, "flowers", maximum=10)
    make_stat(game, "lanterns")
    problem = assert_problem(
        report(player_client, lanterns=1, flowers=11), 422, "stat_out_of_bounds"
    )
    assert problem["errors"][0]["pointer"] == "/updates/1/value"
    assert values_of(player_client) == {}


@pytest.mark.parametrize("value", [11, -1, INT64_MAX])
def test_report__out_of_bounds__422(game: Any, player_client: PlayerClient, value: int) -> None:
    make_stat(game, "flowers", minimum=0, maximum=10)
    assert_problem(report(player_client, flowers=value), 422, "stat_out_of_bounds")


def test_report__beyond_64_bits__422_and_the_value_stays(
    game: Any, player_client: PlayerClient
) -> None:
    make_stat(game, "flowers")
    report(player_client, flowers=INT64_MAX)
    assert_problem(report(player_client, flowers=1), 422, "stat_out_of_bounds")
    assert values_of(player_client) == {"flowers": INT64_MAX}


def test_report__larger_step__422_for_players_only(game: Any, player_client: PlayerClient) -> None:
    make_stat(game, "flowers", max_step=10)
    assert_problem(report(player_client, flowers=11), 422, "stat_step_too_large")
    path = f"/v1/players/{player_client.player_id}/stats"
    assert report(server_client_of(game), path, flowers=11).status_code == 200
    assert report(player_client, flowers=10).json()["results"][0]["value"] == 21


def test_report__faster_than_the_rate__429_with_retry_after(
    game: Any, player_client: PlayerClient
) -> None:
    make_stat(game, "flowers", rate_amount=10, rate_seconds=3600)
    assert report(player_client, flowers=8).status_code == 200
    answer = report(player_client, flowers=3)
    assert_problem(answer, 429, "stat_rate_exceeded")
    assert 1 <= int(answer["Retry-After"]) <= 361
    assert report(player_client, flowers=2).status_code == 200
    path = f"/v1/players/{player_client.player_id}/stats"
    assert report(server_client_of(game), path, flowers=100).status_code == 200
    assert values_of(player_client) == {"flowers": 110}
    assert 9 < StatValue.objects.get().spent <= 10


def test_report__unknown_or_archived__422(game: Any, player_client: PlayerClient) -> None:
    make_stat(game, "old", is_active=False)
    for key in ("nothing", "old"):
        problem = assert_problem(
            report(player_client, "/v1/stats", **{key: 1}), 422, "unknown_stat"
        )
        assert problem["errors"][0]["pointer"] == "/updates/0/stat"


def test_report__stat_of_another_game__is_unknown(
    other_game: Any, player_client: PlayerClient
) -> None:
    make_stat(other_game, "theirs")
    assert_problem(report(player_client, theirs=1), 422, "unknown_stat")


def test_report__twice_in_a_batch__400(game: Any, player_client: PlayerClient) -> None:
    make_stat(game, "flowers")
    updates = [{"stat": "flowers", "value": 1}] * 2
    problem = assert_problem(
        player_client.post("/v1/stats", {"updates": updates}), 400, "validation_failed"
    )
    assert problem["errors"][0]["pointer"] == "/updates/1/stat"


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"updates": []},
        {"updates": [{"stat": "a", "value": 1}] * 101},
        {"updates": [{"stat": "a", "value": True}]},
        {"updates": [{"stat": "a", "value": 1.5}]},
        {"updates": [{"stat": "A b", "value": 1}]},
    ],
)
def test_report__malformed__400(player_client: PlayerClient, body: Any) -> None:
    assert_problem(player_client.post("/v1/stats", body), 400, "validation_failed")


def test_report__server_stat__403_for_players(game: Any, player_client: PlayerClient) -> None:
    make_stat(game, "visitors", writer="server")
    assert_problem(report(player_client, visitors=1), 403, "stat_not_writable")
    path = f"/v1/players/{player_client.player_id}/stats"
    assert report(server_client_of(game, "stats:write"), path, visitors=1).status_code == 200
    assert values_of(player_client) == {"visitors": 1}


def test_report__server_without_scope_or_of_another_game(
    game: Any, other_game: Any, player_client: PlayerClient
) -> None:
    make_stat(game, "visitors")
    path = f"/v1/players/{player_client.player_id}/stats"
    answer = report(server_client_of(game, "grants:write"), path, visitors=1)
    assert_problem(answer, 403, "scope_missing")
    assert_problem(report(server_client_of(other_game), path, visitors=1), 404, "not_found")
    assert_problem(report(player_client, path, visitors=1), 403, "forbidden")


def test_report__same_idempotency_key__adds_once(game: Any, player_client: PlayerClient) -> None:
    make_stat(game, "flowers")
    body = {"updates": [{"stat": "flowers", "value": 3}]}
    first, second = (
        player_client.post("/v1/stats", body, idempotency_key="bed-7") for _ in range(2)
    )
    assert first.json() == second.json()
    assert second["Idempotent-Replayed"] == "true"
    assert values_of(player_client) == {"flowers": 3}
    body["updates"][0]["value"] = 4
    other = player_client.post("/v1/stats", body, idempotency_key="bed-7")
    assert_problem(other, 422, "idempotency_key_reused")


def test_report__hook_that_refuses__nothing_is_written(
    game: Any, player_client: PlayerClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_stat(game, "flowers")
    seen: list[dict[str, Any]] = []

    def refuse(**context: Any) -> None:
        seen.append(context)
        raise hooks.HookRefused("It is winter")

    monkeypatch.setitem(hooks._before, "stat", [refuse])
    assert_problem(report(player_client, flowers=1), 422, "refused_by_game")
    assert seen[0]["updates"] == {"flowers": 1}
    assert values_of(player_client) == {}


def test_list__pages__in_key_order(game: Any, player_client: PlayerClient) -> None:
    keys = [f"s{number:02}" for number in range(7)]
    for key in keys:
        make_stat(game, key)
    report(player_client, "/v1/stats", **dict.fromkeys(keys, 1))
    seen: list[str] = []
    cursor = ""
    while True:
        page = player_client.get(f"/v1/stats?limit=3{cursor}").json()
        seen += [row["stat"] for row in page["results"]]
        if page["next"] is None:
            break
        cursor = f"&cursor={page['next']}"
    assert seen == keys
    back = player_client.get(f"/v1/stats?limit=3&cursor={page['previous']}").json()
    assert [row["stat"] for row in back["results"]] == keys[3:6]
    assert_problem(player_client.get("/v1/stats?cursor=abc"), 400, "invalid_cursor")


def test_queries__report_and_list__equal_for_one_stat_and_twenty(
    game: Any, player_client: PlayerClient
) -> None:
    keys = [f"s{number:02}" for number in range(20)]
    for key in keys:
        make_stat(game, key)
    report(player_client, "/v1/stats", **dict.fromkeys(keys, 1))
    counts = []
    for chosen in (keys[:1], keys):
        with CaptureQueriesContext(connection) as queries:
            report(player_client, "/v1/stats", **dict.fromkeys(chosen, 1))
        counts.append(len(queries))
    assert counts == [5, 5]
    with CaptureQueriesContext(connection) as queries:
        player_client.get("/v1/stats")
    assert len(queries) == 1


def test_set_value__by_staff__replaces_a_sum_and_unlocks(
    game: Any, player_client: PlayerClient
) -> None:
    stat = make_stat(game, "flowers", maximum=100, max_step=5)
    make_achievement(game, "meadow", stat, threshold=50)
    report(player_client, flowers=5)
    done = stats.set_value(
        game_id=game.pk, player_id=player_client.player_id, stat="flowers", value=60
    )
    assert [rule.key for rule, _ in done.unlocked] == ["meadow"]
    assert values_of(player_client) == {"flowers": 60}
    with pytest.raises(StatOutOfBounds):
        stats.set_value(
            game_id=game.pk, player_id=player_client.player_id, stat="flowers", value=101
        )
