"""What the store brings to a merge: value through the ledger, owners of purchases, limits."""

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from accounts.errors import PlayerMerged
from accounts.models import Merge, Player
from accounts.services import merging
from store.catalogue import catalogue
from store.errors import LimitReached
from store.models import (
    Account,
    Entry,
    OfferUse,
    Order,
    OwnerConflict,
    PlatformPurchase,
    Redemption,
    Transaction,
)
from store.providers.base import WHOLE, State
from store.services import campaigns, granting, grants, ledger, ownership, purchases, redemptions
from store.services.verification import verify
from tests.factories.accounts import PlayerFactory
from tests.factories.merging import merge, token_for, undo
from tests.factories.store import CampaignFactory, OfferFactory, give
from tests.fakes.platform import NAME, ORDER, Shelf, make_shelf
from tests.store.conftest import Shop, balance_of, stack_of

pytestmark = pytest.mark.django_db


@pytest.fixture
def survivor(shop: Shop) -> Player:
    return PlayerFactory(game=shop.game)


@pytest.fixture
def absorbed(shop: Shop) -> Player:
    return PlayerFactory(game=shop.game)


@pytest.fixture
def shelf(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> Shelf:
    OfferFactory(
        game=shop.game, key="gems", contents={"currencies": {"gems": 80}}, products={NAME: "gems"}
    )
    return make_shelf(shop.game, monkeypatch)


def pay(player: Player, key: str, amount: int, mode: ledger.Mode = "paid") -> None:
    account = Account.SOURCE_PURCHASE if mode == "paid" else Account.SINK_REFUND
    ledger.post(
        game_id=player.game_id,
        player_id=player.pk,
        kind=Transaction.Kind.PURCHASE,
        key=f"test:{player.pk}:{key}:{mode}",
        reason="test",
        lines=[ledger.Line(catalogue(player.game_id).currencies[key], amount, mode, account)],
    )


def buy(player: Player, offer: str, key: str = "") -> purchases.Bought:
    return purchases.purchase(
        game_id=player.game_id, player_id=player.pk, offer=offer, quantity=1, key=offer + key
    )


def told(made: Merge) -> Any:
    return made.outcome["merged"]["store"]


def test_merge__brings_paid_as_paid_and_earned_as_earned(
    survivor: Player, absorbed: Player
) -> None:
    give(survivor, {"gems": 5})
    give(absorbed, {"gems": 7}, {"seeds": 3})
    pay(absorbed, "gems", 40)

    made = merge(survivor, absorbed)

    assert balance_of(survivor.pk, "gems") == (40, 12)
    assert balance_of(absorbed.pk, "gems") == (0, 0)
    assert (stack_of(survivor.pk, "seeds"), stack_of(absorbed.pk, "seeds")) == (3, 0)
    assert told(made)["moved"] == {"currencies": {"gems": 47}, "items": {"seeds": 3}}
    assert list(verify()) == []


def test_merge__leaves_the_beginning_balance(survivor: Player, absorbed: Player) -> None:
    give(survivor, {"petals": 1})
    give(absorbed, {"petals": 30})

    made = merge(survivor, absorbed)

    assert balance_of(survivor.pk, "petals") == (0, 131)
    assert balance_of(absorbed.pk, "petals") == (0, 100)
    assert told(made)["stays"] == {"currencies": {"petals": 100}, "items": {}}


def test_merge__what_was_spent_of_the_beginning__is_spent(
    survivor: Player, absorbed: Player
) -> None:
    buy(absorbed, "koi")
    made = merge(survivor, absorbed)
    assert told(made)["moved"] == {"currencies": {}, "items": {"koi": 1}}
    assert told(made)["stays"]["currencies"] == {"petals": 50}


def test_merge__what_was_earned_beside_the_beginning__comes_along(
    survivor: Player, absorbed: Player
) -> None:
    give(absorbed, {"petals": 10})
    buy(absorbed, "koi")
    made = merge(survivor, absorbed)
    assert told(made)["moved"]["currencies"] == {"petals": 10}
    assert told(made)["stays"]["currencies"] == {"petals": 50}


def test_merge__beyond_a_maximum__only_what_was_paid_for(
    survivor: Player, absorbed: Player
) -> None:
    give(survivor, {"petals": 880}, {"seeds": 18})
    give(absorbed, {"petals": 50}, {"seeds": 5})
    pay(absorbed, "petals", 60)

    made = merge(survivor, absorbed)

    assert balance_of(survivor.pk, "petals") == (60, 980)
    assert balance_of(absorbed.pk, "petals") == (0, 150)
    assert (stack_of(survivor.pk, "seeds"), stack_of(absorbed.pk, "seeds")) == (20, 3)
    assert told(made)["stays"] == {"currencies": {"petals": 150}, "items": {"seeds": 3}}
    assert list(verify()) == []


def test_merge__a_debt__comes_along(survivor: Player, absorbed: Player) -> None:
    give(survivor, {"gems": 30})
    pay(absorbed, "gems", 20, "refund")
    assert balance_of(absorbed.pk, "gems") == (-20, 0)

    made = merge(survivor, absorbed)

    assert balance_of(survivor.pk, "gems") == (0, 10)
    assert balance_of(absorbed.pk, "gems") == (0, 0)
    undo(made)
    assert balance_of(survivor.pk, "gems") == (0, 30)
    assert balance_of(absorbed.pk, "gems") == (-20, 0)
    assert list(verify()) == []


def test_merge__repays_the_survivors_debt(survivor: Player, absorbed: Player) -> None:
    pay(survivor, "gems", 20, "refund")
    give(absorbed, {"gems": 30})
    merge(survivor, absorbed)
    assert balance_of(survivor.pk, "gems") == (0, 10)


def test_merge__nothing_to_bring__posts_nothing(survivor: Player, absorbed: Player) -> None:
    merge(survivor, absorbed)
    assert not Transaction.objects.filter(kind="merge").exists()


def test_preview__moves_nothing(survivor: Player, absorbed: Player) -> None:
    give(absorbed, {"gems": 7})
    made = merge(survivor, absorbed, preview=True)
    assert told(made)["moved"]["currencies"] == {"gems": 7}
    assert balance_of(absorbed.pk, "gems") == (0, 7)
    assert not Transaction.objects.filter(kind="merge").exists()


def test_after_a_merge__nothing_is_given_to_the_absorbed(
    survivor: Player, absorbed: Player
) -> None:
    merge(survivor, absorbed)
    with pytest.raises(PlayerMerged):
        give(absorbed, {"gems": 1})
    with pytest.raises(PlayerMerged):
        grants.grant(
            game_id=absorbed.game_id,
            player_id=absorbed.pk,
            currencies={},
            items={"koi": 1},
            key="k",
            reason="test",
        )


def test_undo__gives_back_what_is_left(survivor: Player, absorbed: Player) -> None:
    give(absorbed, {"gems": 50, "petals": 20}, {"seeds": 8})
    pay(absorbed, "gems", 10)
    made = merge(survivor, absorbed)
    pay(survivor, "gems", 45, "spend")

    undone = undo(made)

    assert balance_of(absorbed.pk, "gems") == (10, 5)
    assert balance_of(absorbed.pk, "petals") == (0, 120)
    assert balance_of(survivor.pk, "gems") == (0, 0)
    assert balance_of(survivor.pk, "petals") == (0, 100)
    assert (stack_of(survivor.pk, "seeds"), stack_of(absorbed.pk, "seeds")) == (0, 8)
    assert undone.outcome["undone"]["store"]["short"] == {"currencies": {"gems": 45}, "items": {}}
    assert list(verify()) == []


def test_undo__never_takes_what_the_survivor_paid_for(survivor: Player, absorbed: Player) -> None:
    give(absorbed, {"gems": 50})
    made = merge(survivor, absorbed)
    pay(survivor, "gems", 50, "spend")
    pay(survivor, "gems", 70)

    undo(made)

    assert balance_of(survivor.pk, "gems") == (70, 0)
    assert balance_of(absorbed.pk, "gems") == (0, 0)


def test_limits__count_both(survivor: Player, absorbed: Player) -> None:
    buy(absorbed, "koi")
    buy(survivor, "seeds")
    buy(absorbed, "seeds")
    made = merge(survivor, absorbed)

    with pytest.raises(LimitReached):
        buy(survivor, "koi")
    assert OfferUse.objects.get(player=survivor, offer__key="seeds").quantity == 2
    assert list(verify()) == []

    undo(made)
    assert OfferUse.objects.get(player=survivor, offer__key="seeds").quantity == 1
    assert OfferUse.objects.get(player=absorbed, offer__key="seeds").quantity == 1
    assert not OfferUse.objects.filter(player=survivor, offer__key="koi").exists()
    assert list(verify()) == []


def test_limits__of_an_earlier_period__do_not_count_in_this_one(
    shop: Shop, survivor: Player, absorbed: Player
) -> None:
    OfferFactory(
        game=shop.game,
        key="daily",
        contents={"items": {"seeds": 1}},
        price={"petals": 1},
        limit_per_player=1,
        limit_reset="0 0 * * *",
    )
    buy(absorbed, "daily")
    OfferUse.objects.filter(player=absorbed).update(last_at=timezone.now() - timedelta(days=3))
    merge(survivor, absorbed)
    assert buy(survivor, "daily").quantity == 1


def test_purchases_with_real_money__are_the_survivors(
    shelf: Shelf, survivor: Player, absorbed: Player
) -> None:
    order = shelf.buy(absorbed)
    token = ownership.account_token(player_id=absorbed.pk)
    merge(survivor, absorbed)

    (row,) = PlatformPurchase.objects.all()
    assert row.player_id == survivor.pk
    assert Order.objects.get(pk=order.pk).player_id == survivor.pk
    shelf.hear(at=1, revoked=WHOLE)
    assert balance_of(survivor.pk, "gems") == (0, 0)
    # What names the account that the absorbed player had, and comes later.
    assert shelf.hear("t2", account=token).purchase.player_id == survivor.pk
    assert balance_of(survivor.pk, "gems") == (80, 0)
    assert list(verify()) == []


def test_receipt_in_the_inbox__is_granted_to_the_survivor(
    shelf: Shelf, survivor: Player, absorbed: Player
) -> None:
    shelf.say()
    order = shelf.submit(absorbed)
    made = merge(survivor, absorbed)
    assert shelf.process(order).state == Order.State.ACCEPTED
    assert balance_of(survivor.pk, "gems") == (80, 0)

    undo(made)
    assert PlatformPurchase.objects.get().player_id == survivor.pk


def test_receipt_that_came_in_too_late__is_brought_over(
    shelf: Shelf, survivor: Player, absorbed: Player
) -> None:
    made = merge(survivor, absorbed)
    shelf.say()
    order = shelf.submit(absorbed)
    assert shelf.process(order).state == Order.State.ACCEPTED
    assert balance_of(survivor.pk, "gems") == (80, 0)

    Merge.objects.update(next_attempt_at=timezone.now())
    assert merging.settle_due() == 1

    assert Order.objects.get().player_id == survivor.pk
    made.refresh_from_db()
    assert made.state == Merge.State.DONE
    assert made.journal["store"]["rows"]["Order"] == [str(order.pk)]
    assert merging.settle_due() == 0


def test_undo__what_a_refund_took_since__is_gone_for_both(
    shelf: Shelf, survivor: Player, absorbed: Player
) -> None:
    shelf.buy(absorbed)
    give(absorbed, {"gems": 5})
    pay(survivor, "gems", 100)
    made = merge(survivor, absorbed)
    shelf.hear(at=1, revoked=WHOLE)
    assert balance_of(survivor.pk, "gems") == (100, 5)

    undo(made)

    # The survivor keeps what it had bought, the absorbed player what it had earned.
    assert balance_of(survivor.pk, "gems") == (100, 0)
    assert balance_of(absorbed.pk, "gems") == (0, 5)
    shelf.hear(at=2, revoked=0)
    assert balance_of(absorbed.pk, "gems") == (80, 5)
    assert list(verify()) == []


def test_undo__what_a_part_of_a_refund_took__is_gone_for_both(
    shop: Shop, shelf: Shelf, survivor: Player, absorbed: Player
) -> None:
    OfferFactory(
        game=shop.game, key="pack", contents={"items": {"seeds": 10}}, products={NAME: "pack"}
    )
    shelf.buy(absorbed, product="pack")
    give(survivor, {}, {"seeds": 4})
    made = merge(survivor, absorbed)
    shelf.hear(at=1, product="pack", revoked=WHOLE // 2)
    assert stack_of(survivor.pk, "seeds") == 9
    undo(made)
    assert (stack_of(survivor.pk, "seeds"), stack_of(absorbed.pk, "seeds")) == (4, 5)
    assert list(verify()) == []


def test_undo__a_purchase_that_was_granted_since__stays_with_its_value(
    shelf: Shelf, survivor: Player, absorbed: Player
) -> None:
    shelf.buy(absorbed, state=State.PENDING)
    assert PlatformPurchase.objects.get().player_id == absorbed.pk
    made = merge(survivor, absorbed)
    shelf.hear(at=1)
    assert balance_of(survivor.pk, "gems") == (80, 0)

    undo(made)

    assert PlatformPurchase.objects.get().player_id == survivor.pk
    shelf.hear(at=2, revoked=WHOLE)
    assert balance_of(survivor.pk, "gems") == (0, 0)
    assert balance_of(absorbed.pk, "gems") in (None, (0, 0))
    assert list(verify()) == []


def test_receipt__merged_while_the_platform_is_asked__is_the_survivors(
    shelf: Shelf, survivor: Player, absorbed: Player
) -> None:
    order = shelf.submit(absorbed)
    merge(survivor, absorbed)
    Merge.objects.update(next_attempt_at=timezone.now())
    assert merging.settle_due() == 1
    outcome = granting.apply(
        platform=shelf.platform, line=shelf.line(state=State.PENDING), cause=ORDER, order=order
    )
    assert outcome.purchase.player_id == survivor.pk
    shelf.hear(at=1)
    assert balance_of(survivor.pk, "gems") == (80, 0)


def test_claims__are_back_after_an_undo(shelf: Shelf, survivor: Player, absorbed: Player) -> None:
    shelf.buy(survivor)
    shelf.process(shelf.submit(absorbed))
    made = merge(survivor, absorbed)
    assert OwnerConflict.objects.get().state == OwnerConflict.State.KEPT
    undo(made)
    claim = OwnerConflict.objects.get()
    assert (claim.state, claim.claimant_id) == (OwnerConflict.State.OPEN, absorbed.pk)


def test_undo__of_a_debt__gives_paid_back_as_paid(survivor: Player, absorbed: Player) -> None:
    pay(survivor, "gems", 500)
    pay(absorbed, "gems", 500, "refund")
    made = merge(survivor, absorbed)
    assert balance_of(survivor.pk, "gems") == (0, 0)
    undo(made)
    assert balance_of(survivor.pk, "gems") == (500, 0)
    assert balance_of(absorbed.pk, "gems") == (-500, 0)
    assert list(verify()) == []


def test_merge_after_an_undo__leaves_the_beginning_balance(
    survivor: Player, absorbed: Player
) -> None:
    give(absorbed, {"petals": 300})
    undo(merge(survivor, absorbed))
    made, _ = merging.merge(
        game_id=survivor.game_id,
        player_id=survivor.pk,
        token=token_for_later(survivor, absorbed),
        choices={},
    )
    assert told(made)["moved"]["currencies"] == {"petals": 300}
    assert told(made)["stays"]["currencies"] == {"petals": 100}


def token_for_later(survivor: Player, absorbed: Player) -> str:
    """A token as it is given once an undo is long enough ago."""
    Merge.objects.update(undone_at=timezone.now() - timedelta(hours=1))
    return token_for(survivor, absorbed)


def test_one_receipt_of_both__stays_with_each(
    shelf: Shelf, survivor: Player, absorbed: Player
) -> None:
    shelf.buy(absorbed)
    rejected = shelf.process(shelf.submit(survivor))
    assert rejected.code == "owned_by_another"
    assert OwnerConflict.objects.get().state == OwnerConflict.State.OPEN

    made = merge(survivor, absorbed)

    assert PlatformPurchase.objects.get().player_id == survivor.pk
    assert OwnerConflict.objects.get().state == OwnerConflict.State.KEPT
    assert {str(row) for row in Order.objects.values_list("player_id", flat=True)} == {
        str(survivor.pk),
        str(absorbed.pk),
    }
    undo(made)
    assert PlatformPurchase.objects.get().player_id == absorbed.pk
    assert list(verify()) == []


def test_codes__count_for_both(shop: Shop, survivor: Player, absorbed: Player) -> None:
    campaign = CampaignFactory(game=shop.game, contents={"currencies": {"gems": 5}})
    campaigns.set_words(campaign=campaign, words=["LOTUS", "MAPLE"])

    def redeem(player: Player, word: str) -> None:
        redemptions.redeem(
            game_id=shop.game.pk, player_id=player.pk, typed=word, address="192.0.2.1"
        )

    redeem(absorbed, "LOTUS")
    merge(survivor, absorbed)
    with pytest.raises(LimitReached):
        redeem(survivor, "MAPLE")
    assert Redemption.objects.get().player_id == survivor.pk


def test_verify__a_merge_out_of_which_more_came_than_went__is_told(
    survivor: Player, absorbed: Player
) -> None:
    give(absorbed, {"gems": 7})
    made = merge(survivor, absorbed)
    stray = catalogue(survivor.game_id).currencies["gems"]
    ledger.post(
        game_id=survivor.game_id,
        player_id=survivor.pk,
        kind=Transaction.Kind.MERGE,
        key=f"merge:{made.pk}:undo:in",
        reason="merge",
        lines=[ledger.Line(stray, 3, "earned", Account.TRANSFER_MERGE)],
    )
    (found,) = verify()
    assert found.check == "merges balance"
    assert found.detail == "3 gems more came than went"


def test_transfer__leaves_nothing_between_the_players(survivor: Player, absorbed: Player) -> None:
    give(absorbed, {"gems": 7, "petals": 9})
    pay(absorbed, "gems", 11)
    undo(merge(survivor, absorbed))
    sums: dict[str, int] = {}
    for entry in Entry.objects.filter(account=Account.TRANSFER_MERGE).select_related("currency"):
        key = entry.currency.key
        sums[key] = sums.get(key, 0) + entry.paid + entry.earned
    assert sums == {"gems": 0, "petals": 0}
