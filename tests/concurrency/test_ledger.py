"""Races for value, with real threads; each with a control that shows what the guard is for."""

from collections.abc import Callable
from typing import Any

import pytest
from django.db import IntegrityError, connection, transaction

from accounts.models import Game, Player
from config.db.ids import uuid7
from store.catalogue import catalogue
from store.errors import InsufficientFunds, InsufficientItems
from store.models import Account, Balance, Entry, Grant, Stack, Transaction
from store.services import grants, inventory, ledger, verification
from tests.concurrency.ledger_guards import impatient, without_lock, without_triggers
from tests.factories.accounts import PlayerFactory
from tests.factories.store import CurrencyFactory, ItemFactory, OfferFactory, give
from tests.fixtures.api import PlayerClient, assert_problem
from tests.threads import at_once

pytestmark = pytest.mark.django_db(transaction=True)
THREADS = 32
PRICE = 10


@pytest.fixture
def player(game: Game) -> Player:
    """Has 100 gems and 10 seeds; begins with 50 petals, which nobody has asked for yet."""
    CurrencyFactory(game=game, key="gems")
    CurrencyFactory(game=game, key="petals", initial=50)
    ItemFactory(game=game, key="seeds")
    row = PlayerFactory(game=game)
    give(row, {"gems": 100}, {"seeds": 10})
    catalogue(game.pk)
    return row


def spend(player: Player, amount: int = PRICE, key: str = "") -> ledger.Posting:
    gems = catalogue(player.game_id).currencies["gems"]
    return ledger.post(
        game_id=player.game_id,
        player_id=player.pk,
        kind=Transaction.Kind.PURCHASE,
        key=key or f"test:{uuid7()}",
        reason="race",
        lines=[ledger.Line(gems, amount, "spend", Account.SINK_PURCHASE)],
    )


def outcomes(results: list[Any]) -> tuple[int, set[type]]:
    """(how many succeeded, what kinds of refusals there were)."""
    errors = [result for result in results if isinstance(result, Exception)]
    return len(results) - len(errors), {type(error) for error in errors}


def gems_of(player: Player) -> int:
    row = Balance.objects.get(player=player, currency__key="gems")
    return row.paid + row.earned


def test_spending__32_threads__spend_what_there_is_and_no_more(player: Player) -> None:
    results = at_once(THREADS, lambda number: spend(player))

    assert outcomes(results) == (10, {InsufficientFunds})
    assert gems_of(player) == 0
    assert list(verification.verify()) == []


def test_spending__control_without_the_lock__triggers_refuse_what_would_break_the_books(
    player: Player,
) -> None:
    with without_lock(8):
        succeeded, refusals = outcomes(at_once(8, lambda number: spend(player)))

    assert IntegrityError in refusals
    assert gems_of(player) == 100 - PRICE * succeeded
    assert list(verification.verify()) == []


def test_spending__control_without_lock_and_triggers__a_balance_is_spent_twice(
    player: Player,
) -> None:
    with without_lock(8), without_triggers():
        succeeded, refusals = outcomes(at_once(8, lambda number: spend(player)))

    assert (succeeded, refusals) == (8, set())
    assert gems_of(player) > 100 - PRICE * succeeded
    assert any("balances" in difference.check for difference in verification.verify())
    forget_the_broken_books()


def test_same_key__32_threads__posts_once(player: Player) -> None:
    results = at_once(THREADS, lambda number: spend(player, key="once"))

    postings = [result for result in results if isinstance(result, ledger.Posting)]
    assert len(postings) == THREADS
    assert [posting.replayed for posting in postings].count(False) == 1
    assert len({posting.id for posting in postings}) == 1
    assert gems_of(player) == 90


def test_same_key__control_without_the_unique_index__posts_again(player: Player) -> None:
    """Neither lock nor index: every thread finds the key unused."""
    rename = "ALTER TABLE store_transaction {} CONSTRAINT store_transaction_once {}"
    with connection.cursor() as cursor:
        cursor.execute(rename.format("DROP", ""))
        cursor.execute("SELECT pg_get_functiondef(oid) FROM pg_proc WHERE proname = 'store_post'")
        (post,) = cursor.fetchone()
        cursor.execute(post.replace("ON CONFLICT (game_id, key) DO NOTHING", ""))
    try:
        with without_lock(8), without_triggers():
            results = at_once(8, lambda number: spend(player, key="once"))
        assert len({r.id for r in results if isinstance(r, ledger.Posting)}) > 1
    finally:
        forget_the_broken_books()
        with connection.cursor() as cursor:
            cursor.execute(post)
            cursor.execute(rename.format("ADD", "UNIQUE (game_id, key)"))


def forget_the_broken_books() -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "TRUNCATE store_transaction, store_entry, store_balance, store_stack,"
            " store_stackmovement CASCADE"
        )


def test_one_key_for_two_players__32_threads__one_of_them_gets_it(player: Player) -> None:
    other = PlayerFactory(game=player.game)
    players = (player, other)

    def give_to(number: int) -> Grant:
        row = players[number % 2]
        return grants.grant(
            game_id=row.game_id,
            player_id=row.pk,
            currencies={"gems": 1},
            items={},
            key="prize",
            reason="race",
            fingerprint=row.pk.bytes,
        )

    results = at_once(THREADS, give_to)

    given = [result for result in results if isinstance(result, Grant)]
    assert len(given) == THREADS // 2
    assert len({row.pk for row in given}) == 1
    assert [row.is_replay for row in given].count(False) == 1
    assert Grant.objects.filter(reason="race").count() == 1


def test_items__32_threads__consume_what_there_is_and_no_more(player: Player) -> None:
    def consume(number: int) -> Any:
        return inventory.consume(
            game_id=player.game_id, player_id=player.pk, item="seeds", quantity=1
        )

    assert outcomes(at_once(THREADS, consume)) == (10, {InsufficientItems})
    assert Stack.objects.get(player=player).quantity == 0
    assert list(verification.verify()) == []


def test_items__control_without_lock_and_triggers__a_stack_is_used_twice(player: Player) -> None:
    def consume(number: int) -> Any:
        return inventory.consume(
            game_id=player.game_id, player_id=player.pk, item="seeds", quantity=2
        )

    with without_lock(8), without_triggers():
        succeeded, _ = outcomes(at_once(8, consume))
    assert Stack.objects.get(player=player).quantity > 10 - 2 * succeeded
    forget_the_broken_books()


FIRST_USES: list[Callable[[Player], Any]] = [
    lambda player: ledger.open_wallet(game_id=player.game_id, player_id=player.pk),
    lambda player: give(player, {"petals": 1}),
]


def test_beginning_balance__32_first_uses_at_once__given_once(player: Player) -> None:
    results = at_once(THREADS, lambda number: FIRST_USES[number % 2](player))

    assert outcomes(results)[1] == set()
    assert Entry.objects.filter(account="source:initial").count() == 1
    assert Balance.objects.get(player=player, currency__key="petals").earned == 50 + THREADS // 2
    assert list(verification.verify()) == []


def test_currencies_in_any_order__32_threads__no_deadlock(player: Player) -> None:
    names = ["gems", "petals"]

    def give_both(number: int) -> Grant:
        order = names if number % 2 else names[::-1]
        return give(player, dict.fromkeys(order, 1), {"seeds": 1})

    assert outcomes(at_once(THREADS, give_both)) == (THREADS, set())
    assert gems_of(player) == 100 + THREADS
    assert list(verification.verify()) == []


def test_maximum__32_threads__reached_and_not_exceeded(player: Player, game: Game) -> None:
    CurrencyFactory(game=game, key="shells", max=25)

    results = at_once(THREADS, lambda number: give(player, {"shells": 2}))

    added = sum(row.currencies.get("shells", 0) for row in results if isinstance(row, Grant))
    assert added == 25
    assert Balance.objects.get(player=player, currency__key="shells").earned == 25


def test_locked_player__a_request_waits_a_bounded_time_and_can_be_repeated(
    player: Player, player_client: PlayerClient
) -> None:
    """Somebody holds the row for long: 503 with Retry-After, nothing changed, and then it works."""
    OfferFactory(
        game=player.game, key="seeds", contents={"items": {"seeds": 1}}, price={"petals": 1}
    )

    def buy(client: PlayerClient) -> Any:
        return client.post("/v1/store/purchases", {"offer": "seeds"}, idempotency_key="k")

    with impatient(), transaction.atomic():
        Player.objects.select_for_update().get(pk=player_client.player_id)
        answers: list[Any] = at_once(1, lambda number: buy(PlayerClient(player_client.headers)))
    assert_problem(answers[0], 503, "unavailable")
    assert answers[0].headers["Retry-After"]
    assert buy(player_client).status_code == 201
