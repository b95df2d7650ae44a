"""Players' passwords: argon2id, computed in a lane of its own.

Checking a password costs as much as hundreds of ordinary requests, and anybody may ask for it.
So each process computes at most `PASSWORD_LANE_THREADS` at once, and rests after each so that they
take no more than `PASSWORD_LANE_PERCENT` of a core; a few requests may wait, the others are told
to come back. Wrong passwords then can't take the server from players who are signed in
(docs/adr/0013-password-lane.md).

Cost: the OWASP Password Storage Cheat Sheet's argon2id setting (19 MiB, 2 passes, 1 lane).
Staff passwords use Django's hashers, which are costlier: there are few.
"""

import os
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as FutureTimeoutError
from functools import cache
from typing import TypeVar

from argon2 import PasswordHasher
from argon2.exceptions import Argon2Error, InvalidHashError
from django.conf import settings
from django.contrib.auth.password_validation import get_default_password_validators
from django.core.exceptions import ValidationError

from accounts.errors import SignInBusy
from accounts.metrics import PASSWORD_WAITING
from accounts.models import StaffUser
from config.api.problems import FieldError, ValidationFailed

T = TypeVar("T")


class PasswordLane:
    """Runs a few things at once, at a bounded share of a core; lets a few more wait for a bounded
    time, and refuses the rest.

    percent    of one core, for each thread; 100: no rest
    seconds    longest wait for the outcome
    """

    def __init__(self, *, threads: int, waiting: int, seconds: float, percent: int) -> None:
        self.threads = threads
        self.seconds = seconds
        self.rest = 100 / percent - 1
        self.room = threading.BoundedSemaphore(threads + waiting)
        self.lock = threading.Lock()
        self.pool: tuple[int, ThreadPoolExecutor] | None = None

    def refuse_when_full(self) -> None:
        """Raises `SignInBusy` when `run` would, before anything was done for the request."""
        if not self.room.acquire(blocking=False):
            raise _busy()
        self.room.release()

    def run(self, work: Callable[[], T]) -> T:
        """What `work()` returns. Raises `SignInBusy` when there is no room, or no turn in time."""
        if not self.room.acquire(blocking=False):
            raise _busy()
        PASSWORD_WAITING.inc()
        try:
            future: Future[T] = Future()
            self._executor().submit(self._serve, work, future)
            try:
                return future.result(self.seconds)
            except FutureTimeoutError:
                future.cancel()
                raise _busy() from None
        finally:
            PASSWORD_WAITING.dec()
            self.room.release()

    def _serve(self, work: Callable[[], T], future: "Future[T]") -> None:
        """Do the work, hand over its outcome, and rest in proportion to what it took."""
        if not future.set_running_or_notify_cancel():
            return
        began = time.thread_time()
        try:
            future.set_result(work())
        except BaseException as error:
            future.set_exception(error)
        # Of the processor, not of the clock: on a busy machine the clock says too much.
        time.sleep((time.thread_time() - began) * self.rest)

    def _executor(self) -> ThreadPoolExecutor:
        """This process's threads; a forked child makes its own."""
        with self.lock:
            if self.pool is None or self.pool[0] != os.getpid():
                self.pool = (os.getpid(), ThreadPoolExecutor(self.threads, "password"))
            return self.pool[1]


def _busy() -> SignInBusy:
    return SignInBusy(headers={"Retry-After": "2"})


lane = PasswordLane(
    threads=settings.PASSWORD_LANE_THREADS,
    waiting=settings.PASSWORD_LANE_WAITING,
    seconds=settings.PASSWORD_LANE_SECONDS,
    percent=settings.PASSWORD_LANE_PERCENT,
)


@cache
def _hasher(memory_kib: int, passes: int) -> PasswordHasher:
    return PasswordHasher(time_cost=passes, memory_cost=memory_kib, parallelism=1)


def hasher() -> PasswordHasher:
    return _hasher(settings.PASSWORD_MEMORY_KIB, settings.PASSWORD_PASSES)


@cache
def _nobodys_hash(memory_kib: int, passes: int) -> str:
    return _hasher(memory_kib, passes).hash("the password of nobody")


def hash_password(password: str) -> str:
    """The hash to store. Raises `SignInBusy`."""
    return lane.run(lambda: hasher().hash(password))


def check_password(password: str, stored: str | None) -> tuple[bool, str | None]:
    """(whether it is right, a fresh hash to store where the cost was raised since).

    `stored` is None for an account that does not exist: then a hash of nobody's is checked,
    so that the answer takes as long. Raises `SignInBusy`.
    """
    return lane.run(lambda: _check(password, stored))


def _check(password: str, stored: str | None) -> tuple[bool, str | None]:
    expected = stored or _nobodys_hash(settings.PASSWORD_MEMORY_KIB, settings.PASSWORD_PASSES)
    try:
        hasher().verify(expected, password)
    except (Argon2Error, InvalidHashError):
        return False, None
    if stored is None:
        return False, None
    return True, hasher().hash(password) if hasher().check_needs_rehash(stored) else None


def validate_new_password(password: str, *, email: str, display_name: str = "") -> None:
    """Django's validators (`AUTH_PASSWORD_VALIDATORS`). Raises `ValidationFailed`."""
    # Django's validators look at the attributes, and their labels, of a Django user.
    owner = StaffUser(username=display_name, email=email)
    errors: list[FieldError] = []
    for validator in get_default_password_validators():
        try:
            validator.validate(password, owner)
        except ValidationError as error:
            errors += [
                FieldError("/password", str(part.code or "invalid_value"), text)
                for part in error.error_list
                for text in part.messages
            ]
    if errors:
        raise ValidationFailed(f"/password: {errors[0].detail}", errors=errors)
