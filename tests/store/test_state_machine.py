"""Whatever happens in whatever order: the books balance, and a plain model agrees with them."""

from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import pytest
from django.conf import LazySettings
from django.db import connection
from hypothesis import HealthCheck
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from accounts.models import Merge
from config.api.problems import Problem
from store.catalogue import catalogue
from store.errors import (
    BalanceLimit,
    GiftNotPossible,
    InsufficientFunds,
    InsufficientItems,
    LimitReached,
    StackLimit,
)
from store.models import Account, Balance, PlatformPurchase, Transaction
from store.providers.base import WHOLE
from store.services import (
    campaigns,
    granting,
    grants,
    inventory,
    ledger,
    purchases,
    redemptions,
    verification,
)
from tests.factories.accounts import PlayerFactory, befriend
from tests.factories.merging import merge, undo
from tests.factories.store import CampaignFactory, OfferFactory, give
from tests.fakes.platform import NAME, NOTICE, ORDER, Shelf, make_shelf
from tests.store.conftest import Shop, balance_of, stack_of

pytestmark = pytest.mark.django_db
AMOUNTS = st.integers(1, 400)
KEYS = st.sampled_from([f"key-{n}" for n in range(12)])
WORDS = ["LOTUS", "MAPLE", "CEDAR"]
PACK = {"currencies": {"petals": 70}, "items": {"seeds": 3}}


@dataclass
class Sold:
    """A purchase at the platform, as it should be here: what was said last, and what was taken."""

    said_at: int = -1
    revoked: int = 0
    is_granted: bool = False
    taken: int = 0
    taken_seeds: int = 0
    short: int = 0

    @property
    def state(self) -> str:
        if self.revoked == WHOLE:
            return "revoked"
        return "partially_revoked" if self.revoked else "granted"


@dataclass
class Merged:
    """What another player brought along; `paid` below 0 is a debt, for which `lost` was given, paid
    and earned."""

    row: Merge
    paid: int
    lost: tuple[int, int]
    earned: int
    seeds: int
    has_koi: bool


class Books(RuleBasedStateMachine):
    """One player's value beside a model of it: petals {paid, earned}, seeds and koi."""

    shop: Shop
    shelf: Shelf

    def __init__(self) -> None:
        super().__init__()
        self.row = row = PlayerFactory(game=self.shop.game)
        ledger.open_wallet(game_id=row.game_id, player_id=row.pk)
        self.player_id: UUID = row.pk
        self.game_id: UUID = row.game_id
        self.paid, self.earned, self.seeds, self.koi = 0, 100, 0, 0
        self.done: dict[str, Any] = {}
        self.sold: dict[str, Sold] = {}
        self.merged: list[Merged] = []
        friend = PlayerFactory(game=self.shop.game)
        befriend(row, friend)
        ledger.open_wallet(game_id=row.game_id, player_id=friend.pk)
        self.friend_id: UUID = friend.pk
        self.friends_petals, self.friends_seeds = 100, 0

    def petals(
        self,
        amount: int,
        mode: ledger.Mode,
        kind: Transaction.Kind,
        key: str,
        player_id: UUID | None = None,
    ) -> None:
        accounts = {"refund": Account.SINK_REFUND, "paid": Account.SOURCE_PURCHASE}
        ledger.post(
            game_id=self.game_id,
            player_id=player_id or self.player_id,
            kind=kind,
            key=f"{player_id or self.player_id}:{key}:{mode}",
            reason="machine",
            lines=[
                ledger.Line(
                    catalogue(self.game_id).currencies["petals"], amount, mode, accounts[mode]
                )
            ],
            overflow="clip",
        )

    def credit(self, amount: int, bucket: str) -> None:
        self.put(min(amount, self.room()), bucket)

    def room(self) -> int:
        """Up to the maximum of petals; what was bought for money may be beyond it."""
        return max(0, 1000 - max(0, self.paid + self.earned))

    def put(self, amount: int, bucket: str) -> None:
        repaid = min(amount, max(0, -self.paid)) if bucket == "earned" else amount
        self.paid += repaid
        self.earned += amount - repaid

    @rule(amount=AMOUNTS, quantity=st.integers(1, 9), key=KEYS)
    def grant(self, amount: int, quantity: int, key: str) -> None:
        is_new = f"grant {key}" not in self.done
        row = grants.grant(
            game_id=self.game_id,
            player_id=self.player_id,
            currencies={"petals": amount},
            items={"seeds": quantity},
            key=f"{self.player_id}:grant:{key}",
            reason="machine",
        )
        assert row.is_replay is not is_new
        if is_new:
            self.done[f"grant {key}"] = row.pk
            self.credit(amount, "earned")
            self.seeds = max(self.seeds, min(20, self.seeds + quantity))
        assert self.done[f"grant {key}"] == row.pk

    @rule(amount=AMOUNTS, key=KEYS)
    def sell_for_money(self, amount: int, key: str) -> None:
        if f"paid {key}" not in self.done:
            self.done[f"paid {key}"] = amount
            self.credit(amount, "paid")
        self.petals(self.done[f"paid {key}"], "paid", Transaction.Kind.PURCHASE, f"paid:{key}")

    @rule(amount=AMOUNTS, key=KEYS)
    def refund(self, amount: int, key: str) -> None:
        if f"refund {key}" not in self.done:
            self.done[f"refund {key}"] = amount
            self.take(amount)
        self.petals(self.done[f"refund {key}"], "refund", Transaction.Kind.REFUND, f"refund:{key}")

    def take(self, amount: int) -> None:
        """As refunds do: paid before earned, and then into debt."""
        paid = min(amount, max(0, self.paid))
        earned = min(amount - paid, self.earned)
        self.earned -= earned
        self.paid -= amount - earned

    @rule(
        name=st.sampled_from(["t1", "t2", "t3"]),
        at=st.integers(0, 9),
        revoked=st.sampled_from([0, 0, 33_333, 50_000, WHOLE]),
        is_receipt=st.booleans(),
    )
    def hear_of_a_platform_purchase(
        self, name: str, at: int, revoked: int, is_receipt: bool
    ) -> None:
        """Receipts, refunds, parts of refunds and their reversals: in any order, and again."""
        name = f"{self.player_id}:{name}"
        # Whose it is, the first news may not say: then nobody has it until the receipt comes.
        is_claimed = is_receipt or name in self.sold
        order = self.shelf.submit(self.player_id, name) if is_claimed else None
        row = granting.apply(
            platform=self.shelf.platform,
            line=self.shelf.line(name, at, product="pack", revoked=revoked),
            cause=ORDER if is_receipt else NOTICE,
            order=order,
        ).purchase
        sold = self.sold.setdefault(name, Sold())
        if at > sold.said_at:
            sold.said_at, sold.revoked = at, revoked
        elif at == sold.said_at:
            sold.revoked = max(sold.revoked, revoked)
        if is_claimed and not sold.is_granted and sold.revoked < WHOLE:
            sold.is_granted = True
            self.put(70, "paid")
            self.seeds += 3
        if sold.is_granted:
            self.settle(sold)
            assert row.state == sold.state
        else:
            assert row.state == ("revoked" if sold.revoked == WHOLE else "verified")

    def settle(self, sold: Sold) -> None:
        """Take what the platform took back in all, less what is taken already; or the reverse."""
        petals = 70 * sold.revoked // WHOLE - sold.taken
        seeds = 3 * sold.revoked // WHOLE - sold.taken_seeds - sold.short
        moved = min(seeds, self.seeds)
        if petals > 0:
            self.take(petals)
        else:
            self.put(-petals, "paid")
            moved = seeds + min(-seeds, sold.short)
        self.seeds -= moved
        sold.taken += petals
        sold.taken_seeds += moved
        sold.short += seeds - moved

    @rule(word=st.sampled_from(WORDS))
    def redeem(self, word: str) -> None:
        """60 petals for each of two words, if they fit."""
        expected: type[Problem] | None = None
        redeemed = self.done.setdefault("redeemed", {})
        if word not in redeemed:
            if len(redeemed) == 2:
                expected = LimitReached
            elif self.room() < 60:
                expected = BalanceLimit
        with pytest.raises(expected) if expected else nullcontext():
            found = redemptions.redeem(
                game_id=self.game_id, player_id=self.player_id, typed=word, address="192.0.2.1"
            )
        if expected is None:
            assert found.replayed is (word in redeemed)
            if word not in redeemed:
                redeemed[word] = found.id
                self.put(60, "earned")
            assert redeemed[word] == found.id

    @rule(quantity=st.integers(1, 3), key=KEYS)
    def buy_koi(self, quantity: int, key: str) -> None:
        self.buy("koi", quantity, key, 50 * quantity, koi=quantity, limit=1)

    @rule(quantity=st.integers(1, 3), key=KEYS)
    def buy_seeds(self, quantity: int, key: str) -> None:
        self.buy("seeds", quantity, key, 10 * quantity, seeds=5 * quantity)

    def buy(
        self,
        offer: str,
        quantity: int,
        key: str,
        price: int,
        *,
        koi: int = 0,
        seeds: int = 0,
        limit: int = 10**6,
    ) -> None:
        name = f"buy {offer} {quantity} {key}"
        expected: type[Problem] | None = None
        if name not in self.done:
            if koi > limit - self.koi:
                expected = LimitReached
            elif self.paid < 0 or self.paid + self.earned < price:
                expected = InsufficientFunds
            elif self.seeds + seeds > 20 and seeds:
                expected = StackLimit
        with pytest.raises(expected) if expected else nullcontext():
            bought = purchases.purchase(
                game_id=self.game_id,
                player_id=self.player_id,
                offer=offer,
                quantity=quantity,
                key=name,
            )
        if expected:
            return
        assert bought.replayed is (name in self.done)
        if not bought.replayed:
            self.done[name] = bought.id
            self.pay(price)
            self.koi += koi
            self.seeds += seeds
        assert self.done[name] == bought.id

    def pay(self, price: int) -> None:
        earned = min(price, self.earned)
        self.earned -= earned
        self.paid -= price - earned

    @rule(quantity=st.integers(1, 3), key=KEYS, is_received=st.booleans())
    def give_a_basket(self, quantity: int, key: str, is_received: bool) -> None:
        """Five seeds for ten petals: one of two friends pays, the other gets them."""
        name, price, seeds = f"{is_received} {quantity} {key}", 10 * quantity, 5 * quantity
        expected: type[Problem] | None = None
        funds = self.friends_petals if is_received else self.paid + self.earned
        if name not in self.done:
            if self.paid < 0 and not is_received:
                expected = GiftNotPossible
            elif funds < price:
                expected = InsufficientFunds
            elif (self.seeds if is_received else self.friends_seeds) + seeds > 20:
                expected = GiftNotPossible
        giver, taker = self.player_id, self.friend_id
        if is_received:
            giver, taker = taker, giver
        with pytest.raises(expected) if expected else nullcontext():
            bought = purchases.purchase(
                game_id=self.game_id,
                player_id=giver,
                offer="basket",
                quantity=quantity,
                key=name,
                gift_to=taker,
            )
        if expected:
            return
        assert bought.replayed is (name in self.done)
        if not bought.replayed:
            self.done[name] = bought.id
            if is_received:
                self.friends_petals -= price
                self.seeds += seeds
            else:
                self.pay(price)
                self.friends_seeds += seeds
        assert self.done[name] == bought.id

    @rule(quantity=st.integers(1, 9))
    def consume(self, quantity: int) -> None:
        try:
            left = inventory.consume(
                game_id=self.game_id, player_id=self.player_id, item="seeds", quantity=quantity
            )
        except InsufficientItems:
            assert quantity > self.seeds
        else:
            self.seeds -= quantity
            assert left.quantity == self.seeds

    @rule(
        given=st.integers(0, 400),
        bought=st.integers(0, 300),
        refunded=st.integers(0, 600),
        seeds=st.integers(0, 20),
        has_koi=st.booleans(),
    )
    def merge_another(
        self, given: int, bought: int, refunded: int, seeds: int, has_koi: bool
    ) -> None:
        """Another player, who has something or owes it, becomes this one."""
        other = PlayerFactory(game=self.shop.game)
        ledger.open_wallet(game_id=self.game_id, player_id=other.pk)
        if has_koi:
            purchases.purchase(
                game_id=self.game_id, player_id=other.pk, offer="koi", quantity=1, key="koi"
            )
        if given or seeds:
            give(other, {"petals": given} if given else {}, {"seeds": seeds} if seeds else {})
        if bought:
            self.petals(bought, "paid", Transaction.Kind.PURCHASE, "other", other.pk)
        if refunded:
            self.petals(refunded, "refund", Transaction.Kind.REFUND, "other", other.pk)
        paid, earned = balance_of(other.pk, "petals") or (0, 0)
        # What one begins with is spent first.
        begun = max(0, min(100, earned - given))

        made = merge(self.row, other)

        had = self.paid, self.earned
        if paid > 0:
            self.put(paid, "paid")
        else:
            self.take(-paid)
        lost = had[0] - self.paid, had[1] - self.earned
        credited = min(earned - begun, self.room())
        self.put(credited, "earned")
        sown = min(seeds, 20 - self.seeds) if self.seeds < 20 else 0
        self.seeds += sown
        self.koi += has_koi
        self.merged.append(Merged(made, paid, lost, credited, sown, has_koi))
        assert balance_of(other.pk, "petals") == (0, earned - credited)
        assert stack_of(other.pk, "seeds") == seeds - sown

    @precondition(lambda self: self.merged)
    @rule(data=st.data())
    def undo_a_merge(self, data: st.DataObject) -> None:
        """What is left of it goes back; what was used up is not taken from anything else."""
        merged = data.draw(st.sampled_from(self.merged))
        self.merged.remove(merged)
        undo(merged.row)
        in_debt = self.paid < 0
        if merged.paid < 0:
            self.put(merged.lost[0], "paid")
            self.put(merged.lost[1], "earned")
        elif not in_debt:
            self.paid -= min(merged.paid, self.paid)
        if not in_debt:
            self.earned -= min(merged.earned, self.earned)
        self.seeds -= min(merged.seeds, self.seeds)
        self.koi -= merged.has_koi

    @invariant()
    def the_model_agrees(self) -> None:
        assert balance_of(self.player_id, "petals") == (self.paid, self.earned)
        assert stack_of(self.player_id, "seeds") == self.seeds
        assert stack_of(self.player_id, "koi") == self.koi
        assert balance_of(self.friend_id, "petals") == (0, self.friends_petals)
        assert stack_of(self.friend_id, "seeds") == self.friends_seeds
        # Only refunds, which `take` models, go below zero, and are called a debt.
        debts = Balance.objects.filter(player_id=self.player_id, in_debt=True)
        assert debts.count() == (self.paid < 0)
        with connection.cursor() as cursor:
            cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
            cursor.execute("SET CONSTRAINTS ALL DEFERRED")

    def teardown(self) -> None:
        assert list(verification.verify(game_id=self.game_id)) == []
        for row in PlatformPurchase.objects.filter(player_id=self.player_id):
            assert (
                row.reversals
                == Transaction.objects.filter(
                    player_id=self.player_id, key__regex=f"^purchase:{row.pk}:(revoke|regrant):"
                ).count()
            )


def test_books__any_history__balance(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, settings: LazySettings
) -> None:
    settings.MERGES_A_YEAR = settings.STORE_GIFTS_A_DAY = 10**6
    settings.STORE_GIFTS_RECEIVED_A_DAY = 10**6
    OfferFactory(
        game=shop.game,
        key="basket",
        contents={"items": {"seeds": 5}},
        price={"petals": 10},
        is_giftable=True,
    )
    OfferFactory(game=shop.game, key="pack", contents=PACK, products={NAME: "pack"})
    words = CampaignFactory(
        game=shop.game, contents={"currencies": {"petals": 60}}, limit_per_player=2
    )
    campaigns.set_words(campaign=words, words=WORDS)
    shelf = make_shelf(shop.game, monkeypatch)
    machine = type("Books", (Books,), {"shop": shop, "shelf": shelf})
    run_state_machine_as_test(
        machine,
        settings=hypothesis_settings(
            max_examples=10,
            stateful_step_count=25,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
