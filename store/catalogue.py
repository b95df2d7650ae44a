"""A game's store content as requests need it: read once and kept, exactly, by each process."""

from datetime import datetime
from uuid import UUID

import msgspec

from config.db.definitions import Definitions
from store import models


class Currency(msgspec.Struct, frozen=True):
    id: int
    key: str
    initial: int
    max: int
    is_active: bool


class Item(msgspec.Struct, frozen=True):
    id: int
    key: str
    is_consumable: bool
    max_stack: int
    is_active: bool


class Offer(msgspec.Struct, frozen=True):
    """An offer that is not archived; its window may be past or yet to come."""

    id: UUID
    key: str
    currencies: dict[str, int]
    items: dict[str, int]
    price: dict[str, int]
    products: dict[str, str]
    reference_price: tuple[str, int] | None
    limit_per_player: int | None
    starts_at: datetime | None
    ends_at: datetime | None

    def is_open(self, now: datetime) -> bool:
        """Whether `now` is within the window; it ends just before `ends_at`."""
        return (self.starts_at is None or self.starts_at <= now) and (
            self.ends_at is None or now < self.ends_at
        )


class Catalogue(msgspec.Struct, frozen=True):
    """All of one game. By key; `*_keys` name ids, those of archived content too."""

    currencies: dict[str, Currency]
    items: dict[str, Item]
    offers: dict[str, Offer]
    currency_keys: dict[int, str]
    item_keys: dict[int, str]
    # Ids of the active currencies that players begin with, for seeing whether they have them.
    opening: frozenset[int]


def _load(game_id: UUID) -> Catalogue:
    currencies = {
        row.key: Currency(row.id, row.key, row.initial, row.max, row.is_active)
        for row in models.Currency.objects.filter(game_id=game_id).order_by("id")
    }
    items = {
        row.key: Item(
            row.id, row.key, row.kind == models.Item.Kind.CONSUMABLE, row.max_stack, row.is_active
        )
        for row in models.Item.objects.filter(game_id=game_id).order_by("id")
    }
    offers = {
        row.key: Offer(
            row.id,
            row.key,
            row.contents.get("currencies", {}),
            row.contents.get("items", {}),
            row.price,
            row.products,
            None
            if row.reference_minor_units is None
            else (row.reference_currency, row.reference_minor_units),
            row.limit_per_player,
            row.starts_at,
            row.ends_at,
        )
        for row in models.Offer.objects.filter(game_id=game_id, is_active=True).order_by("id")
    }
    return Catalogue(
        currencies,
        items,
        offers,
        {currency.id: currency.key for currency in currencies.values()},
        {item.id: item.key for item in items.values()},
        frozenset(c.id for c in currencies.values() if c.is_active and c.initial),
    )


_definitions = Definitions("store.catalogue", _load)


def catalogue(game_id: UUID) -> Catalogue:
    """The game's content as it was when the request came in. Not to be modified."""
    return _definitions.get(game_id)
