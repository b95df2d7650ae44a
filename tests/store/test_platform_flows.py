"""What workers do around receipts: telling platforms, notifications, looking back, figures."""

import json
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.utils import timezone
from prometheus_client import REGISTRY

from accounts.models import Player
from store import tasks
from store.errors import (
    NotificationNotReadable,
    NotificationNotTrusted,
    NotificationRefused,
    UnknownPlatform,
)
from store.models import (
    Order,
    PlatformApp,
    PlatformNotice,
    PlatformPurchase,
    PurchaseStep,
    Watermark,
)
from store.providers.base import (
    WHOLE,
    Environment,
    Kind,
    MisconfiguredError,
    RejectedError,
    State,
    TryAgainError,
)
from store.receipt_selectors import refunds_of, repeated_refunders
from store.services import (
    notices,
    orders,
    receipt_figures,
    reconciliation,
    telling,
    verification,
)
from tests.fakes.platform import EPOCH, NAME, Shelf
from tests.store.conftest import balance_of
from tests.store.receipts import other, player, shelf, status

__all__ = ["other", "player", "shelf"]
pytestmark = pytest.mark.django_db


def due_now() -> None:
    PlatformPurchase.objects.update(next_attempt_at=EPOCH)
    PlatformNotice.objects.update(next_attempt_at=EPOCH)


def figure(name: str, **labels: str) -> float | None:
    return REGISTRY.get_sample_value(f"evenkeel_store_{name}", labels)


# Telling


def test_telling__granted__the_platform_hears_of_it_once(shelf: Shelf, player: Player) -> None:
    shelf.buy(player, "t1", must_tell=True, token="one")
    shelf.buy(player, "t2", must_tell=True, token="two", product="koi")

    assert tasks.tell_platforms() == 2
    assert shelf.provider.told == [("one", True), ("two", False)]
    assert {row.told for row in PlatformPurchase.objects.all()} == {"done"}
    assert telling.tell() is False


def test_telling__what_the_platform_still_waits_for__told_again(
    shelf: Shelf, player: Player
) -> None:
    shelf.buy(player, must_tell=True, token="one")
    telling.tell()

    shelf.hear(must_tell=True, token="one", at=1)

    assert telling.tell() is True
    assert shelf.provider.told == [("one", True)] * 2


def test_telling__in_vain__later(shelf: Shelf, player: Player) -> None:
    shelf.buy(player, must_tell=True)
    shelf.provider.tell_error = TryAgainError("platform_unavailable", counts=False)

    telling.tell(purchase_id=shelf.purchase().pk)

    row = shelf.purchase()
    assert (row.told, row.last_error) == ("due", "platform_unavailable")
    assert row.next_attempt_at > timezone.now()


def test_telling__in_vain_for_a_week__failed(shelf: Shelf, player: Player) -> None:
    shelf.buy(player, must_tell=True)
    PlatformPurchase.objects.update(granted_at=timezone.now() - timedelta(days=8))
    shelf.provider.tell_error = MisconfiguredError("bad_key")

    telling.tell()

    assert shelf.purchase().told == "failed"


def test_telling__refused__failed(shelf: Shelf, player: Player) -> None:
    shelf.buy(player, must_tell=True)
    shelf.provider.tell_error = RejectedError("gone")

    telling.tell()

    assert (shelf.purchase().told, shelf.purchase().last_error) == ("failed", "gone")


def test_telling__refunded_meanwhile__not_told(shelf: Shelf, player: Player) -> None:
    shelf.buy(player, must_tell=True)
    shelf.hear(at=1, revoked=WHOLE)

    assert telling.tell() is True
    assert (shelf.purchase().told, shelf.provider.told) == ("none", [])


def test_task__processes_an_order_and_tells(shelf: Shelf, player: Player) -> None:
    shelf.say(must_tell=True, token="tok")
    order = shelf.submit(player)

    tasks.process_order(str(order.pk))
    tasks.process_order(str(order.pk))

    assert status(order) == ("granted", None)
    assert shelf.provider.told == [("tok", True)]


def test_sweep__what_is_due__is_done(shelf: Shelf, player: Player) -> None:
    for number in range(3):
        shelf.say(f"t{number}")
        shelf.submit(player, f"t{number}")

    assert tasks.sweep_orders() == 3
    assert tasks.sweep_orders() == 0
    assert balance_of(player.pk, "gems") == (300, 0)


def test_sweep__time_is_over__the_next_one_is_called(monkeypatch: pytest.MonkeyPatch) -> None:
    called: list[Any] = []
    monkeypatch.setattr(tasks, "SWEEP_SECONDS", 0.0)
    monkeypatch.setattr(tasks.poll_pending, "apply_async", lambda **options: called.append(options))

    assert tasks._sweep(tasks.poll_pending, lambda: True) == 1
    assert len(called) == 1


@pytest.mark.parametrize(
    ("waiting", "handed_out"), [(0, 0), (3, 0), (4, 1), (7, 2), (12, 3), (30, 3)]
)
def test_sweep__more_than_a_part__the_rest_is_handed_out_in_bounds(
    shelf: Shelf,
    player: Player,
    monkeypatch: pytest.MonkeyPatch,
    waiting: int,
    handed_out: int,
) -> None:
    called: list[Any] = []
    monkeypatch.setattr(tasks, "SWEEP_SECONDS", 0.0)
    monkeypatch.setattr(tasks, "ROWS_IN_A_TASK", 3)
    monkeypatch.setattr(tasks, "MOST_TASKS", 3)
    monkeypatch.setattr(
        tasks.do_some, "apply_async", lambda given, **options: called.append((given, options))
    )
    for number in range(waiting):
        shelf.say(f"t{number}")
        shelf.submit(player, f"t{number}")

    assert tasks.sweep_orders() == min(waiting, 1)

    assert called == [(("orders",), {"expires": 0.0})] * handed_out
    assert tasks.do_some("orders") == min(max(waiting - 1, 0), 3)


def test_do_some__of_every_kind__a_part_of_it(
    shelf: Shelf, player: Player, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tasks, "ROWS_IN_A_TASK", 2)
    for number in range(3):
        shelf.say(f"t{number}", must_tell=True, token="tok")
        shelf.submit(player, f"t{number}")
        shelf.notice(f"n{number}", f"t{number}")

    done = {kind: [tasks.do_some(kind) for _ in range(3)] for kind in tasks.KINDS}

    assert done == {"orders": [2, 1, 0], "notices": [2, 1, 0], "telling": [2, 1, 0]}
    assert balance_of(player.pk, "gems") == (300, 0)


# Notifications


def receive(shelf: Shelf, **more: Any) -> Any:
    body = {"id": "n1", "app": shelf.app_id, "about": "t1", **more}
    return notices.receive(provider=NAME, headers={}, body=json.dumps(body).encode())


def test_notice__sent_twice__stored_and_processed_once(shelf: Shelf, player: Player) -> None:
    shelf.buy(player)
    shelf.say(at=1, revoked=WHOLE)

    stored = receive(shelf)

    assert receive(shelf) is None
    tasks.process_notice(str(stored))
    assert tasks.sweep_notices() == 0
    assert PlatformNotice.objects.get().state == "done"
    assert balance_of(player.pk, "gems") == (0, 0)
    step = PurchaseStep.objects.get(after="revoked")
    assert (step.cause, step.reference) == ("notice", "n1")


@pytest.mark.parametrize(
    ("what", "problem"),
    [
        ("forged", NotificationNotTrusted),
        ("malformed", NotificationRefused),
        ("later", NotificationNotReadable),
    ],
)
def test_notice__that_is_not_believed__is_not_stored(
    shelf: Shelf, what: str, problem: type[Exception]
) -> None:
    with pytest.raises(problem):
        receive(shelf, **{what: True})

    assert not PlatformNotice.objects.exists()


def test_notice__of_no_platform__refused(shelf: Shelf, settings: Any) -> None:
    settings.STORE_SANDBOX = False
    for name in ("nobody", "sandbox"):
        with pytest.raises(UnknownPlatform):
            notices.receive(provider=name, headers={}, body=b"{}")


@pytest.mark.parametrize(
    ("said", "state", "error"),
    [
        ([], "ignored", ""),
        (RejectedError("wrong_app"), "ignored", "wrong_app"),
        (MisconfiguredError("bad_key"), "dead", "bad_key"),
        (TryAgainError("later", counts=False), "received", "later"),
        (ZeroDivisionError("secret"), "received", "ZeroDivisionError"),
    ],
)
def test_notice__trouble(shelf: Shelf, said: Any, state: str, error: str) -> None:
    shelf.provider.says["t1"] = said
    notice = shelf.notice()

    notices.process(notice_id=notice.pk)

    notice.refresh_from_db()
    assert (notice.state, notice.last_error) == (state, error)


def test_notice__of_an_app_that_nobody_has__ignored(shelf: Shelf) -> None:
    notice = shelf.notice()
    PlatformNotice.objects.update(app_id="com.other")

    notices.process()

    notice.refresh_from_db()
    assert (notice.state, notice.last_error) == ("ignored", "unknown_app")


def test_notice__in_vain_for_a_day__dead_until_staff_has_it_done_again(shelf: Shelf) -> None:
    shelf.provider.says["t1"] = TryAgainError("later", counts=False)
    notice = shelf.notice()
    PlatformNotice.objects.update(first_tried_at=timezone.now() - timedelta(hours=25))
    notices.process()
    notice.refresh_from_db()
    assert notice.state == "dead"
    shelf.say()

    assert notices.again(notice_id=notice.pk) is True
    assert notices.again(notice_id=notice.pk) is False
    notices.process()

    notice.refresh_from_db()
    assert notice.state == "done"


def test_notice__money_for_what_we_do_not_know__dead(shelf: Shelf, player: Player) -> None:
    shelf.buy(player, "s1", kind=Kind.SUBSCRIPTION, original_id="s1")
    shelf.say("s2", product="new", kind=Kind.SUBSCRIPTION, original_id="s1")
    notice = shelf.notice(about="s2")

    notices.process()

    notice.refresh_from_db()
    assert (notice.state, notice.last_error) == ("dead", "unknown_product")


# Looking back


def test_look_back__what_was_missed__is_applied(shelf: Shelf, player: Player) -> None:
    shelf.buy(player)
    notice = shelf.provider.read_notice(
        {}, json.dumps({"id": "n9", "app": shelf.app_id, "about": "t1"}).encode()
    )
    shelf.provider.misses = [shelf.line(at=9, revoked=WHOLE), shelf.line("t2"), notice]

    tasks.reconcile()

    assert balance_of(player.pk, "gems") == (0, 0)
    assert shelf.purchase("t2").state == "verified"
    assert PlatformNotice.objects.get().notice_id == "n9"
    assert PurchaseStep.objects.get(after="revoked").cause == "reconciliation"
    assert [mark.attempts for mark in Watermark.objects.all()] == [0, 0]
    assert reconciliation.look_back() is False


def test_look_back__windows__overlap_and_reach_what_was_not_looked_at(shelf: Shelf) -> None:
    reconciliation.watch()
    mark = Watermark.objects.get(kind="recent")
    now = timezone.now()
    day = timedelta(days=1)
    for until, back in ((now, day), (now - 3 * day, 3 * day), (now - 90 * day, 30 * day)):
        Watermark.objects.filter(pk=mark.pk).update(until=until, next_attempt_at=EPOCH)
        Watermark.objects.exclude(pk=mark.pk).update(next_attempt_at=now + day)
        assert reconciliation.look_back() is True
        since, to = shelf.provider.asked_since[-1]
        assert abs(to - now) < timedelta(minutes=1)
        assert timedelta(0) <= (now - back) - since + timedelta(minutes=1) < timedelta(hours=2)


def test_look_back__in_vain__again_from_the_same_mark(shelf: Shelf) -> None:
    reconciliation.watch()
    Watermark.objects.update(until=EPOCH)
    shelf.provider.misses = TryAgainError("platform_unavailable", counts=False)

    reconciliation.look_back()

    mark = Watermark.objects.get(attempts=1)
    assert (mark.until, mark.last_error[:8]) == (EPOCH, "platform")
    assert mark.next_attempt_at > timezone.now()


def test_poll__pending__asked_until_it_is_paid(shelf: Shelf, player: Player) -> None:
    order = shelf.buy(player, state=State.PENDING)

    assert tasks.poll_pending() == 1
    assert tasks.poll_pending() == 0
    assert status(order) == ("deferred", None)
    shelf.say(at=1)
    due_now()
    assert tasks.poll_pending() == 1

    assert status(order) == ("granted", None)
    assert PurchaseStep.objects.get(after="granted").cause == "sweeper"


def test_poll__in_vain__stays_pending(shelf: Shelf, player: Player) -> None:
    order = shelf.buy(player, state=State.PENDING)
    shelf.provider.says["t1"] = TryAgainError("platform_unavailable", counts=False)

    reconciliation.poll(purchase_id=shelf.purchase().pk)

    assert status(order) == ("deferred", None)


def test_poll__the_platform_knows_nothing_of_it__cancelled(shelf: Shelf, player: Player) -> None:
    order = shelf.buy(player, state=State.PENDING)
    shelf.provider.says["t1"] = RejectedError("gone")

    reconciliation.poll()

    assert status(order) == ("rejected", "cancelled")
    assert PurchaseStep.objects.latest("id").detail == {"code": "gone"}


# The books, figures, refunders


def test_audit__purchase_that_the_ledger_does_not_have__is_a_difference(
    shelf: Shelf, player: Player
) -> None:
    shelf.buy(player, "t1", product="pack")
    shelf.buy(player, "t2")
    shelf.hear("t2", 1, revoked=50_000)
    assert list(verification.verify()) == []

    with connection.cursor() as cursor:
        cursor.execute(
            """UPDATE store_platformpurchase SET granted = jsonb_set(granted, '{items,seeds}', '3')
               WHERE transaction_id = 't1'"""
        )
        cursor.execute(
            """UPDATE store_platformpurchase SET reversals = 0, taken = '{}'
               WHERE transaction_id = 't2'"""
        )

    found = {(difference.subject, difference.detail) for difference in verification.verify()}
    one, two = shelf.purchase("t1").pk, shelf.purchase("t2").pk
    assert found == {
        (f"platform purchase {one}", "item seeds: holds 3, its transactions moved 2"),
        (f"platform purchase {two}", "currency gems: holds 100, its transactions moved 50"),
        (f"platform purchase {two}", "has 2 transactions, and 0 reversals"),
    }


def test_figures__what_waits_and_what_is_dead(shelf: Shelf, player: Player, other: Player) -> None:
    shelf.buy(player, "t1", must_tell=True)
    shelf.process(shelf.submit(other, "t1"))
    shelf.buy(player, "t2", product="new")
    shelf.submit(player, "t3")
    Order.objects.filter(state="received").update(created_at=timezone.now() - timedelta(hours=1))
    PlatformPurchase.objects.update(granted_at=timezone.now() - timedelta(hours=2))
    shelf.notice()

    tasks.measure_receipts()

    assert figure("dead", what="orders") == 1
    assert figure("dead", what="notifications") == 0
    assert figure("oldest_unprocessed_seconds", what="orders") == pytest.approx(3600, abs=60)
    assert figure("oldest_untold_seconds", provider=NAME) == pytest.approx(7200, abs=60)
    assert figure("open_owner_conflicts") == 1
    assert figure("last_notification_timestamp_seconds", provider=NAME) is not None
    Order.objects.filter(state="received").update(state="rejected")
    receipt_figures.measure()
    assert figure("oldest_unprocessed_seconds", what="orders") == 0


def test_refunders__repeated__are_seen(shelf: Shelf, player: Player, other: Player) -> None:
    for number in range(3):
        shelf.buy(player, f"t{number}")
        shelf.hear(f"t{number}", 1, revoked=WHOLE if number else 1)
    shelf.buy(other, "t9")
    shelf.hear("t9", 1, revoked=WHOLE)

    assert repeated_refunders(game_id=shelf.game.pk) == [(player.pk, 3)]
    assert refunds_of(player_id=other.pk) == 1
    player.refresh_from_db()
    assert player.blocked_until is None


def test_sandbox_grants__are_counted(shelf: Shelf, player: Player) -> None:
    before = figure("sandbox_grants_total", provider=NAME) or 0
    shelf.set_sandbox("all")
    shelf.buy(player, environment=Environment.SANDBOX)

    assert figure("sandbox_grants_total", provider=NAME) == before + 1


def test_app__archived__is_neither_looked_back_at_nor_sold(shelf: Shelf) -> None:
    PlatformApp.objects.update(is_active=False)
    reconciliation.watch()

    assert not Watermark.objects.exists()
    assert orders.process() is False


def test_telling__old_news_after_it_was_told__nothing_to_tell(shelf: Shelf, player: Player) -> None:
    shelf.buy(player, must_tell=True, token="one", at=5)
    telling.tell()

    shelf.hear(must_tell=True, token="one", at=1)

    assert telling.tell() is False
