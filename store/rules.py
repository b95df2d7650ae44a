"""What content has to keep to beside its form, whoever writes it: the file, the admin, a draft."""

import math
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from itertools import chain
from typing import Any

import msgspec
from django.conf import settings

from config import calendar
from config.api.parsing import INT64_MAX
from store.bundles import BundleError, Contents, opened
from store.models import MAX_STACK, Item
from store.shapes import ContentsFile, Entry, ItemFile, OfferFile, SaleFile, StoreFile

MAX_PROPERTIES = 2048

Mistake = tuple[str, str]


@dataclass(frozen=True)
class Surroundings:
    """The active content that an entry may name; `bundles` by key, `segments` None: not checked."""

    currencies: Collection[str]
    items: Collection[str]
    offers: Collection[str] = ()
    bundles: Mapping[str, Contents] = field(default_factory=dict)
    segments: Collection[str] | None = None


def mistakes(entry: Entry, around: Surroundings) -> list[Mistake]:
    """(pointer, sentence) of what is wrong with an entry beside its form."""
    if isinstance(entry, OfferFile):
        return list(_offer(entry, around))
    if isinstance(entry, ItemFile):
        return list(_item(entry, around))
    if isinstance(entry, StoreFile):
        return list(_store(entry, around))
    return [("/initial", "More than the currency's max")] if entry.initial > entry.max else []


def _item(entry: ItemFile, around: Surroundings) -> Iterator[Mistake]:
    has_contents = bool(entry.contents.currencies or entry.contents.items)
    if entry.kind == Item.Kind.BUNDLE:
        if not has_contents:
            yield "/contents", "There is nothing in this bundle"
        yield from _contents(entry.contents, around)
    elif has_contents:
        yield "/contents", "Only bundles have contents"
    yield from _properties(entry.properties)


def _offer(entry: OfferFile, around: Surroundings) -> Iterator[Mistake]:
    if not entry.contents.currencies and not entry.contents.items and not entry.entitlement:
        yield "/contents", "There is nothing in this offer"
    if entry.entitlement and (entry.all_prices or not entry.products):
        yield "/entitlement", "A subscription is sold in platforms' stores alone"
    yield from _contents(entry.contents, around)
    prices = entry.all_prices
    if not prices and not entry.products:
        yield "", "The offer needs a price or products"
    yield from _prices(entry.price, entry.prices, around)
    if len(entry.products) > settings.STORE_MAX_PRICES:
        yield "/products", f"An offer has at most {settings.STORE_MAX_PRICES}"
    yield from _ends_after(entry.starts_at, entry.ends_at, "/ends_at", "The offer")
    if entry.limit_reset:
        if entry.limit_per_player is None:
            yield "/limit_reset", "There is no limit to reset"
        if mistake := calendar.mistake_in(entry.limit_reset):
            yield "/limit_reset", _sentence(mistake)
    if entry.schedule is not None and (mistake := calendar.mistake_in(entry.schedule.cron)):
        yield "/schedule/cron", _sentence(mistake)
    if entry.sale is not None:
        yield from _sale(entry.sale, prices, around)
    yield from _requires(entry, around)
    yield from _properties(entry.properties)


def _store(entry: StoreFile, around: Surroundings) -> Iterator[Mistake]:
    seen = set()
    for index, listed in enumerate(entry.offers):
        if listed.offer not in around.offers:
            yield f"/offers/{index}/offer", f"The game has no offer {listed.offer}"
        if listed.offer in seen:
            yield f"/offers/{index}/offer", f"The offer {listed.offer} is there twice"
        seen.add(listed.offer)
        for pointer, message in _prices(listed.price, listed.prices, around):
            yield f"/offers/{index}{pointer}", message


def _contents(contents: ContentsFile, around: Surroundings) -> Iterator[Mistake]:
    yield from _known("/contents/currencies", contents.currencies, around.currencies, "currency")
    yield from _known("/contents/items", contents.items, around.items, "item")
    try:
        inside = opened(Contents(contents.currencies, contents.items), around.bundles)
    except BundleError as error:
        yield "/contents/items", str(error)
        return
    if len(inside.items) > settings.STORE_MAX_CONTENTS:
        yield "/contents/items", f"At most {settings.STORE_MAX_CONTENTS} items"
    if max(inside.currencies.values(), default=0) > INT64_MAX or (
        max(inside.items.values(), default=0) > MAX_STACK
    ):
        yield "/contents", "Nobody can hold that much"


def _prices(
    price: Mapping[str, int], prices: list[dict[str, int]], around: Surroundings
) -> Iterator[Mistake]:
    if price and prices:
        yield "/prices", "Give price or prices, not both"
    for pointer, one in chain(
        [("/price", price)], ((f"/prices/{index}", one) for index, one in enumerate(prices))
    ):
        yield from _known(pointer, one, around.currencies, "currency")
    if sum(map(len, [price, *prices])) > settings.STORE_MAX_PRICES:
        yield (
            "/prices" if prices else "/price",
            f"An offer has at most {settings.STORE_MAX_PRICES}",
        )
    if not all(prices):
        yield "/prices", "A price is at least one currency"
    if len({frozenset(one) for one in prices}) < len(prices):
        # The player names the currencies to say which.
        yield "/prices", "Two prices are in the same currencies"


def _sale(sale: SaleFile, prices: list[dict[str, int]], around: Surroundings) -> Iterator[Mistake]:
    if not prices:
        yield "/sale", "There is no price to lower"
    if (sale.percent is None) == (not sale.price):
        yield "/sale", "Give a percent or a price"
    if sale.price and len(prices) > 1:
        yield "/sale/price", "Give a percent where there are several prices"
    elif sale.price and prices and not _is_lower(sale.price, prices[0]):
        yield "/sale/price", "This is no lower price in the same currencies"
    yield from _known("/sale/price", sale.price, around.currencies, "currency")
    yield from _ends_after(sale.starts_at, sale.ends_at, "/sale/ends_at", "The sale")


def _is_lower(price: Mapping[str, int], regular: Mapping[str, int]) -> bool:
    return (
        price.keys() <= regular.keys()
        and all(amount <= regular[key] for key, amount in price.items())
        and dict(price) != dict(regular)
    )


def _requires(entry: OfferFile, around: Surroundings) -> Iterator[Mistake]:
    requires = entry.requires
    yield from _known("/requires/offers", requires.offers, around.offers, "offer")
    if entry.key in requires.offers:
        yield "/requires/offers", "An offer can't come before itself"
    if requires.countries and requires.countries_except:
        yield "/requires/countries_except", "Give countries or countries_except, not both"
    if around.segments is not None:
        yield from _known("/requires/segments", requires.segments, around.segments, "segment")


def _properties(properties: Mapping[str, Any]) -> Iterator[Mistake]:
    if any(isinstance(value, float) and not math.isfinite(value) for value in properties.values()):
        yield "/properties", "Numbers are finite"
    elif len(msgspec.json.encode(properties)) > MAX_PROPERTIES:
        yield "/properties", f"At most {MAX_PROPERTIES} bytes of JSON"


def _known(
    pointer: str, keys: Collection[str], known: Collection[str], what: str
) -> Iterator[Mistake]:
    for key in keys:
        if key not in known:
            yield f"{pointer}/{key}", f"The game has no {what} {key}"


def _ends_after(
    starts_at: datetime | None, ends_at: datetime | None, pointer: str, what: str
) -> Iterator[Mistake]:
    if starts_at and ends_at and starts_at >= ends_at:
        yield pointer, f"{what} ends before it starts"


def _sentence(text: str) -> str:
    return text[0].upper() + text[1:]
