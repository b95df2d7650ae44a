"""The sections `currencies`, `items`, `offers` and `stores` of a game file. See
docs/game-definition.md."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from django.conf import settings
from django.db.models import Model

from accounts.definition import Report
from accounts.models import Game
from config.api.parsing import convert
from config.api.problems import Problem
from store.bundles import Contents
from store.models import Currency, Item, Offer, Storefront
from store.rules import Surroundings, mistakes
from store.services import content, shoppers
from store.shapes import (
    CurrencyFile,
    ItemFile,
    OfferFile,
    StoreFile,
    entry_of,
    fields_of,
    plain,
)


def read_entries(section: str, data: list[Any], kind: type[Any], report: Report) -> list[Any]:
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


def compare(
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
    return report.compare(section, wanted, existing)


def _apply(model: type[Model], game: Game, writes: dict[str, dict[str, Any]]) -> Callable[[], None]:
    return lambda: content.write(model=model, game_id=game.pk, writes=writes)


def known_keys(section: str, model: Any, game: Game, report: Report) -> set[str]:
    """The keys of a section that others may name: the file's, or those of `model`'s active rows
    where the file has no such section."""
    if section in report.keys:
        return report.keys[section]
    return set(model.objects.filter(game=game, is_active=True).values_list("key", flat=True))


def _bundles(game: Game, report: Report) -> dict[str, Contents]:
    """The bundles that contents may name: the file's, or the database's."""
    found: dict[str, Contents] | None = report.shared.get("bundles")
    if found is not None:
        return found
    rows = Item.objects.filter(game=game, is_active=True, kind=Item.Kind.BUNDLE)
    return content.bundles(map(entry_of, rows))


class _Section:
    """What the sections have in common: `kind` are the file's entries, `model` the rows."""

    name: str
    order: int
    kind: type[Any]
    model: Any
    most: str

    def around(self, game: Game, entries: list[Any], report: Report) -> Surroundings:
        """What the entries may name."""
        return Surroundings(
            currencies=known_keys("currencies", Currency, game, report),
            items=known_keys("items", Item, game, report),
            offers=known_keys("offers", Offer, game, report),
            bundles=_bundles(game, report),
            segments=shoppers.segment_names(),
        )

    def plan(self, game: Game, data: list[Any], report: Report) -> Callable[[], None]:
        entries = read_entries(self.name, data, self.kind, report)
        report.keys[self.name] = {entry.key for _, entry in entries}
        around = self.around(game, entries, report)
        for index, entry in entries:
            for pointer, message in mistakes(entry, around):
                report.error(f"/{self.name}/{index}{pointer}", message)
        wanted = {entry.key: {**fields_of(entry), "is_active": True} for _, entry in entries}
        rows = self.model.objects.filter(game=game)
        writes = compare(self.name, wanted, rows, getattr(settings, self.most), report)
        return _apply(self.model, game, writes)

    def export(self, game: Game) -> list[dict[str, Any]]:
        rows = self.model.objects.filter(game=game, is_active=True).order_by("id")
        return [plain(entry_of(row)) for row in rows]


class CurrenciesSection(_Section):
    """`currencies`."""

    name, order, most = "currencies", 10, "STORE_MAX_CURRENCIES"
    kind, model = CurrencyFile, Currency

    def around(self, game: Game, entries: list[Any], report: Report) -> Surroundings:
        return Surroundings((), ())


class ItemsSection(_Section):
    """`items`."""

    name, order, most = "items", 20, "STORE_MAX_ITEMS"
    kind, model = ItemFile, Item

    def around(self, game: Game, entries: list[Any], report: Report) -> Surroundings:
        report.shared["bundles"] = content.bundles(entry for _, entry in entries)
        return super().around(game, entries, report)


class OffersSection(_Section):
    """`offers`."""

    name, order, most = "offers", 30, "STORE_MAX_OFFERS"
    kind, model = OfferFile, Offer


class StoresSection(_Section):
    """`stores`."""

    name, order, most = "stores", 35, "STORE_MAX_STORES"
    kind, model = StoreFile, Storefront
