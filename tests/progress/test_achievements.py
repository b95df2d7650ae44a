"""Achievements: unlocked by stats or reports, once, with a reward through the ledger."""

from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from config import hooks
from config.models import HookCall
from progress.models import AchievementState
from progress.services import achievements
from store.models import Currency, Item
from tests.factories.progress import make_achievement, make_stat
from tests.fixtures.api import ApiClient, PlayerClient, assert_problem
from tests.progress.test_stats import report


@pytest.fixture
def petals(game: Any) -> None:
    """The game has petals and seeds."""
    Currency.objects.create(game=game, key="petals", name="Petals")
    Item.objects.create(game=game, key="seeds", name="Seeds", kind="consumable", max_stack=5)


def achievement(client: ApiClient, key: str) -> dict[str, Any]:
    rows = client.get("/v1/achievements").json()["results"]
    found: dict[str, Any] = next(row for row in rows if row["key"] == key)
    return found


def balance(client: ApiClient, currency: str) -> int:
    rows = client.get("/v1/store/wallet").json()["balances"]
    return int(next((row["balance"] for row in rows if row["currency"] == currency), 0))


def events_named(name: str) -> list[Any]:
    with connection.cursor() as cursor:
        cursor.execute("SELECT props FROM analytics_event WHERE name = %s", [name])
        return [props for (props,) in cursor.fetchall()]


@pytest.mark.usefixtures("petals")
def test_unlock__stat_reaches_the_threshold__rewarded_once(
    game: Any, player_client: PlayerClient
) -> None:
    flowers = make_stat(game, "flowers")
    make_achievement(
        game,
        "bloom",
        flowers,
        threshold=10,
        name="Bloom",
        description="Ten flowers",
        reward={"currencies": {"petals": 7}, "items": {"seeds": 2}},
    )
    assert report(player_client, flowers=9).json()["unlocked"] == []
    before = achievement(player_client, "bloom")
    assert (before["progress"], before["threshold"], before["unlocked_at"]) == (9, 10, None)
    start = balance(player_client, "petals")

    unlocked = report(player_client, flowers=5).json()["unlocked"]
    assert unlocked == [achievement(player_client, "bloom")]
    assert unlocked[0] == {
        "key": "bloom",
        "name": "Bloom",
        "description": "Ten flowers",
        "progress": 10,
        "threshold": 10,
        "hidden": False,
        "unlocked_at": unlocked[0]["unlocked_at"],
        "reward": {"currencies": {"petals": 7}, "items": {"seeds": 2}},
    }
    assert unlocked[0]["unlocked_at"].endswith("Z")
    assert balance(player_client, "petals") == start + 7
    assert report(player_client, flowers=5).json()["unlocked"] == []
    assert balance(player_client, "petals") == start + 7
    assert len(events_named("achievement_unlocked")) == 1


@pytest.mark.usefixtures("petals")
def test_unlock__stack_is_full__unlocked_all_the_same(
    game: Any, player_client: PlayerClient
) -> None:
    flowers = make_stat(game, "flowers")
    make_achievement(game, "seeds", flowers, reward={"items": {"seeds": 100}})
    assert len(report(player_client, flowers=1).json()["unlocked"]) == 1


def test_unlock__smallest_value_for_a_min_stat(game: Any, player_client: PlayerClient) -> None:
    quickest = make_stat(game, "quickest", "min")
    make_achievement(game, "swift", quickest, threshold=5000)
    assert report(player_client, quickest=5001).json()["unlocked"] == []
    assert achievement(player_client, "swift")["progress"] == 5001
    assert len(report(player_client, quickest=5000).json()["unlocked"]) == 1


def test_unlock__achievement_made_after_the_stat_passed__with_the_next_report(
    game: Any, player_client: PlayerClient
) -> None:
    flowers = make_stat(game, "flowers")
    report(player_client, flowers=100)
    make_achievement(game, "late", flowers, threshold=50)
    assert achievement(player_client, "late")["unlocked_at"] is None
    assert len(report(player_client, flowers=1).json()["unlocked"]) == 1


def test_unlock__several_at_once__all_of_them(game: Any, player_client: PlayerClient) -> None:
    flowers, lanterns = make_stat(game, "flowers"), make_stat(game, "lanterns")
    for threshold in (1, 5, 10):
        make_achievement(game, f"flowers-{threshold}", flowers, threshold=threshold)
    make_achievement(game, "lanterns", lanterns)
    answer = report(player_client, flowers=7, lanterns=1).json()
    assert [row["key"] for row in answer["unlocked"]] == ["flowers-1", "flowers-5", "lanterns"]


def test_unlock__reward_fails__nothing_of_the_report_stays(
    game: Any, player_client: PlayerClient
) -> None:
    flowers = make_stat(game, "flowers")
    make_achievement(game, "broken", flowers, reward={"currencies": {"missing": 1}})
    assert report(player_client, flowers=1).status_code >= 400
    assert player_client.get("/v1/stats").json()["results"] == []
    assert not AchievementState.objects.exists()


def test_unlock__hook_after__is_promised_with_the_unlock(
    game: Any, player_client: PlayerClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[dict[str, Any]] = []
    monkeypatch.setitem(hooks._after, "unlock", {"celebrate": lambda **facts: seen.append(facts)})
    make_achievement(game, "bloom", make_stat(game, "flowers"))
    report(player_client, flowers=1)
    assert HookCall.objects.get().payload == {
        "game_id": str(game.pk),
        "player_id": str(player_client.player_id),
        "achievement": "bloom",
    }


def test_hidden__locked__masked_until_unlocked(game: Any, player_client: PlayerClient) -> None:
    make_achievement(game, "secret", threshold=3, hidden=True, name="Moonlit koi")
    masked = dict.fromkeys(("name", "description", "progress", "threshold", "reward"))
    expected = {"key": "secret", "hidden": True, "unlocked_at": None, **masked}
    assert achievement(player_client, "secret") == expected
    path = "/v1/achievements/secret/progress"
    assert player_client.post(path, {"progress": 1}).json() == expected
    assert player_client.post(path, {"progress": 3}).json()["name"] == "Moonlit koi"
    assert achievement(player_client, "secret")["name"] == "Moonlit koi"


def test_report__progress__never_goes_down_and_ends_at_the_threshold(
    game: Any, player_client: PlayerClient
) -> None:
    make_achievement(game, "tea", threshold=4)
    path = "/v1/achievements/tea/progress"
    seen = [
        player_client.post(path, {"progress": progress}).json()["progress"]
        for progress in (2, 1, 3, 2**63 - 1, 0)
    ]
    assert seen == [2, 2, 3, 4, 4]
    assert len(events_named("achievement_unlocked")) == 1


def test_report__not_reportable__403(game: Any, player_client: PlayerClient) -> None:
    make_achievement(game, "bloom", make_stat(game, "flowers"))
    make_achievement(game, "gift", reportable=False)
    make_achievement(game, "surprise", reportable=False, hidden=True)
    for key in ("bloom", "gift"):
        answer = player_client.post(f"/v1/achievements/{key}/progress", {"progress": 1})
        assert_problem(answer, 403, "achievement_not_reportable")
    for key in ("surprise", "nothing"):
        answer = player_client.post(f"/v1/achievements/{key}/progress", {"progress": 1})
        assert_problem(answer, 404, "not_found")


def test_report__by_trusted_code__unlocks_what_players_may_not(
    game: Any, player_client: PlayerClient
) -> None:
    make_achievement(game, "gift", reportable=False)
    rule, progress, unlocked_at = achievements.report(
        game_id=game.pk, player_id=player_client.player_id, key="gift", progress=1, trusted=True
    )
    assert (rule.key, progress) == ("gift", 1)
    assert unlocked_at is not None


@pytest.mark.parametrize("body", [{}, {"progress": -1}, {"progress": "1"}, {"progress": 2**63}])
def test_report__malformed__400(game: Any, player_client: PlayerClient, body: Any) -> None:
    make_achievement(game, "tea")
    answer = player_client.post("/v1/achievements/tea/progress", body)
    assert answer.status_code == 400


def test_report__achievement_of_another_game__404(
    other_game: Any, player_client: PlayerClient
) -> None:
    make_achievement(other_game, "theirs")
    answer = player_client.post("/v1/achievements/theirs/progress", {"progress": 1})
    assert_problem(answer, 404, "not_found")


def test_list__pages__in_the_games_order(game: Any, player_client: PlayerClient) -> None:
    for position, key in enumerate(("c", "a", "b")):
        make_achievement(game, key, position=position)
    make_achievement(game, "old", is_active=False)
    first = player_client.get("/v1/achievements?limit=2").json()
    second = player_client.get(f"/v1/achievements?limit=2&cursor={first['next']}").json()
    keys = [row["key"] for page in (first, second) for row in page["results"]]
    assert keys == ["c", "a", "b"]
    assert (first["previous"], second["next"]) == (None, None)


def test_queries__list__equal_for_one_achievement_and_twenty(
    game: Any, player_client: PlayerClient
) -> None:
    counts = []
    for number in range(20):
        make_achievement(game, f"a{number}", make_stat(game, f"s{number}"))
        if number in (0, 19):
            player_client.get("/v1/achievements")
            with CaptureQueriesContext(connection) as queries:
                player_client.get("/v1/achievements")
            counts.append(len(queries))
    assert counts == [2, 2]
