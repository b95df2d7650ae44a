"""The back office of leaderboards."""

from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from leaderboards import index
from leaderboards.models import Board, Entry, Submission
from leaderboards.panels import scores_panel
from leaderboards.services import seasons
from tests.factories.accounts import PlayerFactory, StaffUserFactory
from tests.factories.leaderboards import submit
from tests.fixtures.faults import redis_down

pytestmark = pytest.mark.django_db(transaction=True)


def staff(role: str) -> Client:
    client = Client()
    client.force_login(StaffUserFactory.create(role=role))
    return client


def board_form(board: Board, **changes: Any) -> dict[str, Any]:
    fields = ("name", "sort", "keep", "reset")
    return {name: getattr(board, name) for name in fields} | {
        "min_score": "",
        "max_score": "",
        "is_active": "on",
        **changes,
    }


def test_board__is_changed_through_the_service(game: Any, board: Any) -> None:
    row = Board.objects.get()
    url = reverse("admin:leaderboards_board_change", args=[row.pk])
    client = staff("designer")
    assert client.get(url).status_code == 200
    version = game.definition_version
    answer = client.post(url, board_form(row, max_score="9", reset="0 0 * * *"))
    assert answer.status_code == 302, answer.context["errors"]
    row.refresh_from_db()
    assert (row.max_score, row.reset) == (9, "0 0 * * *")
    game.refresh_from_db()
    assert game.definition_version > version


def test_board__mistakes_are_shown(game: Any, board: Any) -> None:
    submit(board, PlayerFactory.create(game=game).pk, 1)
    row = Board.objects.get()
    url = reverse("admin:leaderboards_board_change", args=[row.pk])
    answer = staff("designer").post(url, board_form(row, sort="asc", reset="sometimes"))
    assert answer.status_code == 200
    errors = answer.context["adminform"].form.errors
    assert errors.keys() == {"sort", "reset"}


def test_board__is_made(game: Any) -> None:
    url = reverse("admin:leaderboards_board_add")
    form = board_form(Board(key="x"), game=str(game.pk), key="race", name="Race", sort="asc")
    assert staff("designer").post(url, form).status_code == 302
    assert Board.objects.get().key == "race"


@pytest.mark.parametrize(("role", "status"), [("support", 403), ("analyst", 403)])
def test_board__is_not_changed_by_others(game: Any, board: Any, role: str, status: int) -> None:
    row = Board.objects.get()
    url = reverse("admin:leaderboards_board_change", args=[row.pk])
    assert staff(role).post(url, board_form(row)).status_code == status
    assert staff(role).get(url).status_code == 200


def test_rebuild__from_the_list(game: Any, board: Any, season: seasons.SeasonInfo) -> None:
    player = PlayerFactory.create(game=game)
    submit(board, player.pk, 1)
    index.forget(season.id)
    url = reverse("admin:leaderboards_board_changelist")
    form = {"action": "rebuild", "_selected_action": [str(board.id)]}
    client = staff("designer")
    with redis_down():
        assert "Redis does not answer" in client.post(url, form, follow=True).content.decode()
    assert client.post(url, form).status_code == 302
    assert index.size(season.id) == 1


def test_entries__are_found_by_player_and_acted_on(
    game: Any, board: Any, season: seasons.SeasonInfo
) -> None:
    players = [PlayerFactory.create(game=game) for _ in range(3)]
    for score, player in enumerate(players):
        submit(board, player.pk, score)
    client = staff("support")
    listed = reverse("admin:leaderboards_entryrow_changelist")
    assert client.get(listed).context["cl"].result_count == 3
    found = client.get(listed, {"q": str(players[1].pk)}).context["cl"].result_list
    assert [row.player_id for row in found] == [players[1].pk]
    assert client.get(listed, {"q": "nobody@example.com"}).context["cl"].result_count == 0
    key = f"{season.id}:{players[2].pk}"
    detail = reverse("admin:leaderboards_entryrow_change", args=[key])
    assert client.get(detail).status_code == 200
    states = []
    for act in ("hide", "show", "remove", "remove"):
        url = reverse(f"admin:leaderboards_entryrow_{act}", args=[key])
        assert client.get(url).status_code == 200
        assert client.post(url, {"reason": ""}).status_code == 200
        assert client.post(url, {"reason": "Bot"}).status_code == 302
        states.append((Entry.objects.get(player=players[2]).state, index.size(season.id)))
    assert states == [("hidden", 2), ("ranked", 3), ("removed", 2), ("removed", 2)]
    log = Submission.objects.exclude(verdict="accepted").order_by("created_at")
    assert [line.verdict for line in log] == ["hidden", "shown", "removed"]
    assert {line.reason for line in log} == {"Bot"}
    assert all(line.author.startswith("staff") for line in log)


def test_entries__others_look_but_do_not_act(
    game: Any, board: Any, season: seasons.SeasonInfo
) -> None:
    player = PlayerFactory.create(game=game)
    submit(board, player.pk, 1)
    client = staff("analyst")
    url = reverse("admin:leaderboards_entryrow_remove", args=[f"{season.id}:{player.pk}"])
    assert client.post(url, {"reason": "Bot"}).status_code == 403
    assert Entry.objects.get().state == "ranked"
    for broken in ("x", f"{season.id}:x", f"{player.pk}:{season.id}"):
        shown = reverse("admin:leaderboards_entryrow_change", args=[broken])
        assert client.get(shown).status_code == 302
        act = reverse("admin:leaderboards_entryrow_hide", args=[broken])
        assert staff("admin").post(act, {"reason": "Bot"}).status_code == 404


@pytest.mark.parametrize("model", ["board", "season", "entryrow"])
def test_lists__cost_the_same_for_1_and_for_20_rows(game: Any, board: Any, model: str) -> None:
    client = staff("admin")
    url = reverse(f"admin:leaderboards_{model}_changelist")

    def count() -> int:
        with CaptureQueriesContext(connection) as queries:
            assert client.get(url).status_code == 200
        return len(queries)

    submit(board, PlayerFactory.create(game=game).pk, 1)
    client.get(url)
    few = count()
    for _ in range(19):
        submit(board, PlayerFactory.create(game=game).pk, 1)
    assert count() == few


def test_panel__shows_the_player_s_entries(game: Any, board: Any) -> None:
    player = PlayerFactory.create(game=game)
    submit(board, player.pk, 7)
    panel = scores_panel(player)
    assert [row[:3] for row in panel.rows] == [["harvest", 1, 7]]
    assert str(player.pk) in panel.more_url
