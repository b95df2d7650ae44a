"""API keys: making, using, rotating, revoking."""

from datetime import timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from accounts import authentication
from accounts.authentication import limited_address
from accounts.errors import TooManyServerKeys, UnknownScope
from accounts.models import ApiKey, Game
from accounts.services import keys
from config import redis
from tests.factories.accounts import PlayerFactory
from tests.fixtures.api import ApiClient, PlayerClient, assert_problem, game_client_of
from tests.fixtures.faults import redis_down

pytestmark = pytest.mark.django_db(transaction=True)


def server(text: str) -> ApiClient:
    return ApiClient({"Authorization": f"Api-Key {text}"})


def path_of(game: Game) -> str:
    return f"/v1/players/{PlayerFactory.create(game=game).pk}"


def test_create__is_shown_once_and_stored_hashed(game: Game) -> None:
    key, text = keys.create(game_id=game.pk, kind="secret", scopes=["players:read"], name="a")
    assert text.startswith("sk_")
    assert len(text) == authentication.KEY_LENGTH
    stored = str(ApiKey.objects.filter(pk=key.pk).values().get())
    assert text not in stored
    assert str(key) == f"{text[:9]}… (secret)"
    assert server(text).get(path_of(game)).status_code == 200


def test_create__publishable__has_no_scopes(game: Game) -> None:
    key, text = keys.create(game_id=game.pk, kind="publishable", scopes=["players:read"])
    assert (key.shown, key.scopes) == (text, [])
    assert keys.publishable_key(game) == text


def test_create__a_third_secret_key__is_refused(game: Game) -> None:
    first, _ = keys.create(game_id=game.pk, kind="secret")
    keys.create(game_id=game.pk, kind="secret")
    with pytest.raises(TooManyServerKeys):
        keys.create(game_id=game.pk, kind="secret")
    keys.revoke(key=first)
    keys.create(game_id=game.pk, kind="secret")


def test_create__with_an_unknown_scope__is_refused(game: Game) -> None:
    with pytest.raises(UnknownScope):
        keys.create(game_id=game.pk, kind="secret", scopes=["world:rule"])


def test_revoked__ends_at_once(game: Game) -> None:
    key, text = keys.create(game_id=game.pk, kind="secret")
    path = path_of(game)
    assert server(text).get(path).status_code == 200
    keys.revoke(key=key)
    keys.revoke(key=key)
    assert_problem(server(text).get(path), 401, "not_authenticated")


def test_revoked__ends_at_once_without_redis_too(game: Game) -> None:
    key, text = keys.create(game_id=game.pk, kind="secret")
    path = path_of(game)
    with redis_down():
        redis.forget_failure()
        assert server(text).get(path).status_code == 200
        keys.revoke(key=key)
        assert_problem(server(text).get(path), 401, "not_authenticated")


def test_expired__ends_by_itself(game: Game) -> None:
    expires = timezone.now() + timedelta(minutes=5)
    key, text = keys.create(game_id=game.pk, kind="secret", expires_at=expires)
    path = path_of(game)
    assert server(text).get(path).status_code == 200
    known = authentication._known[keys.hash_key(text)]
    known.expires_at = timezone.now() - timedelta(seconds=1)
    assert_problem(server(text).get(path), 401, "not_authenticated")
    ApiKey.objects.filter(pk=key.pk).update(expires_at=timezone.now())
    authentication.forget_keys()
    assert_problem(server(text).get(path), 401, "not_authenticated")


def test_known_key__takes_no_query_of_its_own(game: Game) -> None:
    client = game_client_of(game)
    client.post("/v1/sessions/refresh", {"refresh": "x"})
    with CaptureQueriesContext(connection) as queries:
        assert client.post("/v1/sessions/refresh", {"refresh": "x"}).status_code == 401
    assert len(queries) == 0


def test_used__is_noted_once_a_minute(game: Game) -> None:
    key, text = keys.create(game_id=game.pk, kind="secret")
    path = path_of(game)
    server(text).get(path)
    key.refresh_from_db()
    first = key.last_used_at
    assert first is not None
    server(text).get(path)
    authentication.forget_keys()  # as another process would
    server(text).get(path)
    key.refresh_from_db()
    assert key.last_used_at == first


def test_changed_content__keeps_the_key_working(game: Game) -> None:
    _, text = keys.create(game_id=game.pk, kind="secret")
    path = path_of(game)
    server(text).get(path)
    keys.create(game_id=game.pk, kind="secret")
    assert server(text).get(path).status_code == 200
    known = authentication._known[keys.hash_key(text)]
    game.refresh_from_db()
    assert known.version == game.definition_version


def test_cache__is_bounded(game: Game, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(authentication, "CACHE_SIZE", 1)
    authentication.forget_keys()
    path = path_of(game)
    texts = [keys.create(game_id=game.pk, kind="secret")[1] for _ in range(2)]
    for text in texts:
        assert server(text).get(path).status_code == 200
    assert list(authentication._known) == [keys.hash_key(texts[-1])]


def test_bearer__counts_before_the_game_key(
    game: Game, other_game: Game, player_client: PlayerClient
) -> None:
    both = ApiClient({**game_client_of(other_game).headers, **player_client.headers})
    assert both.get("/v1/players/me").json()["id"] == str(player_client.player_id)


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": "Basic cm9iaW4="},
        {"Authorization": "Api-Key sk_short"},
        {"Authorization": "Api-Key " + "ä" * 46},
        {"X-Game-Key": "pk_short"},
    ],
)
def test_malformed__is_not_looked_up(headers: dict[str, str]) -> None:
    with CaptureQueriesContext(connection) as queries:
        answer = ApiClient(headers).post("/v1/sessions/refresh", {"refresh": "x"})
    assert_problem(answer, 401, "not_authenticated")
    assert len(queries) == 0


@pytest.mark.parametrize(
    ("address", "who"),
    [
        ("203.0.113.7", "203.0.113.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("::ffff:203.0.113.7", "203.0.113.7"),
        ("", "unknown"),
        ("nonsense", "unknown"),
    ],
)
def test_limited_address__counts_a_customer_once(address: str, who: str) -> None:
    assert limited_address(address) == who
