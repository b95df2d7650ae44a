"""Warning, suspending, banning and lifting."""

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from accounts.models import Game, Player, Sanction
from accounts.services import sanctions
from config.db.ids import uuid7
from tests.fixtures.api import ApiClient, PlayerClient, assert_problem, server_client_of

pytestmark = pytest.mark.django_db(transaction=True)


def soon(days: int = 1) -> str:
    return (timezone.now() + timedelta(days=days)).isoformat()


def impose(client: ApiClient, player: PlayerClient, kind: str, **fields: Any) -> Any:
    body = {"kind": kind, "reason": "Rude words"} | fields
    return client.post(f"/v1/players/{player.player_id}/sanctions", body)


def blocked_until(player: PlayerClient) -> Any:
    return Player.objects.get(pk=player.player_id).blocked_until


def test_ban__ends_sessions_at_once(server_client: ApiClient, player_client: PlayerClient) -> None:
    assert player_client.get("/v1/players/me").status_code == 200
    answer = impose(server_client, player_client, "ban")
    assert answer.status_code == 201, answer.content
    sanction = answer.json()
    assert (sanction["kind"], sanction["reason"], sanction["ends_at"]) == (
        "ban",
        "Rude words",
        None,
    )
    assert sanction["author"].startswith("server key ")
    assert_problem(player_client.get("/v1/players/me"), 401, "session_revoked")
    assert blocked_until(player_client) == sanctions.FOR_GOOD


@pytest.mark.parametrize("kind", ["warning", "shadow_ban"])
def test_others__block_nobody(
    server_client: ApiClient, player_client: PlayerClient, kind: str
) -> None:
    assert impose(server_client, player_client, kind).status_code == 201
    assert player_client.get("/v1/players/me").status_code == 200
    assert blocked_until(player_client) is None


def test_several__the_longest_counts(server_client: ApiClient, player_client: PlayerClient) -> None:
    impose(server_client, player_client, "suspension", ends_at=soon(1))
    long = impose(server_client, player_client, "suspension", ends_at=soon(9)).json()
    impose(server_client, player_client, "suspension", ends_at=soon(2))
    assert blocked_until(player_client) > timezone.now() + timedelta(days=8)

    path = f"/v1/players/{player_client.player_id}/sanctions/{long['id']}"
    lifted = server_client.delete(path)
    assert lifted.status_code == 200
    assert lifted.json()["lifted_at"] is not None
    assert blocked_until(player_client) < timezone.now() + timedelta(days=3)
    assert server_client.delete(path).json() == lifted.json()


def test_lift_all__lets_the_player_back(
    game: Game, server_client: ApiClient, player_client: PlayerClient
) -> None:
    impose(server_client, player_client, "ban")
    impose(server_client, player_client, "warning")
    lifted = sanctions.lift_all(game_id=game.pk, player_id=player_client.player_id)
    assert lifted == 2
    assert blocked_until(player_client) is None
    assert Sanction.objects.filter(lifted_at__isnull=False).count() == 2


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"kind": "suspension"}, "/ends_at"),
        ({"kind": "warning", "ends_at": "2999-01-01T00:00:00Z"}, "/ends_at"),
        ({"kind": "ban", "ends_at": "2020-01-01T00:00:00Z"}, "/ends_at"),
        ({"kind": "ban", "ends_at": "2999-01-01T00:00:00"}, "/ends_at"),
        ({"kind": "exile"}, "/kind"),
        ({"kind": "ban", "reason": ""}, "/reason"),
        ({"kind": "ban", "reason": "x" * 501}, "/reason"),
    ],
)
def test_malformed__is_refused(
    server_client: ApiClient, player_client: PlayerClient, body: dict[str, str], pointer: str
) -> None:
    problem = assert_problem(impose(server_client, player_client, **body), 400, "validation_failed")
    assert problem["errors"][0]["pointer"] == pointer
    assert not Sanction.objects.exists()


def test_idempotency_key__imposes_once(
    server_client: ApiClient, player_client: PlayerClient
) -> None:
    path = f"/v1/players/{player_client.player_id}/sanctions"
    body = {"kind": "warning", "reason": "Rude words"}
    first = server_client.post(path, body, idempotency_key="w-1")
    again = server_client.post(path, body, idempotency_key="w-1")
    assert again["Idempotent-Replayed"] == "true"
    assert again.json() == first.json()
    assert Sanction.objects.count() == 1


def test_player_of_another_game__is_not_found(
    server_client: ApiClient, foreign_player_client: PlayerClient
) -> None:
    assert_problem(impose(server_client, foreign_player_client, "ban"), 404, "not_found")
    path = f"/v1/players/{foreign_player_client.player_id}/sanctions/{uuid7()}"
    assert_problem(server_client.delete(path), 404, "not_found")


def test_sanction_of_another_player__is_not_found(
    server_client: ApiClient, player_client: PlayerClient, other_player_client: PlayerClient
) -> None:
    sanction = impose(server_client, other_player_client, "warning").json()
    path = f"/v1/players/{player_client.player_id}/sanctions/{sanction['id']}"
    assert_problem(server_client.delete(path), 404, "not_found")


def test_without_the_scope(game: Game, player_client: PlayerClient) -> None:
    client = server_client_of(game, "players:read")
    assert_problem(impose(client, player_client, "ban"), 403, "scope_missing")


def test_players_may_not(player_client: PlayerClient, other_player_client: PlayerClient) -> None:
    assert_problem(impose(player_client, other_player_client, "ban"), 403, "forbidden")
