"""Players' passwords: argon2 itself, and the lane that bounds what it costs."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.conf import LazySettings

from accounts import passwords
from accounts.errors import SignInBusy
from accounts.passwords import PasswordLane
from config.api.problems import ValidationFailed
from tests.fixtures.api import ApiClient, assert_problem


def test_hash__is_argon2id_at_the_documented_cost(settings: LazySettings) -> None:
    settings.PASSWORD_MEMORY_KIB, settings.PASSWORD_PASSES = 19_456, 2
    stored = passwords.hash_password("a quiet lake at dawn")
    assert stored.startswith("$argon2id$v=19$m=19456,t=2,p=1$")
    assert passwords.check_password("a quiet lake at dawn", stored) == (True, None)
    assert passwords.check_password("a loud lake", stored) == (False, None)
    assert passwords.check_password("a loud lake", None) == (False, None)


@pytest.mark.parametrize("stored", ["", "!", "$argon2id$broken", "md5$x$y"])
def test_check__of_a_broken_hash__is_wrong(stored: str) -> None:
    assert passwords.check_password("x", stored) == (False, None)


def test_check__nobodys_password__opens_nothing() -> None:
    assert passwords.check_password("the password of nobody", None) == (False, None)


def test_validate__names_each_mistake() -> None:
    with pytest.raises(ValidationFailed) as refused:
        passwords.validate_new_password("1234", email="r@example.com")
    codes = {error.code for error in refused.value.errors}
    assert codes == {"password_too_short", "password_too_common", "password_entirely_numeric"}


def test_lane__has_bounded_room() -> None:
    lane = PasswordLane(threads=1, waiting=1, seconds=30, percent=100)
    running, release = threading.Event(), threading.Event()

    def slow() -> str:
        running.set()
        release.wait(30)
        return "done"

    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(lane.run, slow)
        running.wait(30)
        second = pool.submit(lane.run, lambda: "after")
        while lane.room._value:  # until the second has its place
            threading.Event().wait(0.001)
        with pytest.raises(SignInBusy):
            lane.refuse_when_full()
        with pytest.raises(SignInBusy) as refused:
            lane.run(lambda: "never")
        assert refused.value.headers["Retry-After"] == "2"
        release.set()
        assert first.result(30) == "done"
        assert second.result(30) == "after"
    lane.refuse_when_full()
    assert lane.run(lambda: "again") == "again"


def test_lane__waits_only_so_long() -> None:
    lane = PasswordLane(threads=1, waiting=1, seconds=0.05, percent=100)
    running, release = threading.Event(), threading.Event()

    def slow() -> None:
        running.set()
        release.wait(30)

    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(lane.run, slow)
        running.wait(30)
        with pytest.raises(SignInBusy):
            lane.run(lambda: "too late")
        with pytest.raises(SignInBusy):
            first.result(30)
        release.set()
    lane.seconds = 30
    assert lane.run(lambda: "again") == "again"


def test_lane__rests_after_work(monkeypatch: pytest.MonkeyPatch) -> None:
    lane = PasswordLane(threads=1, waiting=0, seconds=30, percent=20)
    rested: list[float] = []
    slept = threading.Event()
    used = iter([10.0, 10.5])

    def sleep(seconds: float) -> None:
        rested.append(seconds)
        slept.set()

    monkeypatch.setattr(time, "thread_time", lambda: next(used))
    monkeypatch.setattr(time, "sleep", sleep)
    assert lane.run(lambda: "done") == "done"
    assert slept.wait(30)
    assert rested == [2.0], "four times as long as the half second that the work took"


def test_lane__passes_errors_on() -> None:
    lane = PasswordLane(threads=1, waiting=0, seconds=30, percent=100)

    def fail() -> None:
        raise LookupError

    with pytest.raises(LookupError):
        lane.run(fail)
    assert lane.run(lambda: 1) == 1


def test_lane__after_a_fork__has_threads_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    lane = PasswordLane(threads=1, waiting=0, seconds=30, percent=100)
    lane.run(lambda: 1)
    assert lane.pool is not None
    parents = lane.pool[1]
    monkeypatch.setattr("os.getpid", lambda: -1)
    assert lane.run(lambda: 2) == 2
    assert lane.pool[1] is not parents


@pytest.mark.django_db
def test_sign_in__no_room__is_told_to_come_back(
    game_client: ApiClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> None:
        raise SignInBusy(headers={"Retry-After": "2"})

    monkeypatch.setattr(passwords.lane, "run", full)
    answer = game_client.post(
        "/v1/sessions", {"method": "email", "email": "r@example.com", "password": "x"}
    )
    assert_problem(answer, 503, "sign_in_busy")
    assert answer["Retry-After"] == "2"
