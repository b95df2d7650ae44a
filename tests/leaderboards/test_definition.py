"""Boards in a game's file, and through the service behind it."""

from typing import Any

import pytest

from accounts.definition import Report
from leaderboards.boards import boards as cached
from leaderboards.definition import LeaderboardsSection
from leaderboards.errors import BoardInUse
from leaderboards.models import Board
from leaderboards.services import boards
from tests.factories.accounts import PlayerFactory
from tests.factories.leaderboards import board_of, submit

pytestmark = pytest.mark.django_db
HARVEST: dict[str, Any] = {
    "key": "harvest",
    "sort": "desc",
    "keep": "best",
    "reset": "0 0 * * *",
    "min_score": 0,
    "max_score": 1_000_000,
    "requires_run": False,
    "bucket_size": None,
    "rewards": [{"ranks": [1, 3], "grant": {"currencies": {"gems": 10}}}],
}


def plan(game: Any, data: list[Any], *, apply: bool = True) -> Report:
    report = Report(keys={"currencies": {"gems"}, "items": {"koi"}})
    act = LeaderboardsSection().plan(game, data, report)
    if apply and not report.errors:
        act()
    return report


def test_file__of_the_contract_is_taken_and_given_back(game: Any) -> None:
    report = plan(game, [HARVEST, {"key": "plain"}])
    assert report.errors == []
    assert [(change.kind, change.key) for change in report.changes] == [
        ("created", "harvest"),
        ("created", "plain"),
    ]
    exported = LeaderboardsSection().export(game)
    assert exported == [
        {
            "key": "harvest",
            "reset": "0 0 * * *",
            "min_score": 0,
            "max_score": 1_000_000,
            "rewards": [{"ranks": [1, 3], "grant": {"currencies": {"gems": 10}}}],
        },
        {"key": "plain"},
    ]
    assert plan(game, exported).changes == []
    assert plan(game, [HARVEST, {"key": "plain"}]).changes == []
    assert LeaderboardsSection().known_keys(game) == {"harvest", "plain"}


def test_change_and_removal__reach_every_process_with_the_next_request(game: Any) -> None:
    plan(game, [HARVEST, {"key": "plain"}])
    report = plan(game, [HARVEST | {"name": "Harvest", "max_score": 5}])
    assert [(change.kind, change.key, change.detail) for change in report.changes] == [
        ("changed", "harvest", "name, max_score"),
        ("removed", "plain", ""),
    ]
    assert cached.get(game.pk).keys() == {"harvest"}
    assert cached.get(game.pk)["harvest"].max_score == 5
    assert Board.objects.filter(key="plain", is_active=False).exists()
    assert plan(game, [HARVEST, {"key": "plain"}]).count("changed") == 2


def test_dry_run__writes_nothing(game: Any) -> None:
    assert plan(game, [HARVEST], apply=False).count("created") == 1
    assert not Board.objects.exists()


@pytest.mark.parametrize(
    ("change", "pointer", "text"),
    [
        ({"key": "No"}, "/leaderboards/0/key", "regex"),
        ({"colour": 1}, "/leaderboards/0/colour", "not known"),
        ({"sort": "up"}, "/leaderboards/0/sort", "up"),
        ({"reset": "daily"}, "/leaderboards/0/reset", "five fields"),
        ({"reset": "0 0 30 2 *"}, "/leaderboards/0/reset", "day"),
        ({"min_score": 5, "max_score": 4}, "/leaderboards/0/min_score", "above"),
        ({"max_score": 2**63}, "/leaderboards/0/max_score", "<="),
        ({"requires_run": True}, "/leaderboards/0/requires_run", "not available yet"),
        ({"bucket_size": 50}, "/leaderboards/0/bucket_size", "not available yet"),
        ({"rewards": [{"grant": {"items": {"koi": 1}}}]}, "/leaderboards/0/rewards/0", "either"),
        (
            {"rewards": [{"ranks": [3, 1], "grant": {"items": {"koi": 1}}}]},
            "/leaderboards/0/rewards/0/ranks",
            "above",
        ),
        ({"rewards": [{"ranks": [1, 1], "grant": {}}]}, "/leaderboards/0/rewards/0/grant", "noth"),
        (
            {"rewards": [{"percentile": [0, 10], "grant": {"currencies": {"gold": 1}}}]},
            "/leaderboards/0/rewards/0/grant/currencies/gold",
            "not in currencies",
        ),
    ],
)
def test_mistakes__are_named_with_their_place(
    game: Any, change: dict[str, Any], pointer: str, text: str
) -> None:
    report = plan(game, [HARVEST | change])
    assert [finding.pointer for finding in report.errors] == [pointer]
    assert text in report.errors[0].message
    assert not Board.objects.exists()


def test_same_key_twice__is_a_mistake(game: Any) -> None:
    assert plan(game, [HARVEST, HARVEST]).errors[0].pointer == "/leaderboards/1/key"


def test_too_many_boards__is_a_mistake(game: Any) -> None:
    report = plan(game, [{"key": f"b{n}"} for n in range(1001)])
    assert report.errors[0].message == "A game has at most 1000"


def test_sort__can_not_change_once_there_are_entries(game: Any) -> None:
    board = board_of(game, key="harvest")
    assert plan(game, [{"key": "harvest", "sort": "asc"}]).errors == []
    board = board_of(game, key="other")
    submit(board, PlayerFactory.create(game=game).pk, 1)
    report = plan(game, [{"key": "other", "sort": "asc"}], apply=False)
    assert "sort can't change" in report.errors[0].message
    with pytest.raises(BoardInUse):
        boards.board_save(game=game, key="other", values={"sort": "asc"})
