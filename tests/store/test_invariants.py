"""What the database itself refuses, also from whoever goes around the services.

Each attack is tried with the ledger's own mark set (`posting`), as a wrong function of ours
would have it: then only the constraint triggers are left. The deferred ones are asked at once.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from django.db import IntegrityError, connection, transaction

from accounts.models import Player
from tests.factories.store import give
from tests.store.conftest import Shop

pytestmark = pytest.mark.django_db


def execute(sql: str, *parameters: Any) -> None:
    with connection.cursor() as cursor:
        cursor.execute(sql, list(parameters))


@contextmanager
def refused(match: str) -> Iterator[None]:
    """The block breaks a rule whose message matches, at once or when it would be committed."""
    with pytest.raises(IntegrityError, match=match), transaction.atomic():  # noqa: PT012
        # The rule is about single calls; here the block is what is tried.
        yield
        check_now()
    execute("SET CONSTRAINTS ALL DEFERRED")


def check_now() -> None:
    """Ask the deferred triggers, as a commit would."""
    execute("SET CONSTRAINTS ALL IMMEDIATE")


@pytest.fixture
def rich(shop: Shop, player: Player) -> Player:
    give(player, {"gems": 10}, {"seeds": 3})
    check_now()
    execute("SET CONSTRAINTS ALL DEFERRED")
    return player


def as_ledger() -> None:
    execute("SET LOCAL evenkeel.ledger = 'posting'")


@pytest.mark.parametrize(
    "sql",
    [
        "UPDATE store_transaction SET reason = 'other'",
        "DELETE FROM store_transaction",
        "UPDATE store_entry SET paid = 1",
        "DELETE FROM store_entry",
        "DELETE FROM store_entry_default",
        "UPDATE store_stackmovement SET quantity = 1",
        "DELETE FROM store_stackmovement",
        "DELETE FROM store_balance",
        "DELETE FROM store_stack",
    ],
)
def test_history__changed_or_deleted__refused_even_to_the_ledger(rich: Player, sql: str) -> None:
    with refused("only ever added to"):
        as_ledger()
        execute(sql)


@pytest.mark.parametrize(
    "sql",
    [
        "UPDATE store_balance SET earned = earned + 1",
        "UPDATE store_stack SET quantity = quantity + 1",
        (
            "INSERT INTO store_transaction (id, game_id, player_id, kind, key, reason, reference,"
            " created_at) SELECT gen_random_uuid(), game_id, player_id, kind, 'new', '', '', now()"
            " FROM store_transaction"
        ),
        (
            "INSERT INTO store_entry SELECT now(), gen_random_uuid(), transaction_id, currency_id,"
            " account, player_id, paid, earned, paid_after, earned_after FROM store_entry"
        ),
        (
            "INSERT INTO store_stackmovement SELECT now(), gen_random_uuid(), transaction_id,"
            " player_id, item_id, quantity, quantity_after FROM store_stackmovement"
        ),
        (
            "INSERT INTO store_balance (player_id, currency_id, paid, earned, in_debt, updated_at)"
            " SELECT player_id, currency_id + 1, 0, 0, false, now()"
            " FROM store_balance"
        ),
        (
            "INSERT INTO store_stack (player_id, item_id, quantity, updated_at)"
            " SELECT player_id, item_id + 1, 0, now() FROM store_stack"
        ),
    ],
)
def test_value__written_past_the_ledger__refused(rich: Player, sql: str) -> None:
    with refused("only ever added to"):
        execute(sql)


@pytest.mark.parametrize(
    "table",
    [
        "store_transaction",
        "store_entry",
        "store_entry_default",
        "store_balance",
        "store_stack",
        "store_stackmovement",
        "store_stackmovement_default",
    ],
)
def test_ledger__truncated__refused_unless_the_database_is_for_tests(
    rich: Player, table: str
) -> None:
    with refused("only ever added to"):
        execute("SET LOCAL evenkeel.ledger_may_be_emptied = 'off'")
        execute(f"TRUNCATE {table} CASCADE")


@pytest.mark.parametrize(
    "change",
    [
        "earned = earned + 1",
        "paid = paid + 1",
        "paid = paid + 1, earned = earned - 1",
        "earned = earned + 1, updated_at = updated_at + interval '1 second'",
        "updated_at = updated_at - interval '1 second'",
    ],
)
def test_balance__moved_without_its_entries__refused(rich: Player, change: str) -> None:
    with refused("not the sum of its entries"):
        as_ledger()
        execute(f"UPDATE store_balance SET {change}")


def test_balance__made_without_entries__refused(rich: Player, shop: Shop) -> None:
    with refused("not the sum of its entries"):
        as_ledger()
        execute(
            "INSERT INTO store_balance (player_id, currency_id, paid, earned, in_debt, updated_at)"
            " VALUES (%s::uuid, %s::bigint, 0, 5, false, now())",
            rich.pk,
            shop.petals.pk,
        )


@pytest.mark.parametrize(
    "change",
    ["quantity = quantity + 1", "updated_at = updated_at - interval '1 second'"],
)
def test_stack__moved_without_its_movements__refused(rich: Player, change: str) -> None:
    with refused("not the sum of its movements"):
        as_ledger()
        execute(f"UPDATE store_stack SET {change}")


ONE_MORE = """
    INSERT INTO store_entry
    SELECT {at}, gen_random_uuid(), {transaction}, currency_id, account, player_id,
           {paid}, {earned}, paid_after, earned_after
    FROM store_entry WHERE account = '{account}' AND currency_id = %s
"""


@pytest.mark.parametrize("account", ["wallet", "source:grant"])
@pytest.mark.parametrize(("paid", "earned"), [(1, 0), (0, -1)])
def test_entries__that_do_not_add_up__refused(
    rich: Player, shop: Shop, account: str, paid: int, earned: int
) -> None:
    with refused("not balanced"):
        as_ledger()
        execute(
            ONE_MORE.format(
                at="created_at",
                transaction="transaction_id",
                paid=paid,
                earned=earned,
                account=account,
            ),
            shop.gems.pk,
        )


def test_entries__that_balance_only_over_paid_and_earned_together__refused(
    rich: Player, shop: Shop
) -> None:
    with refused("not balanced"):
        as_ledger()
        execute(
            ONE_MORE.format(
                at="created_at",
                transaction="transaction_id",
                paid=1,
                earned=-1,
                account="source:grant",
            ),
            shop.gems.pk,
        )


@pytest.mark.parametrize(
    ("at", "owner"),
    [
        ("created_at - interval '1 day'", "transaction_id"),
        ("clock_timestamp() + interval '1 second'", "transaction_id"),
        ("created_at", "gen_random_uuid()"),
    ],
    ids=["long ago", "ahead of its balance", "of no transaction"],
)
def test_wallet_entry__beside_a_posting__refused(
    rich: Player, shop: Shop, at: str, owner: str
) -> None:
    with refused("has no transaction, or its balance was not moved"):
        as_ledger()
        execute(
            ONE_MORE.format(at=at, transaction=owner, paid=0, earned=0, account="wallet"),
            shop.gems.pk,
        )


@pytest.mark.parametrize(
    ("account", "owner"), [("'wallet'", "NULL"), ("'source:grant'", "player_id")]
)
def test_entry__of_an_account_that_is_not_its_own__refused(
    rich: Player, shop: Shop, account: str, owner: str
) -> None:
    with refused("store_entry_account"):
        as_ledger()
        execute(
            f"""INSERT INTO store_entry
                SELECT created_at, gen_random_uuid(), transaction_id, currency_id, {account},
                       {owner}, 0, 0, paid_after, earned_after
                FROM store_entry WHERE account = 'wallet' AND currency_id = %s""",
            shop.gems.pk,
        )


@pytest.mark.parametrize(
    ("change", "constraint"),
    [
        ("earned = -1", "store_balance_not_negative"),
        ("paid = -1", "store_balance_not_negative"),
        ("in_debt = true", "store_balance_debt"),
    ],
)
def test_balance__below_zero_without_a_debt__refused(
    rich: Player, change: str, constraint: str
) -> None:
    with refused(constraint):
        as_ledger()
        execute(f"UPDATE store_balance SET {change}")


@pytest.mark.parametrize("quantity", [-1, 10**12 + 1])
def test_stack__out_of_bounds__refused(rich: Player, quantity: int) -> None:
    with refused("store_stack_quantity"):
        as_ledger()
        execute("UPDATE store_stack SET quantity = %s::bigint", quantity)


def test_player__who_has_value__can_not_be_deleted(rich: Player) -> None:
    with refused("foreign key|RESTRICT|violates"):
        execute("DELETE FROM accounts_player WHERE id = %s", rich.pk)


def test_month_partitions__are_guarded_like_the_parent(rich: Player) -> None:
    from config.db import partitions

    partitions.maintain()
    with connection.cursor() as cursor:
        cursor.execute("SELECT tableoid::regclass::text FROM store_entry LIMIT 1")
        (name,) = cursor.fetchone()
    assert name.startswith("store_entry_p")
    give(rich, {"gems": 1})
    check_now()
    execute("SET CONSTRAINTS ALL DEFERRED")
    with refused("only ever added to"):
        as_ledger()
        execute(f"DELETE FROM {name}")
    with refused("only ever added to"):
        execute("SET LOCAL evenkeel.ledger_may_be_emptied = 'off'")
        execute(f"TRUNCATE {name}")
    with refused("not balanced"):
        as_ledger()
        execute(
            f"""INSERT INTO {name}
                SELECT created_at, gen_random_uuid(), transaction_id, currency_id, account,
                       player_id, 1, earned, paid_after, earned_after
                FROM {name} WHERE account = 'wallet' LIMIT 1"""
        )
