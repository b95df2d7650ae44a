"""The one way to Redis, for ranks, limits and revocations.

Redis may be down or emptied at any moment. `call` makes that a value instead of an
exception, and stops asking for a moment after a failure, so that a dead Redis costs each
request nothing but one refused connection a second in each process.
"""

import hashlib
import os
import threading
import time
from collections.abc import Callable, Sequence
from functools import cache
from itertools import islice
from typing import Any, TypeVar, cast

import hiredis
import redis
import structlog
from django.conf import settings
from django_redis import get_redis_connection

from config.combining import Combiner
from config.metrics import REDIS_FAILURES

T = TypeVar("T")
log = structlog.get_logger(__name__)
PAUSE_SECONDS = 1.0
_away_until = 0.0


@cache
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

    `scripts` are loaded, and the commands sent once more, where Redis does not know them.
    """
    replies = _send(commands)
    if scripts and any(isinstance(reply, redis.exceptions.NoScriptError) for reply in replies):
        _send([("SCRIPT", "LOAD", script.source) for script in scripts])
        replies = _send(commands)
    for reply in replies:
        if isinstance(reply, Exception):
            raise reply
    return replies


_NOTHING = object()


class _Line:
    """A thread's own connection. redis-py opens it (TLS, sign-in, timeouts); what is said on it
    is packed and read by hiredis at once: its pool and layers cost half of a round trip's
    processor time, and every request makes one.
    """

    def __init__(self) -> None:
        pool = client().connection_pool
        self.pool, self.process = pool, os.getpid()
        # Not from the pool: it would count the connections of threads that ended for ever.
        connection: Any = pool.connection_class(**pool.connection_kwargs)
        connection.connect()
        self.connection = connection
        self.reader = hiredis.Reader(
            protocolError=redis.InvalidResponse,
            replyError=connection._parser.parse_error,
            notEnoughData=_NOTHING,
        )
        self.is_used = False

    def exchange(self, packed: bytes, count: int) -> list[Any]:
        socket, reader = self.connection._sock, self.reader
        socket.sendall(packed)
        replies: list[Any] = []
        while len(replies) < count:
            reply = reader.gets()
            if reply is _NOTHING:
                data = socket.recv(65536)
                if not data:
                    raise redis.ConnectionError("Redis closed the connection")
                reader.feed(data)
            elif not isinstance(reply, hiredis.PushNotification):
                replies.append(reply)
        self.is_used = True
        return replies

    def __del__(self) -> None:
        # Of a thread that ended. After a fork the socket is the parent's.
        connection = getattr(self, "connection", None)
        if connection is not None and self.process == os.getpid():
            connection.disconnect()


_own = threading.local()


def _send(commands: Sequence[tuple[object, ...]]) -> list[Any]:
    pack: Any = hiredis.pack_command
    return _trips.ask((b"".join(map(pack, commands)), len(commands)))


def _trip(asked: Sequence[tuple[bytes, int]]) -> list[list[Any]]:
    """What several threads have to say in one round trip; the replies of each."""
    replies = iter(_say(b"".join(packed for packed, _ in asked), sum(n for _, n in asked)))
    return [list(islice(replies, count)) for _, count in asked]


_trips: Combiner[tuple[bytes, int], list[Any]] = Combiner(_trip)


def _say(packed: bytes, count: int) -> list[Any]:
    while True:
        line: _Line | None = getattr(_own, "line", None)
        if line is None or line.process != os.getpid() or line.pool is not client().connection_pool:
            line = _own.line = _Line()
        try:
            return line.exchange(packed, count)
        except BaseException as error:
            # Replies that nobody has read must not answer the next one's question.
            _own.line = None
            # Redis, or what is between, ends a connection that was idle: then a new one is asked.
            # Every command of ours bears being said twice.
            if not (line.is_used and isinstance(error, redis.ConnectionError | ConnectionError)):
                raise


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
