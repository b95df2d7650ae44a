"""A circuit breaker: what is broken is left alone for a while, and then tried by one at a time.

All processes share its state in Redis. While Redis is away, each process goes by what it has seen
itself: the same rules, with one more probe for each process.

Source: Michael Nygard, "Release It!" (2nd edition, 2018), chapter 5.
"""

import time
from dataclasses import dataclass
from threading import Lock

from config import redis
from config.redis import RedisAway

# One step, so that only one caller becomes the probe. Times in milliseconds, of Redis' own clock.
STEP = redis.Script("""
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local what, threshold = ARGV[1], tonumber(ARGV[2])
local window, pause, probe = tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
if what == 'worked' then
  redis.call('DEL', KEYS[1])
  return 0
end
if what == 'failed' then
  local failures = redis.call('HINCRBY', KEYS[1], 'failures', 1)
  if failures >= threshold then
    redis.call('HSET', KEYS[1], 'until', now + pause)
  end
  redis.call('PEXPIRE', KEYS[1], window + pause)
  return 0
end
local reopens = tonumber(redis.call('HGET', KEYS[1], 'until') or 0)
if reopens == 0 then return 0 end
if now < reopens then return reopens - now end
redis.call('HSET', KEYS[1], 'until', now + probe)
return 0
""")


@dataclass
class _Seen:
    """What this process knows of a breaker while Redis is away."""

    failures: int = 0
    reopens: float = 0.0
    forgotten: float = 0.0


class Breaker:
    """Opens after `threshold` failures with no success and no more than `window` seconds between
    them; open for `pause` seconds; then one caller in `probe` seconds is let through until one
    succeeds."""

    def __init__(
        self,
        name: str,
        *,
        threshold: int = 5,
        window: float = 60.0,
        pause: float = 30.0,
        probe: float = 10.0,
    ) -> None:
        self.name = name
        self.threshold = threshold
        self.window = window
        self.pause = pause
        self.probe = probe
        self._seen = _Seen()
        self._lock = Lock()

    def ask(self) -> float:
        """Seconds to stay away; 0: go ahead, and say how it went."""
        return self._step("ask")

    def failed(self) -> None:
        """It does not work."""
        self._step("failed")

    def worked(self) -> None:
        """It works: whoever was kept away may come."""
        self._step("worked")

    def _step(self, what: str) -> float:
        arguments: list[object] = [
            what,
            self.threshold,
            *(int(seconds * 1000) for seconds in (self.window, self.pause, self.probe)),
        ]
        command = STEP.command([redis.key("breaker", self.name)], arguments)
        try:
            (waits,) = redis.call(
                lambda _: redis.round_trip(command, scripts=(STEP,)), purpose="breaker"
            )
        except RedisAway:
            return self._step_alone(what)
        return int(waits) / 1000

    def _step_alone(self, what: str) -> float:
        now = time.monotonic()
        with self._lock:
            if what == "worked" or now >= self._seen.forgotten:
                self._seen = _Seen(forgotten=now + self.window + self.pause)
            seen = self._seen
            if what == "failed":
                seen.failures += 1
                seen.forgotten = now + self.window + self.pause
                if seen.failures >= self.threshold:
                    seen.reopens = now + self.pause
            elif what == "ask" and seen.reopens:
                if now < seen.reopens:
                    return seen.reopens - now
                seen.reopens = now + self.probe
        return 0.0
