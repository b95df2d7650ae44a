"""Races for what was paid with real money, with real threads and their controls."""

import random
import threading
from collections.abc import Callable
from typing import Any

import pytest
from django.db import IntegrityError, connection

from accounts.models import Game, Player
from store import tasks
from store.errors import NotForDecision
from store.models import Order, OwnerConflict, PlatformPurchase, Transaction
from store.providers.base import WHOLE, TryAgainError
from store.services import asking, granting, orders, ownership, telling, verification
from tests.concurrency.test_ledger import forget_the_broken_books
from tests.factories.accounts import PlayerFactory
from tests.factories.store import CurrencyFactory, ItemFactory, OfferFactory
from tests.fakes.platform import EPOCH, NAME, ORDER, Shelf, make_shelf
from tests.store.conftest import balance_of, stack_of
from tests.threads import Meeting, at_once

pytestmark = pytest.mark.django_db(transaction=True)
THREADS = 32


@pytest.fixture
def shelf(game: Game, monkeypatch: pytest.MonkeyPatch) -> Shelf:
    CurrencyFactory(game=game, key="gems")
    ItemFactory(game=game, key="seeds")
    OfferFactory(
        game=game,
        key="pack",
        contents={"currencies": {"gems": 100}, "items": {"seeds": 5}},
        products={NAME: "gems"},
    )
    return make_shelf(game, monkeypatch)


@pytest.fixture
def player(shelf: Shelf) -> Player:
    return PlayerFactory(game=shelf.game)


def grants() -> int:
    return Transaction.objects.filter(reason="platform_purchase").count()


def errors_of(results: list[Any]) -> list[Exception]:
    return [result for result in results if isinstance(result, Exception)]


def test_submit__32_threads__one_order(shelf: Shelf, player: Player) -> None:
    results = at_once(THREADS, lambda _: shelf.submit(player).pk)

    assert errors_of(results) == []
    assert len(set(results)) == 1
    assert Order.objects.count() == 1


def test_submit__control_check_then_insert__many_orders(shelf: Shelf, player: Player) -> None:
    """Without the unique constraint, looking before inserting is not enough."""
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE store_order DROP CONSTRAINT store_order_once")
    meeting = Meeting(THREADS)
    try:

        def submit(_: int) -> None:
            is_known = Order.objects.filter(player=player).exists()
            meeting.wait()
            if not is_known:
                Order.objects.create(
                    game=shelf.game, player=player, provider=NAME, digest=b"x", data={}
                )

        at_once(THREADS, submit)
        assert Order.objects.count() == THREADS
    finally:
        Order.objects.all().delete()
        with connection.cursor() as cursor:
            cursor.execute(
                """ALTER TABLE store_order ADD CONSTRAINT store_order_once
                   UNIQUE (player_id, provider, digest)"""
            )


def test_process__32_workers__the_platform_is_asked_once(shelf: Shelf, player: Player) -> None:
    shelf.say()
    order = shelf.submit(player)

    results = at_once(THREADS, lambda _: orders.process(order_id=order.pk))

    assert errors_of(results) == []
    assert results.count(True) == 1
    assert shelf.provider.asked == ["t1"]
    assert grants() == 1


def work_at_once(shelf: Shelf, player: Player) -> None:
    """A sweep and what it has handed out, of forty receipts, each by a worker of its own."""
    for number in range(40):
        shelf.say(f"t{number}")
        shelf.submit(player, f"t{number}")
    results = at_once(5, lambda number: tasks.do_some("orders") if number else tasks.sweep_orders())
    assert errors_of(results) == []


def test_sweep__and_what_it_hands_out__every_receipt_is_asked_about_once(
    shelf: Shelf, player: Player, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[object] = []
    monkeypatch.setattr(tasks.do_some, "apply_async", lambda given, **_: sent.append(given))

    work_at_once(shelf, player)

    assert sorted(shelf.provider.asked) == sorted(f"t{number}" for number in range(40))
    assert len(sent) <= 3
    assert (grants(), balance_of(player.pk, "gems")) == (40, (4000, 0))
    assert list(verification.verify()) == []


def test_sweep__control_rows_that_are_only_looked_at__asked_about_again_and_again(
    shelf: Shelf, player: Player, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All look for what is due before any of them takes it. It is still granted once."""

    def look(due: Any, *, limit: int, lease: Any) -> list[Any]:
        return list(due.order_by("next_attempt_at")[:limit])

    monkeypatch.setattr(tasks.do_some, "apply_async", lambda *_, **__: None)
    monkeypatch.setattr(orders, "claim", Meeting(5).after(look))

    work_at_once(shelf, player)

    assert len(shelf.provider.asked) > 40
    assert grants() == 40


def test_apply__32_threads__granted_once(shelf: Shelf, player: Player) -> None:
    """Beneath the claim: leases that ran out, notifications and receipts at the same time."""
    order = shelf.submit(player)
    platform = shelf.platform

    results = at_once(
        THREADS,
        lambda number: granting.apply(
            platform=platform,
            line=shelf.line(at=number % 3),
            cause=ORDER,
            order=order if number % 2 else None,
        ),
    )

    assert errors_of(results) == []
    assert grants() == 1
    assert balance_of(player.pk, "gems") == (100, 0)
    assert PlatformPurchase.objects.get().state == "granted"
    assert list(verification.verify()) == []


def test_apply__control_without_row_and_key__granted_many_times(
    shelf: Shelf, player: Player, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the purchase's row not unique, each thread has one of its own, and each grants."""
    order = shelf.submit(player)
    platform = shelf.platform
    with connection.cursor() as cursor:
        cursor.execute(
            "ALTER TABLE store_platformpurchase DROP CONSTRAINT store_platformpurchase_once"
        )

    def locked(platform: Any, line: Any) -> PlatformPurchase:
        return PlatformPurchase.objects.create(
            game_id=platform.game_id,
            provider=platform.provider,
            environment=line.environment.value,
            app_id=line.app_id,
            transaction_id=line.transaction_id,
            product=line.product,
            kind=line.kind.value,
            signed_at=line.signed_at,
        )

    monkeypatch.setattr(granting, "_locked", locked)
    try:
        at_once(
            8,
            lambda _: granting.apply(
                platform=platform, line=shelf.line(), cause=ORDER, order=order
            ),
        )
        assert grants() == 8
        assert balance_of(player.pk, "gems") == (800, 0)
    finally:
        forget_the_broken_books()
        with connection.cursor() as cursor:
            cursor.execute("TRUNCATE store_platformpurchase CASCADE")
            cursor.execute(
                """ALTER TABLE store_platformpurchase ADD CONSTRAINT store_platformpurchase_once
                   UNIQUE (provider, environment, app_id, transaction_id, line)"""
            )


def test_two_players__one_receipt__one_owner_and_conflicts(shelf: Shelf) -> None:
    players = [PlayerFactory(game=shelf.game) for _ in range(8)]
    shelf.say()
    found = [shelf.submit(player) for player in players]

    results = at_once(8, lambda number: orders.process(order_id=found[number].pk))

    assert errors_of(results) == []
    assert grants() == 1
    assert OwnerConflict.objects.count() == 7
    states = [Order.objects.get(pk=order.pk).state for order in found]
    assert (states.count("accepted"), states.count("rejected")) == (1, 7)


def test_refunds_and_reversals__32_threads__the_latest_news_counts(
    shelf: Shelf, player: Player
) -> None:
    shelf.buy(player)
    platform = shelf.platform
    shares = [0, WHOLE, 50_000, 33_333]

    results = at_once(
        THREADS,
        lambda number: granting.apply(
            platform=platform,
            line=shelf.line(at=1 + number, revoked=shares[(number + 1) % 4]),
            cause=ORDER,
        ),
    )

    assert errors_of(results) == []
    # The newest is the thirty-second: nothing is taken back.
    assert PlatformPurchase.objects.get().state == "granted"
    assert balance_of(player.pk, "gems") == (100, 0)
    assert stack_of(player.pk, "seeds") == 5
    assert list(verification.verify()) == []


def test_refund_and_receipt_at_once__never_both(shelf: Shelf, player: Player) -> None:
    platform = shelf.platform
    found = [shelf.submit(player, f"t{number}") for number in range(8)]

    def act(number: int) -> None:
        name = f"t{number // 2}"
        if number % 2:
            line = shelf.line(name, at=5, revoked=WHOLE)
            granting.apply(platform=platform, line=line, cause=ORDER)
        else:
            granting.apply(
                platform=platform, line=shelf.line(name), cause=ORDER, order=found[number // 2]
            )

    results = at_once(16, act)

    assert errors_of(results) == []
    assert {row.state for row in PlatformPurchase.objects.all()} == {"revoked"}
    assert (balance_of(player.pk, "gems") or (0, 0)) == (0, 0)
    assert list(verification.verify()) == []


def test_telling__32_workers__told_once(shelf: Shelf, player: Player) -> None:
    shelf.buy(player, must_tell=True, token="tok")

    results = at_once(THREADS, lambda _: telling.tell())

    assert results.count(True) == 1
    assert len(shelf.provider.told) == 1


def test_account_token__32_threads__one_token(shelf: Shelf, player: Player) -> None:
    results = at_once(THREADS, lambda _: ownership.account_token(player_id=player.pk))

    assert errors_of(results) == []
    assert len(set(results)) == 1


def test_conflicts__decided_both_ways_at_once__one_decision(shelf: Shelf, player: Player) -> None:
    other = PlayerFactory(game=shelf.game)
    shelf.buy(player)
    shelf.process(shelf.submit(other))
    conflict = OwnerConflict.objects.get()

    results = at_once(
        8,
        lambda number: ownership.decide(
            conflict_id=conflict.pk, move=number % 2 == 0, actor=str(number)
        ),
    )

    assert len(errors_of(results)) == 7
    total = sum((balance_of(one.pk, "gems") or (0, 0))[0] for one in (player, other))
    assert total == 100
    assert list(verification.verify()) == []


@pytest.fixture
def kept(shelf: Shelf, player: Player) -> OwnerConflict:
    """A claim that staff have left with the purchase's owner."""
    shelf.buy(player)
    shelf.process(shelf.submit(PlayerFactory(game=shelf.game)))
    return ownership.decide(conflict_id=OwnerConflict.objects.get().pk, move=False, actor="ann")


def reopen_at_once(kept: OwnerConflict) -> list[Exception]:
    def reopen(number: int) -> OwnerConflict:
        return ownership.reopen(conflict_id=kept.pk, actor=str(number), reason="a ticket")

    return errors_of(at_once(8, reopen))


def test_reopen__8_threads__open_once_and_the_others_are_told(kept: OwnerConflict) -> None:
    errors = reopen_at_once(kept)

    assert [type(error) for error in errors] == [NotForDecision] * 7
    assert OwnerConflict.objects.filter(state="open").count() == 1


def test_reopen__control_without_the_lock__only_the_index_is_left(
    kept: OwnerConflict, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All look before any of them acts; the others get an error that tells them nothing."""
    rows = OwnerConflict.objects
    monkeypatch.setattr(ownership, "_locked", lambda _: (PlatformPurchase.objects.get(), kept))
    monkeypatch.setattr(rows, "create", Meeting(8).before(rows.create))

    errors = reopen_at_once(kept)

    assert [type(error) for error in errors] == [IntegrityError] * 7
    assert OwnerConflict.objects.filter(state="open").count() == 1


def test_platform_fails_every_other_time__60_receipts__each_granted_once(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Verifying and telling, by four workers who take what is due. The breaker stays closed."""
    asking._breaker.cache_clear()
    players = [PlayerFactory(game=shelf.game) for _ in range(6)]
    for number in range(60):
        shelf.say(f"t{number}", token=f"token-{number}", must_tell=True)
        shelf.submit(players[number % 6], f"t{number}")
    chance, lock = random.Random(1), threading.Lock()

    def shaky(act: Callable[..., Any]) -> Callable[..., Any]:
        def fail_or_act(*args: Any, **named: Any) -> Any:
            with lock:
                fails = chance.random() < 0.5
            if fails:
                raise TryAgainError("platform_unavailable")
            return act(*args, **named)

        return fail_or_act

    monkeypatch.setattr(shelf.provider, "verify", shaky(shelf.provider.verify))
    monkeypatch.setattr(shelf.provider, "tell", shaky(shelf.provider.tell))

    def work(_: int) -> None:
        while orders.process() or telling.tell():
            pass

    for _ in range(40):
        Order.objects.filter(state__in=Order.OPEN).update(next_attempt_at=EPOCH)
        PlatformPurchase.objects.filter(told="due").update(next_attempt_at=EPOCH)
        assert not errors_of(at_once(4, work))
        if not Order.objects.filter(state__in=Order.OPEN).exists() and not (
            PlatformPurchase.objects.filter(told="due").exists()
        ):
            break

    assert set(Order.objects.values_list("state", flat=True)) == {"accepted"}
    assert (grants(), PlatformPurchase.objects.filter(state="granted").count()) == (60, 60)
    assert set(PlatformPurchase.objects.values_list("told", flat=True)) == {"done"}
    assert [balance_of(player.pk, "gems") for player in players] == [(1000, 0)] * 6
    assert sorted({token for token, _ in shelf.provider.told}) == sorted(
        f"token-{number}" for number in range(60)
    )
    assert list(verification.verify()) == []
