"""Receipts, from the inbox to what is granted."""

from typing import Any

import pytest

from accounts.models import Player
from config import hooks
from config.api.problems import NotFound
from config.models import HookCall
from store.errors import ReceiptRefused, UnknownPlatform
from store.models import Currency, Order, PlatformPurchase, PurchaseStep, Transaction
from store.providers.base import Environment, RejectedError
from store.receipt_selectors import order_out
from store.services import orders
from tests.factories.store import OfferFactory, give
from tests.fakes.platform import NAME, Shelf
from tests.store.conftest import balance_of, stack_of
from tests.store.receipts import STAFF, books_are_right, other, player, shelf, status

__all__ = ["other", "player", "shelf"]
pytestmark = pytest.mark.django_db


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
    assert out.granted.currencies == {"gems": 100}  # type: ignore[union-attr]  # or UNSET
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
