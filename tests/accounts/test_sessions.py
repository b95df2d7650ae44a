"""Refreshing, listing and ending sessions; revocation, with Redis and without."""

from datetime import timedelta
from typing import Any

import pytest
from django.conf import LazySettings
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from accounts.models import Game, Player, Session
from accounts.refresh_tokens import make_refresh_token, read_refresh_token
from accounts.selectors import session_is_live
from accounts.services import revocations, sessions
from accounts.tasks import forget_expired_sessions, publish_gate_state
from config import redis
from config.api.gate import revocation_key, version_key
from config.db import definitions
from config.db.ids import uuid7
from tests.factories.accounts import SessionFactory, access_token
from tests.fixtures.api import (
    ApiClient,
    PlayerClient,
    assert_problem,
    forget_redis,
    game_client_of,
    new_player,
)
from tests.fixtures.faults import redis_down

pytestmark = pytest.mark.django_db(transaction=True)


def refresh(client: ApiClient, token: str) -> Any:
    return client.post("/v1/sessions/refresh", {"refresh": token})


def client_with(access: str) -> ApiClient:
    return ApiClient({"Authorization": f"Bearer {access}"})


def test_refresh__gives_a_new_pair_of_the_same_session(
    game_client: ApiClient, player_client: PlayerClient
) -> None:
    before = player_client.session
    answer = refresh(game_client, before["refresh"])
    assert answer.status_code == 201, answer.content
    after = answer.json()
    assert after["session"] == before["session"]
    assert after["player"] == before["player"]
    assert after["refresh"] != before["refresh"]
    assert after["created"] is False
    assert client_with(after["access"]).get("/v1/players/me").status_code == 200
    assert Session.objects.count() == 1


def test_refresh__takes_one_statement(game_client: ApiClient, player_client: PlayerClient) -> None:
    first = refresh(game_client, player_client.session["refresh"]).json()
    with CaptureQueriesContext(connection) as queries:
        refresh(game_client, first["refresh"])
    assert len(queries) == 1, [query["sql"] for query in queries]


def test_refresh__repeated_within_grace__answers_the_same_refresh_token(
    game_client: ApiClient, player_client: PlayerClient
) -> None:
    token = player_client.session["refresh"]
    first = refresh(game_client, token).json()
    again = refresh(game_client, token)
    assert again.status_code == 201
    assert again.json()["refresh"] == first["refresh"]
    assert again.json()["player"] == first["player"]
    assert refresh(game_client, first["refresh"]).status_code == 201


def test_refresh__spent_after_grace__ends_the_session(
    game_client: ApiClient, player_client: PlayerClient
) -> None:
    token = player_client.session["refresh"]
    live = refresh(game_client, token).json()
    Session.objects.update(refreshed_at=timezone.now() - timedelta(seconds=31))
    assert_problem(refresh(game_client, token), 401, "refresh_reused")
    assert_problem(refresh(game_client, live["refresh"]), 401, "refresh_invalid")
    me = client_with(live["access"]).get("/v1/players/me")
    assert_problem(me, 401, "session_revoked")


def test_refresh__older_than_the_latest__ends_the_session_within_grace_too(
    game_client: ApiClient, player_client: PlayerClient
) -> None:
    token = player_client.session["refresh"]
    second = refresh(game_client, token).json()
    refresh(game_client, second["refresh"])
    assert_problem(refresh(game_client, token), 401, "refresh_reused")


def test_refresh__newer_than_the_database__is_accepted(game: Game, game_client: ApiClient) -> None:
    """As after a restore from a backup."""
    session = SessionFactory.create(player__game=game)
    answer = refresh(game_client, make_refresh_token(session.pk, 5))
    assert answer.status_code == 201
    session.refresh_from_db()
    assert session.generation == 6


def test_refresh__of_another_game__is_invalid(
    player_client: PlayerClient, other_game: Game
) -> None:
    answer = refresh(game_client_of(other_game), player_client.session["refresh"])
    assert_problem(answer, 401, "refresh_invalid")
    assert Session.objects.get().revoked_at is None


def test_refresh__expired__is_invalid(game: Game, game_client: ApiClient) -> None:
    session = SessionFactory.create(
        player__game=game, expires_at=timezone.now() - timedelta(seconds=1)
    )
    answer = refresh(game_client, make_refresh_token(session.pk, 1))
    assert_problem(answer, 401, "refresh_invalid")


def test_refresh__of_a_session_that_is_gone__is_invalid(game_client: ApiClient) -> None:
    answer = refresh(game_client, make_refresh_token(uuid7(), 1))
    assert_problem(answer, 401, "refresh_invalid")


@pytest.mark.parametrize("spoil", ["", "x", "rt_", "rt_!!!!", "rt_ä", "rt_QUJD"])
def test_refresh__malformed__is_invalid(game_client: ApiClient, spoil: str) -> None:
    answer = refresh(game_client, spoil)
    assert answer.status_code in (400, 401)
    assert answer.json()["code"] in ("refresh_invalid", "validation_failed")


def test_refresh__forged__is_invalid(game_client: ApiClient, player_client: PlayerClient) -> None:
    token = player_client.session["refresh"]
    forged = token[:-2] + ("A" if token[-2] != "A" else "B") + token[-1]
    assert_problem(refresh(game_client, forged), 401, "refresh_invalid")
    assert Session.objects.get().generation == 1


def test_refresh_token__of_an_earlier_secret__is_read(settings: LazySettings) -> None:
    session = uuid7()
    token = make_refresh_token(session, 3)
    settings.SECRET_KEY_FALLBACKS = [settings.SECRET_KEY]
    settings.SECRET_KEY = "another" * 10
    assert read_refresh_token(token) == (session, 3)
    settings.SECRET_KEY_FALLBACKS = []
    assert read_refresh_token(token) is None


# --- listing and ending -----------------------------------------------------------------------


def test_list__shows_own_live_sessions(
    player_client: PlayerClient, other_player_client: PlayerClient
) -> None:
    player = Player.objects.get(pk=player_client.player_id)
    SessionFactory.create(player=player, device="Tablet")
    SessionFactory.create(player=player, revoked_at=timezone.now())
    SessionFactory.create(player=player, expires_at=timezone.now())
    page = player_client.get("/v1/sessions").json()
    assert [row["device"] for row in page["results"]] == ["Tablet", ""]
    assert [row["current"] for row in page["results"]] == [False, True]
    assert page["next"] is None


def test_list__is_paged_and_costs_the_same_for_many(player_client: PlayerClient) -> None:
    def count() -> int:
        with CaptureQueriesContext(connection) as queries:
            assert player_client.get("/v1/sessions").status_code == 200
        return len(queries)

    one = count()
    SessionFactory.create_batch(20, player=Player.objects.get(pk=player_client.player_id))
    assert count() == one
    first = player_client.get("/v1/sessions?limit=15").json()
    second = player_client.get(f"/v1/sessions?limit=15&cursor={first['next']}").json()
    assert len(first["results"]) == 15
    assert len(second["results"]) == 6


def test_sign_out__ends_this_session_at_once(
    game_client: ApiClient, player_client: PlayerClient
) -> None:
    assert player_client.get("/v1/players/me").status_code == 200
    assert player_client.delete("/v1/sessions/current").status_code == 204
    assert_problem(player_client.get("/v1/players/me"), 401, "session_revoked")
    answer = refresh(game_client, player_client.session["refresh"])
    assert_problem(answer, 401, "refresh_invalid")


def test_sign_out__of_one_session__leaves_the_others(player_client: PlayerClient) -> None:
    other = SessionFactory.create(player=Player.objects.get(pk=player_client.player_id))
    token = client_with(access_token(other))
    assert token.get("/v1/players/me").status_code == 200
    assert player_client.delete(f"/v1/sessions/{other.pk}").status_code == 204
    assert player_client.delete(f"/v1/sessions/{other.pk}").status_code == 204
    assert_problem(token.get("/v1/players/me"), 401, "session_revoked")
    assert player_client.get("/v1/players/me").status_code == 200


def test_sign_out__everywhere(player_client: PlayerClient) -> None:
    other = SessionFactory.create(player=Player.objects.get(pk=player_client.player_id))
    assert player_client.delete("/v1/sessions").status_code == 204
    for client in (player_client, client_with(access_token(other))):
        assert_problem(client.get("/v1/players/me"), 401, "session_revoked")


def test_sign_out__of_someone_elses_session__finds_nothing(
    player_client: PlayerClient,
    other_player_client: PlayerClient,
    foreign_player_client: PlayerClient,
) -> None:
    for other in (other_player_client, foreign_player_client):
        answer = player_client.delete(f"/v1/sessions/{other.session['session']}")
        assert_problem(answer, 404, "not_found")
        assert other.get("/v1/players/me").status_code == 200
    assert_problem(player_client.delete(f"/v1/sessions/{uuid7()}"), 404, "not_found")


# --- revocation without Redis, and after it was emptied ----------------------------------------


def test_revoked__after_redis_was_emptied__stays_revoked(
    player_client: PlayerClient, other_player_client: PlayerClient
) -> None:
    player_client.delete("/v1/sessions/current")
    forget_redis()
    assert other_player_client.get("/v1/players/me").status_code == 200
    assert_problem(player_client.get("/v1/players/me"), 401, "session_revoked")


def test_revoked__while_redis_is_down__is_refused_at_once(player_client: PlayerClient) -> None:
    assert player_client.get("/v1/players/me").status_code == 200
    with redis_down():
        redis.forget_failure()
        assert player_client.get("/v1/players/me").status_code == 200
        assert player_client.delete("/v1/sessions/current").status_code == 204
        assert_problem(player_client.get("/v1/players/me"), 401, "session_revoked")
    # Redis is back, and was told nothing; the job tells it.
    assert player_client.get("/v1/players/me").status_code == 200
    assert publish_gate_state() == 1
    assert_problem(player_client.get("/v1/players/me"), 401, "session_revoked")


def test_sign_in__while_redis_is_down__works(game: Game) -> None:
    with redis_down():
        assert new_player(game).get("/v1/sessions").status_code == 200


def test_publish_gate_state__tells_only_what_is_new(game: Game) -> None:
    assert publish_gate_state() == 0
    minute = timedelta(minutes=1)
    old = SessionFactory.create(player__game=game, revoked_at=timezone.now() - 5 * minute)
    assert publish_gate_state() == 0, "Redis said that it knows all up to now"
    forget_redis()
    assert publish_gate_state() == 1, "an emptied Redis is told everything that matters"
    too_old = SessionFactory.create(player__game=game, revoked_at=timezone.now() - 20 * minute)
    forget_redis()
    publish_gate_state()
    client = redis.client()
    assert client.exists(revocation_key(old.player_id, old.pk))
    assert not client.exists(revocation_key(too_old.player_id, too_old.pk))


def test_publish_gate_state__without_redis__does_nothing(game: Game) -> None:
    SessionFactory.create(player__game=game, revoked_at=timezone.now())
    with redis_down():
        assert publish_gate_state() == 0


@pytest.mark.parametrize("failing", [2, 3, 4])
def test_publish_gate_state__redis_goes_meanwhile__tells_again(
    game: Game, monkeypatch: pytest.MonkeyPatch, failing: int
) -> None:
    SessionFactory.create(player__game=game, revoked_at=timezone.now())
    real = redis.call
    calls: list[str] = []

    def call(use: Any, *, purpose: str) -> Any:
        calls.append(purpose)
        if len(calls) == failing:
            raise redis.RedisAway
        return real(use, purpose=purpose)

    with monkeypatch.context() as patch:
        patch.setattr(redis, "call", call)
        assert publish_gate_state() == 0
    assert publish_gate_state() == 1


def test_publish_gate_state__repeats_versions(game: Game) -> None:
    definitions.changed(game.pk)
    forget_redis()
    publish_gate_state()
    game.refresh_from_db()
    key = version_key(game.pk)
    published: Any = redis.client().get(key)
    assert int(published) == game.definition_version


def test_rebuild__redis_goes_meanwhile__says_so(game: Game) -> None:
    SessionFactory.create(player__game=game, revoked_at=timezone.now())
    with redis_down(), pytest.raises(redis.RedisAway):
        revocations.rebuild(game_id=game.pk)


def test_rebuild__of_a_game_that_is_gone__publishes_nothing() -> None:
    gone = uuid7()
    assert revocations.rebuild(game_id=gone) == -1
    assert not redis.client().exists(version_key(gone))


def test_rebuild__leaves_other_games_alone(game: Game, other_game: Game) -> None:
    foreign = SessionFactory.create(player__game=other_game, revoked_at=timezone.now())
    revocations.rebuild(game_id=game.pk)
    assert not redis.client().exists(revocation_key(foreign.player_id, foreign.pk))


def test_session_is_live() -> None:
    session = SessionFactory.create()
    assert session_is_live(session_id=session.pk)
    sessions.revoke(player_id=session.player_id, session_id=session.pk)
    assert not session_is_live(session_id=session.pk)
    assert not session_is_live(session_id=uuid7())


def test_forget_expired__deletes_what_ended_long_ago() -> None:
    long_ago = timezone.now() - timedelta(days=70)
    ended = timezone.now() - timedelta(days=40)
    SessionFactory.create_batch(3, created_at=long_ago, expires_at=ended)
    SessionFactory.create(created_at=long_ago, revoked_at=ended)
    kept = {
        SessionFactory.create(created_at=long_ago).pk,
        SessionFactory.create(created_at=long_ago, expires_at=timezone.now()).pk,
        SessionFactory.create().pk,
    }
    assert sessions.forget_expired(batch=2) == 4
    assert set(Session.objects.values_list("pk", flat=True)) == kept
    assert forget_expired_sessions() == 0


def test_forget_expired__stops_after_its_share() -> None:
    long_ago = timezone.now() - timedelta(days=70)
    SessionFactory.create_batch(3, created_at=long_ago, expires_at=long_ago)
    assert sessions.forget_expired(batch=1, batches=2) == 2
