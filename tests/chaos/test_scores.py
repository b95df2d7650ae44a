"""Redis and PostgreSQL go away while scores are written: nothing is lost, ranks are exact again."""

import threading
import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

import pytest
import redis as redis_py
from django.conf import settings
from django.db import connection
from redis.backoff import NoBackoff
from redis.retry import Retry

from config import redis
from leaderboards import index, tasks
from leaderboards.models import Entry, Submission
from leaderboards.order import split, unpack
from leaderboards.ranking import position_of
from leaderboards.services import seasons
from tests.chaos.proxy import Proxy
from tests.factories.accounts import PlayerFactory
from tests.factories.leaderboards import board_of
from tests.fixtures.api import ApiClient, PlayerClient, forget_redis
from tests.leaderboards.conftest import sign_in
from tests.threads import at_once

pytestmark = pytest.mark.django_db(transaction=True)
PLAYERS = 8
SCORES = 24
PATH = "/v1/leaderboards/harvest"


@pytest.fixture
def redis_proxy(monkeypatch: pytest.MonkeyPatch) -> Iterator[Proxy]:
    """Everything in this process reaches Redis through the proxy."""
    url = urlsplit(settings.REDIS_URL)
    with Proxy((url.hostname or "127.0.0.1", url.port or 6379)) as proxy:
        client = redis_py.Redis(
            host="127.0.0.1",
            port=proxy.port,
            db=int(url.path.lstrip("/") or 0),
            username=url.username,
            password=url.password,
            socket_timeout=0.2,
            socket_connect_timeout=0.2,
            # As the connections of config/redis.py: what waits between tries is not ours.
            retry=Retry(NoBackoff(), 0),
        )
        with monkeypatch.context() as patch:
            patch.setattr(redis, "client", lambda: client)
            patch.setattr(redis, "PAUSE_SECONDS", 0.05)
            yield proxy
            redis.forget_failure()
            client.close()


def players_of(game: Any) -> list[PlayerClient]:
    return [sign_in(PlayerFactory.create(game=game)) for _ in range(PLAYERS)]


@pytest.fixture(autouse=True)
def high_limits(settings: Any) -> None:
    settings.RATE_LIMITS = settings.RATE_LIMITS | {
        "scores": (100_000, 60),
        "player": (100_000, 60),
    }


def play(client: ApiClient, number: int, done: threading.Semaphore, problems: list[Any]) -> None:
    for turn in range(SCORES):
        answer = client.post(f"{PATH}/scores", {"score": turn * 3 % 7})
        if answer.status_code != 201:
            problems.append((answer.status_code, answer.content))
        done.release()


def write_while(players: list[PlayerClient], disturb: Any) -> list[Any]:
    """All players write; `disturb(wait_for)` runs beside them."""
    done = threading.Semaphore(0)
    problems: list[Any] = []

    def wait_for(count: int) -> None:
        for _ in range(count):
            assert done.acquire(timeout=60)

    def act(number: int) -> None:
        if number == PLAYERS:
            disturb(wait_for)
        else:
            play(players[number], number, done, problems)

    for result in at_once(PLAYERS + 1, act, timeout=120):
        if isinstance(result, Exception):
            raise result
    return problems


def assert_exact(season_id: UUID) -> None:
    """The index and the entries agree, and every score is in the log."""
    assert Submission.objects.filter(verdict="accepted").count() == PLAYERS * SCORES
    found = index.page(season_id, start=None, backward=False, limit=1000)
    assert found is not None
    entries = Entry.objects.order_by("order_key", "achieved_at", "player_id")
    assert [unpack(member) for member in split(found.members)] == [
        position_of(entry) for entry in entries
    ]


def recover(season_id: UUID) -> None:
    """What the beat does every few seconds, until the index is there; in a bounded time."""
    until = time.monotonic() + 30
    redis.forget_failure()
    while True:
        tasks.reconcile_ranks()
        if index.marks([season_id])[0] is not None:
            return
        assert time.monotonic() < until


def test_redis_cut_off__and_back_while_scores_are_written(game: Any, redis_proxy: Proxy) -> None:
    season = seasons.current(board_of(game, key="harvest", keep="last"))
    players = players_of(game)

    def disturb(wait_for: Any) -> None:
        for _ in range(3):
            wait_for(25)
            redis_proxy.cut()
            wait_for(25)
            redis_proxy.restore()

    assert write_while(players, disturb) == []
    recover(season.id)
    assert_exact(season.id)


def test_redis_cut_off__control_without_the_reconciler__ranks_stay_wrong(
    game: Any, redis_proxy: Proxy
) -> None:
    season = seasons.current(board_of(game, key="harvest", keep="last"))

    def disturb(wait_for: Any) -> None:
        wait_for(25)
        redis_proxy.cut()
        # Until the last score: none that comes after could heal what was lost.
        wait_for(PLAYERS * SCORES - 25)

    assert write_while(players_of(game), disturb) == []
    redis_proxy.restore()
    redis.forget_failure()
    with pytest.raises(AssertionError):
        assert_exact(season.id)
    recover(season.id)
    assert_exact(season.id)


def test_redis_emptied__while_scores_are_written(game: Any, redis_proxy: Proxy) -> None:
    season = seasons.current(board_of(game, key="harvest", keep="last"))
    players = players_of(game)

    def disturb(wait_for: Any) -> None:
        wait_for(40)
        forget_redis()
        wait_for(40)
        tasks.reconcile_ranks()
        wait_for(40)
        forget_redis()

    assert write_while(players, disturb) == []
    recover(season.id)
    assert_exact(season.id)


def test_redis_emptied__control_without_the_reconciler__no_index(
    game: Any, redis_proxy: Proxy
) -> None:
    """What comes after the loss does not make an index that lacks what came before."""
    season = seasons.current(board_of(game, key="harvest", keep="last"))

    def disturb(wait_for: Any) -> None:
        wait_for(40)
        forget_redis()

    assert write_while(players_of(game), disturb) == []
    with pytest.raises(index.NotReady):
        assert_exact(season.id)


def test_redis_silent__costs_a_bounded_time(game: Any, redis_proxy: Proxy) -> None:
    season = seasons.current(board_of(game, key="harvest", keep="last"))
    (player, *_) = players_of(game)
    assert player.post(f"{PATH}/scores", {"score": 1}).status_code == 201
    redis_proxy.silence()
    started = time.monotonic()
    answer = player.post(f"{PATH}/scores", {"score": 2})
    assert time.monotonic() - started < 3
    assert answer.status_code == 201
    assert answer.json()["entry"]["rank"] == 1
    redis_proxy.restore()
    recover(season.id)
    _, found = index.around(season.id, player.player_id, limit=1)
    assert ~unpack(found.members).order_key == 2


def sum_while_cut_off(game: Any, *, has_key: bool) -> list[int]:
    """What each player has after `SCORES` scores of 1, each sent until its answer comes in.

    PostgreSQL is cut off now and then, and now and then an answer is lost on its way.
    """
    board_of(game, key="harvest", keep="sum")
    players = players_of(game)
    target = connection.settings_dict
    with Proxy((target["HOST"] or "127.0.0.1", int(target["PORT"] or 5432))) as proxy:
        unanswered: list[int] = []

        def act(number: int) -> None:
            connection.settings_dict = target | {"HOST": "127.0.0.1", "PORT": proxy.port}
            for turn in range(SCORES):
                if number == 0 and turn % 6 == 3:
                    proxy.cut()
                    proxy.restore()
                key = {"idempotency_key": f"{number}-{turn}"} if has_key else {}
                send_until_answered(players[number], key, unanswered)
                if turn % 6 == 5:
                    send_until_answered(players[number], key, unanswered)

        for result in at_once(PLAYERS, act, timeout=120):
            if isinstance(result, Exception):
                raise result
    assert unanswered, "no request was hit: the test proves nothing"
    assert set(unanswered) <= {503}
    return [entry.score for entry in Entry.objects.all()]


def test_postgresql_cut_off__a_score_that_is_sent_again_counts_once(game: Any) -> None:
    """A lost answer is sent again with its key until it is answered: sums show any repetition."""
    assert sum_while_cut_off(game, has_key=True) == [SCORES] * PLAYERS
    assert Submission.objects.filter(verdict="accepted").count() == PLAYERS * SCORES


def test_postgresql_cut_off__control_without_a_key__counts_again(game: Any) -> None:
    assert min(sum_while_cut_off(game, has_key=False)) > SCORES


def send_until_answered(client: ApiClient, key: dict[str, str], unanswered: list[int]) -> None:
    for _ in range(100):
        answer = client.post(f"{PATH}/scores", {"score": 1}, **key)
        if answer.status_code == 201:
            return
        unanswered.append(answer.status_code)
        # As Django does between requests.
        connection.close()
    raise AssertionError("never answered")
