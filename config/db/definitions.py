"""A game's content, cached in each process, exactly.

Every game has a `definition_version`. Whoever changes content (a service, the admin,
`apply_game`) calls `changed` in the same transaction, which raises the version; the gate reads
the version in the round trip that every request makes anyway. A process keeps what it loaded for
a version and loads again when the number differs: no request ever acts on content that was
changed before it came in, and none pays a query to know that.
"""

from collections.abc import Callable
from contextvars import ContextVar
from threading import Lock
from typing import Generic, TypeVar
from uuid import UUID

from django.db import connection, transaction

from config import redis
from config.api.gate import version_key
from config.metrics import CACHE

T = TypeVar("T")

# game id → version, for the request at hand; set by the authentication of each request.
_known: ContextVar[tuple[UUID, int] | None] = ContextVar("definition_version", default=None)

after_commit = transaction.on_commit

PUBLISH_SCRIPT = """
local current = tonumber(redis.call('GET', KEYS[1]) or -1)
if tonumber(ARGV[1]) > current then redis.call('SET', KEYS[1], ARGV[1]) end
return 1
"""


def use_version(game_id: UUID, version: int) -> None:
    """What the gate has read, for the rest of this request. Below 0: not known."""
    _known.set((game_id, version) if version >= 0 else None)


def forget_version() -> None:
    _known.set(None)


def version_in_database(game_id: UUID) -> int:
    with connection.cursor() as cursor:
        cursor.execute("SELECT definition_version FROM accounts_game WHERE id = %s", [game_id])
        row = cursor.fetchone()
    return int(row[0]) if row else -1


def _is_known(game_id: UUID) -> bool:
    """Whether the gate read the version, and this request has not changed content since.

    Only then may what is loaded inside a transaction be kept: it holds no changes of its own that
    could still be rolled back.
    """
    known = _known.get()
    return known is not None and known[0] == game_id


def current_version(game_id: UUID) -> int:
    """The game's version: the gate's in a request, PostgreSQL's in a job or without Redis."""
    known = _known.get()
    if known is not None and known[0] == game_id:
        return known[1]
    return version_in_database(game_id)


def changed(game_id: UUID) -> None:
    """Say, inside the transaction, that this game's content changed."""
    forget_version()
    with connection.cursor() as cursor:
        cursor.execute(
            """UPDATE accounts_game SET definition_version = definition_version + 1
               WHERE id = %s RETURNING definition_version""",
            [game_id],
        )
        row = cursor.fetchone()
    if row:
        after_commit(lambda: publish_version(game_id, int(row[0])))


def publish_version(game_id: UUID, version: int) -> None:
    """Tell Redis, unless it knows a later one. A job repeats this for versions that got lost."""
    try:
        redis.call(
            lambda client: client.eval(PUBLISH_SCRIPT, 1, version_key(game_id), version),
            purpose="definitions",
        )
    except redis.RedisAway:
        return


class Definitions(Generic[T]):
    """What `load(game_id)` returns, kept in this process until the game's content changes.

    The value must not be modified by its users. At most `size` games are kept.
    """

    def __init__(self, name: str, load: Callable[[UUID], T], *, size: int = 1000) -> None:
        self.name = name
        self.load = load
        self.size = size
        self.kept: dict[UUID, tuple[int, T]] = {}
        self.lock = Lock()

    def get(self, game_id: UUID) -> T:
        version = current_version(game_id)
        kept = self.kept.get(game_id)
        if kept is not None and kept[0] == version:
            CACHE.labels(self.name, "hit").inc()
            return kept[1]
        CACHE.labels(self.name, "miss").inc()
        # The version was read before the content: content that is newer than its version is
        # loaded once more by the next request, never the other way round.
        value = self.load(game_id)
        if not connection.in_atomic_block or _is_known(game_id):
            with self.lock:
                self.kept[game_id] = (version, value)
                while len(self.kept) > self.size:
                    del self.kept[next(iter(self.kept))]
        return value
