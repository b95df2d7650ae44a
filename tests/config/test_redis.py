"""One round trip: scripts that Redis forgot, error replies, and a Redis that goes away."""

import pytest
import redis as redis_py

from config import redis
from tests.fixtures.faults import redis_down
from tests.threads import at_once

ADD = redis.Script("return redis.call('INCRBY', KEYS[1], ARGV[1])")


def test_round_trip__several_commands__replies_in_order() -> None:
    name = redis.key("n")
    replies = redis.round_trip(("SET", name, 5), ADD.command([name], [3]), scripts=(ADD,))
    assert replies == [b"OK", 8]


def test_round_trip__redis_forgot_the_script__loaded_and_run() -> None:
    fresh = redis.Script(f"return '{redis.key('only-here')}'")
    assert redis.round_trip(fresh.command([], []), scripts=(fresh,)) == [
        redis.key("only-here").encode()
    ]


def test_round_trip__one_command_refused__raises_and_leaves_the_connection_clean() -> None:
    name = redis.key("text")
    redis.round_trip(("SET", name, "abc"))
    with pytest.raises(redis_py.ResponseError):
        redis.round_trip(("INCR", name), ("GET", name))
    assert redis.round_trip(("GET", name)) == [b"abc"]


def test_call__redis_down__away_and_not_asked_again_at_once() -> None:
    asked = []

    def ask(_: object) -> None:
        asked.append(1)
        redis.client().ping()

    with redis_down():
        for _ in range(5):
            with pytest.raises(redis.RedisAway):
                redis.call(ask, purpose="test")
    assert len(asked) == 1
    redis.call(ask, purpose="test")
    assert len(asked) == 2


def test_round_trip__of_more_threads_than_the_pool_has_connections() -> None:
    """Each has a connection of its own, which goes when the thread ends."""
    pool = redis.client().connection_pool
    assert pool.max_connections < 250
    for _ in range(25):
        answers = at_once(10, lambda _: redis.round_trip(("PING",)))
        assert answers == [[b"PONG"]] * 10
    redis.client().ping()
