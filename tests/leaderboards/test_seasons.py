"""Seasons: by the calendar of the board, in the game's time zone."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import time_machine
from django.utils import timezone

from config import calendar
from leaderboards.boards import board_get
from leaderboards.models import Entry, Season
from leaderboards.services import boards, scores, seasons
from tests.factories.accounts import GameFactory, PlayerFactory
from tests.factories.leaderboards import board_of, submit
from tests.fixtures.api import PlayerClient, assert_problem
from tests.threads import at_once

pytestmark = pytest.mark.django_db(transaction=True)
DAILY = "0 0 * * *"


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("zone", "moment", "start", "end"),
    [
        ("UTC", "2026-11-21T00:00:00", "2026-11-21T00:00:00", "2026-11-22T00:00:00"),
        ("UTC", "2026-11-20T23:59:59.999999", "2026-11-20T00:00:00", "2026-11-21T00:00:00"),
        ("UTC", "2026-11-21T00:00:00.000001", "2026-11-21T00:00:00", "2026-11-22T00:00:00"),
        # 23 and 25 hours where the clocks change.
        ("Europe/Berlin", "2026-03-29T12:00:00", "2026-03-28T23:00:00", "2026-03-29T22:00:00"),
        ("Europe/Berlin", "2026-10-25T12:00:00", "2026-10-24T22:00:00", "2026-10-25T23:00:00"),
    ],
)
def test_calendar__spans(zone: str, moment: str, start: str, end: str) -> None:
    assert calendar.start_before(DAILY, zone, at(moment)) == at(start)
    assert calendar.end_after(DAILY, zone, at(moment)) == at(end)


@pytest.mark.parametrize("text", ["", "x", "* * * *", "0 0 * * * *", "60 * * * *", "0 0 30 2 *"])
def test_calendar__names_mistakes(text: str) -> None:
    assert calendar.mistake_in(text)


def test_permanent_board__has_one_season_without_end(game: Any, player: PlayerClient) -> None:
    board_of(game, key="harvest")
    season = player.get("/v1/leaderboards/harvest").json()["season"]
    assert (season["number"], season["ends_at"]) == (1, None)


def test_daily_board__starts_a_new_season_at_midnight(game: Any, player: PlayerClient) -> None:
    board = board_of(game, key="daily", reset=DAILY)
    today = timezone.now().astimezone(UTC).replace(hour=12, minute=0, second=0, microsecond=0)
    first = seasons.current(board, now=today - timedelta(days=1))
    second = seasons.current(board, now=today)
    assert (first.number, second.number) == (1, 2)
    assert first.ends_at == second.starts_at == today.replace(hour=0)
    assert seasons.current(board, now=today).id == second.id
    answer = player.get("/v1/leaderboards/daily/seasons").json()["results"]
    assert [season["number"] for season in answer][-2:] == [2, 1]


def test_score_at_the_turn__goes_where_the_database_clock_says(game: Any) -> None:
    board = board_of(game, key="daily", reset=DAILY)
    player = PlayerFactory.create(game=game)
    now = timezone.now()
    # This process believes that yesterday's season still runs.
    with time_machine.travel(now - timedelta(days=1)):
        stale = seasons.current(board)
        assert seasons.current(board).id == stale.id
        outcome = scores.submit(board=board, player_id=player.pk, score=1)
    assert outcome.season == stale.number + 1
    assert not Entry.objects.filter(season_id=stale.id).exists()


def test_past_season__is_read_by_number(game: Any, player: PlayerClient) -> None:
    board = board_of(game, key="daily", reset=DAILY)
    past = seasons.current(board, now=timezone.now() - timedelta(days=1))
    Season.objects.filter(pk=past.id).update(ends_at=None)
    submit(board, player.player_id, 5)
    with time_machine.travel(timezone.now() - timedelta(days=1)):
        seasons._running.clear()
        assert submit(board, player.player_id, 7).season == 1
    Season.objects.filter(pk=past.id).update(ends_at=past.ends_at)
    seasons._running.clear()
    url = "/v1/leaderboards/daily/entries"
    assert player.get(f"{url}?season=1").json()["results"][0]["score"] == 7
    assert player.get(f"{url}/me?season=1").json()["rank"] == 1
    assert player.get(f"{url}?season=current").json()["results"] == []
    assert_problem(player.get(f"{url}?season=9"), 404, "not_found")


def test_season__is_made_once_by_many_at_once(game: Any) -> None:
    board = board_of(game, key="daily", reset=DAILY)
    made = at_once(8, lambda _: seasons.current(board).id)
    assert len(set(made)) == 1
    assert Season.objects.filter(board_id=board.id).count() == 1


def test_new_calendar__moves_the_end_of_the_running_season(db: None) -> None:
    game = GameFactory.create(timezone="Asia/Tokyo")
    board = board_of(game, key="daily", reset=DAILY)
    before = seasons.current(board)
    boards.board_save(game=game, key="daily", values={"reset": ""})
    changed = board_get(game_id=game.pk, key="daily")
    assert seasons.current(changed) == seasons.SeasonInfo(
        before.id, before.number, before.starts_at, None
    )
    boards.board_save(game=game, key="daily", values={"reset": "0 0 1 1 *"})
    again = seasons.current(board_get(game_id=game.pk, key="daily"))
    assert again.id == before.id
    assert again.ends_at is not None
    assert again.ends_at.hour == 15  # midnight in Tokyo


def test_cache__is_bounded(game: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(seasons, "CACHE_SIZE", 2)
    for _ in range(4):
        seasons.current(board_of(game))
    assert len(seasons._running) == 2
