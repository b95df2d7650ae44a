"""What staff see of a player's value."""

from django.db import connection
from django.urls import reverse
from django.utils.html import format_html

from accounts.backoffice import Panel
from accounts.models import Player
from store.catalogue import catalogue
from store.models import Balance, Grant, Purchase, Stack, Transaction

SHOWN = 10
SHOWN_OF_THE_LEDGER = 100


def wallet_url(player: Player) -> str:
    return reverse("admin:store_wallet_change", args=[player.pk])


def wallet(player: Player) -> Panel:
    """Balances, for the player's page."""
    rows = Balance.objects.filter(player_id=player.pk).select_related("currency")
    return Panel(
        ("Currency", "Balance", "Paid", "Earned", "Changed"),
        [
            (row.currency.key, row.paid + row.earned, row.paid, row.earned, row.updated_at)
            for row in rows.order_by("currency_id")
        ],
        more_url=wallet_url(player),
        note="In debt: nothing can be spent until it is repaid."
        if any(row.in_debt for row in rows)
        else "",
    )


def inventory(player: Player) -> Panel:
    """Items, latest first, for the player's page."""
    rows = Stack.objects.filter(player_id=player.pk, quantity__gt=0).select_related("item")
    return Panel(
        ("Item", "Quantity", "Changed"),
        [
            (row.item.key, row.quantity, row.updated_at)
            for row in rows.order_by("-updated_at")[:SHOWN]
        ],
        more_url=wallet_url(player),
    )


def purchases(player: Player) -> Panel:
    """The latest purchases, for the player's page."""
    rows = Purchase.objects.filter(player_id=player.pk).select_related("offer").order_by("-id")
    return Panel(
        ("When", "Offer", "Quantity", "Price", "Purchase"),
        [
            (
                row.created_at,
                row.offer.key,
                row.quantity,
                amounts(row.price),
                _link("store_purchase", row.pk, short=True),
            )
            for row in rows[:SHOWN]
        ],
        more_url=f"{reverse('admin:store_purchase_changelist')}?q={player.pk}",
    )


def grants(player: Player) -> Panel:
    """The latest grants, for the player's page."""
    rows = Grant.objects.filter(player_id=player.pk).order_by("-id")
    return Panel(
        ("When", "What", "Reason", "By", "Grant"),
        [
            (
                row.created_at,
                amounts(row.currencies | row.items),
                row.reason,
                row.actor or row.source,
                _link("store_grant", row.pk, short=True),
            )
            for row in rows[:SHOWN]
        ],
        more_url=f"{reverse('admin:store_grant_changelist')}?q={player.pk}",
    )


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
                keys.get(currency, ""),
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
                cause(kind, reason, reference),
                _link("store_transaction", transaction),
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
                cause(kind, reason, reference),
                _link("store_transaction", transaction),
            )
            for at, item, quantity, after, transaction, kind, reason, reference in rows
        ],
        note=f"The latest {SHOWN_OF_THE_LEDGER}." if len(rows) == SHOWN_OF_THE_LEDGER else "",
    )


def cause(kind: str, reason: str, reference: str) -> str:
    """`purchase · koi`, `grant · achievement · green_thumb`."""
    parts = (kind if kind == Transaction.Kind.GRANT else "", reason, reference)
    return " · ".join(filter(None, parts))


def amounts(values: dict[str, int]) -> str:
    """`50 petals, 1 koi`."""
    return ", ".join(f"{amount:,} {key}" for key, amount in values.items())


def _link(model: str, pk: object, *, short: bool = False) -> str:
    """A link to the row; `short` shows the end of its id, which is what differs."""
    return format_html(
        '<a class="text-primary-600 dark:text-primary-500" href="{}" title="{}">{}</a>',
        reverse(f"admin:{model}_change", args=[pk]),
        pk,
        f"…{str(pk)[-6:]}" if short else pk,
    )
