"""What a game's content says, in the one form that the game file, drafts and rows share.

An entry is a struct of the file. `fields_of(entry)` are its row's columns, `entry_of(row)` leads
back; columns of JSON hold what the file says, defaults left out.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any

import msgspec

from config.api.parsing import INT64_MAX, convert
from config.api.wire import Amount, Input, Key, Quantity, utc
from store.models import MAX_STACK, Currency, Item, Offer, Storefront

MAX_LISTED = 200

Name = Annotated[str, msgspec.Meta(min_length=1, max_length=100)]
Moment = Annotated[datetime, msgspec.Meta(tz=True)]
Platform = Annotated[str, msgspec.Meta(pattern=r"^[a-z][a-z0-9_]{0,19}$")]
ProductId = Annotated[str, msgspec.Meta(min_length=1, max_length=200)]
# A language tag (BCP 47): a language, perhaps with a script or a country.
Locale = Annotated[str, msgspec.Meta(pattern=r"^[a-z]{2,3}(-[A-Za-z0-9]{2,8}){0,2}$")]
Titles = Annotated[
    dict[Locale, Annotated[str, msgspec.Meta(min_length=1, max_length=100)]],
    msgspec.Meta(max_length=50),
]
Descriptions = Annotated[
    dict[Locale, Annotated[str, msgspec.Meta(min_length=1, max_length=1000)]],
    msgspec.Meta(max_length=50),
]
Properties = Annotated[
    dict[
        Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z_][A-Za-z0-9_.-]{0,63}$")],
        bool
        | Annotated[int, msgspec.Meta(ge=-INT64_MAX, le=INT64_MAX)]
        | float
        | Annotated[str, msgspec.Meta(max_length=200)],
    ],
    msgspec.Meta(max_length=20),
]
Prices = Annotated[dict[Key, Amount], msgspec.Meta(max_length=50)]
Cron = Annotated[str, msgspec.Meta(max_length=100)]
Seconds = Annotated[int, msgspec.Meta(ge=1, le=366 * 86400)]
Country = Annotated[str, msgspec.Meta(pattern=r"^[A-Z]{2}$")]
Countries = Annotated[list[Country], msgspec.Meta(max_length=250)]
Version = Annotated[str, msgspec.Meta(pattern=r"^[0-9]{1,9}(\.[0-9]{1,9}){0,3}$")]
Segment = Annotated[str, msgspec.Meta(pattern=r"^[a-z][a-z0-9_]{0,39}$")]


class CurrencyFile(Input, frozen=True, omit_defaults=True):
    """A currency in the file."""

    key: Key
    name: Name
    initial: Annotated[int, msgspec.Meta(ge=0, le=INT64_MAX)] = 0
    max: Amount = INT64_MAX


class ContentsFile(Input, frozen=True, omit_defaults=True):
    """What is in an offer or a bundle."""

    currencies: dict[Key, Amount] = {}
    items: dict[Key, Quantity] = {}


class ItemFile(Input, frozen=True, omit_defaults=True):
    """An item in the file. Bundles alone have contents."""

    key: Key
    name: Name
    kind: Item.Kind = Item.Kind.DURABLE
    max_stack: Annotated[int, msgspec.Meta(ge=1, le=MAX_STACK)] = MAX_STACK
    contents: ContentsFile = ContentsFile()
    titles: Titles = {}
    descriptions: Descriptions = {}
    properties: Properties = {}


class PriceFile(Input, frozen=True):
    """A price in real money, for charts."""

    currency: Annotated[str, msgspec.Meta(pattern=r"^[A-Z]{3}$")]
    minor_units: Annotated[int, msgspec.Meta(ge=0, le=10**12)]


class ScheduleFile(Input, frozen=True):
    """When an offer opens, again and again, in the game's time zone; and for how long."""

    cron: Cron
    duration_seconds: Seconds


class RequiresFile(Input, frozen=True, omit_defaults=True):
    """What a player has to have or be, all of it.

    stats             the least value of each stat
    offers            bought before
    countries         one of these; `countries_except`: none of these
    app_version       at least this
    segments          all of these
    """

    stats: Annotated[dict[Key, int], msgspec.Meta(max_length=10)] = {}
    offers: Annotated[list[Key], msgspec.Meta(max_length=10)] = []
    countries: Countries = []
    countries_except: Countries = []
    app_version: Version = ""
    segments: Annotated[list[Segment], msgspec.Meta(max_length=10)] = []


class SaleFile(Input, frozen=True, omit_defaults=True):
    """A lower price for a time: so many percent off, or a price."""

    percent: Annotated[int, msgspec.Meta(ge=1, le=99)] | None = None
    price: Prices = {}
    starts_at: Moment | None = None
    ends_at: Moment | None = None


class OfferFile(Input, frozen=True, omit_defaults=True):
    """An offer in the file. `prices` are alternatives; `price` is one price. One with an
    `entitlement` is a subscription's."""

    key: Key
    contents: ContentsFile
    price: Prices = {}
    prices: list[Prices] = []
    products: dict[Platform, ProductId] = {}
    reference_price: PriceFile | None = None
    limit_per_player: Annotated[int, msgspec.Meta(ge=1, le=1_000_000)] | None = None
    limit_reset: Cron = ""
    cooldown_seconds: Seconds | None = None
    starts_at: Moment | None = None
    ends_at: Moment | None = None
    schedule: ScheduleFile | None = None
    requires: RequiresFile = RequiresFile()
    sale: SaleFile | None = None
    titles: Titles = {}
    descriptions: Descriptions = {}
    properties: Properties = {}
    entitlement: Key = ""
    listed: bool = True
    giftable: bool = False

    @property
    def all_prices(self) -> list[dict[str, int]]:
        return self.prices or ([self.price] if self.price else [])


class StoreOfferFile(Input, frozen=True, omit_defaults=True):
    """An offer in a store, perhaps at a price of that store's."""

    offer: Key
    price: Prices = {}
    prices: list[Prices] = []

    @property
    def all_prices(self) -> list[dict[str, int]]:
        return self.prices or ([self.price] if self.price else [])


class StoreFile(Input, frozen=True, omit_defaults=True):
    """A store in the file: its offers, in their order."""

    key: Key
    offers: Annotated[list[StoreOfferFile], msgspec.Meta(max_length=MAX_LISTED)]


Entry = CurrencyFile | ItemFile | OfferFile | StoreFile
Row = Currency | Item | Offer | Storefront


def plain(entry: Any) -> dict[str, Any]:
    """The entry as plain values, without what equals its default."""
    built: dict[str, Any] = msgspec.to_builtins(entry)
    for field in msgspec.structs.fields(entry):
        if field.name in built and getattr(entry, field.name) == field.default:
            del built[field.name]
    return built


def fields_of(entry: Entry) -> dict[str, Any]:
    """The columns of the entry's row, beside its key."""
    if isinstance(entry, OfferFile):
        return _offer_fields(entry)
    if isinstance(entry, ItemFile):
        return {
            "name": entry.name,
            "kind": entry.kind.value,
            "max_stack": entry.max_stack,
            "contents": plain(entry.contents),
            "titles": entry.titles,
            "descriptions": entry.descriptions,
            "properties": entry.properties,
        }
    if isinstance(entry, StoreFile):
        return {"offers": [plain(offer) for offer in entry.offers]}
    return {"name": entry.name, "initial": entry.initial, "max": entry.max}


def _offer_fields(entry: OfferFile) -> dict[str, Any]:
    reference, prices = entry.reference_price, entry.all_prices
    return {
        "contents": {"currencies": entry.contents.currencies, "items": entry.contents.items},
        "price": prices[0] if prices else {},
        "other_prices": prices[1:],
        "products": entry.products,
        "reference_minor_units": reference.minor_units if reference else None,
        "reference_currency": reference.currency if reference else "",
        "limit_per_player": entry.limit_per_player,
        "limit_reset": entry.limit_reset,
        "cooldown_seconds": entry.cooldown_seconds,
        "starts_at": entry.starts_at,
        "ends_at": entry.ends_at,
        "schedule": plain(entry.schedule) if entry.schedule else None,
        "requires": plain(entry.requires),
        "sale": plain(_in_utc(entry.sale)) if entry.sale else None,
        "titles": entry.titles,
        "descriptions": entry.descriptions,
        "properties": entry.properties,
        "entitlement": entry.entitlement,
        "is_listed": entry.listed,
        "is_giftable": entry.giftable,
    }


def _in_utc(sale: SaleFile) -> SaleFile:
    return msgspec.structs.replace(
        sale,
        starts_at=utc(sale.starts_at) if sale.starts_at else None,
        ends_at=utc(sale.ends_at) if sale.ends_at else None,
    )


def entry_of(row: Row) -> Entry:
    """The row as the file has it, its draft left aside."""
    if isinstance(row, Offer):
        return _offer_entry(row)
    if isinstance(row, Item):
        return ItemFile(
            key=row.key,
            name=row.name,
            kind=Item.Kind(row.kind),
            max_stack=row.max_stack,
            contents=msgspec.convert(row.contents, ContentsFile),
            titles=row.titles,
            descriptions=row.descriptions,
            properties=row.properties,
        )
    if isinstance(row, Storefront):
        return StoreFile(key=row.key, offers=msgspec.convert(row.offers, list[StoreOfferFile]))
    return CurrencyFile(key=row.key, name=row.name, initial=row.initial, max=row.max)


def _offer_entry(row: Offer) -> OfferFile:
    reference = None
    if row.reference_minor_units is not None:
        reference = PriceFile(
            currency=row.reference_currency, minor_units=row.reference_minor_units
        )
    return OfferFile(
        key=row.key,
        contents=msgspec.convert(row.contents, ContentsFile),
        price={} if row.other_prices else row.price,
        prices=[row.price, *row.other_prices] if row.other_prices else [],
        products=row.products,
        reference_price=reference,
        limit_per_player=row.limit_per_player,
        limit_reset=row.limit_reset,
        cooldown_seconds=row.cooldown_seconds,
        starts_at=utc(row.starts_at) if row.starts_at else None,
        ends_at=utc(row.ends_at) if row.ends_at else None,
        schedule=msgspec.convert(row.schedule, ScheduleFile) if row.schedule else None,
        requires=msgspec.convert(row.requires, RequiresFile),
        sale=msgspec.convert(row.sale, SaleFile) if row.sale else None,
        titles=row.titles,
        descriptions=row.descriptions,
        properties=row.properties,
        entitlement=row.entitlement,
        listed=row.is_listed,
        giftable=row.is_giftable,
    )


# Drafts: the fields that differ from the live entry, null for its default; `is_active` beside them.
ACTIVE = "is_active"


def draft_of(row: Item | Offer | Storefront, entry: Entry, *, is_active: bool) -> dict[str, Any]:
    """What has to be published to make the row say `entry`."""
    live, wanted = plain(entry_of(row)), plain(entry)
    changes = {
        name: wanted.get(name)
        for name in live.keys() | wanted.keys()
        if live.get(name) != wanted.get(name)
    }
    if is_active != row.is_active:
        changes[ACTIVE] = is_active
    return changes


def drafted(row: Item | Offer | Storefront) -> tuple[Entry, bool]:
    """The entry and `is_active` that publishing the row's draft would make."""
    entry, changes = entry_of(row), dict(row.draft or {})
    is_active = bool(changes.pop(ACTIVE, row.is_active))
    return merged(entry, changes), is_active


def merged(entry: Entry, changes: Mapping[str, Any]) -> Entry:
    """The entry with `changes` made. Raises `Problem` where they no longer fit together."""
    values = {**plain(entry), **changes}
    return convert(
        {name: value for name, value in values.items() if value is not None}, type(entry)
    )


def preview(row: Any) -> None:
    """Make the row in memory say what its draft says."""
    if getattr(row, "draft", None) is None:
        return
    entry, row.is_active = drafted(row)
    for name, value in fields_of(entry).items():
        setattr(row, name, value)
