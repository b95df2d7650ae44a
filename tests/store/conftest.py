"""A small garden to shop in."""

from dataclasses import dataclass
from typing import Any
from uuid import UUID

import pytest

from accounts.models import Game, Player
from store.models import Currency, Item, Offer
from tests.factories.accounts import PlayerFactory
from tests.factories.store import CurrencyFactory, ItemFactory, OfferFactory


@dataclass
class Shop:
    """Petals (100 to begin with, at most 1,000), gems, a koi to buy once, and seeds to use up."""

    game: Game
    petals: Currency
    gems: Currency
    koi: Item
    seeds: Item
    koi_offer: Offer
    seeds_offer: Offer


@pytest.fixture
def shop(game: Game) -> Shop:
    petals = CurrencyFactory(game=game, key="petals", initial=100, max=1000)
    gems = CurrencyFactory(game=game, key="gems")
    koi = ItemFactory(game=game, key="koi", kind=Item.Kind.DURABLE)
    seeds = ItemFactory(game=game, key="seeds", max_stack=20)
    koi_offer = OfferFactory(
        game=game,
        key="koi",
        contents={"items": {"koi": 1}},
        price={"petals": 50},
        limit_per_player=1,
    )
    seeds_offer = OfferFactory(
        game=game,
        key="seeds",
        contents={"items": {"seeds": 5}, "currencies": {"gems": 1}},
        price={"petals": 10},
    )
    return Shop(game, petals, gems, koi, seeds, koi_offer, seeds_offer)


@pytest.fixture
def player(shop: Shop) -> Player:
    return PlayerFactory(game=shop.game)


def balance_of(player_id: UUID, key: str) -> tuple[int, int] | None:
    """(paid, earned), or None where the wallet has no such balance yet."""
    from store.models import Balance

    row: Any = Balance.objects.filter(player_id=player_id, currency__key=key).first()
    return (row.paid, row.earned) if row else None


def stack_of(player_id: UUID, key: str) -> int:
    from store.models import Stack

    row = Stack.objects.filter(player_id=player_id, item__key=key).first()
    return row.quantity if row else 0
