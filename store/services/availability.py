"""What is for sale to a player now, and on which terms: no writing, and few queries.

Content comes from the process's cache. The player is asked about only where an offer does
(`store.services.shoppers`), for all offers of a list together.
"""

from datetime import datetime
from typing import Literal, NamedTuple

from store.catalogue import Catalogue, Offer, Price
from store.services.shoppers import Shopper, version_of

Requirement = Literal["app_version", "country", "segment", "stat", "offer"]


class Listed(NamedTuple):
    """An offer where it is sold: `prices` are that store's, before any sale."""

    offer: Offer
    prices: tuple[Price, ...]


class Terms(NamedTuple):
    """What holds for an offer now.

    prices       what is paid: the alternatives, the first one first
    regular      the same without the sale; () where there is none
    starts_at, ends_at   of the opening that it is in
    """

    prices: tuple[Price, ...]
    regular: tuple[Price, ...]
    sale_ends_at: datetime | None
    starts_at: datetime | None
    ends_at: datetime | None


class Standing(NamedTuple):
    """What the limits leave a player: None for no limit, no reset, no waiting."""

    left: int | None
    resets_at: datetime | None
    available_at: datetime | None


def shelf(content: Catalogue, store: str | None) -> list[Listed] | None:
    """The offers of a store in its order, or all that are listed; None: there is no such store."""
    if store is None:
        return [Listed(offer, offer.prices) for offer in content.offers.values() if offer.is_listed]
    if store not in content.stores:
        return None
    return [
        Listed(offer, prices or offer.prices)
        for key, prices in content.stores[store].items()
        if (offer := content.offers.get(key)) is not None
    ]


def find(content: Catalogue, key: str, store: str | None) -> Listed | None:
    """One offer, as `shelf` has it."""
    offer = content.offers.get(key)
    if offer is None:
        return None
    if store is None:
        return Listed(offer, offer.prices) if offer.is_listed else None
    prices = content.stores.get(store, {}).get(key)
    return None if prices is None else Listed(offer, prices or offer.prices)


def terms(listed: Listed, now: datetime) -> Terms | None:
    """None while the offer is closed."""
    offer, prices = listed
    opening = offer.opening(now)
    if opening is None:
        return None
    sale = offer.sale_at(now)
    if sale is None:
        return Terms(prices, (), None, *opening)
    if sale.percent is not None:
        lowered = tuple(_less(price, sale.percent) for price in prices)
    elif prices == offer.prices:
        lowered = (sale.price,)
    else:
        # A store's own price stands against a sale of another one.
        lowered = prices
    if lowered == prices:
        return Terms(prices, (), None, *opening)
    return Terms(lowered, prices, sale.ends_at, *opening)


def _less(price: Price, percent: int) -> Price:
    """`percent` off, in the game's favour: rounded up, so never for nothing."""
    return {key: -(-amount * (100 - percent) // 100) for key, amount in price.items()}


def standing(offer: Offer, shopper: Shopper) -> Standing:
    """How many the player may still buy, and when."""
    if offer.limit_per_player is None and offer.cooldown is None:
        return Standing(None, None, None)
    use = shopper.uses.get(offer.id)
    left = offer.limit_per_player
    period = offer.period(shopper.now)
    available_at = None
    if use is not None:
        if left is not None:
            used = use.quantity
            if period is not None:
                in_period = use.last_at is not None and use.last_at >= period[0]
                used = use.period_quantity if in_period else 0
            left = max(0, left - used)
        if offer.cooldown is not None and use.last_at is not None:
            available_at = use.last_at + offer.cooldown
            if available_at <= shopper.now:
                available_at = None
    return Standing(left, period[1] if period else None, available_at)


def unmet(offer: Offer, shopper: Shopper, *, with_offers: bool = True) -> Requirement | None:
    """The first thing that the offer requires and the player lacks.

    `with_offers=False`: what was bought before is left to the database, which looks anyway.
    """
    requires = offer.requires
    if requires.app_version and shopper.version < version_of(requires.app_version):
        return "app_version"
    if requires.countries and shopper.profile.country not in requires.countries:
        return "country"
    if requires.countries_except and shopper.profile.country in requires.countries_except:
        return "country"
    if not all(map(shopper.is_in, requires.segments)):
        return "segment"
    if requires.stats:
        values = shopper.stats(requires.stats)
        for key, least in requires.stats.items():
            value = values[key]
            if value is None or value < least:
                return "stat"
    if with_offers and offer.required_offers:
        missing = set(offer.required_offers) - shopper.uses.keys()
        if missing and missing - shopper.from_platforms:
            return "offer"
    return None
