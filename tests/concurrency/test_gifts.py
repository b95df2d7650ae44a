"""Races for gifts, with real threads and their controls."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from django.db import OperationalError
from django.db.models import QuerySet

from accounts.models import Block, Game, Player
from accounts.services import friends
from store.catalogue import catalogue
from store.errors import GiftNotPossible, GiftsUsedUp, LimitReached, NotFriends
from store.models import Balance, Gift, OfferUse, Purchase, Stack
from store.services import gifts, purchases, verification
from tests.concurrency.ledger_guards import without_lock, without_triggers
from tests.concurrency.test_ledger import forget_the_broken_books, outcomes
from tests.factories.accounts import PlayerFactory, befriend
from tests.factories.store import CurrencyFactory, ItemFactory, OfferFactory, give
from tests.threads import Meeting, at_once

pytestmark = pytest.mark.django_db(transaction=True)
THREADS = 32
LIMIT = 5


@pytest.fixture(autouse=True)
def many_gifts(settings: Any) -> None:
    settings.STORE_GIFTS_A_DAY = settings.STORE_GIFTS_RECEIVED_A_DAY = 1_000


@pytest.fixture
def shop(game: Game) -> Game:
    """Seeds, of which nobody has more than ten; five baskets of one a player may buy."""
    CurrencyFactory(game=game, key="petals", initial=1_000)
    ItemFactory(game=game, key="seeds", max_stack=10)
    for key, limit in (("basket", LIMIT), ("seed", None)):
        OfferFactory(
            game=game,
            key=key,
            contents={"items": {"seeds": 1}},
            price={"petals": 10},
            limit_per_player=limit,
            is_giftable=True,
        )
    catalogue(game.pk)
    return game


@pytest.fixture
def ada(shop: Game) -> Player:
    row = PlayerFactory.create(game=shop)
    give(row, {"petals": 1})
    return row


@pytest.fixture
def friends_of_hers(ada: Player) -> list[Player]:
    rows = PlayerFactory.create_batch(THREADS, game=ada.game)
    for row in rows:
        befriend(ada, row)
    return rows


def send(sender: Player, recipient: Player, key: object, offer: str = "basket") -> purchases.Bought:
    return purchases.purchase(
        game_id=sender.game_id,
        player_id=sender.pk,
        offer=offer,
        quantity=1,
        key=str(key),
        gift_to=recipient.pk,
        fingerprint=recipient.pk.bytes,
    )


def petals_of(player: Player) -> int:
    row = Balance.objects.get(player=player, currency__key="petals")
    return row.paid + row.earned


@contextmanager
def without_row_locks(monkeypatch: pytest.MonkeyPatch, threads: int) -> Iterator[None]:
    """The players are not locked before, and all have checked before any posts."""
    with monkeypatch.context() as patched:
        patched.setattr(QuerySet, "select_for_update", lambda rows, **options: rows)
        patched.setattr(gifts, "check", Meeting(threads).after(gifts.check))
        yield


def test_32_gifts_of_a_limited_offer__the_limit_is_exact(
    ada: Player, friends_of_hers: list[Player]
) -> None:
    results = at_once(THREADS, lambda number: send(ada, friends_of_hers[number], number))

    assert outcomes(results) == (LIMIT, {LimitReached})
    assert Gift.objects.count() == Purchase.objects.count() == LIMIT
    assert OfferUse.objects.get().quantity == LIMIT
    assert petals_of(ada) == 1_001 - 10 * LIMIT
    assert sum(Stack.objects.values_list("quantity", flat=True)) == LIMIT
    assert list(verification.verify()) == []


def test_32_gifts_of_a_limited_offer__control_without_the_locks__more_are_given(
    ada: Player, friends_of_hers: list[Player], monkeypatch: pytest.MonkeyPatch
) -> None:
    send(ada, friends_of_hers[0], "first")  # a row that is not there yet has its key to guard it
    count = 2 * LIMIT
    with (
        without_row_locks(monkeypatch, count),
        without_lock(count),
        without_triggers(),
    ):
        at_once(count, lambda number: send(ada, friends_of_hers[number], number))

    assert Gift.objects.count() > LIMIT
    forget_the_broken_books()


def test_same_key__32_threads__one_gift(ada: Player, friends_of_hers: list[Player]) -> None:
    results: list[Any] = at_once(THREADS, lambda number: send(ada, friends_of_hers[0], "once"))

    assert len({bought.gift.pk for bought in results}) == 1
    assert [bought.replayed for bought in results].count(False) == 1
    assert Gift.objects.count() == Purchase.objects.count() == 1


def test_gifts_a_day__32_threads__exact(
    ada: Player, friends_of_hers: list[Player], settings: Any
) -> None:
    settings.STORE_GIFTS_A_DAY = LIMIT
    results = at_once(THREADS, lambda number: send(ada, friends_of_hers[number], number, "seed"))

    assert outcomes(results) == (LIMIT, {GiftsUsedUp})
    assert Gift.objects.count() == LIMIT


def test_gifts_a_day__control_without_the_locks__more_are_given(
    ada: Player, friends_of_hers: list[Player], settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.STORE_GIFTS_A_DAY = LIMIT
    with without_row_locks(monkeypatch, THREADS):
        at_once(THREADS, lambda number: send(ada, friends_of_hers[number], number, "seed"))

    assert Gift.objects.count() == THREADS


def test_gifts_received_a_day__32_threads__exact(
    ada: Player, friends_of_hers: list[Player], settings: Any
) -> None:
    settings.STORE_GIFTS_RECEIVED_A_DAY = LIMIT
    results = at_once(THREADS, lambda number: send(friends_of_hers[number], ada, number))

    assert outcomes(results) == (LIMIT, {GiftNotPossible})
    assert Gift.objects.count() == Stack.objects.get(player=ada).quantity == LIMIT


def test_gifts_received_a_day__control_without_the_locks__more_are_given(
    ada: Player, friends_of_hers: list[Player], settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.STORE_GIFTS_RECEIVED_A_DAY = LIMIT
    count = 2 * LIMIT  # for more she would have no room
    with without_row_locks(monkeypatch, count):
        at_once(count, lambda number: send(friends_of_hers[number], ada, number))

    assert Gift.objects.count() == count


def test_32_friends_give_one__what_has_room_is_given_and_paid_for(
    ada: Player, friends_of_hers: list[Player]
) -> None:
    results = at_once(THREADS, lambda number: send(friends_of_hers[number], ada, number))

    assert outcomes(results) == (10, {GiftNotPossible})
    assert Stack.objects.get(player=ada).quantity == 10
    paid = sum(1_000 - petals_of(row) for row in friends_of_hers if has_wallet(row))
    assert paid == 100
    assert list(verification.verify()) == []


def has_wallet(player: Player) -> bool:
    return Balance.objects.filter(player=player).exists()


def each_other(ada: Player, ben: Player, count: int) -> list[Any]:
    return at_once(
        count,
        lambda number: send(*((ada, ben) if number % 2 else (ben, ada)), number, "seed"),
    )


def test_two_give_each_other__no_deadlock(ada: Player, friends_of_hers: list[Player]) -> None:
    ben = friends_of_hers[0]
    results = each_other(ada, ben, 16)

    assert outcomes(results) == (16, set())
    assert {row.quantity for row in Stack.objects.all()} == {8}
    assert list(verification.verify()) == []


def test_two_give_each_other__control_without_the_locks__they_wait_for_each_other(
    ada: Player, friends_of_hers: list[Player], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each has paid, and waits for the other's row."""
    met = Meeting(2)
    with monkeypatch.context() as patched:
        patched.setattr(QuerySet, "select_for_update", lambda rows, **options: rows)
        patched.setattr(gifts, "hand_over", met.before(gifts.hand_over))
        results = each_other(ada, friends_of_hers[0], 2)

    assert outcomes(results) == (1, {OperationalError})
    assert "deadlock" in str(next(error for error in results if isinstance(error, Exception)))


def test_block_against_gift__never_both(ada: Player, friends_of_hers: list[Player]) -> None:
    for number, ben in enumerate(friends_of_hers[:5]):

        def act(turn: int, ben: Player = ben, number: int = number) -> Any:
            if turn:
                return friends.block(game_id=ben.game_id, player_id=ben.pk, other_id=ada.pk)
            return send(ada, ben, number)

        results = at_once(2, act)
        assert outcomes(results)[1] <= {NotFriends}
        block = Block.objects.get(player=ben)
        given = Gift.objects.filter(recipient=ben).first()
        assert given is None or given.created_at < block.created_at


def test_block_against_gift__control_without_the_locks__a_blocked_player_gives(
    ada: Player, friends_of_hers: list[Player], monkeypatch: pytest.MonkeyPatch
) -> None:
    ben = friends_of_hers[0]
    checked, blocked = Meeting(2), Meeting(2)

    def act(turn: int) -> Any:
        if not turn:
            return send(ada, ben, "late")
        checked.wait()
        block = friends.block(game_id=ben.game_id, player_id=ben.pk, other_id=ada.pk)
        blocked.wait()
        return block

    with monkeypatch.context() as patched:
        patched.setattr(QuerySet, "select_for_update", lambda rows, **options: rows)
        patched.setattr(gifts, "check", blocked.after(checked.after(gifts.check)))
        assert outcomes(at_once(2, act)) == (2, set())

    assert Gift.objects.get().created_at > Block.objects.get().created_at
