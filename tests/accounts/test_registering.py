"""Registering with an e-mail address, and signing in with it."""

from typing import Any

import pytest
from django.conf import LazySettings

from accounts import names, passwords
from accounts.models import Game, Identity, Player
from config import hooks
from config.hooks import HookRefused
from tests.factories.accounts import SECRET, IdentityFactory, PlayerFactory
from tests.fixtures.api import ApiClient, assert_problem, game_client_of

pytestmark = pytest.mark.django_db
EMAIL = {"email": "Robin@Example.com", "password": "a quiet lake at dawn"}


def register(client: ApiClient, **fields: Any) -> Any:
    return client.post("/v1/players", EMAIL | fields)


def test_register__then_sign_in(game_client: ApiClient) -> None:
    answer = register(game_client, display_name="  Robin   Hood ")
    assert answer.status_code == 201, answer.content
    player = answer.json()["player"]
    assert player["display_name"] == "Robin Hood"
    assert player["is_guest"] is False
    assert answer.json()["created"] is True

    again = game_client.post(
        "/v1/sessions", EMAIL | {"method": "email", "email": "robin@EXAMPLE.com"}
    )
    assert again.status_code == 201, again.content
    assert again.json()["player"] == player
    stored = Identity.objects.get().secret
    assert stored.startswith("$argon2id$")


def test_register__without_a_name__gets_a_pleasant_one(game_client: ApiClient) -> None:
    assert " " in register(game_client).json()["player"]["display_name"]


def test_register__taken__says_so(game_client: ApiClient) -> None:
    register(game_client)
    assert_problem(register(game_client, email="robin@example.com"), 409, "identity_taken")
    assert Player.objects.count() == 1


def test_register__in_another_game__is_free(game_client: ApiClient, other_game: Game) -> None:
    register(game_client)
    assert register(game_client_of(other_game)).status_code == 201


def test_register__is_limited_by_address(game_client: ApiClient, settings: LazySettings) -> None:
    settings.RATE_LIMITS = settings.RATE_LIMITS | {"register": (1, 3600)}
    register(game_client)
    assert_problem(register(game_client, email="b@example.com"), 429, "rate_limited")


@pytest.mark.parametrize(
    ("fields", "pointer", "code"),
    [
        ({"email": "no address"}, "/email", "invalid_value"),
        ({"password": "short"}, "/password", "password_too_short"),
        ({"password": "password123"}, "/password", "password_too_common"),
        ({"password": "928374650918"}, "/password", "password_entirely_numeric"),
        ({"password": "robin@example.com"}, "/password", "password_too_similar"),
        ({"password": "x" * 201}, "/password", "invalid_value"),
        ({"display_name": "\u202e"}, "/display_name", "invalid_character"),
    ],
)
def test_register__malformed__is_refused(
    game_client: ApiClient, fields: dict[str, str], pointer: str, code: str
) -> None:
    problem = assert_problem(register(game_client, **fields), 400, "validation_failed")
    assert (problem["errors"][0]["pointer"], problem["errors"][0]["code"]) == (pointer, code)


def test_register__name_filter_of_the_game__may_refuse(
    game_client: ApiClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(point: str, **context: Any) -> None:
        assert (point, context["display_name"]) == ("validate_display_name", "Rude")
        raise HookRefused("No")

    monkeypatch.setattr(hooks, "run_before", refuse)
    assert_problem(register(game_client, display_name="Rude"), 422, "refused_by_game")


def test_email__wrong_password_and_unknown_account__are_answered_alike(
    game_client: ApiClient,
) -> None:
    register(game_client)
    wrong = game_client.post("/v1/sessions", {"method": "email", **EMAIL, "password": "wrong"})
    unknown = game_client.post(
        "/v1/sessions", {"method": "email", "email": "nobody@example.com", "password": "wrong"}
    )
    assert_problem(wrong, 401, "invalid_credentials")
    assert {**wrong.json(), "instance": ""} == {**unknown.json(), "instance": ""}


def test_email__unknown_account__costs_a_hash_too(
    game_client: ApiClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    checked: list[str] = []
    real = passwords._check

    def counted(password: str, stored: str | None) -> tuple[bool, str | None]:
        checked.append("known" if stored else "unknown")
        return real(password, stored)

    monkeypatch.setattr(passwords, "_check", counted)
    register(game_client)
    for email in ("robin@example.com", "nobody@example.com"):
        game_client.post("/v1/sessions", {"method": "email", "email": email, "password": "wrong"})
    assert checked == ["known", "unknown"]


def test_email__password_changed_meanwhile__is_refused(
    game_client: ApiClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    register(game_client)

    def changed_meanwhile(password: str, stored: str | None) -> tuple[bool, str | None]:
        Identity.objects.update(secret="another")
        return True, None

    monkeypatch.setattr(passwords, "check_password", changed_meanwhile)
    answer = game_client.post("/v1/sessions", {"method": "email", **EMAIL})
    assert_problem(answer, 401, "invalid_credentials")


def test_email__account_gone_meanwhile__is_refused(
    game_client: ApiClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    register(game_client)

    def gone_meanwhile(password: str, stored: str | None) -> tuple[bool, str | None]:
        Identity.objects.all().delete()
        return True, None

    monkeypatch.setattr(passwords, "check_password", gone_meanwhile)
    answer = game_client.post("/v1/sessions", {"method": "email", **EMAIL})
    assert_problem(answer, 401, "invalid_credentials")


def test_email__cost_was_raised__stores_a_fresh_hash(
    game_client: ApiClient, settings: LazySettings
) -> None:
    register(game_client)
    before = Identity.objects.get().secret
    settings.PASSWORD_PASSES = 2
    assert game_client.post("/v1/sessions", {"method": "email", **EMAIL}).status_code == 201
    after = Identity.objects.get().secret
    assert "t=1" in before
    assert "t=2" in after
    assert game_client.post("/v1/sessions", {"method": "email", **EMAIL}).status_code == 201
    assert Identity.objects.get().secret == after


def test_device_identity__can_not_be_used_as_an_email(game: Game) -> None:
    identity = IdentityFactory.create(player__game=game, subject="d@example.com")
    answer = game_client_of(game).post(
        "/v1/sessions", {"method": "email", "email": identity.subject, "password": SECRET}
    )
    assert_problem(answer, 401, "invalid_credentials")


def test_register__with_a_name_whose_tag_is_taken__gets_another(
    game: Game, game_client: ApiClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    PlayerFactory.create(game=game, display_name="Robin", tag=7)
    monkeypatch.setattr(names, "random_tag", lambda: 7)
    player = register(game_client, display_name="ROBIN").json()["player"]
    assert player["tag"] != "0007"
