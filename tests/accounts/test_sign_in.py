"""Signing in, and guests by their device."""

from datetime import timedelta
from typing import Any
from uuid import UUID

import jwt
import msgspec
import pytest
from django.conf import LazySettings
from django.db import IntegrityError, connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from accounts import names
from accounts.errors import InvalidCredentials, NameExhausted
from accounts.models import Game, Identity, Player, Session
from accounts.services import sanctions, sign_in
from accounts.services.opening import Client, NewSession, session_parameters
from accounts.views import place_of
from config import hooks
from tests.factories.accounts import SECRET, GameFactory, IdentityFactory, PlayerFactory
from tests.fixtures.api import ApiClient, assert_problem, game_client_of
from tests.plans import scans

pytestmark = pytest.mark.django_db
DEVICE = {"method": "device", "device_id": "device-0001", "device_secret": SECRET}


def guest(client: ApiClient, **fields: Any) -> dict[str, Any]:
    answer = client.post("/v1/sessions", DEVICE | {"create": True} | fields)
    assert answer.status_code == 201, answer.content
    session: dict[str, Any] = answer.json()
    return session


def test_device__unknown_with_create__makes_a_guest(game: Game, game_client: ApiClient) -> None:
    session = guest(
        game_client,
        device="Robin's phone",
        platform="Android",
        app_version="1.4.0",
        locale="de-AT",
        country="AT",
        timezone="Europe/Vienna",
    )

    assert session["created"] is True
    assert session["expires_in"] == 900
    player = session["player"]
    assert player["is_guest"] is True
    assert player["is_tester"] is False
    assert player["created_at"].endswith("Z")
    assert len(player["tag"]) == 4
    assert (player["locale"], player["country"], player["timezone"]) == (
        "de-AT",
        "AT",
        "Europe/Vienna",
    )
    row = Session.objects.get(pk=session["session"])
    assert (row.device, row.platform, row.app_version, row.place) == (
        "Robin's phone",
        "android",
        "1.4.0",
        "127.0.0.0/24",
    )
    identity = Identity.objects.get()
    assert identity.game == game
    assert SECRET not in identity.secret


def test_device__known__is_the_same_player(game_client: ApiClient) -> None:
    first = guest(game_client)
    second = game_client.post("/v1/sessions", DEVICE)

    assert second.status_code == 201
    assert second.json()["created"] is False
    assert second.json()["player"] == first["player"]
    assert second.json()["session"] != first["session"]


def test_device__known__takes_one_statement(game_client: ApiClient) -> None:
    guest(game_client)
    with CaptureQueriesContext(
        connection,
    ) as queries:
        assert game_client.post("/v1/sessions", DEVICE).status_code == 201
    assert len(queries) == 1, [query["sql"][:80] for query in queries]


def test_device__new__takes_two_statements(game_client: ApiClient) -> None:
    guest(game_client)  # the key and the limits are known from here
    with CaptureQueriesContext(connection) as queries:
        guest(game_client, device_id="device-0002")
    statements = [q["sql"] for q in queries if "SAVEPOINT" not in q["sql"]]
    assert len(statements) == 2, statements


@pytest.mark.parametrize("create", [False, True])
def test_device__with_another_secret__is_refused(game_client: ApiClient, create: bool) -> None:
    guest(game_client)
    answer = game_client.post(
        "/v1/sessions", DEVICE | {"device_secret": "w" * 43, "create": create}
    )
    assert_problem(answer, 401, "invalid_credentials")
    assert Session.objects.count() == 1


def test_device__unknown__is_refused_in_the_same_words(game_client: ApiClient) -> None:
    guest(game_client)
    wrong = game_client.post("/v1/sessions", DEVICE | {"device_secret": "w" * 43}).json()
    unknown = game_client.post("/v1/sessions", DEVICE | {"device_id": "unknown"}).json()
    assert {**wrong, "instance": ""} == {**unknown, "instance": ""}


def test_device__of_another_game__is_another_player(
    game_client: ApiClient, other_game: Game
) -> None:
    first = guest(game_client)
    other = game_client_of(other_game)
    assert_problem(other.post("/v1/sessions", DEVICE), 401, "invalid_credentials")
    assert guest(other)["player"]["id"] != first["player"]["id"]


@pytest.mark.parametrize(
    ("fields", "pointer"),
    [
        ({"device_secret": "short"}, "/device_secret"),
        ({"device_secret": "w" * 201}, "/device_secret"),
        ({"device_id": ""}, "/device_id"),
        ({"device_id": "x" * 129}, "/device_id"),
        ({"timezone": "Mars/Olympus"}, "/timezone"),
        ({"country": "at"}, "/country"),
        ({"locale": "!"}, "/locale"),
        ({"method": "telepathy"}, "/method"),
        ({"platform": "an\ndroid"}, "/platform"),
    ],
)
def test_device__malformed__is_refused(
    game_client: ApiClient, fields: dict[str, str], pointer: str
) -> None:
    answer = game_client.post("/v1/sessions", DEVICE | fields)
    problem = assert_problem(answer, 400, "validation_failed")
    assert problem["errors"][0]["pointer"] == pointer


def test_unknown_field__is_refused(game_client: ApiClient) -> None:
    answer = game_client.post("/v1/sessions", DEVICE | {"password": "x"})
    assert_problem(answer, 400, "unknown_field")


@pytest.mark.parametrize("method", ["google", "apple", "facebook", "steam", "custom"])
def test_platform_accounts__are_not_there_yet(game_client: ApiClient, method: str) -> None:
    answer = game_client.post("/v1/sessions", {"method": method, "token": "t"})
    assert_problem(answer, 422, "method_not_available")


def test_banned__is_told_why_and_how_long(game: Game, game_client: ApiClient) -> None:
    player = UUID(guest(game_client)["player"]["id"])
    ends_at = timezone.now() + timedelta(days=2)
    sanctions.impose(
        game_id=game.pk,
        player_id=player,
        kind="suspension",
        reason="Spam",
        author="t",
        ends_at=ends_at,
    )
    problem = assert_problem(game_client.post("/v1/sessions", DEVICE), 403, "player_banned")
    assert problem["reason"] == "Spam"
    assert problem["ends_at"] == ends_at.isoformat().replace("+00:00", "Z")

    wrong = game_client.post("/v1/sessions", DEVICE | {"device_secret": "w" * 43})
    assert_problem(wrong, 401, "invalid_credentials")


def test_banned__until_a_time_that_has_passed__may_sign_in(
    game: Game, game_client: ApiClient
) -> None:
    guest(game_client)
    Player.objects.update(blocked_until=timezone.now() - timedelta(seconds=1))
    assert game_client.post("/v1/sessions", DEVICE).status_code == 201


def test_blocked_without_a_sanction__still_answers_clearly(game_client: ApiClient) -> None:
    guest(game_client)
    Player.objects.update(blocked_until=timezone.now() + timedelta(days=1))
    problem = assert_problem(game_client.post("/v1/sessions", DEVICE), 403, "player_banned")
    assert problem["ends_at"] is None


def test_sign_in__among_many_players__reads_no_table(game: Game) -> None:
    """3,000 who were all seen just now: PostgreSQL would rather look for those who were not."""
    players = Player.objects.bulk_create(
        Player(game=game, display_name=f"P{n}", name_key=f"p{n}", tag=n) for n in range(3000)
    )
    Identity.objects.bulk_create(
        Identity(game=game, player=player, method="device", subject=f"device-{player.pk}")
        for player in players
    )
    attempt = NewSession(
        subject="device",
        secret="",
        **session_parameters(game.pk, "device", Client(), timezone.now()),
    )
    values = {"attempts": msgspec.json.encode([attempt]).decode(), "commit": None}

    found = scans(sign_in.OPEN, values, analyzed="accounts_player, accounts_identity")

    assert ("Index Scan", "accounts_player", "accounts_player_pkey") in found
    assert [scan for scan in found if scan[0] == "Seq Scan" and scan[1] == "accounts_player"] == []


def test_last_seen__is_kept_to_the_hour(game_client: ApiClient) -> None:
    guest(game_client)
    before = timezone.now() - timedelta(hours=3)
    Player.objects.update(last_seen_at=before)
    game_client.post("/v1/sessions", DEVICE)
    seen = Player.objects.get().last_seen_at
    assert seen > before
    game_client.post("/v1/sessions", DEVICE)
    assert Player.objects.get().last_seen_at == seen


def test_identity_limit__counts_one_device_alone(
    game_client: ApiClient, settings: LazySettings
) -> None:
    settings.RATE_LIMITS = settings.RATE_LIMITS | {"sign_in_identity": (2, 60)}
    guest(game_client)
    game_client.post("/v1/sessions", DEVICE)
    limited = game_client.post("/v1/sessions", DEVICE)
    assert_problem(limited, 429, "rate_limited")
    assert int(limited["Retry-After"]) > 0
    guest(game_client, device_id="another")


def test_address_limit__counts_all_sign_ins(game_client: ApiClient, settings: LazySettings) -> None:
    settings.RATE_LIMITS = settings.RATE_LIMITS | {"sign_in": (2, 60)}
    guest(game_client, device_id="1")
    guest(game_client, device_id="2")
    answer = game_client.post("/v1/sessions", DEVICE | {"create": True})
    assert_problem(answer, 429, "rate_limited")


def test_guest_name__that_is_taken__is_made_up_again(
    game: Game, monkeypatch: pytest.MonkeyPatch
) -> None:
    PlayerFactory.create(game=game, display_name="Calm Otter", tag=7)
    made_up = iter(["Calm Otter", "Calm Heron"])
    monkeypatch.setattr(names, "guest_name", lambda: next(made_up))
    monkeypatch.setattr(names, "random_tag", lambda: 7)
    opened = sign_in.with_device(
        game_id=game.pk, device_id="d", device_secret=SECRET, create=True, client=Client()
    )
    assert (opened.player.display_name, opened.player.tag) == ("Calm Heron", "0007")


def test_access_token__says_who_and_where(game: Game, game_client: ApiClient) -> None:
    session = guest(game_client)
    claims = jwt.decode(session["access"], options={"verify_signature": False})
    assert claims["sub"] == session["player"]["id"]
    assert claims["sid"] == session["session"]
    assert claims["gid"] == str(game.pk)
    assert claims["exp"] - claims["iat"] == 900


def test_hooks_after__player_created__are_promised(
    game_client: ApiClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    promised: list[dict[str, Any]] = []
    monkeypatch.setattr(hooks, "has_after", lambda point: point == "player_created")
    monkeypatch.setattr(hooks, "run_after", lambda point, **payload: promised.append(payload))
    session = guest(game_client)
    guest(game_client)
    assert [payload["player_id"] for payload in promised] == [session["player"]["id"]]


def test_create__device_taken_between__signs_in_as_the_first(
    game: Game, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The look-up saw nothing, the creation found the device taken."""
    opened = sign_in._open
    seen: list[bool] = []

    def blind_once(**arguments: Any) -> Any:
        seen.append(True)
        return None if len(seen) == 1 else opened(**arguments)

    identity = IdentityFactory.create(player__game=game, subject="d")
    monkeypatch.setattr(sign_in, "_open", blind_once)
    answer = sign_in.with_device(
        game_id=game.pk, device_id="d", device_secret=SECRET, create=True, client=Client()
    )
    assert answer.player.id == identity.player_id
    assert answer.created is False
    assert Player.objects.count() == 1


def test_create__never_seen_and_always_taken__gives_up(
    game: Game, monkeypatch: pytest.MonkeyPatch
) -> None:
    IdentityFactory.create(player__game=game, subject="d")
    monkeypatch.setattr(sign_in, "_open", lambda **_: None)
    with pytest.raises(InvalidCredentials):
        sign_in.with_device(
            game_id=game.pk, device_id="d", device_secret=SECRET, create=True, client=Client()
        )


def test_guest_names__all_taken__is_a_problem(game: Game, monkeypatch: pytest.MonkeyPatch) -> None:
    PlayerFactory.create(game=game, display_name="Calm Otter", tag=7)
    monkeypatch.setattr(names, "guest_name", lambda: "Calm Otter")
    monkeypatch.setattr(names, "random_tag", lambda: 7)
    with pytest.raises(NameExhausted):
        sign_in.with_device(
            game_id=game.pk, device_id="d", device_secret=SECRET, create=True, client=Client()
        )


def test_create__another_constraint_that_fails__is_not_hidden(
    game: Game, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(names, "random_tag", lambda: names.TAGS)
    with pytest.raises(IntegrityError, match="accounts_player_tag"):
        sign_in.with_device(
            game_id=game.pk, device_id="d", device_secret=SECRET, create=True, client=Client()
        )


@pytest.mark.parametrize(
    ("address", "place"),
    [("203.0.113.77", "203.0.113.0/24"), ("2001:db8:1:2::3", "2001:db8:1::/48"), ("?", "")],
)
def test_place__is_a_network(address: str, place: str) -> None:
    assert place_of(address) == place


def test_sign_in__of_a_game_that_is_switched_off__is_refused() -> None:
    game = GameFactory.create()
    client = game_client_of(game)
    Game.objects.filter(pk=game.pk).update(is_active=False)
    assert_problem(client.post("/v1/sessions", DEVICE), 401, "not_authenticated")
