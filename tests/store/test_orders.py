"""Receipts, from the inbox to their end."""

import random
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from accounts.models import Player
from config import hooks
from config.api.problems import NotFound
from config.api.wire import UNSET
from store.errors import ReceiptRefused, UnknownPlatform
from store.models import (
    Currency,
    Item,
    Order,
    OwnerConflict,
    PlatformApp,
    PlatformPurchase,
    PurchaseStep,
    Transaction,
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
from store.receipt_selectors import order_out
from store.services import asking, granting, orders, ownership, verification
from store.services.steps import Cause
from tests.factories.accounts import PlayerFactory
from tests.factories.store import CurrencyFactory, ItemFactory, OfferFactory, give
from tests.fakes.platform import NAME, Shelf, make_shelf
from tests.store.conftest import balance_of, stack_of

pytestmark = pytest.mark.django_db
STAFF = Cause(PurchaseStep.Cause.STAFF, "ann")


@pytest.fixture
def shelf(game: Any, monkeypatch: pytest.MonkeyPatch) -> Shelf:
    """Gems, koi (durable) and seeds, each sold alone, and a pack of all of it."""
    CurrencyFactory(game=game, key="gems", max=150)
    ItemFactory(game=game, key="koi", kind=Item.Kind.DURABLE)
    ItemFactory(game=game, key="seeds", max_stack=5)
    for key, contents in {
        "gems": {"currencies": {"gems": 100}},
        "koi": {"items": {"koi": 1}},
        "seeds": {"items": {"seeds": 4}},
        "pack": {"currencies": {"gems": 10}, "items": {"seeds": 2}},
    }.items():
        OfferFactory(game=game, key=key, contents=contents, products={NAME: key})
    return make_shelf(game, monkeypatch)


@pytest.fixture
def player(shelf: Shelf) -> Player:
    return PlayerFactory(game=shelf.game)


@pytest.fixture
def other(shelf: Shelf) -> Player:
    return PlayerFactory(game=shelf.game)


def status(order: Order) -> tuple[str, Any]:
    out = order_out(Order.objects.get(pk=order.pk))
    return out.status, out.code or None


def books_are_right() -> bool:
    return list(verification.verify()) == []


# The inbox


def test_submit__the_same_receipt_again__the_same_order(shelf: Shelf, player: Player) -> None:
    first = shelf.submit(player)

    assert shelf.submit(player).pk == first.pk
    assert Order.objects.count() == 1
    assert status(first) == ("received", None)


def test_submit__the_same_receipt_of_two_players__two_orders(
    shelf: Shelf, player: Player, other: Player
) -> None:
    assert shelf.submit(player).pk != shelf.submit(other).pk


def test_submit__platform_that_the_game_does_not_have__refused(
    shelf: Shelf, player: Player
) -> None:
    for provider in ("apple", "sandbox", "nobody"):
        with pytest.raises(UnknownPlatform):
            orders.submit(game_id=shelf.game.pk, player_id=player.pk, provider=provider, receipt={})


def test_submit__what_is_no_receipt__refused_with_the_reason(shelf: Shelf, player: Player) -> None:
    with pytest.raises(ReceiptRefused) as refused:
        orders.submit(game_id=shelf.game.pk, player_id=player.pk, provider=NAME, receipt="?")

    assert refused.value.extra == {"reason": "malformed_receipt"}
    assert not Order.objects.exists()


def test_submit__other_proof_after_a_rejection__is_verified(shelf: Shelf, player: Player) -> None:
    shelf.provider.says["t1"] = RejectedError("not_authentic")
    rejected = shelf.process(shelf.submit(player))
    assert status(rejected) == ("rejected", "not_authentic")
    shelf.say()

    assert status(shelf.submit(player)) == ("rejected", "not_authentic")
    order = shelf.submit(player, proof="better")

    assert order.pk == rejected.pk
    assert status(shelf.process(order)) == ("granted", None)


# Granting


def test_process__bought__granted_once(shelf: Shelf, player: Player) -> None:
    order = shelf.buy(player, price_minor_units=99, price_currency="EUR", country="DE")

    assert status(order) == ("granted", None)
    assert balance_of(player.pk, "gems") == (100, 0)
    purchase = shelf.purchase()
    assert (purchase.state, purchase.player_id, purchase.order_id) == (
        "granted",
        player.pk,
        order.pk,
    )
    assert (purchase.kind, purchase.is_unbound, purchase.told) == ("consumable", True, "none")
    assert purchase.granted == {"currencies": {"gems": 100}, "items": {}}
    assert Transaction.objects.get(pk=purchase.pk).key == f"purchase:{purchase.pk}:grant"
    out = order_out(order)
    assert (out.offer, out.product) == ("gems", "gems")
    assert out.granted.currencies == {"gems": 100}  # type: ignore[union-attr]
    steps = PurchaseStep.objects.order_by("id").values_list("before", "after", "cause")
    assert list(steps) == [("pending", "granted", "order"), ("verifying", "accepted", "order")]
    assert books_are_right()


def test_process__order_that_ended__nothing_happens(shelf: Shelf, player: Player) -> None:
    order = shelf.buy(player)

    assert orders.process(order_id=order.pk) is False
    assert orders.process() is False
    assert shelf.provider.asked == ["t1"]


def test_process__only_durable_items__a_durable_purchase(shelf: Shelf, player: Player) -> None:
    shelf.buy(player, "t1", product="koi")
    shelf.buy(player, "t2", product="seeds")

    assert (shelf.purchase("t1").kind, shelf.purchase("t2").kind) == ("durable", "consumable")


def test_process__several_lines__each_is_granted(shelf: Shelf, player: Player) -> None:
    shelf.provider.says["t1"] = [
        shelf.line(line="0"),
        shelf.line(line="1", product="seeds", quantity=2),
    ]
    order = shelf.process(shelf.submit(player))

    assert status(order) == ("granted", None)
    assert balance_of(player.pk, "gems") == (100, 0)
    # What was paid for is not cut off by a maximum.
    assert stack_of(player.pk, "seeds") == 8
    assert len(order.purchases) == 2
    assert books_are_right()


def test_process__beyond_a_maximum__is_granted_whole(shelf: Shelf, player: Player) -> None:
    shelf.buy(player, "t1")
    shelf.buy(player, "t2")

    assert Currency.objects.get(key="gems").max == 150
    assert balance_of(player.pk, "gems") == (200, 0)


def test_process__more_than_anybody_can_hold__waits_for_room(shelf: Shelf, player: Player) -> None:
    OfferFactory(
        game=shelf.game,
        key="all",
        contents={"currencies": {"gems": 2**63 - 1}},
        products={NAME: "all"},
    )
    give(player, {"gems": 1})
    order = shelf.buy(player, product="all")

    assert (order.state, order.last_error[:13]) == ("retry", "balance_limit")
    shelf.say("t2", product="all", quantity=2)
    assert status(shelf.process(shelf.submit(player, "t2"))) == (
        "rejected",
        "quantity_out_of_bounds",
    )


def test_process__archived_offer__is_granted(shelf: Shelf, player: Player) -> None:
    OfferFactory._meta.model.objects.filter(key="gems").update(is_active=False)

    assert status(shelf.buy(player)) == ("granted", None)


def test_process__after_hook__called_with_the_purchase(
    shelf: Shelf, player: Player, monkeypatch: pytest.MonkeyPatch
) -> None:
    def listener(**_: Any) -> None: ...

    monkeypatch.setitem(hooks._after, "platform_purchase", {"x": listener})
    shelf.buy(player)

    from config.models import HookCall

    assert HookCall.objects.get().payload["purchase_id"] == str(shelf.purchase().pk)


def test_process__unknown_product__dead_until_staff_adds_it(shelf: Shelf, player: Player) -> None:
    order = shelf.buy(player, product="new")
    assert status(order) == ("dead", "unknown_product")
    assert (shelf.purchase().state, shelf.purchase().player_id) == ("verified", player.pk)

    OfferFactory(game=shelf.game, key="new", contents={"items": {"koi": 1}}, products={NAME: "new"})
    orders.again(order_id=order.pk, cause=STAFF)

    assert status(shelf.process(order)) == ("granted", None)
    assert stack_of(player.pk, "koi") == 1
    with pytest.raises(NotFound):
        orders.again(order_id=order.pk, cause=STAFF)


def test_process__receipt_without_a_purchase__rejected(shelf: Shelf, player: Player) -> None:
    shelf.provider.says["t1"] = []

    assert status(shelf.process(shelf.submit(player))) == ("rejected", "no_purchase")


def test_process__line_of_another_app__rejected(shelf: Shelf, player: Player) -> None:
    assert status(shelf.buy(player, "t1", app_id="com.evil")) == ("rejected", "wrong_app")
    assert status(shelf.buy(player, "t2", quantity=0)) == ("rejected", "malformed")
    assert not PlatformPurchase.objects.exists()


# The sandbox, and what must not be granted


@pytest.mark.parametrize(
    ("policy", "is_tester", "ends"),
    [
        ("off", True, ("rejected", "sandbox_not_allowed")),
        ("testers", False, ("rejected", "sandbox_not_allowed")),
        ("testers", True, ("granted", None)),
        ("all", False, ("granted", None)),
    ],
)
def test_sandbox__granted_to_whom_the_game_allows(
    shelf: Shelf, player: Player, policy: str, is_tester: bool, ends: tuple[str, str | None]
) -> None:
    shelf.set_sandbox(policy)
    Player.objects.filter(pk=player.pk).update(is_tester=is_tester)
    order = shelf.buy(player, environment=Environment.SANDBOX, must_tell=True, token="tok")

    assert status(order) == ends
    assert shelf.purchase().environment == "sandbox"
    assert shelf.purchase().told == ("due" if ends[0] == "granted" else "none")
    assert (balance_of(player.pk, "gems") is None) == (ends[0] == "rejected")


def test_sandbox__quarantined_then_allowed__granted(shelf: Shelf, player: Player) -> None:
    order = shelf.buy(player, environment=Environment.SANDBOX)
    assert shelf.purchase().state == "quarantined"
    shelf.set_sandbox("all")

    orders.again(order_id=order.pk, cause=STAFF)

    assert status(shelf.process(order)) == ("granted", None)


def test_family__consumables_are_not_shared(shelf: Shelf, player: Player) -> None:
    assert status(shelf.buy(player, "t1", is_family_shared=True)) == ("rejected", "family_shared")
    shelf.buy(player, "t2", is_family_shared=True, product="koi")
    assert stack_of(player.pk, "koi") == 1


# Pending and cancelled


def test_pending__never_grants_until_it_is_paid(shelf: Shelf, player: Player) -> None:
    order = shelf.buy(player, state=State.PENDING)
    assert status(order) == ("deferred", None)
    assert balance_of(player.pk, "gems") is None

    shelf.hear(at=1)

    assert status(order) == ("granted", None)
    assert balance_of(player.pk, "gems") == (100, 0)


def test_pending__cancelled__rejected(shelf: Shelf, player: Player) -> None:
    order = shelf.buy(player, state=State.PENDING)

    shelf.hear(at=1, state=State.CANCELLED)

    assert status(order) == ("rejected", "cancelled")
    assert shelf.purchase().state == "cancelled"
    assert status(shelf.buy(player, "t2", state=State.CANCELLED)) == ("rejected", "cancelled")


def test_pending__old_news_after_the_grant__changes_nothing(shelf: Shelf, player: Player) -> None:
    shelf.buy(player, at=5)

    shelf.hear(at=1, state=State.PENDING)
    shelf.hear(at=9, state=State.PENDING)

    assert shelf.purchase().state == "granted"
    assert balance_of(player.pk, "gems") == (100, 0)


# Owners


def test_owner__account_token_of_the_player__bound(shelf: Shelf, player: Player) -> None:
    token = ownership.account_token(player_id=player.pk)
    assert ownership.account_token(player_id=player.pk) == token

    shelf.buy(player, account=token)

    assert (shelf.purchase().player_id, shelf.purchase().is_unbound) == (player.pk, False)


def test_owner__account_token_of_another__conflict_and_the_other_gets_it(
    shelf: Shelf, player: Player, other: Player
) -> None:
    order = shelf.buy(player, account=ownership.account_token(player_id=other.pk))

    assert status(order) == ("rejected", "owned_by_another")
    assert order_out(order).granted is UNSET
    assert balance_of(player.pk, "gems") is None
    assert balance_of(other.pk, "gems") == (100, 0)
    conflict = OwnerConflict.objects.get()
    assert (conflict.claimant_id, conflict.order_id) == (player.pk, order.pk)


def test_owner__account_token_of_another_game__counts_for_nothing(
    shelf: Shelf, player: Player
) -> None:
    stranger = PlayerFactory()
    shelf.buy(player, account=ownership.account_token(player_id=stranger.pk))

    assert (shelf.purchase().player_id, shelf.purchase().is_unbound) == (player.pk, True)


def test_owner__second_claimant__conflict_once_and_nothing_moves(
    shelf: Shelf, player: Player, other: Player
) -> None:
    shelf.buy(player)
    second = shelf.process(shelf.submit(other))
    orders.again(order_id=second.pk, cause=STAFF)
    shelf.process(second)

    assert status(second) == ("rejected", "owned_by_another")
    assert OwnerConflict.objects.count() == 1
    assert balance_of(other.pk, "gems") is None


def test_owner__notification_before_the_receipt__first_sender_claims_it(
    shelf: Shelf, player: Player
) -> None:
    outcome = shelf.hear()
    assert (outcome.purchase.state, outcome.purchase.player_id) == ("verified", None)

    assert status(shelf.buy(player)) == ("granted", None)
    assert shelf.purchase().is_unbound


def test_owner__notification_with_a_token__granted_without_a_receipt(
    shelf: Shelf, player: Player
) -> None:
    shelf.hear(account=ownership.account_token(player_id=player.pk))

    assert balance_of(player.pk, "gems") == (100, 0)
    assert status(shelf.buy(player)) == ("granted", None)
    assert balance_of(player.pk, "gems") == (100, 0)


def test_owner__renewal__of_whoever_has_the_subscription(shelf: Shelf, player: Player) -> None:
    shelf.buy(player, "s1", kind=Kind.SUBSCRIPTION, original_id="s1")

    shelf.hear("s2", 1, kind=Kind.SUBSCRIPTION, original_id="s1")
    shelf.hear("s3", 1, kind=Kind.SUBSCRIPTION, original_id="s3")
    shelf.hear("s4", 1, kind=Kind.SUBSCRIPTION)

    assert shelf.purchase("s2").player_id == player.pk
    assert shelf.purchase("s3").player_id is None
    assert balance_of(player.pk, "gems") == (200, 0)


def test_conflict__moved__value_goes_with_it(shelf: Shelf, player: Player, other: Player) -> None:
    first = shelf.buy(player, product="pack")
    claim = shelf.process(shelf.submit(other))
    conflict = OwnerConflict.objects.get()

    ownership.decide(conflict_id=conflict.pk, move=True, actor="ann")

    assert (balance_of(player.pk, "gems"), stack_of(player.pk, "seeds")) == ((0, 0), 0)
    assert (balance_of(other.pk, "gems"), stack_of(other.pk, "seeds")) == ((10, 0), 2)
    assert shelf.purchase().player_id == other.pk
    assert status(claim) == ("granted", None)
    assert status(first) == ("rejected", "owned_by_another")
    conflict.refresh_from_db()
    assert (conflict.state, conflict.decided_by) == ("moved", "ann")
    assert books_are_right()
    from store.errors import RequestDecided

    with pytest.raises(RequestDecided):
        ownership.decide(conflict_id=conflict.pk, move=False, actor="bob")


def test_conflict__moved_before_anything_was_granted__only_the_owner_changes(
    shelf: Shelf, player: Player, other: Player
) -> None:
    shelf.buy(player, product="new")
    claim = shelf.process(shelf.submit(other))

    ownership.decide(conflict_id=OwnerConflict.objects.get().pk, move=True, actor="ann")

    assert shelf.purchase().player_id == other.pk
    assert status(claim)[0] == "rejected"
    with pytest.raises(NotFound):
        ownership.decide(conflict_id=claim.pk, move=True, actor="ann")


def test_conflict__kept__nothing_moves(shelf: Shelf, player: Player, other: Player) -> None:
    shelf.buy(player)
    shelf.process(shelf.submit(other))

    ownership.decide(conflict_id=OwnerConflict.objects.get().pk, move=False, actor="ann")

    assert shelf.purchase().player_id == player.pk
    assert balance_of(player.pk, "gems") == (100, 0)


# Trouble


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
    from config.db import definitions

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

    shelf.provider.verify = slow  # type: ignore[method-assign, assignment]
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
    from django.db import connection

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


# Refunds


def test_refund__whole__everything_is_taken_back(shelf: Shelf, player: Player) -> None:
    order = shelf.buy(player, product="pack")

    shelf.hear(at=1, product="pack", revoked=WHOLE)
    shelf.hear(at=1, product="pack", revoked=WHOLE)

    assert balance_of(player.pk, "gems") == (0, 0)
    assert stack_of(player.pk, "seeds") == 0
    assert status(order) == ("refunded", None)
    assert order_out(Order.objects.get(pk=order.pk)).granted.currencies == {}  # type: ignore[union-attr]
    assert (shelf.purchase().state, shelf.purchase().reversals) == ("revoked", 1)
    assert books_are_right()


def test_refund__cancelled_by_the_platform_after_the_grant__is_a_whole_refund(
    shelf: Shelf, player: Player
) -> None:
    shelf.buy(player)

    shelf.hear(at=1, state=State.CANCELLED)

    assert shelf.purchase().state == "revoked"
    assert balance_of(player.pk, "gems") == (0, 0)


def test_refund__of_what_was_spent__leaves_a_debt_and_what_is_short(
    shelf: Shelf, player: Player
) -> None:
    from store.catalogue import catalogue
    from store.models import Account
    from store.services import inventory, ledger

    shelf.buy(player, product="pack")
    ledger.post(
        game_id=shelf.game.pk,
        player_id=player.pk,
        kind=Transaction.Kind.PURCHASE,
        key="spend",
        reason="test",
        lines=[
            ledger.Line(
                catalogue(shelf.game.pk).currencies["gems"], 7, "spend", Account.SINK_PURCHASE
            )
        ],
    )
    inventory.consume(game_id=shelf.game.pk, player_id=player.pk, item="seeds", quantity=1)

    shelf.hear(at=1, product="pack", revoked=WHOLE)

    purchase = shelf.purchase()
    assert balance_of(player.pk, "gems") == (-7, 0)
    assert stack_of(player.pk, "seeds") == 0
    assert purchase.taken == {
        "currencies": {"gems": 10},
        "items": {"seeds": 1},
        "short": {"seeds": 1},
    }
    assert PurchaseStep.objects.get(after="revoked").detail == {
        "taken": {"gems": 10, "seeds": 1},
        "short": {"seeds": 1},
        "revoked": WHOLE,
        "revoked_at": "2026-01-01T00:00:01+00:00",
    }
    shelf.hear(at=2, product="pack", revoked=0)
    assert balance_of(player.pk, "gems") == (3, 0)
    assert stack_of(player.pk, "seeds") == 1
    assert shelf.purchase().taken["short"] == {}
    assert PurchaseStep.objects.latest("id").detail == {
        "given": {"gems": 10, "seeds": 1},
        "short": {},
        "revoked": 0,
        "revoked_at": None,
    }
    assert books_are_right()


def test_refund__everything_is_used_up__recorded_without_a_movement(
    shelf: Shelf, player: Player
) -> None:
    from store.services import inventory

    shelf.buy(player, product="seeds")
    inventory.consume(game_id=shelf.game.pk, player_id=player.pk, item="seeds", quantity=4)

    shelf.hear(at=1, product="seeds", revoked=WHOLE)
    assert shelf.purchase().taken == {
        "currencies": {},
        "items": {"seeds": 0},
        "short": {"seeds": 4},
    }
    shelf.hear(at=2, product="seeds")

    assert stack_of(player.pk, "seeds") == 0
    assert (shelf.purchase().state, shelf.purchase().reversals) == ("granted", 2)
    assert books_are_right()


@pytest.mark.parametrize(
    ("shares", "left", "state"),
    [
        ([33_333], 67, "partially_revoked"),
        ([33_333, 66_666], 34, "partially_revoked"),
        ([66_666, 33_333], 67, "partially_revoked"),
        ([50_000, WHOLE], 0, "revoked"),
        ([WHOLE, 50_000], 50, "partially_revoked"),
        ([WHOLE, 0], 100, "granted"),
        ([WHOLE, 0, WHOLE, 0], 100, "granted"),
        ([1], 100, "partially_revoked"),
    ],
)
def test_refund__in_parts_and_back__the_share_is_what_is_left(
    shelf: Shelf, player: Player, shares: list[int], left: int, state: str
) -> None:
    shelf.buy(player)

    for number, share in enumerate(shares, 1):
        shelf.hear(at=number, revoked=share)

    assert balance_of(player.pk, "gems") == (left, 0)
    assert shelf.purchase().state == state
    assert books_are_right()


def test_refund__before_the_receipt__tombstone(shelf: Shelf, player: Player) -> None:
    shelf.hear(at=5, revoked=WHOLE)
    assert (shelf.purchase().state, shelf.purchase().player_id) == ("revoked", None)

    order = shelf.buy(player, at=1)

    assert status(order) == ("refunded", None)
    assert balance_of(player.pk, "gems") is None
    shelf.hear(at=6)  # the refund was reversed: it is the player's after all
    assert status(order) == ("granted", None)
    assert balance_of(player.pk, "gems") == (100, 0)


def test_refund__partial_before_the_receipt__the_rest_is_left(shelf: Shelf, player: Player) -> None:
    shelf.hear(at=5, revoked=40_000)

    order = shelf.buy(player, at=1)

    assert status(order) == ("granted", None)
    assert balance_of(player.pk, "gems") == (60, 0)
    assert shelf.purchase().state == "partially_revoked"
    assert books_are_right()


def test_refund__stale_replay_after_it__stays_refunded(shelf: Shelf, player: Player) -> None:
    order = shelf.buy(player, at=1)
    shelf.hear(at=5, revoked=WHOLE)

    shelf.hear(at=1)
    shelf.hear(at=4)
    shelf.hear(at=5)
    shelf.submit(player)

    assert status(order) == ("refunded", None)
    assert balance_of(player.pk, "gems") == (0, 0)


def test_refund__reversal_comes_before_the_refund__stays_granted(
    shelf: Shelf, player: Player
) -> None:
    shelf.buy(player, at=1)

    shelf.hear(at=7, revoked=0)
    shelf.hear(at=5, revoked=WHOLE)

    assert shelf.purchase().state == "granted"
    assert balance_of(player.pk, "gems") == (100, 0)


def test_refund__after_it_was_due_to_be_told__marks_nothing(shelf: Shelf, player: Player) -> None:
    shelf.buy(player, must_tell=True, token="tok")
    shelf.hear(at=1, revoked=WHOLE, must_tell=True)

    assert (shelf.purchase().state, shelf.purchase().told) == ("revoked", "due")


def test_refund__item_by_item__only_what_changed_moves(shelf: Shelf, player: Player) -> None:
    """A tenth of two seeds is none; a tenth of ten gems is one."""
    shelf.buy(player, product="pack")

    shelf.hear(at=1, product="pack", revoked=10_000)

    assert (balance_of(player.pk, "gems"), stack_of(player.pk, "seeds")) == ((9, 0), 2)
    assert shelf.purchase().taken == {"currencies": {"gems": 1}, "items": {"seeds": 0}, "short": {}}
    assert books_are_right()


def test_conflict__moved_while_the_claim_is_verified_again__the_order_ends_by_itself(
    shelf: Shelf, player: Player, other: Player
) -> None:
    shelf.buy(player)
    claim = shelf.process(shelf.submit(other))
    orders.again(order_id=claim.pk, cause=STAFF)

    ownership.decide(conflict_id=OwnerConflict.objects.get().pk, move=True, actor="ann")

    assert status(claim) == ("verifying", None)
    assert status(shelf.process(claim)) == ("granted", None)
    assert balance_of(other.pk, "gems") == (100, 0)
    assert books_are_right()
