"""Whatever happens in whatever order: the books balance, and a plain model agrees with them."""

from contextlib import nullcontext
from typing import Any
from uuid import UUID

import pytest
from django.db import connection
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from config.api.problems import Problem
from store.catalogue import catalogue
from store.errors import InsufficientFunds, InsufficientItems, LimitReached, StackLimit
from store.models import Account, Transaction
from store.services import grants, inventory, ledger, purchases, verification
from tests.factories.accounts import PlayerFactory
from tests.store.conftest import Shop, balance_of, stack_of

pytestmark = pytest.mark.django_db
AMOUNTS = st.integers(1, 400)
KEYS = st.sampled_from([f"key-{n}" for n in range(12)])


class Books(RuleBasedStateMachine):
    """One player's value beside a model of it: petals {paid, earned}, seeds and koi."""

    shop: Shop

    def __init__(self) -> None:
        super().__init__()
        row = PlayerFactory(game=self.shop.game)
        ledger.open_wallet(game_id=row.game_id, player_id=row.pk)
        self.player_id: UUID = row.pk
        self.game_id: UUID = row.game_id
        self.paid, self.earned, self.seeds, self.koi = 0, 100, 0, 0
        self.done: dict[str, Any] = {}

    def petals(self, amount: int, mode: ledger.Mode, kind: Transaction.Kind, key: str) -> None:
        accounts = {"refund": Account.SINK_REFUND, "paid": Account.SOURCE_PURCHASE}
        ledger.post(
            game_id=self.game_id,
            player_id=self.player_id,
            kind=kind,
            key=f"{self.player_id}:{key}",
            reason="machine",
            lines=[
                ledger.Line(
                    catalogue(self.game_id).currencies["petals"], amount, mode, accounts[mode]
                )
            ],
            overflow="clip",
        )

    def credit(self, amount: int, bucket: str) -> None:
        amount = min(amount, 1000 - max(0, self.paid + self.earned))
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
            self.seeds = min(20, self.seeds + quantity)
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
            paid = min(amount, max(0, self.paid))
            earned = min(amount - paid, self.earned)
            self.earned -= earned
            self.paid -= amount - earned
        self.petals(self.done[f"refund {key}"], "refund", Transaction.Kind.REFUND, f"refund:{key}")

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
            earned = min(price, self.earned)
            self.earned -= earned
            self.paid -= price - earned
            self.koi += koi
            self.seeds += seeds
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

    @invariant()
    def the_model_agrees(self) -> None:
        assert balance_of(self.player_id, "petals") == (self.paid, self.earned)
        assert stack_of(self.player_id, "seeds") == self.seeds
        assert stack_of(self.player_id, "koi") == self.koi
        with connection.cursor() as cursor:
            cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
            cursor.execute("SET CONSTRAINTS ALL DEFERRED")

    def teardown(self) -> None:
        assert list(verification.verify(game_id=self.game_id)) == []


def test_books__any_history__balance(shop: Shop) -> None:
    machine = type("Books", (Books,), {"shop": shop})
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=15,
            stateful_step_count=25,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
