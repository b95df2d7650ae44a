"""Wire formats of the store."""

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

import msgspec

from accounts.selectors import PublicPlayer
from config.api.pagination import PageQuery
from config.api.wire import UNSET, Amount, Input, Int64, Key, Output, Quantity, UnsetType

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
    platforms' stores. `left` is how many this player may still buy; null: no limit.

    What an offer does not use is absent: the alternatives to `price`, of which it is the first
    (`prices`); what `price` and `prices` would be without the sale that is on (`regular_price`,
    `regular_prices`, until `sale_ends_at`); when the limit begins anew (`resets_at`); when this
    player may buy again (`available_at`); what a subscription to it unlocks (`entitlement`: then
    `contents` are granted in each period); whether a player may buy it for a friend (`giftable`);
    `title` and `description` in the player's language; and
    the game's own `properties`.
    """

    key: str
    contents: Contents
    price: dict[str, int]
    products: dict[str, str]
    reference_price: Price | None = None
    limit_per_player: int | None = None
    left: int | None = None
    starts_at: datetime | None = None
    ends_at: datetime | None = None
    prices: list[dict[str, int]] | UnsetType = UNSET
    regular_price: dict[str, int] | UnsetType = UNSET
    regular_prices: list[dict[str, int]] | UnsetType = UNSET
    sale_ends_at: datetime | UnsetType = UNSET
    resets_at: datetime | UnsetType = UNSET
    available_at: datetime | UnsetType = UNSET
    entitlement: str | UnsetType = UNSET
    giftable: bool | UnsetType = UNSET
    title: str | UnsetType = UNSET
    description: str | UnsetType = UNSET
    properties: dict[str, bool | int | float | str] | UnsetType = UNSET


class OfferQuery(PageQuery):
    """Which offers: of the store with this key, or all that are not in named stores alone."""

    store: Key | None = None


class ItemOut(Output):
    """An item of the game. Bundles are never owned: who gets one gets its `contents`. `title` (the
    item's name, where it has none in the player's language) and `description` are for players."""

    key: str
    kind: Literal["durable", "consumable", "bundle"]
    title: str
    max_stack: int
    contents: Contents | UnsetType = UNSET
    description: str | UnsetType = UNSET
    properties: dict[str, bool | int | float | str] | UnsetType = UNSET


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
    """What to buy. `expected_price` is the price of one, as the player was shown it; `pay_with` the
    currencies of one of several prices (the first, unless told); `store` where it was listed;
    `gift_to` the friend who gets it."""

    offer: Key
    quantity: Quantity = 1
    expected_price: Amounts | None = None
    pay_with: Annotated[list[Key], msgspec.Meta(min_length=1, max_length=20)] | None = None
    store: Key | None = None
    gift_to: UUID | None = None


class GiftedOut(Output):
    """What a friend has got by a purchase."""

    id: UUID
    player: UUID
    contents: Contents


class PurchaseOut(Output):
    """A purchase: what was paid and granted in all, and the wallet after it. Of a gift, nothing is
    granted to the buyer: `gift` says what the friend got."""

    id: UUID
    offer: str
    quantity: int
    price: dict[str, int]
    granted: Contents
    balances: list[Balance]
    gift: GiftedOut | UnsetType = UNSET


class GiftQuery(PageQuery):
    """Whose gifts: what the caller has received, or has given."""

    direction: Literal["received", "sent"] = "received"


class GiftOut(Output):
    """A gift. `player` is the other one."""

    id: UUID
    direction: Literal["received", "sent"]
    player: PublicPlayer
    offer: str
    quantity: int
    contents: Contents
    created_at: datetime


class RedemptionIn(Input, frozen=True):
    """A promotion code as the player typed it: case, spaces and dashes do not matter."""

    code: Annotated[str, msgspec.Meta(min_length=1, max_length=64)]


class RedemptionOut(Output):
    """What a code gave, and the wallet after it. `campaign` is the campaign's key."""

    id: UUID
    campaign: str
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
