"""Hooks: a studio's own Python at named points, without touching this code.

    from config.hooks import before, after

    @before("score")
    def no_scores_on_maintenance(*, game_id, player_id, **_):
        raise HookRefused("The garden is closed for an hour")

    @after("purchase")
    def thank(*, player_id, purchase_id, **_): ...

`before` listeners run inside the transaction and may refuse with `HookRefused`. Any other
exception of theirs is logged and counted, and the request goes on. `after` listeners run
after the commit: a `HookCall` row is written with the fact, a task calls the listener soon, and
the sweeper calls it again, with growing pauses, until it succeeds or is dead (seen in the admin).
A `before` listener that is slow is left out for a minute: a studio's own code must not take
sign-in or scores down. Points and their arguments are listed in docs/hooks.md.
"""

import time
from collections import defaultdict
from collections.abc import Callable
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeVar

import structlog
from django.db import connection, transaction
from django.utils import timezone

from config.api.problems import Problem
from config.db.sweeper import backoff, claim
from config.metrics import HOOK_SECONDS, HOOKS

if TYPE_CHECKING:
    from config.models import HookCall

log = structlog.get_logger(__name__)
F = TypeVar("F", bound=Callable[..., None])
SLOW_SECONDS = 0.25
SLOW_CALLS = 5
LEFT_OUT_SECONDS = 60.0
MAX_ATTEMPTS = 12
LEASE = timedelta(minutes=5)

POINTS: dict[str, str] = {}
_before: dict[str, list[Callable[..., None]]] = defaultdict(list)
_after: dict[str, dict[str, Callable[..., None]]] = defaultdict(dict)
_slow: dict[str, int] = defaultdict(int)
_left_out_until: dict[str, float] = {}


class HookRefused(Problem):
    """A rule of this game refused; the detail says which."""

    status, code, title = 422, "refused_by_game", "A rule of this game refused"


def declare_point(name: str, doc: str) -> None:
    """Name a point, with its arguments, for the documentation. Apps do this in apps.py."""
    POINTS[name] = doc


def name_of(listener: Callable[..., None]) -> str:
    return f"{listener.__module__}.{listener.__qualname__}"


def before(point: str) -> Callable[[F], F]:
    """Register a listener that runs before `point`, in its transaction."""

    def register(listener: F) -> F:
        if listener not in _before[point]:
            _before[point].append(listener)
        return listener

    return register


def after(point: str) -> Callable[[F], F]:
    """Register a listener that runs after `point` has been committed. It may run twice."""

    def register(listener: F) -> F:
        _after[point][name_of(listener)] = listener
        return listener

    return register


def run_before(point: str, **context: Any) -> None:
    """Call the `before` listeners of `point`. Raises what they refuse with (a `Problem`)."""
    for listener in _before.get(point, ()):
        name = name_of(listener)
        if _left_out_until.get(name, 0.0) > time.monotonic():
            HOOKS.labels(name, "left_out").inc()
            continue
        started = time.perf_counter()
        try:
            # A savepoint: a failed query of the listener must not spoil our transaction.
            if connection.in_atomic_block:
                with transaction.atomic():
                    listener(**context)
            else:
                listener(**context)
        except Problem:
            HOOKS.labels(name, "refused").inc()
            raise
        except Exception as error:
            HOOKS.labels(name, "failed").inc()
            log.error("hook_failed", hook=name, exc_info=error)
        else:
            HOOKS.labels(name, "done").inc()
        finally:
            _watch(name, time.perf_counter() - started)


def _watch(name: str, seconds: float) -> None:
    HOOK_SECONDS.labels(name).observe(seconds)
    _slow[name] = _slow[name] + 1 if seconds > SLOW_SECONDS else 0
    if _slow[name] >= SLOW_CALLS:
        _slow[name] = 0
        _left_out_until[name] = time.monotonic() + LEFT_OUT_SECONDS
        log.error("hook_left_out", hook=name, seconds=LEFT_OUT_SECONDS)


def has_before(point: str) -> bool:
    """Whether anyone listens before `point` (so that hot paths can do without a transaction)."""
    return bool(_before.get(point))


def has_after(point: str) -> bool:
    """Whether anyone listens after `point` (so that hot paths can skip the row)."""
    return bool(_after.get(point))


def run_after(point: str, **payload: Any) -> None:
    """Promise to call the `after` listeners of `point` with `payload` (JSON values).

    Call it inside the transaction of the fact.
    """
    from config.models import HookCall
    from config.tasks import run_due_hooks

    listeners = _after.get(point)
    if not listeners:
        return
    now = timezone.now()
    HookCall.objects.bulk_create(
        HookCall(hook=point, listener=name, payload=payload, next_attempt_at=now)
        for name in listeners
    )
    hasten(run_due_hooks)


def hasten(task: Any, *args: Any) -> None:
    """Start `task` after the commit. With the broker down the sweeper does it later."""

    def send() -> None:
        try:
            task.delay(*args)
        except Exception as error:
            log.warning("broker_away", task=task.name, error=type(error).__name__)

    transaction.on_commit(send)


def run_due(*, limit: int = 100) -> int:
    """Call what is due; how many calls succeeded. Every caller may be killed at any point."""
    from config.models import HookCall

    done = 0
    for call in claim(HookCall.objects.filter(state=HookCall.State.DUE), limit=limit, lease=LEASE):
        listener = _after.get(call.hook, {}).get(call.listener)
        try:
            if listener is None:
                raise LookupError("No such listener is registered; was it renamed?")
            listener(**call.payload)
        except Exception as error:
            _failed(call, error)
        else:
            HOOKS.labels(call.listener, "done").inc()
            call.state = HookCall.State.DONE
            call.save(update_fields=["state"])
            done += 1
    return done


def _failed(call: "HookCall", error: Exception) -> None:
    call.last_error = f"{type(error).__name__}: {error}"[:2000]
    if call.attempts >= MAX_ATTEMPTS:
        call.state = call.State.DEAD
    call.next_attempt_at = timezone.now() + backoff(call.attempts)
    call.save(update_fields=["state", "last_error", "next_attempt_at"])
    HOOKS.labels(call.listener, call.state).inc()
    log.error("hook_failed", hook=call.listener, attempt=call.attempts, exc_info=error)
