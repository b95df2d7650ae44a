"""A game that sells through a scripted platform, and its players."""

from typing import Any

import pytest

from accounts.models import Player
from store.models import Item, Order, PurchaseStep
from store.receipt_selectors import order_out
from store.services import verification
from store.services.steps import Cause
from tests.factories.accounts import PlayerFactory
from tests.factories.store import CurrencyFactory, ItemFactory, OfferFactory
from tests.fakes.platform import NAME, Shelf, make_shelf

STAFF = Cause(PurchaseStep.Cause.STAFF, "ann")


@pytest.fixture
def shelf(game: Any, monkeypatch: pytest.MonkeyPatch) -> Shelf:
    """Gems, koi (durable) and seeds, each sold alone, and a pack of all of it."""
    CurrencyFactory(game=game, key="gems", max=150)
    ItemFactory(game=game, key="koi", kind=Item.Kind.DURABLE)
    ItemFactory(game=game, key="seeds", max_stack=5)
    for key, contents in {
        "gems": {"currencies": {"gems": 100}},
        "koi": {"items": {"koi": 1}},
        "seeds": {"items": {"seeds": 4}},
        "pack": {"currencies": {"gems": 10}, "items": {"seeds": 2}},
    }.items():
        OfferFactory(game=game, key=key, contents=contents, products={NAME: key})
    return make_shelf(game, monkeypatch)


@pytest.fixture
def player(shelf: Shelf) -> Player:
    return PlayerFactory(game=shelf.game)


@pytest.fixture
def other(shelf: Shelf) -> Player:
    return PlayerFactory(game=shelf.game)


def status(order: Order) -> tuple[str, Any]:
    out = order_out(Order.objects.get(pk=order.pk))
    return out.status, out.code or None


def books_are_right() -> bool:
    return list(verification.verify()) == []
