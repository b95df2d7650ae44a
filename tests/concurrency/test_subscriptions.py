"""Races of news about one subscription, with real threads and their controls."""

import threading
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection, transaction

from accounts.models import Game, Player
from analytics.models import Event
from store.models import PlatformPurchase
from store.models import Subscription as Row
from store.providers.base import Kind, Phase, Subscription, Verified
from store.services import granting, ownership, subscriptions, verification
from tests.concurrency.test_orders import errors_of, grants, player, shelf
from tests.concurrency.test_sessions import waits_for_a_lock_or_done
from tests.factories.store import OfferFactory
from tests.fakes.platform import EPOCH, NAME, NOTICE, Shelf
from tests.store.conftest import balance_of
from tests.threads import Meeting, at_once

__all__ = ["player", "shelf"]
pytestmark = pytest.mark.django_db(transaction=True)
MONTH = timedelta(days=30)
PERIODS = 8
THREADS = 32


@pytest.fixture
def club(game: Game, shelf: Shelf) -> Shelf:
    OfferFactory(
        game=game,
        key="club",
        contents={"currencies": {"gems": 10}},
        products={NAME: "club"},
        entitlement="club",
    )
    return shelf


def news(
    club: Shelf, player: Player, period: int, at: int = 0, phase: Phase = Phase.ACTIVE
) -> Verified:
    """What the platform says of a period, `at` seconds after its beginning. Each is a purchase of
    its own: only the subscription's row is common to all."""
    begins = EPOCH + period * MONTH
    return club.line(
        f"p{period}",
        signed_at=begins + timedelta(seconds=at),
        product="club",
        kind=Kind.SUBSCRIPTION,
        original_id="p0",
        account=ownership.account_token(player_id=player.pk),
        subscription=Subscription(
            phase=phase, expires_at=begins + MONTH, renews=phase is Phase.ACTIVE, since=begins
        ),
    )


def hear_at_once(club: Shelf, lines: list[Verified]) -> list[Any]:
    platform = club.platform
    return at_once(
        len(lines),
        lambda number: granting.apply(platform=platform, line=lines[number], cause=NOTICE),
    )


def test_news_of_all_periods__32_threads__the_newest_counts_and_each_is_granted_once(
    club: Shelf, player: Player
) -> None:
    last = PERIODS - 1
    lines = [news(club, player, number % PERIODS, at=number) for number in range(THREADS - 1)]
    lines.append(news(club, player, last, at=THREADS, phase=Phase.CANCELLED))

    assert errors_of(hear_at_once(club, lines)) == []

    row = Row.objects.get()
    assert (row.phase, row.renews, row.player_id) == ("cancelled", False, player.pk)
    assert row.purchase == club.purchase(f"p{last}")
    assert row.entitled_until == EPOCH + PERIODS * MONTH
    assert grants() == PlatformPurchase.objects.filter(state="granted").count() == PERIODS
    assert balance_of(player.pk, "gems") == (10 * PERIODS, 0)
    assert Event.objects.filter(name="subscription_started").count() == 1
    assert list(verification.verify()) == []


def test_news_of_two_periods__at_once__the_newer_counts(
    club: Shelf, player: Player, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The newer waits for the lock of the older, which changes the subscription's purchase."""
    platform = club.platform
    granting.apply(platform=platform, line=news(club, player, 0), cause=NOTICE)
    lines = [news(club, player, 1), news(club, player, 2)]
    newer_inserted, older_noted = threading.Event(), threading.Event()
    real = Row.objects.bulk_create

    def insert(rows: list[Row], **how: Any) -> list[Row]:
        inserted = real(rows, **how)
        if rows[0].purchase.transaction_id == "p2":
            newer_inserted.set()
            assert older_noted.wait(30)
        return inserted

    monkeypatch.setattr(Row.objects, "bulk_create", insert)

    def act(number: int) -> None:
        if number == 1:
            granting.apply(platform=platform, line=lines[1], cause=NOTICE)
            return
        assert newer_inserted.wait(30)
        with transaction.atomic():
            granting.apply(platform=platform, line=lines[0], cause=NOTICE)
            older_noted.set()
            waits_for_a_lock_or_done(lambda: False)

    assert errors_of(at_once(2, act)) == []
    assert Row.objects.get().purchase == club.purchase("p2")


def test_news_of_two_periods__control_without_the_lock__the_older_counts(
    club: Shelf, player: Player, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both find the subscription as it was; the older is written when the newer is committed."""
    platform = club.platform
    granting.apply(platform=platform, line=news(club, player, 0), cause=NOTICE)
    lines = [news(club, player, 1), news(club, player, 2)]
    meeting, newer_done = Meeting(2), threading.Event()

    def look(purchase: PlatformPurchase, line: Verified) -> tuple[Row, bool]:
        found = Row.objects.select_related("purchase").get()
        meeting.wait()
        if line == lines[0]:
            assert newer_done.wait(30)
        return found, False

    monkeypatch.setattr(subscriptions, "locked", look)

    def act(number: int) -> None:
        granting.apply(platform=platform, line=lines[number], cause=NOTICE)
        if number == 1:
            newer_done.set()

    assert errors_of(at_once(2, act)) == []
    assert Row.objects.get().purchase == club.purchase("p1")


def test_first_news__control_look_then_insert__many_subscriptions(
    club: Shelf, player: Player
) -> None:
    """Without the unique constraint, looking before inserting is not enough."""
    granting.apply(platform=club.platform, line=news(club, player, 0), cause=NOTICE)
    purchase = club.purchase("p0")
    Row.objects.all().delete()
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE store_subscription DROP CONSTRAINT store_subscription_once")
    meeting = Meeting(PERIODS)
    try:

        def hear(_: int) -> None:
            is_known = Row.objects.exists()
            meeting.wait()
            if not is_known:
                Row.objects.create(
                    game=club.game,
                    purchase=purchase,
                    provider=NAME,
                    environment=purchase.environment,
                    app_id=purchase.app_id,
                    original_id="p0",
                    signed_at=EPOCH,
                )

        assert errors_of(at_once(PERIODS, hear)) == []
        assert Row.objects.count() == PERIODS
    finally:
        Row.objects.all().delete()
        with connection.cursor() as cursor:
            cursor.execute(
                """ALTER TABLE store_subscription ADD CONSTRAINT store_subscription_once
                   UNIQUE (provider, environment, app_id, original_id, line)"""
            )
