"""Races for limits with a reset and for cooldowns, with real threads and their controls."""

import pytest

from accounts.models import Game, Player
from store.catalogue import catalogue
from store.errors import CoolingDown, LimitReached
from store.models import OfferUse, Purchase
from store.services import purchases, verification
from tests.concurrency.ledger_guards import without_lock, without_triggers
from tests.concurrency.test_ledger import forget_the_broken_books, outcomes
from tests.factories.accounts import PlayerFactory
from tests.factories.store import CurrencyFactory, ItemFactory, OfferFactory, give
from tests.threads import at_once

pytestmark = pytest.mark.django_db(transaction=True)
THREADS = 32
LIMIT = 5


@pytest.fixture
def player(game: Game) -> Player:
    """With a shop of two offers: so many of one a month, and one every hour of the other."""
    CurrencyFactory(game=game, key="petals", initial=1_000)
    ItemFactory(game=game, key="koi")
    common = {"game": game, "contents": {"items": {"koi": 1}}, "price": {"petals": 10}}
    OfferFactory(key="monthly", limit_per_player=LIMIT, limit_reset="0 0 1 1 *", **common)
    OfferFactory(key="hourly", cooldown_seconds=3600, **common)
    row = PlayerFactory(game=game)
    give(row, {"petals": 1})
    catalogue(game.pk)
    return row


def buy(player: Player, offer: str, key: object) -> purchases.Bought:
    return purchases.purchase(
        game_id=player.game_id, player_id=player.pk, offer=offer, quantity=1, key=str(key)
    )


@pytest.mark.parametrize(
    ("offer", "most", "refusal"), [("monthly", LIMIT, LimitReached), ("hourly", 1, CoolingDown)]
)
def test_limit__32_threads__exact(
    player: Player, offer: str, most: int, refusal: type[Exception]
) -> None:
    results = at_once(THREADS, lambda number: buy(player, offer, number))

    assert outcomes(results) == (most, {refusal})
    assert Purchase.objects.count() == most
    use = OfferUse.objects.get()
    assert (use.quantity, use.period_quantity) == (most, most)
    assert list(verification.verify()) == []


@pytest.mark.parametrize(("offer", "most"), [("monthly", LIMIT), ("hourly", 1)])
def test_limit__control_without_the_lock__more_are_bought(
    player: Player, offer: str, most: int
) -> None:
    buy(player, offer, "first")  # rows that are not there yet have their primary keys to guard them
    OfferUse.objects.update(last_at="2020-01-01T00:00:00Z")
    with without_lock(2 * LIMIT + 1), without_triggers():
        at_once(2 * LIMIT + 1, lambda number: buy(player, offer, number))

    assert Purchase.objects.count() > most + 1
    forget_the_broken_books()
