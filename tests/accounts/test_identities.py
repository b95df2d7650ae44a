"""Linking and unlinking ways to sign in."""

from typing import Any

import pytest
from django.conf import LazySettings

from accounts.models import Game, Identity, Player
from accounts.services import identities
from config.db.ids import uuid7
from tests.factories.accounts import SECRET, IdentityFactory
from tests.fixtures.api import ApiClient, PlayerClient, assert_problem

pytestmark = pytest.mark.django_db
PATH = "/v1/players/me/identities"
EMAIL = {"method": "email", "email": "Robin@example.com", "password": "a quiet lake at dawn"}
DEVICE = {"method": "device", "device_id": "tablet", "device_secret": SECRET}


def listed(client: ApiClient) -> list[dict[str, Any]]:
    answer = client.get(PATH)
    assert answer.status_code == 200
    rows: list[dict[str, Any]] = answer.json()["results"]
    return rows


def test_list__shows_own_identities(
    player_client: PlayerClient, other_player_client: PlayerClient
) -> None:
    (only,) = listed(player_client)
    assert only["method"] == "device"
    assert set(only) == {"id", "method", "subject", "verified", "created_at"}


def test_link_email__makes_a_player_of_a_guest(
    game_client: ApiClient, player_client: PlayerClient
) -> None:
    answer = player_client.post(PATH, EMAIL)
    assert answer.status_code == 201, answer.content
    assert answer.json()["subject"] == "robin@example.com"
    assert answer.json()["verified"] is False
    profile = player_client.get("/v1/players/me")
    assert profile.json()["is_guest"] is False
    assert profile["ETag"] == '"2"'
    signed_in = game_client.post("/v1/sessions", EMAIL)
    assert signed_in.json()["player"]["id"] == str(player_client.player_id)


def test_link_email__again__changes_nothing(player_client: PlayerClient) -> None:
    player_client.post(PATH, EMAIL)
    stored = Identity.objects.get(method="email").secret
    again = player_client.post(PATH, EMAIL | {"password": "another lake at dusk"})
    assert again.status_code == 200
    assert Identity.objects.get(method="email").secret == stored


def test_link_email__a_second_one__is_refused(player_client: PlayerClient) -> None:
    player_client.post(PATH, EMAIL)
    answer = player_client.post(PATH, EMAIL | {"email": "other@example.com"})
    assert_problem(answer, 409, "too_many_identities")


def test_link_email__weak_password__is_refused(player_client: PlayerClient) -> None:
    answer = player_client.post(PATH, EMAIL | {"password": "12345678"})
    assert_problem(answer, 400, "validation_failed")


def test_link_email__is_limited_like_registration(
    player_client: PlayerClient, other_player_client: PlayerClient, settings: LazySettings
) -> None:
    settings.RATE_LIMITS = settings.RATE_LIMITS | {"register": (1, 3600)}
    assert player_client.post(PATH, EMAIL).status_code == 201
    assert_problem(other_player_client.post(PATH, EMAIL), 429, "rate_limited")


def test_link_device__signs_in_the_same_player(
    game_client: ApiClient, player_client: PlayerClient
) -> None:
    assert player_client.post(PATH, DEVICE).status_code == 201
    assert game_client.post("/v1/sessions", DEVICE).json()["player"]["id"] == str(
        player_client.player_id
    )
    assert player_client.get("/v1/players/me").json()["is_guest"] is True


def test_link_device__again__replaces_its_secret(
    game_client: ApiClient, player_client: PlayerClient
) -> None:
    player_client.post(PATH, DEVICE)
    assert player_client.post(PATH, DEVICE).status_code == 200
    replaced = DEVICE | {"device_secret": "n" * 43}
    assert player_client.post(PATH, replaced).status_code == 200
    assert game_client.post("/v1/sessions", replaced).status_code == 201
    assert_problem(game_client.post("/v1/sessions", DEVICE), 401, "invalid_credentials")


@pytest.mark.parametrize("body", [EMAIL, DEVICE])
def test_link__what_another_player_has__is_taken(
    player_client: PlayerClient, other_player_client: PlayerClient, body: dict[str, str]
) -> None:
    player_client.post(PATH, body)
    assert_problem(other_player_client.post(PATH, body), 409, "identity_taken")
    assert len(listed(other_player_client)) == 1


def test_link__in_another_game__is_free(
    player_client: PlayerClient, foreign_player_client: PlayerClient
) -> None:
    player_client.post(PATH, DEVICE)
    assert foreign_player_client.post(PATH, DEVICE).status_code == 201


def test_link__more_than_twenty__is_refused(player_client: PlayerClient) -> None:
    player = Player.objects.get(pk=player_client.player_id)
    IdentityFactory.create_batch(identities.MAX_IDENTITIES - 1, player=player)
    assert_problem(player_client.post(PATH, DEVICE), 409, "too_many_identities")


def test_link__of_a_player_that_is_gone__is_not_found(player_client: PlayerClient) -> None:
    Player.objects.all().delete()
    assert_problem(player_client.post(PATH, DEVICE), 404, "not_found")


@pytest.mark.parametrize("method", ["google", "apple", "facebook", "steam", "custom"])
def test_link__platform_accounts__are_not_there_yet(
    player_client: PlayerClient, method: str
) -> None:
    answer = player_client.post(PATH, {"method": method, "token": "t"})
    assert_problem(answer, 422, "method_not_available")


def test_unlink__the_last_one__stays(player_client: PlayerClient) -> None:
    (only,) = listed(player_client)
    assert_problem(player_client.delete(f"{PATH}/{only['id']}"), 409, "last_identity")


def test_unlink__email__makes_a_guest_again(player_client: PlayerClient) -> None:
    linked = player_client.post(PATH, EMAIL).json()
    assert player_client.delete(f"{PATH}/{linked['id']}").status_code == 204
    assert player_client.get("/v1/players/me").json()["is_guest"] is True
    assert len(listed(player_client)) == 1


def test_unlink__someone_elses__is_not_found(
    player_client: PlayerClient,
    other_player_client: PlayerClient,
    foreign_player_client: PlayerClient,
) -> None:
    player_client.post(PATH, DEVICE)
    for other in (other_player_client, foreign_player_client):
        theirs = listed(other)[0]["id"]
        assert_problem(player_client.delete(f"{PATH}/{theirs}"), 404, "not_found")
        assert len(listed(other)) == 1
    assert_problem(player_client.delete(f"{PATH}/{uuid7()}"), 404, "not_found")


def test_identity__shown_to_staff_by_method_and_subject(game: Game) -> None:
    identity = IdentityFactory.create(player__game=game, subject="tablet")
    assert str(identity) == "device:tablet"
