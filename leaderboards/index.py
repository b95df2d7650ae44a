"""The rank index in Redis: one sorted set a season, and a hash from player to place in it.

Nothing here is the truth: it can be lost at any moment, and is rebuilt from PostgreSQL
(leaderboards/services/ranks.py). The keys of a season share a hash tag, which keeps them on one
node of a cluster:

    {lb:SEASON}:z    the members in rank order (leaderboards/order.py)
    {lb:SEASON}:h    player → the first 16 bytes of the member, then the entry's version in decimal;
                     for an entry that is not ranked "-" and the version. Beside the 16-byte ids:
                     `mark`  every change logged before this moment is in (microseconds since 1970);
                             without it the index is not to be read
                     `gen`   names this build of the index, `c` counts its changes
    {lb:SEASON}:zb, :hb    the same while being built, with `token` and `lease` of the builder

All changes go through scripts that compare versions, so that an older write never wins and a
change may be applied any number of times. All functions raise `RedisAway`.
"""

import secrets
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from functools import cache
from itertools import chain
from typing import Any, NamedTuple
from uuid import UUID

from redis.exceptions import RedisError

from config import redis
from config.redis import RedisAway
from leaderboards.metrics import INDEX_FAILURES
from leaderboards.order import EPOCH, MEMBER_BYTES, MICROSECOND, Position, pack, pack_key

LEASE_MS = 15_000
BATCH = 500

_PUT = """
local function parse(value)
  if not value then return nil, -1 end
  if #value > 16 then return string.sub(value, 1, 16), tonumber(string.sub(value, 17)) end
  return nil, tonumber(string.sub(value, 2))
end
-- Brings one pair of keys up to this version. Returns the rank before (or false), the key that
-- stands now (or nil), and whether anything changed.
local function put(z, h, player, key, version, ranked)
  local old, have = parse(redis.call('HGET', h, player))
  local before = old and redis.call('ZRANK', z, old .. player)
  if version <= have then return before, old, false end
  if old and not (ranked and old == key) then redis.call('ZREM', z, old .. player) end
  if ranked then
    if old ~= key then redis.call('ZADD', z, 0, key .. player) end
    redis.call('HSET', h, player, key .. string.format('%d', version))
    old = key
  else
    redis.call('HSET', h, player, '-' .. string.format('%d', version))
    old = nil
  end
  redis.call('HINCRBY', h, 'c', 1)
  return before, old, true
end
"""

# KEYS z h zb hb; ARGV player, key, version, ranked.
# Returns {ready, rank before or -1, rank now (0-based; for an unranked entry the one it would
# have), members}.
_APPLY = (
    _PUT
    + """
local player, key, version = ARGV[1], ARGV[2], tonumber(ARGV[3])
local ranked = ARGV[4] == '1'
if redis.call('EXISTS', KEYS[4]) == 1 then put(KEYS[3], KEYS[4], player, key, version, ranked) end
if redis.call('HEXISTS', KEYS[2], 'mark') == 0 then return {0} end
local before, now = put(KEYS[1], KEYS[2], player, key, version, ranked)
local rank
if now then
  rank = redis.call('ZRANK', KEYS[1], now .. player)
else
  rank = redis.call('ZLEXCOUNT', KEYS[1], '-', '(' .. key .. player)
end
return {1, before or -1, rank or -1, redis.call('ZCARD', KEYS[1])}
"""
)

# The same answer for a change that is not committed yet: nothing is written.
_PEEK = (
    _PUT
    + """
local player, key, version = ARGV[1], ARGV[2], tonumber(ARGV[3])
if redis.call('HEXISTS', KEYS[2], 'mark') == 0 then return {0} end
local total = redis.call('ZCARD', KEYS[1])
local old, have = parse(redis.call('HGET', KEYS[2], player))
local before = old and redis.call('ZRANK', KEYS[1], old .. player)
if version <= have and old then return {1, before or -1, before or -1, total} end
local rank = redis.call('ZLEXCOUNT', KEYS[1], '-', '(' .. key .. player)
-- Strings are not compared here: Lua does that by locale, Redis by bytes.
if before and before < rank then rank = rank - 1 end
if not old and ARGV[4] == '1' then total = total + 1 end
return {1, before or -1, rank, total}
"""
)

# KEYS z h zb hb; ARGV token ("" to bring up to date what is there), then player, key, version,
# ranked, again and again. Returns how many were changed; -1: another builder has taken over,
# or there is nothing to bring up to date.
_APPLY_MANY = (
    _PUT
    + """
local token = ARGV[1]
local building = redis.call('EXISTS', KEYS[4]) == 1
local ready = redis.call('HEXISTS', KEYS[2], 'mark') == 1
if token ~= '' then
  if redis.call('HGET', KEYS[4], 'token') ~= token then return -1 end
  local t = redis.call('TIME')
  redis.call('HSET', KEYS[4], 'lease', t[1] * 1000 + math.floor(t[2] / 1000) + LEASE)
  -- What a killed builder leaves goes away by itself.
  redis.call('PEXPIRE', KEYS[3], 4 * LEASE)
  redis.call('PEXPIRE', KEYS[4], 4 * LEASE)
elseif not ready and not building then
  return -1
end
local changed = 0
for i = 2, #ARGV, 4 do
  local player, key, version = ARGV[i], ARGV[i + 1], tonumber(ARGV[i + 2])
  local ranked = ARGV[i + 3] == '1'
  if building then put(KEYS[3], KEYS[4], player, key, version, ranked) end
  if token == '' and ready then
    local _, _, done = put(KEYS[1], KEYS[2], player, key, version, ranked)
    if done then changed = changed + 1 end
  end
end
return changed
"""
).replace("LEASE", str(LEASE_MS))

# KEYS z h; ARGV mark, gen. A season that has no entry yet: its empty index is right.
_BEGIN = """
if redis.call('EXISTS', KEYS[1], KEYS[2]) > 0 then return 0 end
redis.call('HSET', KEYS[2], 'mark', ARGV[1], 'gen', ARGV[2], 'c', 0)
return 1
"""

# KEYS h; ARGV mark. Never backwards, never where there is none.
_ADVANCE = """
local mark = redis.call('HGET', KEYS[1], 'mark')
if mark and tonumber(ARGV[1]) > tonumber(mark) then
  redis.call('HSET', KEYS[1], 'mark', ARGV[1])
end
return 1
"""

# KEYS zb hb; ARGV token. 0: another builder is at work.
_START_BUILD = """
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
local lease = redis.call('HGET', KEYS[2], 'lease')
if lease and tonumber(lease) > now and tonumber(lease) <= now + LEASE then return 0 end
redis.call('UNLINK', KEYS[1], KEYS[2])
redis.call('HSET', KEYS[2], 'token', ARGV[1], 'lease', now + LEASE)
redis.call('PEXPIRE', KEYS[2], 4 * LEASE)
return 1
""".replace("LEASE", str(LEASE_MS))

# KEYS z h zb hb; ARGV token, mark. UNLINK first: RENAME would free a large old key at once.
_FINISH_BUILD = """
if redis.call('HGET', KEYS[4], 'token') ~= ARGV[1] then return 0 end
redis.call('HDEL', KEYS[4], 'token', 'lease')
redis.call('HSET', KEYS[4], 'mark', ARGV[2], 'gen', ARGV[1])
redis.call('HINCRBY', KEYS[4], 'c', 1)
redis.call('PERSIST', KEYS[3])
redis.call('PERSIST', KEYS[4])
redis.call('UNLINK', KEYS[1], KEYS[2])
if redis.call('EXISTS', KEYS[3]) == 1 then redis.call('RENAME', KEYS[3], KEYS[1]) end
redis.call('RENAME', KEYS[4], KEYS[2])
return 1
"""

# KEYS z h; ARGV direction, member ("" for the start), limit, state known to the caller.
# Returns {ready, state, rank of the first (0-based), members in rank order, more, total}, or
# {1, state} when the first page's state is the known one.
_PAGE = """
local meta = redis.call('HMGET', KEYS[2], 'mark', 'gen', 'c')
if not meta[1] then return {0} end
local state = meta[2] .. ':' .. meta[3]
local back, from, limit = ARGV[1] == 'back', ARGV[2], tonumber(ARGV[3])
if from == '' and state == ARGV[4] then return {1, state} end
local found, first
if from == '' then
  first = 0
  found = redis.call('ZRANGE', KEYS[1], 0, limit)
elseif back then
  found = redis.call('ZREVRANGEBYLEX', KEYS[1], '(' .. from, '-', 'LIMIT', 0, limit + 1)
  first = redis.call('ZLEXCOUNT', KEYS[1], '-', '(' .. from)
else
  found = redis.call('ZRANGEBYLEX', KEYS[1], '(' .. from, '+', 'LIMIT', 0, limit + 1)
  first = redis.call('ZLEXCOUNT', KEYS[1], '-', '[' .. from)
end
local more = #found > limit
if more then found[#found] = nil end
if back then
  first = first - #found
  local turned = {}
  for i = #found, 1, -1 do turned[#turned + 1] = found[i] end
  found = turned
end
return {1, state, first, table.concat(found), more and 1 or 0, redis.call('ZCARD', KEYS[1])}
"""

# KEYS z h; ARGV player, limit (0: only the own rank).
# Returns {ready, own rank (0-based) or -1, total, first rank, members}.
_AROUND = (
    _PUT
    + """
local values = redis.call('HMGET', KEYS[2], 'mark', ARGV[1])
if not values[1] then return {0} end
local total = redis.call('ZCARD', KEYS[1])
local key = parse(values[2])
if not key then return {1, -1, total, 0, ''} end
local rank = redis.call('ZRANK', KEYS[1], key .. ARGV[1])
if not rank then return {0} end
local limit = tonumber(ARGV[2])
if limit == 0 then return {1, rank, total, rank, key .. ARGV[1]} end
local first = math.max(0, math.min(rank - math.floor((limit - 1) / 2), total - limit))
local found = redis.call('ZRANGE', KEYS[1], first, first + limit - 1)
return {1, rank, total, first, table.concat(found)}
"""
)

# KEYS z h; ARGV member. The rank that a member has or would have, and how many there are.
_RANK = """
if redis.call('HEXISTS', KEYS[2], 'mark') == 0 then return {0} end
return {1, redis.call('ZLEXCOUNT', KEYS[1], '-', '(' .. ARGV[1]), redis.call('ZCARD', KEYS[1])}
"""


class NotReady(RedisAway):
    """Redis answered, but has no index of the season: it was lost, or is being built."""


class Change(NamedTuple):
    """An entry as PostgreSQL has it."""

    player_id: UUID
    order_key: int
    achieved_at: datetime
    version: int
    ranked: bool

    def packed(self) -> "Packed":
        key = pack_key(self.order_key, self.achieved_at)
        return self.player_id.bytes, key, self.version, int(self.ranked)


# What the scripts take: the player's 16 bytes, the first 16 of the member, version, ranked (0, 1).
Packed = tuple[bytes, bytes, int, int]


class Standing(NamedTuple):
    """1-based ranks; `previous` is None for an entry that was not ranked before."""

    rank: int
    previous: int | None
    total: int


class Slice(NamedTuple):
    """Members in rank order. `state` names the state of the index that they were read from."""

    first_rank: int
    members: bytes
    total: int
    more: bool = False
    state: bytes = b""


@cache
def _script(source: str) -> redis.Script:
    return redis.Script(source)


def _run(script: str, keys: Sequence[str], *arguments: Any) -> Any:
    """One round trip. Raises `RedisAway` for every failure: an index in doubt is not used."""

    loaded = _script(script)

    def use(_: Any) -> Any:
        (reply,) = redis.round_trip(loaded.command(keys, arguments), scripts=(loaded,))
        return reply

    try:
        return redis.call(use, purpose="ranks")
    except RedisAway:
        INDEX_FAILURES.inc()
        raise
    except RedisError as error:  # out of memory, a key of another type
        INDEX_FAILURES.inc()
        raise RedisAway from error


def keys_of(season_id: UUID) -> tuple[str, str, str, str]:
    """z, h, zb, hb."""
    base = redis.key(f"{{lb:{season_id}}}", "")
    return base + "z", base + "h", base + "zb", base + "hb"


def to_mark(moment: datetime) -> int:
    return (moment - EPOCH) // MICROSECOND


def from_mark(mark: bytes) -> datetime:
    return EPOCH + timedelta(microseconds=int(mark))


def _standing(answer: list[int]) -> Standing:
    if not answer[0]:
        raise NotReady
    _, before, rank, total = answer
    return Standing(rank + 1, before + 1 if before >= 0 else None, total)


def apply(season_id: UUID, change: Change) -> Standing:
    """Put a committed change into the index; the ranks before and after. Raises `NotReady`."""
    return _standing(_run(_APPLY, keys_of(season_id), *change.packed()))


def peek(season_id: UUID, change: Change) -> Standing:
    """What `apply` would answer, without changing anything. Raises `NotReady`."""
    return _standing(_run(_PEEK, keys_of(season_id), *change.packed()))


def apply_many(season_id: UUID, changes: Sequence[Packed], *, token: str = "") -> int:
    """Put committed changes in; how many were news to the index.

    With a builder's `token` they go into what it builds. -1: the build has been taken over,
    or (without token) there is no index to bring up to date.
    """
    keys = keys_of(season_id)
    done = 0
    for start in range(0, len(changes), BATCH):
        arguments = chain.from_iterable(changes[start : start + BATCH])
        changed = int(_run(_APPLY_MANY, keys, token, *arguments))
        if changed < 0:
            return -1
        done += changed
    return done


def begin(season_id: UUID, *, since: datetime) -> None:
    """The index of a season that was just made, which has had no entry before `since`."""
    _run(_BEGIN, keys_of(season_id)[:2], to_mark(since), secrets.token_hex(4))


def start_build(season_id: UUID) -> str | None:
    """A token to build with; None while another builder is at work."""
    token = secrets.token_hex(8)
    return token if _run(_START_BUILD, keys_of(season_id)[2:], token) else None


def finish_build(season_id: UUID, *, token: str, mark: datetime) -> bool:
    """Put what was built in the index's place. False: the build has been taken over."""
    return bool(_run(_FINISH_BUILD, keys_of(season_id), token, to_mark(mark)))


def marks(season_ids: Sequence[UUID]) -> list[datetime | None]:
    """Up to when each index is complete; None where there is none."""

    def use(client: Any) -> list[bytes | None]:
        with client.pipeline(transaction=False) as pipe:
            for season_id in season_ids:
                pipe.hget(keys_of(season_id)[1], "mark")
            return list(pipe.execute())

    if not season_ids:
        return []
    return [None if mark is None else from_mark(mark) for mark in redis.call(use, purpose="ranks")]


def advance(seasons: Mapping[UUID, datetime | None], mark: datetime) -> None:
    """Everything logged before `mark` is in these seasons' indexes.

    The time given with a season is when its index may be forgotten; None: never.
    """

    def use(client: Any) -> None:
        with client.pipeline(transaction=False) as pipe:
            for season_id, forget_at in seasons.items():
                z, h = keys_of(season_id)[:2]
                pipe.eval(_ADVANCE, 1, h, to_mark(mark))
                for name in (z, h):
                    # Both at the same millisecond: half an index is worse than none.
                    if forget_at is None:
                        pipe.persist(name)
                    else:
                        pipe.pexpireat(name, forget_at)
            pipe.execute()

    if seasons:
        redis.call(use, purpose="ranks")


def page(
    season_id: UUID,
    *,
    start: Position | None,
    backward: bool,
    limit: int,
    known: bytes = b"",
) -> Slice | None:
    """At most `limit` members after (or before) `start`; None: the first page is as `known`.

    Raises `NotReady`.
    """
    answer = _run(
        _PAGE,
        keys_of(season_id)[:2],
        "back" if backward else "on",
        b"" if start is None else pack(start),
        limit,
        known,
    )
    if not answer[0]:
        raise NotReady
    if len(answer) == 2:
        return None
    _, state, first, members, more, total = answer
    return Slice(first + 1, members, total, bool(more), state)


def around(season_id: UUID, player_id: UUID, *, limit: int) -> tuple[int | None, Slice]:
    """(own rank, or None when the player is not ranked; the neighbours). Raises `NotReady`."""
    answer = _run(_AROUND, keys_of(season_id)[:2], player_id.bytes, limit)
    if not answer[0]:
        raise NotReady
    _, rank, total, first, members = answer
    more = first + len(members) // MEMBER_BYTES < total
    return (rank + 1 if rank >= 0 else None), Slice(first + 1, members, total, more)


def rank(season_id: UUID, position: Position) -> tuple[int, int]:
    """(the rank that this position has or would have, how many entries). Raises `NotReady`."""
    answer = _run(_RANK, keys_of(season_id)[:2], pack(position))
    if not answer[0]:
        raise NotReady
    return answer[1] + 1, answer[2]


def forget(season_id: UUID) -> None:
    """Delete a season's index."""
    redis.call(lambda client: client.unlink(*keys_of(season_id)), purpose="ranks")


def size(season_id: UUID) -> int:
    """How many members the index has."""
    return int(redis.call(lambda client: client.zcard(keys_of(season_id)[0]), purpose="ranks"))
