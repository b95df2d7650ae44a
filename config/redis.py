"""The one way to Redis, for ranks, limits and revocations.

Redis may be down or emptied at any moment. `attempt()` makes that a value instead of an
exception, and stops asking for a moment after a failure, so that a dead Redis costs each
request nothing but one refused connection a second in each process.
"""

import time
from collections.abc import Callable
from typing import TypeVar, cast

import redis
import structlog
from django.conf import settings
from django_redis import get_redis_connection

from config.metrics import REDIS_FAILURES

T = TypeVar("T")
log = structlog.get_logger(__name__)
PAUSE_SECONDS = 1.0
_away_until = 0.0


def client() -> "redis.Redis":
    """The redis-py client of this process (thread-safe, with its connection pool)."""
    return cast("redis.Redis", get_redis_connection("default"))


def key(*parts: object) -> str:
    """A key under this deployment's prefix. Put the hash tag (`{…}`) into one part."""
    return ":".join((settings.REDIS_KEY_PREFIX, *map(str, parts)))


class RedisAway(Exception):  # noqa: N818 (a state, not a mistake)
    """Redis did not answer; the caller does without it."""


def call(use: Callable[["redis.Redis"], T], *, purpose: str) -> T:
    """What `use(client)` returns. Raises `RedisAway` when Redis is down, slow or still loading.

    `purpose` labels the metric that counts failures.
    """
    global _away_until
    if time.monotonic() < _away_until:
        REDIS_FAILURES.labels(purpose).inc()
        raise RedisAway
    try:
        return use(client())
    except (redis.ConnectionError, redis.TimeoutError, redis.ReadOnlyError, OSError) as error:
        _away_until = time.monotonic() + PAUSE_SECONDS
        REDIS_FAILURES.labels(purpose).inc()
        log.warning("redis_away", purpose=purpose, error=type(error).__name__)
        raise RedisAway from error


def forget_failure() -> None:
    """Ask Redis again at once (after a reconnect, and between tests)."""
    global _away_until
    _away_until = 0.0
