"""Receipts while platforms, settings and workers fail."""

import random
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.utils import timezone

from accounts.models import Player
from config.db import definitions
from store.models import Order, PlatformApp, PurchaseStep
from store.providers.base import MisconfiguredError, RejectedError, TryAgainError
from store.services import asking, granting, orders
from tests.fakes.platform import NAME, Shelf
from tests.store.conftest import balance_of
from tests.store.receipts import books_are_right, player, shelf, status

__all__ = ["player", "shelf"]
pytestmark = pytest.mark.django_db


def test_trouble__try_again__later_and_later(shelf: Shelf, player: Player) -> None:
    shelf.provider.says["t1"] = TryAgainError("platform_unavailable", "HTTP 500", counts=False)
    order = shelf.process(shelf.submit(player))

    assert (order.state, order.attempts) == ("retry", 1)
    assert status(order) == ("verifying", None)
    assert order.last_error == "platform_unavailable: HTTP 500"
    assert timezone.now() < order.next_attempt_at < timezone.now() + timedelta(seconds=11)
    shelf.say()
    assert status(shelf.process(order)) == ("granted", None)


def test_trouble__platform_names_a_time__it_is_obeyed(shelf: Shelf, player: Player) -> None:
    shelf.provider.says["t1"] = TryAgainError("rate_limited", after=600, counts=False)
    order = shelf.process(shelf.submit(player))

    assert order.next_attempt_at > timezone.now() + timedelta(seconds=590)


@pytest.mark.parametrize(
    ("minutes", "attempts", "longest"),
    [(0, 1, 10), (0, 3, 40), (0, 20, 60), (29, 40, 60), (31, 40, 3600)],
)
def test_trouble__longest_pause__a_minute_at_first_and_later_an_hour(
    monkeypatch: pytest.MonkeyPatch, minutes: int, attempts: int, longest: int
) -> None:
    monkeypatch.setattr(random, "uniform", lambda least, most: most)
    now = timezone.now()
    first = now - timedelta(minutes=minutes)

    error = TryAgainError("platform_unavailable")
    at = asking.next_attempt(attempts, first, error, Order.objects.all())

    assert at is not None
    assert abs((at - now).total_seconds() - longest) < 1


def test_trouble__for_a_day__dead(shelf: Shelf, player: Player) -> None:
    shelf.provider.says["t1"] = TryAgainError("platform_unavailable", counts=False)
    order = shelf.process(shelf.submit(player))
    Order.objects.update(first_tried_at=timezone.now() - timedelta(hours=25))

    assert status(shelf.process(order)) == ("dead", "platform_unavailable")


def test_trouble__our_settings__dead_at_once(shelf: Shelf, player: Player) -> None:
    shelf.provider.says["t1"] = MisconfiguredError("bad_key", "No such key")

    assert status(shelf.process(shelf.submit(player))) == ("dead", "bad_key")


def test_trouble__app_archived_meanwhile__dead(shelf: Shelf, player: Player) -> None:
    order = shelf.submit(player)
    PlatformApp.objects.update(is_active=False)
    definitions.changed(shelf.game.pk)

    assert status(shelf.process(order)) == ("dead", "platform_missing")


def test_trouble__a_fault_of_ours__again_without_its_words(shelf: Shelf, player: Player) -> None:
    shelf.provider.says["t1"] = ZeroDivisionError("secret-token")
    order = shelf.process(shelf.submit(player))

    assert (order.state, order.last_error) == ("retry", "ZeroDivisionError")


def test_trouble__a_worker_that_was_too_slow__does_not_write_over_another(
    shelf: Shelf, player: Player
) -> None:
    order = shelf.submit(player)
    shelf.say()

    def slow(*_: Any) -> Any:
        Order.objects.filter(pk=order.pk).update(attempts=7)  # another worker has begun
        raise RejectedError("late")

    shelf.provider.verify = slow  # type: ignore[method-assign, assignment]  # a fake
    shelf.process(order)

    assert status(order) == ("verifying", None)
    assert not PurchaseStep.objects.filter(order=order).exists()


def test_trouble__broken_platform__is_left_alone(shelf: Shelf, player: Player) -> None:
    """After so many failures in a row nobody is asked; whoever waits is only put off, for as long
    as it takes."""
    asking._breaker.cache_clear()
    most = asking.FAILURES_IN_A_ROW
    found = [shelf.submit(player, f"t{number}") for number in range(most + 3)]
    Order.objects.filter(pk=found[-1].pk).update(first_tried_at=timezone.now() - asking.GIVE_UP)
    for order in found:
        shelf.provider.says[f"t{found.index(order)}"] = TryAgainError("platform_unavailable")
        shelf.process(order)

    assert len(shelf.provider.asked) == most
    last = Order.objects.get(pk=found[-1].pk)
    assert (last.state, last.last_error[:13]) == ("retry", "platform_away")


def test_ask__inside_a_transaction__is_a_mistake(shelf: Shelf, monkeypatch: Any) -> None:
    monkeypatch.setattr(connection.atomic_blocks[0], "_from_testcase", False)
    with pytest.raises(AssertionError, match="transaction"):
        asking.ask(NAME, lambda: None)


# Crashes


@pytest.mark.parametrize("where", ["before the grant", "after the grant", "after one of two"])
def test_crash__worker_dies__the_next_ends_it(
    shelf: Shelf, player: Player, where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Killed(BaseException):
        """What no handler catches."""

    shelf.provider.says["t1"] = [shelf.line(line="0"), shelf.line(line="1")]
    order = shelf.submit(player)
    real = granting.apply
    calls = []

    def apply(**arguments: Any) -> Any:
        calls.append(1)
        if where == "before the grant" or (where == "after one of two" and len(calls) == 2):
            raise Killed
        found = real(**arguments)
        if where == "after the grant" and len(calls) == 2:
            raise Killed
        return found

    monkeypatch.setattr(granting, "apply", apply)
    with pytest.raises(Killed):
        shelf.process(order)
    assert Order.objects.get(pk=order.pk).state == "verifying"
    assert orders.process() is False  # its lease runs
    monkeypatch.setattr(granting, "apply", real)

    assert status(shelf.process(order)) == ("granted", None)
    assert balance_of(player.pk, "gems") == (200, 0)
    assert books_are_right()
