"""A platform that is away for long: what waits is put off, and how often that writes."""

from datetime import timedelta
from typing import Any

import pytest
import time_machine
from django.db import connection
from django.db.models import Min
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from accounts.models import Player
from store.models import Order
from store.services import asking, orders
from tests.fakes.platform import NAME, Shelf
from tests.store.receipts import player, shelf

__all__ = ["player", "shelf"]
pytestmark = pytest.mark.django_db
OUTAGE = timedelta(minutes=2)


class Away:
    """The breaker of a platform that nobody may ask for another ten seconds, at any time."""

    def ask(self) -> float:
        return 10.0


@pytest.fixture(autouse=True)
def away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asking, "_breaker", lambda provider: Away())
    monkeypatch.setattr(asking, "PUT_OFF_RATE", 1)
    monkeypatch.setattr(asking, "_counted", {})


def send(shelf: Shelf, player: Player, count: int) -> None:
    for number in range(count):
        shelf.submit(player, f"t{number}")


def updates_in(outage: timedelta) -> tuple[int, int]:
    """Let that time pass, with a worker that claims whatever is due: how often it claimed, and how
    many updates that were."""
    end, claims = timezone.now() + outage, 0
    with (
        time_machine.travel(timezone.now(), tick=False) as clock,
        CaptureQueriesContext(connection) as queries,
    ):
        while (at := Order.objects.aggregate(at=Min("next_attempt_at"))["at"]) < end:
            clock.move_to(max(at, timezone.now()))
            assert orders.process()
            claims += 1
    return claims, sum(query["sql"].startswith("UPDATE") for query in queries)


@pytest.mark.parametrize("count", [20, 60])
def test_outage__however_many_wait__as_many_are_claimed_a_second(
    shelf: Shelf, player: Player, count: int
) -> None:
    send(shelf, player, count)

    claims, updates = updates_in(OUTAGE)

    # Two a second at most, after each came once.
    assert count < claims - count < 2 * OUTAGE.total_seconds()
    assert updates == 3 * claims
    assert shelf.provider.asked == []
    assert not Order.objects.exclude(state="retry", last_error__startswith="platform_away").exists()


def test_outage__control_all_come_back_at_once__many_times_as_many(
    shelf: Shelf, player: Player, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(asking, "PUT_OFF_RATE", 1_000_000)
    send(shelf, player, 60)

    claims, _ = updates_in(OUTAGE)

    assert claims > 2 * OUTAGE.total_seconds() + 60


@pytest.mark.parametrize(("count", "longest"), [(1, 20), (10, 20), (40, 50)])
def test_put_off__longer_the_more_wait(
    shelf: Shelf, player: Player, monkeypatch: pytest.MonkeyPatch, count: int, longest: float
) -> None:
    monkeypatch.setattr("random.uniform", lambda least, most: most)
    send(shelf, player, count)
    # What waits for another platform, and what is not due for long, does not count.
    Order.objects.bulk_create(
        Order(game=shelf.game, player=player, provider=provider, digest=digest, data={}, **more)
        for provider, digest, more in (
            ("apple", b"a", {}),
            (NAME, b"b", {"next_attempt_at": timezone.now() + timedelta(days=1)}),
            (NAME, b"c", {"state": "accepted"}),
        )
    )
    before = timezone.now()
    orders.process(order_id=Order.objects.filter(provider=NAME).earliest("id").pk)

    row = Order.objects.get(attempts=1)
    assert abs((row.next_attempt_at - before).total_seconds() - longest) < 1


def test_put_off__counts_them_once_for_a_while(
    shelf: Shelf, player: Player, django_assert_max_num_queries: Any
) -> None:
    send(shelf, player, 3)

    with CaptureQueriesContext(connection) as queries:
        while orders.process():
            pass

    assert sum("COUNT(*)" in query["sql"] for query in queries) == 1
