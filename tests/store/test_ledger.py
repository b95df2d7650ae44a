"""What the ledger posts, and what it refuses."""

import uuid
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection

from accounts.models import Player
from config.api.problems import IdempotencyKeyReused, NotFound
from config.db.ids import uuid7
from store.catalogue import catalogue
from store.errors import BalanceLimit, InsufficientFunds, InsufficientItems, StackLimit
from store.models import Account, Balance, Entry, Stack, StackMovement, Transaction
from store.services import ledger, verification
from tests.factories.accounts import PlayerFactory
from tests.store.conftest import Shop, balance_of, stack_of

pytestmark = pytest.mark.django_db
INT64_MAX = 2**63 - 1


def line(shop: Shop, key: str, amount: int, mode: ledger.Mode) -> ledger.Line:
    account = {
        "spend": Account.SINK_PURCHASE,
        "refund": Account.SINK_REFUND,
    }.get(mode, Account.SOURCE_GRANT)
    return ledger.Line(catalogue(shop.game.pk).currencies[key], amount, mode, account)


def stack_line(shop: Shop, key: str, quantity: int) -> ledger.StackLine:
    return ledger.StackLine(catalogue(shop.game.pk).items[key], quantity)


def post(shop: Shop, player: Player, *lines: Any, **options: Any) -> ledger.Posting:
    given: dict[str, Any] = {
        "game_id": shop.game.pk,
        "player_id": player.pk,
        "kind": Transaction.Kind.GRANT,
        "key": f"test:{uuid7()}",
        "reason": "test",
        "lines": [part for part in lines if isinstance(part, ledger.Line)],
        "stack_lines": [part for part in lines if isinstance(part, ledger.StackLine)],
    }
    return ledger.post(**(given | options))


def test_post__currency_and_item__entries_balance_and_movements_tell(
    shop: Shop, player: Player
) -> None:
    posting = post(shop, player, line(shop, "gems", 30, "paid"), stack_line(shop, "seeds", 3))

    assert (posting.replayed, posting.amounts, posting.quantities, posting.stacks) == (
        False,
        [30],
        [3],
        [3],
    )
    assert balance_of(player.pk, "gems") == (30, 0)
    wallet, source = Entry.objects.filter(transaction_id=posting.id).order_by("-account")
    assert (wallet.account, wallet.player_id, wallet.paid, wallet.paid_after) == (
        "wallet",
        player.pk,
        30,
        30,
    )
    assert (source.account, source.player_id, source.paid, source.paid_after) == (
        "source:grant",
        None,
        -30,
        None,
    )
    assert wallet.created_at == source.created_at == posting.at
    assert wallet.id.version == 7
    movement = StackMovement.objects.get(transaction_id=posting.id)
    assert (movement.quantity, movement.quantity_after, movement.created_at) == (3, 3, posting.at)
    assert Transaction.objects.get(pk=posting.id).created_at == posting.at


def test_post__first_use_of_a_currency__gives_what_players_begin_with_once(
    shop: Shop, player: Player
) -> None:
    post(shop, player, line(shop, "petals", 5, "earned"))
    post(shop, player, line(shop, "petals", 5, "earned"))

    assert balance_of(player.pk, "petals") == (0, 110)
    assert Transaction.objects.filter(player=player, kind="initial").count() == 1


def test_post__spend__takes_earned_before_paid(shop: Shop, player: Player) -> None:
    post(shop, player, line(shop, "gems", 30, "paid"), line(shop, "gems", 20, "earned"))

    post(shop, player, line(shop, "gems", 25, "spend"))

    assert balance_of(player.pk, "gems") == (25, 0)
    spent = Entry.objects.filter(account="sink:purchase").get()
    assert (spent.paid, spent.earned) == (5, 20)


def test_post__spend_more_than_there_is__refused_and_nothing_written(
    shop: Shop, player: Player
) -> None:
    before = Transaction.objects.count()

    with pytest.raises(InsufficientFunds) as refusal:
        post(shop, player, line(shop, "gems", 1, "spend"), stack_line(shop, "koi", 1))

    assert refusal.value.extra == {"currency": "gems"}
    assert Transaction.objects.count() == before
    assert stack_of(player.pk, "koi") == 0


def test_post__spend_of_the_beginning_balance__is_possible_at_once(
    shop: Shop, player: Player
) -> None:
    post(shop, player, line(shop, "petals", 100, "spend"))
    assert balance_of(player.pk, "petals") == (0, 0)


@pytest.mark.parametrize("amount", [901, INT64_MAX])
def test_post__beyond_the_maximum__refused_or_clipped(
    shop: Shop, player: Player, amount: int
) -> None:
    with pytest.raises(BalanceLimit):
        post(shop, player, line(shop, "petals", amount, "earned"))

    posting = post(shop, player, line(shop, "petals", amount, "earned"), overflow="clip")
    assert posting.amounts == [900]
    again = post(shop, player, line(shop, "petals", 1, "earned"), overflow="clip")
    assert again.amounts == [0]
    assert not Entry.objects.filter(transaction_id=again.id).exists()
    assert balance_of(player.pk, "petals") == (0, 1000)


def test_post__largest_integers__are_held_exactly(shop: Shop, player: Player) -> None:
    post(shop, player, line(shop, "gems", INT64_MAX - 1, "paid"))
    post(shop, player, line(shop, "gems", 1, "earned"))
    with pytest.raises(BalanceLimit):
        post(shop, player, line(shop, "gems", 1, "earned"))

    post(shop, player, line(shop, "gems", INT64_MAX, "spend"))
    assert balance_of(player.pk, "gems") == (0, 0)


def test_post__stack_bounds__refused_or_clipped(shop: Shop, player: Player) -> None:
    with pytest.raises(StackLimit) as refusal:
        post(shop, player, stack_line(shop, "seeds", 21))
    assert refusal.value.extra == {"item": "seeds"}
    with pytest.raises(InsufficientItems) as too_few:
        post(shop, player, stack_line(shop, "seeds", -1))
    assert too_few.value.extra == {"item": "seeds"}

    posting = post(shop, player, stack_line(shop, "seeds", 21), overflow="clip")
    assert (posting.quantities, posting.stacks) == ([20], [20])
    posting = post(shop, player, stack_line(shop, "seeds", -20))
    assert posting.stacks == [0]
    assert Stack.objects.get(player=player).quantity == 0


def test_post__same_key_again__replays(shop: Shop, player: Player) -> None:
    first = post(shop, player, line(shop, "gems", 5, "earned"), key="k", fingerprint=b"x")
    again = post(shop, player, line(shop, "gems", 5, "earned"), key="k", fingerprint=b"x")

    assert (again.replayed, again.id, again.at) == (True, first.id, first.at)
    assert [money.balance for money in again.wallet] == [5]
    with pytest.raises(IdempotencyKeyReused):
        post(shop, player, line(shop, "gems", 5, "earned"), key="k", fingerprint=b"y")


def test_post__same_key_in_another_game__is_another_key(
    shop: Shop, player: Player, other_game: Any
) -> None:
    post(shop, player, line(shop, "gems", 5, "earned"), key="k")
    stranger = PlayerFactory(game=other_game)
    posting = post(shop, stranger, game_id=other_game.pk, key="k")
    assert not posting.replayed


def test_post__player_of_another_game__not_found(
    shop: Shop, player: Player, other_game: Any
) -> None:
    with pytest.raises(NotFound):
        post(shop, player, game_id=other_game.pk)
    with pytest.raises(NotFound):
        post(shop, player, player_id=uuid.uuid4())


def test_post__refund__takes_paid_before_earned_and_may_leave_a_debt(
    shop: Shop, player: Player
) -> None:
    post(shop, player, line(shop, "gems", 30, "paid"), line(shop, "gems", 20, "earned"))

    post(shop, player, line(shop, "gems", 40, "refund"), kind=Transaction.Kind.REFUND)
    assert balance_of(player.pk, "gems") == (0, 10)

    post(shop, player, line(shop, "gems", 25, "refund"), kind=Transaction.Kind.REFUND)
    assert balance_of(player.pk, "gems") == (-15, 0)
    assert Balance.objects.get(player=player).in_debt


def test_post__in_debt__spending_is_refused_until_it_is_repaid(shop: Shop, player: Player) -> None:
    post(shop, player, line(shop, "gems", 10, "refund"), kind=Transaction.Kind.REFUND)
    with pytest.raises(InsufficientFunds):
        post(shop, player, line(shop, "gems", 1, "spend"))

    post(shop, player, line(shop, "gems", 4, "earned"))
    assert balance_of(player.pk, "gems") == (-6, 0)
    post(shop, player, line(shop, "gems", 10, "earned"))
    assert balance_of(player.pk, "gems") == (0, 4)
    assert not Balance.objects.get(player=player).in_debt
    post(shop, player, line(shop, "gems", 4, "spend"))


def test_post__several_in_one_transaction__times_differ_and_order_the_history(
    shop: Shop, player: Player
) -> None:
    postings = [post(shop, player, line(shop, "gems", 1, "earned")) for _ in range(5)]
    times = [posting.at for posting in postings]
    assert times == sorted(set(times))
    after = Entry.objects.filter(player=player).order_by("created_at").values_list("earned_after")
    assert [value for (value,) in after] == [1, 2, 3, 4, 5]


def test_post__one_statement(shop: Shop, player: Player, django_assert_num_queries: Any) -> None:
    post(shop, player, line(shop, "petals", 1, "earned"))
    lines = [line(shop, "petals", 1, "earned"), stack_line(shop, "koi", 1)]
    with django_assert_num_queries(1):
        post(shop, player, *lines)


def test_refuse__unknown_status__is_a_fault_of_ours(shop: Shop) -> None:
    with pytest.raises(AssertionError, match="odd"):
        ledger.refuse(shop.game.pk, "odd", None)


def test_post__unknown_mode__fails_loudly(shop: Shop, player: Player) -> None:
    from django.db import DatabaseError

    odd: Any = "odd"
    with pytest.raises(DatabaseError, match="unknown mode"):
        post(shop, player, line(shop, "gems", 1, odd))


def test_open_wallet__gives_beginning_balances_once(
    shop: Shop, player: Player, django_assert_num_queries: Any
) -> None:
    assert [
        money.balance for money in ledger.open_wallet(game_id=shop.game.pk, player_id=player.pk)
    ] == [100]
    post(shop, player, line(shop, "petals", 100, "spend"))
    catalogue(shop.game.pk)
    assert [
        money.balance for money in ledger.open_wallet(game_id=shop.game.pk, player_id=player.pk)
    ] == [0]
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM store_transaction WHERE kind = 'initial'")
        assert cursor.fetchone() == (1,)


def test_post__more_stacks_than_a_player_may_have__refused_or_left_out(
    shop: Shop, player: Player, settings: Any
) -> None:
    settings.STORE_MAX_STACKS = 1
    both = [stack_line(shop, "koi", 1), stack_line(shop, "seeds", 1)]
    with pytest.raises(StackLimit):
        post(shop, player, *both)

    assert post(shop, player, *both, overflow="clip").quantities == [1, 0]
    assert post(shop, player, both[0]).stacks == [2]
    with pytest.raises(StackLimit):
        post(shop, player, both[1])
    settings.STORE_MAX_STACKS = 2
    assert post(shop, player, both[1]).stacks == [1]


def test_post__clock_was_set_back__history_keeps_its_order(shop: Shop, player: Player) -> None:
    """As after a day in which the server's clock was a day ahead."""
    first = post(shop, player, line(shop, "gems", 1, "earned"), stack_line(shop, "seeds", 1))
    with connection.cursor() as cursor:
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE; SET CONSTRAINTS ALL DEFERRED")
        cursor.execute("SET LOCAL session_replication_role = 'replica'")
        for table, column in (
            ("store_transaction", "created_at"),
            ("store_entry", "created_at"),
            ("store_balance", "updated_at"),
            ("store_stackmovement", "created_at"),
            ("store_stack", "updated_at"),
        ):
            cursor.execute(f"UPDATE {table} SET {column} = {column} + interval '1 day'")
        cursor.execute("SET LOCAL session_replication_role = 'origin'")

    second = post(shop, player, line(shop, "gems", 1, "earned"))
    third = post(shop, player, stack_line(shop, "seeds", 1))

    assert second.at == first.at + timedelta(days=1, microseconds=1)
    assert third.at == second.at + timedelta(microseconds=1)
    with connection.cursor() as cursor:
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
    assert list(verification.verify(game_id=shop.game.pk)) == []
