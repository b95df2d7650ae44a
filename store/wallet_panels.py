"""What the page of a wallet shows: balances with their check, and the latest movements."""

from django.db import connection

from accounts.backoffice import Panel
from accounts.models import Player
from store import panels
from store.catalogue import catalogue

SHOWN_OF_THE_LEDGER = 100

CHECKED_SQL = """
    SELECT b.currency_id, b.paid, b.earned, b.in_debt, b.updated_at, sum(e.paid), sum(e.earned),
           count(e.id)
    FROM store_balance b LEFT JOIN store_entry e
         ON e.player_id = b.player_id AND e.currency_id = b.currency_id
    WHERE b.player_id = %s::uuid GROUP BY b.player_id, b.currency_id ORDER BY b.currency_id
"""


def checked_balances(player: Player) -> Panel:
    """Balances beside the sums of their entries, which they have to equal."""
    keys = catalogue(player.game_id).currency_keys
    with connection.cursor() as cursor:
        cursor.execute(CHECKED_SQL, [player.pk])
        rows = cursor.fetchall()
    return Panel(
        ("Currency", "Balance", "Paid", "Earned", "Debt", "Entries", "Check", "Changed"),
        [
            (
                panels.explained(player, keys.get(currency, "")),
                paid + earned,
                paid,
                earned,
                in_debt,
                entries,
                "equals its entries"
                if (paid, earned) == (paid_sum, earned_sum)
                else f"ENTRIES SAY {paid_sum} PAID, {earned_sum} EARNED",
                updated_at,
            )
            for currency, paid, earned, in_debt, updated_at, paid_sum, earned_sum, entries in rows
        ],
    )


STATEMENT_SQL = """
    SELECT e.created_at, e.currency_id, e.paid, e.earned, e.paid_after + e.earned_after,
           t.id, t.kind, t.reason, t.reference
    FROM store_entry e JOIN store_transaction t ON t.id = e.transaction_id
    WHERE e.player_id = %s::uuid ORDER BY e.created_at DESC, e.id DESC LIMIT %s
"""


def statement(player: Player) -> Panel:
    """The latest entries with their causes and the running balance."""
    keys = catalogue(player.game_id).currency_keys
    with connection.cursor() as cursor:
        cursor.execute(STATEMENT_SQL, [player.pk, SHOWN_OF_THE_LEDGER])
        rows = cursor.fetchall()
    return Panel(
        ("When", "Currency", "Amount", "Paid", "Earned", "Balance", "Cause", "Transaction"),
        [
            (
                at,
                keys.get(currency, ""),
                f"{paid + earned:+,}",
                paid,
                earned,
                int(after),
                panels.cause(kind, reason, reference),
                panels.link("store_transaction", transaction),
            )
            for at, currency, paid, earned, after, transaction, kind, reason, reference in rows
        ],
        note=f"The latest {SHOWN_OF_THE_LEDGER}." if len(rows) == SHOWN_OF_THE_LEDGER else "",
    )


MOVED_SQL = """
    SELECT m.created_at, m.item_id, m.quantity, m.quantity_after, t.id, t.kind, t.reason,
           t.reference
    FROM store_stackmovement m JOIN store_transaction t ON t.id = m.transaction_id
    WHERE m.player_id = %s::uuid ORDER BY m.created_at DESC, m.id DESC LIMIT %s
"""


def item_history(player: Player) -> Panel:
    """The latest movements of items."""
    keys = catalogue(player.game_id).item_keys
    with connection.cursor() as cursor:
        cursor.execute(MOVED_SQL, [player.pk, SHOWN_OF_THE_LEDGER])
        rows = cursor.fetchall()
    return Panel(
        ("When", "Item", "Quantity", "Stack", "Cause", "Transaction"),
        [
            (
                at,
                keys.get(item, ""),
                f"{quantity:+,}",
                after,
                panels.cause(kind, reason, reference),
                panels.link("store_transaction", transaction),
            )
            for at, item, quantity, after, transaction, kind, reason, reference in rows
        ],
        note=f"The latest {SHOWN_OF_THE_LEDGER}." if len(rows) == SHOWN_OF_THE_LEDGER else "",
    )
