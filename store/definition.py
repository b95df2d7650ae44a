"""The sections `currencies`, `items` and `offers` of a game file. See docs/game-definition.md."""

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Annotated, Any

import msgspec
from django.conf import settings
from django.db.models import Model

from accounts.definition import Report
from accounts.models import Game
from config.api.parsing import INT64_MAX, convert
from config.api.problems import Problem
from config.api.wire import Amount, Input, Key, Quantity, utc
from store.models import MAX_STACK, Currency, Item, Offer
from store.services import content

Name = Annotated[str, msgspec.Meta(min_length=1, max_length=100)]
Moment = Annotated[datetime, msgspec.Meta(tz=True)]
Platform = Annotated[str, msgspec.Meta(pattern=r"^[a-z][a-z0-9_]{0,19}$")]
ProductId = Annotated[str, msgspec.Meta(min_length=1, max_length=200)]


class CurrencyFile(Input, frozen=True, omit_defaults=True):
    """A currency in the file."""

    key: Key
    name: Name
    initial: Annotated[int, msgspec.Meta(ge=0, le=INT64_MAX)] = 0
    max: Amount = INT64_MAX


class ItemFile(Input, frozen=True, omit_defaults=True):
    """An item in the file."""

    key: Key
    name: Name
    kind: Item.Kind = Item.Kind.DURABLE
    max_stack: Annotated[int, msgspec.Meta(ge=1, le=MAX_STACK)] = MAX_STACK


class ContentsFile(Input, frozen=True, omit_defaults=True):
    """What is in an offer."""

    currencies: dict[Key, Amount] = {}
    items: dict[Key, Quantity] = {}


class PriceFile(Input, frozen=True):
    """A price in real money, for charts."""

    currency: Annotated[str, msgspec.Meta(pattern=r"^[A-Z]{3}$")]
    minor_units: Annotated[int, msgspec.Meta(ge=0, le=10**12)]


class OfferFile(Input, frozen=True, omit_defaults=True):
    """An offer in the file."""

    key: Key
    contents: ContentsFile
    price: dict[Key, Amount] = {}
    products: dict[Platform, ProductId] = {}
    reference_price: PriceFile | None = None
    limit_per_player: Annotated[int, msgspec.Meta(ge=1, le=1_000_000)] | None = None
    starts_at: Moment | None = None
    ends_at: Moment | None = None


def _read(section: str, data: list[Any], kind: type[Any], report: Report) -> list[Any]:
    """(place, entry) of what is well formed; mistakes are reported."""
    entries: list[Any] = []
    for index, raw in enumerate(data):
        try:
            entry = convert(raw, kind)
        except Problem as problem:
            first = problem.errors[0] if problem.errors else None
            where, text = (first.pointer, first.detail) if first else ("", problem.detail)
            report.error(f"/{section}/{index}{where}", text)
            continue
        entries.append((index, entry))
    return entries


def _compare(
    section: str,
    wanted: Mapping[str, dict[str, Any]],
    rows: Iterable[Any],
    most: int,
    report: Report,
) -> dict[str, dict[str, Any]]:
    """Report how `wanted` (key → fields) differs from the rows; returns what has to be written."""
    existing = {row.key: row for row in rows}
    if len(wanted.keys() | existing.keys()) > most:
        # Players may still have what is archived.
        report.error(f"/{section}", f"A game has at most {most}, archived ones included")
    writes: dict[str, dict[str, Any]] = {}
    for key, fields in wanted.items():
        row = existing.get(key)
        if row is None:
            report.change("created", section, key)
            writes[key] = fields
        elif different := [name for name, value in fields.items() if getattr(row, name) != value]:
            report.change("changed", section, key, ", ".join(different))
            writes[key] = fields
    for key, row in existing.items():
        if key not in wanted and row.is_active:
            report.change("removed", section, key)
            writes[key] = {"is_active": False}
    return writes


def _apply(model: type[Model], game: Game, writes: dict[str, dict[str, Any]]) -> Callable[[], None]:
    return lambda: content.write(model=model, game_id=game.pk, writes=writes)


def _known(section: str, model: Any, game: Game, report: Report) -> set[str]:
    """Keys that an offer may name: the file's, or the database's where the file has none."""
    if section in report.keys:
        return report.keys[section]
    return set(model.objects.filter(game=game, is_active=True).values_list("key", flat=True))


def _exported(entry: Any) -> dict[str, Any]:
    """The entry as plain values, without what equals its default."""
    built: dict[str, Any] = msgspec.to_builtins(entry)
    for field in msgspec.structs.fields(entry):
        if field.name in built and getattr(entry, field.name) == field.default:
            del built[field.name]
    return built


class CurrenciesSection:
    """`currencies`."""

    name = "currencies"
    order = 10

    def plan(self, game: Game, data: list[Any], report: Report) -> Callable[[], None]:
        entries = _read(self.name, data, CurrencyFile, report)
        for index, entry in entries:
            if entry.initial > entry.max:
                report.error(f"/{self.name}/{index}/initial", "More than the currency's max")
        report.keys[self.name] = {entry.key for _, entry in entries}
        wanted = {
            entry.key: {
                "name": entry.name,
                "initial": entry.initial,
                "max": entry.max,
                "is_active": True,
            }
            for _, entry in entries
        }
        writes = _compare(
            self.name,
            wanted,
            Currency.objects.filter(game=game),
            settings.STORE_MAX_CURRENCIES,
            report,
        )
        return _apply(Currency, game, writes)

    def export(self, game: Game) -> list[dict[str, Any]]:
        return [
            _exported(CurrencyFile(key=row.key, name=row.name, initial=row.initial, max=row.max))
            for row in Currency.objects.filter(game=game, is_active=True).order_by("id")
        ]


class ItemsSection:
    """`items`."""

    name = "items"
    order = 20

    def plan(self, game: Game, data: list[Any], report: Report) -> Callable[[], None]:
        entries = _read(self.name, data, ItemFile, report)
        report.keys[self.name] = {entry.key for _, entry in entries}
        wanted = {
            entry.key: {
                "name": entry.name,
                "kind": entry.kind.value,
                "max_stack": entry.max_stack,
                "is_active": True,
            }
            for _, entry in entries
        }
        writes = _compare(
            self.name, wanted, Item.objects.filter(game=game), settings.STORE_MAX_ITEMS, report
        )
        return _apply(Item, game, writes)

    def export(self, game: Game) -> list[dict[str, Any]]:
        return [
            _exported(
                ItemFile(
                    key=row.key, name=row.name, kind=Item.Kind(row.kind), max_stack=row.max_stack
                )
            )
            for row in Item.objects.filter(game=game, is_active=True).order_by("id")
        ]


class OffersSection:
    """`offers`."""

    name = "offers"
    order = 30

    def plan(self, game: Game, data: list[Any], report: Report) -> Callable[[], None]:
        entries = _read(self.name, data, OfferFile, report)
        currencies = _known("currencies", Currency, game, report)
        items = _known("items", Item, game, report)
        for index, entry in entries:
            for pointer, message in mistakes(entry, currencies, items):
                report.error(f"/{self.name}/{index}{pointer}", message)
        report.keys[self.name] = {entry.key for _, entry in entries}
        wanted = {entry.key: self._fields(entry) for _, entry in entries}
        writes = _compare(
            self.name, wanted, Offer.objects.filter(game=game), settings.STORE_MAX_OFFERS, report
        )
        return _apply(Offer, game, writes)

    def _fields(self, entry: OfferFile) -> dict[str, Any]:
        reference = entry.reference_price
        return {
            "contents": {
                "currencies": entry.contents.currencies,
                "items": entry.contents.items,
            },
            "price": entry.price,
            "products": entry.products,
            "reference_minor_units": reference.minor_units if reference else None,
            "reference_currency": reference.currency if reference else "",
            "limit_per_player": entry.limit_per_player,
            "starts_at": entry.starts_at,
            "ends_at": entry.ends_at,
            "is_active": True,
        }

    def export(self, game: Game) -> list[dict[str, Any]]:
        return [
            _exported(file_of(row))
            for row in Offer.objects.filter(game=game, is_active=True).order_by("id")
        ]


def file_of(row: Offer) -> OfferFile:
    """The offer as the file has it."""
    reference = None
    if row.reference_minor_units is not None:
        reference = PriceFile(
            currency=row.reference_currency, minor_units=row.reference_minor_units
        )
    return OfferFile(
        key=row.key,
        contents=ContentsFile(
            currencies=row.contents.get("currencies", {}), items=row.contents.get("items", {})
        ),
        price=row.price,
        products=row.products,
        reference_price=reference,
        limit_per_player=row.limit_per_player,
        starts_at=utc(row.starts_at) if row.starts_at else None,
        ends_at=utc(row.ends_at) if row.ends_at else None,
    )


def mistakes(entry: OfferFile, currencies: set[str], items: set[str]) -> list[tuple[str, str]]:
    """(pointer, sentence) of what is wrong with an offer beside its form."""
    found = []
    if not entry.contents.currencies and not entry.contents.items:
        found.append(("/contents", "There is nothing in this offer"))
    if not entry.price and not entry.products:
        found.append(("", "The offer needs a price or products"))
    for name, prices in (("price", entry.price), ("products", entry.products)):
        if len(prices) > settings.STORE_MAX_PRICES:
            found.append((f"/{name}", f"An offer has at most {settings.STORE_MAX_PRICES}"))
    if len(entry.contents.items) > settings.STORE_MAX_CONTENTS:
        found.append(("/contents/items", f"At most {settings.STORE_MAX_CONTENTS} items"))
    for pointer, keys, known, what in (
        ("/price", entry.price, currencies, "currency"),
        ("/contents/currencies", entry.contents.currencies, currencies, "currency"),
        ("/contents/items", entry.contents.items, items, "item"),
    ):
        found += [
            (f"{pointer}/{key}", f"The game has no {what} {key}")
            for key in keys
            if key not in known
        ]
    if entry.starts_at and entry.ends_at and entry.starts_at >= entry.ends_at:
        found.append(("/ends_at", "The offer ends before it starts"))
    return found
