"""A game's store content as requests need it: read once and kept, exactly, by each process."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Literal
from uuid import UUID

import msgspec
import structlog

from accounts.models import Game
from config import calendar
from config.api.problems import Problem
from config.db.definitions import Definitions
from store import models, shapes
from store.bundles import BundleError, Contents, opened
from store.shapes import RequiresFile, SaleFile, ScheduleFile

log = structlog.get_logger(__name__)
Price = dict[str, int]


class Currency(msgspec.Struct, frozen=True):
    id: int
    key: str
    initial: int
    max: int
    is_active: bool


class Texts(msgspec.Struct, frozen=True):
    """What players read, by locale; and what the game keeps there for itself."""

    titles: dict[str, str] = {}
    descriptions: dict[str, str] = {}
    properties: dict[str, Any] = {}


class Item(msgspec.Struct, frozen=True):
    """`contents` is what is in a bundle, bundles in it opened; None: this is none."""

    id: int
    key: str
    is_consumable: bool
    max_stack: int
    is_active: bool
    name: str
    kind: Literal["durable", "consumable", "bundle"]
    contents: Contents | None = None
    texts: Texts = Texts()


class Sale(msgspec.Struct, frozen=True):
    percent: int | None
    price: Price
    starts_at: datetime | None
    ends_at: datetime | None


class Offer(msgspec.Struct, frozen=True):
    """An offer that is not archived; its window may be past or yet to come.

    currencies, items   what it grants: bundles are opened
    prices              the alternatives, `price` is the first; none: not for virtual currency
    required_offers     the ids of those that come before it
    """

    id: UUID
    key: str
    currencies: dict[str, int]
    items: dict[str, int]
    price: Price
    products: dict[str, str]
    reference_price: tuple[str, int] | None
    limit_per_player: int | None
    starts_at: datetime | None
    ends_at: datetime | None
    prices: tuple[Price, ...]
    limit_reset: str
    cooldown: timedelta | None
    schedule: tuple[str, timedelta] | None
    requires: RequiresFile
    required_offers: tuple[UUID, ...]
    sale: Sale | None
    texts: Texts
    entitlement: str
    is_listed: bool
    is_giftable: bool
    zone: str

    def opening(self, now: datetime) -> tuple[datetime | None, datetime | None] | None:
        """When it opened and when it closes, each None for never; None while it is closed.

        It ends just before its end.
        """
        starts_at, ends_at = self.starts_at, self.ends_at
        if self.schedule is not None:
            cron, duration = self.schedule
            since, _ = calendar.span_around(cron, self.zone, now)
            # What opens again before it has closed stays open.
            until = since + duration
            starts_at = max(starts_at, since) if starts_at else since
            ends_at = min(ends_at, until) if ends_at else until
        if (starts_at is not None and now < starts_at) or (ends_at is not None and ends_at <= now):
            return None
        return starts_at, ends_at

    def is_open(self, now: datetime) -> bool:
        """Whether `now` is within the window and the schedule."""
        return self.opening(now) is not None

    def period(self, now: datetime) -> tuple[datetime, datetime] | None:
        """When the limit was reset last and will be next; None: it is for ever."""
        if not self.limit_reset or self.limit_per_player is None:
            return None
        return calendar.span_around(self.limit_reset, self.zone, now)

    def sale_at(self, now: datetime) -> Sale | None:
        """The sale that is on."""
        sale = self.sale
        if (
            sale is None
            or (sale.starts_at and now < sale.starts_at)
            or (sale.ends_at and sale.ends_at <= now)
        ):
            return None
        return sale


class Catalogue(msgspec.Struct, frozen=True):
    """All of one game. By key; `*_keys` name ids, those of archived content too.

    stores   by key: the offers in their order, with the store's prices (none: the offer's own)
    """

    currencies: dict[str, Currency]
    items: dict[str, Item]
    offers: dict[str, Offer]
    currency_keys: dict[int, str]
    item_keys: dict[int, str]
    # Ids of the active currencies that players begin with, for seeing whether they have them.
    opening: frozenset[int]
    stores: dict[str, dict[str, tuple[Price, ...]]] = {}

    def open_bundles(
        self, currencies: Mapping[str, int], items: Mapping[str, int]
    ) -> tuple[dict[str, int], dict[str, int]]:
        """What players get who are given these."""
        bundles = {
            key: item.contents
            for key in items
            if (item := self.items.get(key)) and item.contents is not None
        }
        inside = opened(Contents(currencies, items), bundles)
        return dict(inside.currencies), dict(inside.items)


def _load_live(game_id: UUID) -> Catalogue:
    return _load(game_id, with_drafts=False)


def _load_preview(game_id: UUID) -> Catalogue:
    return _load(game_id, with_drafts=True)


def _load(game_id: UUID, *, with_drafts: bool) -> Catalogue:
    def rows(model: Any) -> list[Any]:
        found = list(model.objects.filter(game_id=game_id).order_by("id"))
        for row in found if with_drafts else ():
            try:
                shapes.preview(row)
            except Problem as problem:
                # What it changes was changed otherwise since: the editor says so.
                log.warning("draft_does_not_fit", key=row.key, detail=problem.detail)
        return found

    zone = Game.objects.values_list("timezone", flat=True).filter(pk=game_id).first() or "UTC"
    currencies = {
        row.key: Currency(row.id, row.key, row.initial, row.max, row.is_active)
        for row in models.Currency.objects.filter(game_id=game_id).order_by("id")
    }
    item_rows = rows(models.Item)
    bundles = {row.key: _contents(row) for row in item_rows if row.kind == models.Item.Kind.BUNDLE}
    items = {row.key: _item(row, bundles) for row in item_rows}
    offer_rows = rows(models.Offer)
    ids = {row.key: row.id for row in offer_rows}
    offers = {
        row.key: offer
        for row in offer_rows
        if row.is_active and (offer := _offer(row, zone, bundles, ids)) is not None
    }
    stores = {
        row.key: {
            listed.offer: tuple(listed.all_prices)
            for listed in msgspec.convert(row.offers, list[shapes.StoreOfferFile])
        }
        for row in rows(models.Storefront)
        if row.is_active
    }
    return Catalogue(
        currencies,
        items,
        offers,
        {currency.id: currency.key for currency in currencies.values()},
        {item.id: item.key for item in items.values()},
        frozenset(c.id for c in currencies.values() if c.is_active and c.initial),
        stores,
    )


def _contents(row: Any) -> Contents:
    return Contents(row.contents.get("currencies", {}), row.contents.get("items", {}))


def _opened(row: Any, bundles: Mapping[str, Contents]) -> Contents | None:
    """None where bundles contain each other, which two edits at once may have made them."""
    try:
        return opened(_contents(row), bundles)
    except BundleError:
        log.error("bundle_in_itself", game=str(row.game_id), key=row.key)
        return None


def _item(row: Any, bundles: Mapping[str, Contents]) -> Item:
    return Item(
        row.id,
        row.key,
        row.kind == models.Item.Kind.CONSUMABLE,
        row.max_stack,
        row.is_active,
        row.name,
        row.kind,
        _opened(row, bundles) or Contents() if row.key in bundles else None,
        Texts(row.titles, row.descriptions, row.properties),
    )


def _offer(
    row: Any, zone: str, bundles: Mapping[str, Contents], ids: Mapping[str, UUID]
) -> Offer | None:
    contents = _opened(row, bundles)
    if contents is None:
        return None
    requires = msgspec.convert(row.requires, RequiresFile)
    schedule = msgspec.convert(row.schedule, ScheduleFile | None)
    return Offer(
        id=row.id,
        key=row.key,
        currencies=dict(contents.currencies),
        items=dict(contents.items),
        price=row.price,
        products=row.products,
        reference_price=None
        if row.reference_minor_units is None
        else (row.reference_currency, row.reference_minor_units),
        limit_per_player=row.limit_per_player,
        starts_at=row.starts_at,
        ends_at=row.ends_at,
        prices=(row.price, *row.other_prices) if row.price else (),
        limit_reset=row.limit_reset,
        cooldown=timedelta(seconds=row.cooldown_seconds) if row.cooldown_seconds else None,
        schedule=(schedule.cron, timedelta(seconds=schedule.duration_seconds))
        if schedule
        else None,
        requires=requires,
        required_offers=tuple(ids[key] for key in requires.offers if key in ids),
        sale=_sale(row.sale),
        texts=Texts(row.titles, row.descriptions, row.properties),
        entitlement=row.entitlement,
        is_listed=row.is_listed,
        is_giftable=row.is_giftable,
        zone=zone,
    )


def _sale(data: Any) -> Sale | None:
    sale = msgspec.convert(data, SaleFile | None)
    return None if sale is None else Sale(sale.percent, sale.price, sale.starts_at, sale.ends_at)


_definitions = Definitions("store.catalogue", _load_live)
_previews = Definitions("store.catalogue_preview", _load_preview)


def catalogue(game_id: UUID, *, preview: bool = False) -> Catalogue:
    """The game's content as it was when the request came in. Not to be modified.

    `preview`: with the drafts, as testers see it.
    """
    return (_previews if preview else _definitions).get(game_id)
