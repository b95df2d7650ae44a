"""Races for offers, with real threads and their controls."""

from typing import Any

import pytest

from accounts.models import Game, Player
from store.catalogue import catalogue
from store.errors import LimitReached
from store.models import OfferUse, Purchase
from store.services import purchases, verification
from tests.concurrency.ledger_guards import without_lock, without_triggers
from tests.concurrency.test_ledger import forget_the_broken_books, outcomes
from tests.factories.accounts import PlayerFactory
from tests.factories.store import CurrencyFactory, ItemFactory, OfferFactory, give
from tests.fixtures.api import PlayerClient
from tests.threads import at_once

pytestmark = pytest.mark.django_db(transaction=True)
THREADS = 32
LIMIT = 5


@pytest.fixture
def shop(game: Game) -> Game:
    CurrencyFactory(game=game, key="petals", initial=1_000)
    ItemFactory(game=game, key="koi")
    OfferFactory(
        game=game,
        key="koi",
        contents={"items": {"koi": 1}},
        price={"petals": 10},
        limit_per_player=LIMIT,
    )
    return game


@pytest.fixture
def player(shop: Game) -> Player:
    row = PlayerFactory(game=shop)
    give(row, {"petals": 1})
    catalogue(shop.pk)
    return row


def buy(player: Player, key: object) -> purchases.Bought:
    return purchases.purchase(
        game_id=player.game_id,
        player_id=player.pk,
        offer="koi",
        quantity=1,
        key=str(key),
        fingerprint=b"same",
    )


def test_limit__32_threads__exact(player: Player) -> None:
    results = at_once(THREADS, lambda number: buy(player, number))

    assert outcomes(results) == (LIMIT, {LimitReached})
    assert Purchase.objects.count() == LIMIT
    assert OfferUse.objects.get().quantity == LIMIT
    assert list(verification.verify()) == []


def test_limit__control_without_the_lock__more_are_bought(player: Player) -> None:
    buy(player, "first")  # rows that are not there yet have their primary keys to guard them
    with without_lock(2 * LIMIT), without_triggers():
        at_once(2 * LIMIT, lambda number: buy(player, number))

    assert Purchase.objects.count() > LIMIT
    forget_the_broken_books()


def test_same_key__32_threads__one_purchase(player: Player) -> None:
    results = at_once(THREADS, lambda number: buy(player, "once"))

    bought = [result for result in results if isinstance(result, purchases.Bought)]
    assert len(bought) == THREADS
    assert len({purchase.id for purchase in bought}) == 1
    assert [purchase.replayed for purchase in bought].count(False) == 1
    assert OfferUse.objects.get().quantity == 1


def test_same_key__16_requests_at_once__one_purchase_and_the_same_answer(
    shop: Game, player_client: PlayerClient
) -> None:
    def post(number: int) -> Any:
        client = PlayerClient(player_client.headers)
        return client.post("/v1/store/purchases", {"offer": "koi"}, idempotency_key="once")

    answers: list[Any] = at_once(16, post)

    assert {answer.status_code for answer in answers} == {201}
    assert len({answer.content for answer in answers}) == 1
    replays = [answer.headers.get("Idempotent-Replayed") for answer in answers]
    assert replays.count(None) == 1
    assert Purchase.objects.count() == 1
