"""The gate: one Redis round trip before each request's work.

It answers three questions at once: is a limit reached, was this session revoked, and which
version do the game's definitions have (config/db/definitions.py).

Limits use the generic cell rate algorithm (GCRA, ITU-T I.371): one timestamp a bucket, no
window edges, atomic in one script on Redis's own clock. When Redis is away, ordinary requests
go on, limits marked `local_fallback` are counted in this process, and whether the session lives is
asked of PostgreSQL. When Redis was emptied, the game's version key is missing: then the
revocations are rebuilt from PostgreSQL before anyone passes.
"""

import math
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from threading import Lock
from typing import TYPE_CHECKING
from uuid import UUID

from django.conf import settings
from django.utils.module_loading import import_string

from config import redis
from config.api.problems import RateLimited, SessionRevoked
from config.metrics import RATE_LIMITED

if TYPE_CHECKING:
    from config.api.callers import ApiRequest, Caller

LOCAL_FALLBACK = {"sign_in", "sign_in_identity", "register"}

# KEYS: one per limit, then the revocation key of the session (if any).
# ARGV: the number of limits, then for each limit: count, seconds.
# Returns {revoked, index of the limit that refused (0: none), retry after in ms, and for the
# first limit: remaining, reset in ms}.
GATE = redis.Script("""
local limits = tonumber(ARGV[1])
if #KEYS > limits and redis.call('EXISTS', KEYS[limits + 1]) == 1 then
  return {1, 0, 0, 0, 0}
end
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
local fresh = {}
local remaining, reset = 0, 0
for i = 1, limits do
  local count, window = tonumber(ARGV[i * 2]), tonumber(ARGV[i * 2 + 1]) * 1000
  local step = window / count
  local tat = math.max(tonumber(redis.call('GET', KEYS[i]) or 0), now)
  -- A clock that was set back must not lock anyone out for longer than one window.
  if tat > now + window then tat = now + window end
  local new = tat + step
  if new - now > window + 0.5 then
    return {0, i, math.ceil(new - window - now), 0, math.ceil(tat - now)}
  end
  fresh[i] = {new, math.ceil(new - now) + 1}
  if i == 1 then
    remaining = math.floor((now + window - new) / step + 0.001)
    reset = math.ceil(new - now)
  end
end
for i = 1, limits do
  redis.call('SET', KEYS[i], string.format('%.3f', fresh[i][1]), 'PX', fresh[i][2])
end
return {0, 0, 0, remaining, reset}
""")


# KEYS: a limit's. ARGV: milliseconds of one use.
GIVE_BACK = redis.Script("""
local tat = tonumber(redis.call('GET', KEYS[1]) or 0)
if tat > 0 then
  redis.call('SET', KEYS[1], string.format('%.3f', tat - tonumber(ARGV[1])), 'KEEPTTL')
end
return 0
""")


def limit_key(name: str, who: str) -> str:
    """Where a bucket is kept; the hash tag keeps one caller's keys in one Redis Cluster slot."""
    return redis.key(f"{{{who}}}", "limit", name)


def revocation_key(player_id: UUID, session_id: UUID) -> str:
    return redis.key(f"{{{player_id}}}", "revoked", session_id)


def version_key(game_id: UUID) -> str:
    return redis.key(f"{{{game_id}}}", "definitions")


def pass_gate(
    request: "ApiRequest",
    caller: "Caller",
    names: Sequence[str],
    also: tuple[str, str] | None = None,
) -> None:
    """Let the request through, or raise `RateLimited` or `SessionRevoked`.

    `names` are limits of the caller; `also` is one more, with whose it is (an identity's).
    Sets `request.definition_version` (-1 when it has to be asked of PostgreSQL) and
    `request.limit_headers`.
    """
    who = caller.limit_id
    keys = [limit_key(name, who) for name in names]
    if caller.session_id is not None and caller.player_id is not None:
        keys.append(revocation_key(caller.player_id, caller.session_id))
    arguments: list[int] = [len(names)]
    for name in names:
        arguments += settings.RATE_LIMITS[name]
    try:
        verdict, version, beside = redis.call(
            lambda _: _ask(caller.game_id, keys, arguments, also), purpose="gate"
        )
        if version is None:
            version = str(_rebuild(caller.game_id)).encode()
            # Only what was rebuilt is asked again; the limits have counted this request.
            rebuilt, _, _ = redis.call(
                lambda _: _ask(caller.game_id, keys[len(names) :], [0]),
                purpose="gate",
            )
            verdict[0] = rebuilt[0]
    except redis.RedisAway:
        _pass_without_redis(request, caller, names, also)
        return
    revoked, refused, retry_ms, remaining, reset_ms = verdict
    if revoked:
        raise SessionRevoked
    if refused:
        raise _refusal(names[refused - 1], retry_ms / 1000)
    if also is not None and beside[1]:
        raise _refusal(also[0], beside[2] / 1000)
    request.definition_version = int(version)
    if names:
        request.limit_headers = _headers(names[0], remaining, reset_ms / 1000)


def _ask(
    game_id: UUID, keys: list[str], arguments: list[int], also: tuple[str, str] | None = None
) -> tuple[list[int], bytes | None, list[int]]:
    commands = [GATE.command(keys, arguments), ("GET", version_key(game_id))]
    if also is not None:
        commands.append(_command(*also))
    verdict, version, *beside = redis.round_trip(*commands, scripts=(GATE,))
    return verdict, version, beside[0] if beside else []


def _command(name: str, who: str) -> tuple[object, ...]:
    return GATE.command([limit_key(name, who)], [1, *settings.RATE_LIMITS[name]])


def _rebuild(game_id: UUID) -> int:
    rebuild = import_string(settings.API_REBUILD_GATE)
    return int(rebuild(game_id=game_id))


def _pass_without_redis(
    request: "ApiRequest", caller: "Caller", names: Sequence[str], also: tuple[str, str] | None
) -> None:
    request.definition_version = -1
    for name, who in [(name, caller.limit_id) for name in names] + ([also] if also else []):
        if name in LOCAL_FALLBACK:
            retry = local_limits.take(f"{name}:{who}", *settings.RATE_LIMITS[name])
            if retry:
                raise _refusal(name, retry)
    if caller.session_id is not None:
        is_live = import_string(settings.API_SESSION_IS_LIVE)
        if not is_live(session_id=caller.session_id):
            raise SessionRevoked


def take(name: str, who: str) -> None:
    """Count one use of the limit `name` by `who` (an identity, a code). Raises `RateLimited`."""
    count, seconds = settings.RATE_LIMITS[name]
    try:
        _, refused, retry_ms, _, _ = redis.call(
            lambda _: redis.round_trip(_command(name, who), scripts=(GATE,))[0],
            purpose="limit",
        )
        retry = retry_ms / 1000 if refused else 0.0
    except redis.RedisAway:
        retry = local_limits.take(f"{name}:{who}", count, seconds)
    if retry:
        raise _refusal(name, retry)


def give_back(name: str, who: str) -> None:
    """Uncount one use that `take` counted."""
    count, seconds = settings.RATE_LIMITS[name]
    command = GIVE_BACK.command([limit_key(name, who)], [seconds * 1000 / count])
    try:
        redis.call(lambda _: redis.round_trip(command, scripts=(GIVE_BACK,)), purpose="limit")
    except redis.RedisAway:
        local_limits.give_back(f"{name}:{who}", seconds / count)


@contextmanager
def count_misses(
    *uses: tuple[str, str], is_miss: Callable[[Exception], bool]
) -> Generator[None, None, None]:
    """Count one use of each limit, given as (name, who), if what is done within is a miss.

    `is_miss` tells whether an exception is one; without an exception it never is. All are taken
    before, so that nothing is tried once a limit is reached: then `RateLimited` is raised.
    """
    for name, who in uses:
        take(name, who)
    try:
        yield
    except Exception as error:
        if not is_miss(error):
            _give_all_back(uses)
        raise
    _give_all_back(uses)


def _give_all_back(uses: Sequence[tuple[str, str]]) -> None:
    for name, who in uses:
        give_back(name, who)


def _refusal(name: str, retry_seconds: float) -> RateLimited:
    RATE_LIMITED.labels(name).inc()
    count, seconds = settings.RATE_LIMITS[name]
    wait = max(1, math.ceil(retry_seconds))
    return RateLimited(
        f"The limit is {count} in {seconds} seconds; try again in {wait} s",
        headers={"Retry-After": str(wait), **_headers(name, 0, wait)},
    )


def _headers(name: str, remaining: int, reset_seconds: float) -> dict[str, str]:
    """`RateLimit` and `RateLimit-Policy` (draft-ietf-httpapi-ratelimit-headers-10)."""
    count, seconds = settings.RATE_LIMITS[name]
    return {
        "RateLimit-Policy": f'"{name}";q={count};w={seconds}',
        "RateLimit": f'"{name}";r={max(0, remaining)};t={math.ceil(reset_seconds)}',
    }


class LocalLimits:
    """The same algorithm in this process's memory, for the time that Redis is away.

    Bounded: past `size` buckets the oldest are forgotten.
    """

    def __init__(self, size: int = 10_000) -> None:
        self.size = size
        self.buckets: dict[str, float] = {}
        self.lock = Lock()

    def take(self, key: str, count: int, seconds: int) -> float:
        """Seconds to wait; 0.0 when the request may go on."""
        now = time.monotonic()
        with self.lock:
            new = max(self.buckets.pop(key, 0.0), now) + seconds / count
            # Sums of floats are a hair off: a limit of one would refuse its first use now and then.
            if new - now > seconds + 0.001:
                self.buckets[key] = new - seconds / count
                return new - now - seconds
            self.buckets[key] = new
            while len(self.buckets) > self.size:
                del self.buckets[next(iter(self.buckets))]
        return 0.0

    def give_back(self, key: str, seconds: float) -> None:
        """Uncount one use, of so many seconds."""
        with self.lock:
            if key in self.buckets:
                self.buckets[key] -= seconds


local_limits = LocalLimits()
