"""Wire formats of the store."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

import msgspec

from config.api.wire import Amount, Input, Int64, Key, Output, Quantity

Amounts = Annotated[
    dict[Key, Amount],
    msgspec.Meta(max_length=50, description="Amounts by the currency's key"),
]
Quantities = Annotated[
    dict[Key, Quantity],
    msgspec.Meta(max_length=100, description="Quantities by the item's key"),
]
Reason = Annotated[str, msgspec.Meta(min_length=1, max_length=200)]


class Contents(Output):
    """Currencies and items, by key."""

    currencies: dict[str, int]
    items: dict[str, int]


class Price(Output):
    """Real money: minor units of an ISO 4217 currency."""

    currency: str
    minor_units: int


class OfferOut(Output):
    """An offer. `price` is in virtual currency, all of it is paid; `products` are the ids in the
    platforms' stores. `left` is how many this player may still buy; null: no limit."""

    key: str
    contents: Contents
    price: dict[str, int]
    products: dict[str, str]
    reference_price: Price | None = None
    limit_per_player: int | None = None
    left: int | None = None
    starts_at: datetime | None = None
    ends_at: datetime | None = None


class Balance(Output):
    """What a player has of a currency. `paid` was bought with real money, `earned` was not; only
    a refund can take a balance below zero."""

    currency: str
    balance: Int64
    paid: Int64
    earned: Int64


class Wallet(Output):
    """All balances of a player."""

    balances: list[Balance]


class Movement(Output):
    """One change of a balance."""

    id: UUID
    currency: str
    amount: Int64
    balance_after: Int64
    reason: str
    reference: str
    created_at: datetime


class StackOut(Output):
    """How many of an item a player has."""

    item: str
    quantity: int
    updated_at: datetime


class ConsumeIn(Input, frozen=True):
    """How many to use up."""

    quantity: Quantity = 1


class PurchaseIn(Input, frozen=True):
    """What to buy. `expected_price` is the price of one, as the player was shown it."""

    offer: Key
    quantity: Quantity = 1
    expected_price: Amounts | None = None


class PurchaseOut(Output):
    """A purchase: what was paid and granted in all, and the wallet after it."""

    id: UUID
    offer: str
    quantity: int
    price: dict[str, int]
    granted: Contents
    balances: list[Balance]


class GrantIn(Input, frozen=True):
    """What to give a player, and why."""

    reason: Reason
    currencies: Amounts = {}
    items: Quantities = {}
    reference: Annotated[str, msgspec.Meta(max_length=200)] = ""


class GrantOut(Output):
    """What was given."""

    id: UUID
    player: UUID
    reason: str
    reference: str
    currencies: dict[str, int]
    items: dict[str, int]
    created_at: datetime
