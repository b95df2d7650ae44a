"""The gate: limits that hold under threads, revocation, and what happens without Redis."""

from typing import Any
from uuid import UUID, uuid4

import pytest
from django.test import RequestFactory

from config import redis
from config.api import gate
from config.api.callers import Caller
from config.api.gate import (
    LocalLimits,
    count_misses,
    give_back,
    limit_key,
    pass_gate,
    revocation_key,
    take,
    version_key,
)
from config.api.problems import RateLimited, SessionRevoked
from tests.fixtures.faults import redis_down
from tests.threads import at_once

GAME = UUID(int=7)


@pytest.fixture(autouse=True)
def limits(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.RATE_LIMITS = {
        "player": (10, 60),
        "scores": (3, 60),
        "sign_in": (2, 60),
        "server": (10, 60),
    }
    monkeypatch.setattr(gate, "_rebuild", rebuild)


def rebuild(game_id: UUID) -> int:
    redis.client().set(version_key(game_id), 5)
    return 5


def player(session: UUID | None = None) -> Caller:
    who = uuid4()
    return Caller(
        kind="player", game_id=GAME, limit_id=str(who), player_id=who, session_id=session or uuid4()
    )


def request() -> Any:
    return RequestFactory().get("/")


def passes(caller: Caller, *names: str) -> bool:
    try:
        pass_gate(request(), caller, names or ("player",))
    except RateLimited:
        return False
    return True


def test_pass_gate__up_to_the_limit__passes_then_refuses() -> None:
    caller = player()
    assert [passes(caller) for _ in range(12)] == [True] * 10 + [False] * 2
    assert passes(player()), "another player has a bucket of their own"


def test_pass_gate__refused__says_when_to_come_back() -> None:
    caller = player()
    for _ in range(10):
        pass_gate(request(), caller, ("player",))
    with pytest.raises(RateLimited) as caught:
        pass_gate(request(), caller, ("player",))
    headers = caught.value.headers
    assert 1 <= int(headers["Retry-After"]) <= 6
    assert headers["RateLimit-Policy"] == '"player";q=10;w=60'
    assert headers["RateLimit"].startswith('"player";r=0;t=')


def test_pass_gate__passed__counts_down_in_headers() -> None:
    caller = player()
    remaining = []
    for _ in range(3):
        req = request()
        pass_gate(req, caller, ("player",))
        remaining.append(req.limit_headers["RateLimit"].split(";")[1])
    assert remaining == ["r=9", "r=8", "r=7"]


def test_pass_gate__second_limit_reached__takes_nothing_from_the_first() -> None:
    caller = player()
    assert [passes(caller, "player", "scores") for _ in range(8)] == [True] * 3 + [False] * 5
    assert [passes(caller) for _ in range(8)] == [True] * 7 + [False]


def test_pass_gate__thirty_two_threads__let_exactly_the_limit_through() -> None:
    caller = player()
    results = at_once(32, lambda _: passes(caller))
    assert results.count(True) == 10


def test_pass_gate__control_without_the_script__lets_more_through() -> None:
    """Read, then write, as DRF's throttles do: shows that the threads above do race."""
    from threading import Barrier

    client = redis.client()
    key = redis.key("control")
    read = Barrier(32)

    def read_then_write(_: int) -> bool:
        used = int(client.get(key) or 0)
        read.wait(10)
        if used >= 10:
            return False
        client.set(key, used + 1)
        return True

    assert at_once(32, read_then_write).count(True) == 32


def test_pass_gate__revoked_session__refused_at_once() -> None:
    session = uuid4()
    caller = player(session)
    pass_gate(request(), caller, ("player",))
    redis.client().set(revocation_key(caller.player, session), 1)
    with pytest.raises(SessionRevoked):
        pass_gate(request(), caller, ("player",))


def test_pass_gate__clock_set_back__locks_nobody_out_for_longer_than_a_window() -> None:
    caller = player()
    now_ms = int(redis.client().time()[0]) * 1000
    redis.client().set(limit_key("player", caller.limit_id), now_ms + 10**9)
    with pytest.raises(RateLimited) as caught:
        pass_gate(request(), caller, ("player",))
    assert int(caught.value.headers["Retry-After"]) <= 60


def test_pass_gate__version_known__set_on_the_request() -> None:
    redis.client().set(version_key(GAME), 41)
    req = request()
    pass_gate(req, player(), ("player",))
    assert req.definition_version == 41


def test_pass_gate__redis_was_emptied__rebuilds_before_letting_anyone_in(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    session = uuid4()
    caller = player(session)

    def rebuild_with_revocation(game_id: UUID) -> int:
        redis.client().set(revocation_key(caller.player, session), 1)
        return rebuild(game_id)

    monkeypatch.setattr(gate, "_rebuild", rebuild_with_revocation)
    with pytest.raises(SessionRevoked):
        pass_gate(request(), caller, ("player",))


def test_pass_gate__redis_down__requests_go_on_and_sessions_are_asked_of_the_database(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    live, dead = uuid4(), uuid4()
    monkeypatch.setattr(gate, "import_string", lambda _: lambda *, session_id: session_id == live)
    with redis_down():
        req = request()
        for _ in range(20):
            pass_gate(req, player(live), ("player",))
        assert req.definition_version == -1
        with pytest.raises(SessionRevoked):
            pass_gate(request(), player(dead), ("player",))


def test_pass_gate__redis_down__sign_in_is_limited_locally() -> None:
    caller = Caller(kind="game", game_id=GAME, limit_id="192.0.2.1")
    with redis_down():
        results = [passes(caller, "player", "sign_in") for _ in range(4)]
    assert results == [True, True, False, False]


def test_take__limit_of_an_identity__counts_with_and_without_redis() -> None:
    take("sign_in", "a@example.com")
    take("sign_in", "a@example.com")
    with pytest.raises(RateLimited):
        take("sign_in", "a@example.com")
    with redis_down():
        take("sign_in", "b@example.com")
        take("sign_in", "b@example.com")
        with pytest.raises(RateLimited):
            take("sign_in", "b@example.com")


def test_local_limits__more_identities_than_it_keeps__stays_bounded() -> None:
    local = LocalLimits(size=10)
    for number in range(100):
        assert local.take(str(number), 1, 60) == 0.0
    assert len(local.buckets) == 10
    assert local.take("99", 1, 60) > 0


def test_local_limits__limit_of_one__takes_its_first_use_at_any_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # (now + 600) - now is a hair more than 600 at one moment in a thousand.
    moments = [1000 + number / 7 for number in range(10_000)]
    assert any(moment + 600.0 - moment > 600.0 for moment in moments)
    local = LocalLimits()
    for number, moment in enumerate(moments):
        monkeypatch.setattr("config.api.gate.time.monotonic", lambda moment=moment: moment)
        assert local.take(str(number), 1, 600) == 0.0


@pytest.mark.parametrize("redis_is_up", [True, False])
def test_give_back__after_take__does_not_count(redis_is_up: bool) -> None:
    def use() -> None:
        who = str(uuid4())
        for _ in range(5):
            take("sign_in", who)
            give_back("sign_in", who)
        take("sign_in", who)
        take("sign_in", who)
        with pytest.raises(RateLimited):
            take("sign_in", who)
        give_back("sign_in", who)
        take("sign_in", who)
        with pytest.raises(RateLimited):
            take("sign_in", who)
        give_back("sign_in", str(uuid4()))  # of somebody who has nothing there

    if redis_is_up:
        use()
    else:
        with redis_down():
            use()


def test_give_back__many_threads__as_many_left_as_before() -> None:
    who = str(uuid4())

    def once(number: int) -> None:
        take("player", who)
        give_back("player", who)

    assert at_once(8, once) == [None] * 8
    for _ in range(10):
        take("player", who)
    with pytest.raises(RateLimited):
        take("player", who)


class Miss(Exception):  # noqa: N818 (it is no mistake)
    """What a limit counts."""


def attempt(who: str, error: Exception | None = None) -> None:
    uses = (("sign_in", who), ("scores", who))
    with count_misses(*uses, is_miss=lambda error: isinstance(error, Miss)):
        if error is not None:
            raise error


@pytest.mark.parametrize("redis_is_up", [True, False])
def test_count_misses__only_misses_count_and_nothing_is_tried_past_a_limit(
    redis_is_up: bool,
) -> None:
    def use() -> None:
        who = str(uuid4())
        for _ in range(5):
            attempt(who)
            with pytest.raises(LookupError):
                attempt(who, LookupError())
        for _ in range(2):
            with pytest.raises(Miss):
                attempt(who, Miss())
        with pytest.raises(RateLimited):
            attempt(who)
        take("scores", who)  # the second limit has counted the misses, and nothing else
        with pytest.raises(RateLimited):
            take("scores", who)

    if redis_is_up:
        use()
    else:
        with redis_down():
            use()
