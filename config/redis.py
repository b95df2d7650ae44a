"""The one way to Redis, for ranks, limits and revocations.

Redis may be down or emptied at any moment. `call` makes that a value instead of an
exception, and stops asking for a moment after a failure, so that a dead Redis costs each
request nothing but one refused connection a second in each process.
"""

import hashlib
import time
from collections.abc import Callable, Sequence
from typing import Any, TypeVar, cast

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


class Script:
    """A Lua script, known to Redis by its digest and sent again only when Redis forgot it."""

    def __init__(self, source: str) -> None:
        self.source = source
        self.digest = hashlib.sha1(source.encode(), usedforsecurity=False).hexdigest()

    def command(self, keys: Sequence[str], arguments: Sequence[object]) -> tuple[object, ...]:
        """The command that runs it, for `round_trip`."""
        return ("EVALSHA", self.digest, len(keys), *keys, *arguments)


def round_trip(*commands: tuple[object, ...], scripts: Sequence[Script] = ()) -> list[Any]:
    """The replies to `commands`, sent together. Raises the first error reply.

    redis-py's pipeline asks whether scripts exist before each use and costs about twice as much
    processor time; this goes straight to a connection of its pool. `scripts` are loaded, and the
    commands sent once more, where Redis does not know them.
    """
    replies = _send(commands)
    if scripts and any(isinstance(reply, redis.exceptions.NoScriptError) for reply in replies):
        _send([("SCRIPT", "LOAD", script.source) for script in scripts])
        replies = _send(commands)
    for reply in replies:
        if isinstance(reply, Exception):
            raise reply
    return replies


def _send(commands: Sequence[tuple[object, ...]]) -> list[Any]:
    pool = client().connection_pool
    connection: Any = pool.get_connection()
    try:
        connection.send_packed_command(connection.pack_commands(commands))
        replies: list[Any] = []
        for _ in commands:
            try:
                replies.append(connection.read_response())
            except redis.ResponseError as error:
                replies.append(error)
        return replies
    except BaseException:
        # Replies that nobody has read must not answer the next one's question.
        connection.disconnect()
        raise
    finally:
        pool.release(connection)


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
