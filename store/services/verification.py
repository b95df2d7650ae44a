"""Recomputing the books: what the triggers hold row by row, asked of all that was ever written.

Every check reads a bounded slice in one statement, and so one snapshot: it can run while the
game does, and needs no memory that grows with the tables.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import structlog
from django.db import connection
from django.utils import timezone

from store.metrics import BALANCES_IN_DEBT, LEDGER_CHECKED, LEDGER_DIFFERENCES
from store.models import Balance, Currency, Item, Offer
from store.services.purchase_audit import PLATFORM_PURCHASES

log = structlog.get_logger(__name__)
Progress = Callable[[str, int], None]
ROWS_AT_ONCE = 2_000
WINDOW = timedelta(hours=6)
FIRST, LAST = UUID(int=0), UUID(int=2**128 - 1)


@dataclass(frozen=True)
class Difference:
    """One thing that is not as it should be: the check, what it is about, and the figures."""

    check: str
    subject: str
    detail: str

    def __str__(self) -> str:
        return f"{self.check}: {self.subject}: {self.detail}"


# Each row that they return is a difference: (subject, detail). %(…)s: the slice, and the ids of the
# content of the game that is looked at, or of all.

UNBALANCED = """
    SELECT 'transaction ' || e.transaction_id,
           format('%%s adds up to paid %%s, earned %%s', c.key, sum(e.paid), sum(e.earned))
    FROM store_entry e JOIN store_currency c ON c.id = e.currency_id
    WHERE e.created_at >= %(first)s::timestamptz AND e.created_at < %(last)s::timestamptz
      AND e.currency_id = ANY (%(currencies)s::bigint[])
    GROUP BY e.created_at, e.transaction_id, c.key HAVING sum(e.paid) <> 0 OR sum(e.earned) <> 0
    UNION ALL
    SELECT 'entry ' || e.id, 'has no transaction of its time'
    FROM store_entry e LEFT JOIN store_transaction t
         ON t.id = e.transaction_id AND t.created_at = e.created_at
    WHERE e.created_at >= %(first)s::timestamptz AND e.created_at < %(last)s::timestamptz
      AND e.currency_id = ANY (%(currencies)s::bigint[]) AND t.id IS NULL
"""

BALANCES = """
    WITH entries AS MATERIALIZED (
        SELECT player_id, currency_id, created_at, paid, earned, paid_after, earned_after
        FROM store_entry
        WHERE player_id > %(first)s::uuid AND player_id <= %(last)s::uuid
          AND currency_id = ANY (%(currencies)s::bigint[])
    ), sums AS (
        SELECT player_id, currency_id, sum(paid) AS paid, sum(earned) AS earned,
               max(created_at) AS updated_at
        FROM entries GROUP BY player_id, currency_id
    ), held AS (
        SELECT player_id, currency_id, paid, earned, updated_at FROM store_balance
        WHERE player_id > %(first)s::uuid AND player_id <= %(last)s::uuid
          AND currency_id = ANY (%(currencies)s::bigint[])
    ), running AS (
        SELECT player_id, currency_id, created_at, paid_after, earned_after,
               sum(paid) OVER history AS paid, sum(earned) OVER history AS earned
        FROM entries
        WINDOW history AS (PARTITION BY player_id, currency_id ORDER BY created_at)
    )
    SELECT format('player %%s, currency %%s', player_id, currency_id),
           format('balance paid %%s, earned %%s of %%s; entries paid %%s, earned %%s until %%s',
                  held.paid, held.earned, held.updated_at, sums.paid, sums.earned, sums.updated_at)
    FROM held FULL JOIN sums USING (player_id, currency_id)
    WHERE (held.paid, held.earned, held.updated_at)
          IS DISTINCT FROM (sums.paid, sums.earned, sums.updated_at)
    UNION ALL
    -- Two lines of one transaction share a time: one of them tells what the balance was after both.
    SELECT format('player %%s, currency %%s, %%s', player_id, currency_id, created_at),
           'the balance written beside the entry is not the sum of the entries so far'
    FROM running GROUP BY player_id, currency_id, created_at
    HAVING NOT bool_or(paid = paid_after AND earned = earned_after)
"""

STACKS = """
    WITH moved AS (
        SELECT player_id, item_id, sum(quantity) AS quantity, max(created_at) AS updated_at
        FROM store_stackmovement
        WHERE player_id > %(first)s::uuid AND player_id <= %(last)s::uuid
          AND item_id = ANY (%(items)s::bigint[])
        GROUP BY player_id, item_id
    ), held AS (
        SELECT player_id, item_id, quantity, updated_at FROM store_stack
        WHERE player_id > %(first)s::uuid AND player_id <= %(last)s::uuid
          AND item_id = ANY (%(items)s::bigint[])
    )
    SELECT format('player %%s, item %%s', player_id, item_id),
           format('stack %%s of %%s; movements %%s until %%s',
                  held.quantity, held.updated_at, moved.quantity, moved.updated_at)
    FROM held FULL JOIN moved USING (player_id, item_id)
    WHERE (held.quantity, held.updated_at) IS DISTINCT FROM (moved.quantity, moved.updated_at)
"""

# What a merged player has bought counts for whom it was merged into.
OFFER_USES = """
    WITH purchase AS (
        SELECT b.player_id, b.offer_id, b.quantity, b.created_at
        FROM store_purchase b JOIN accounts_player p ON p.id = b.player_id
        WHERE b.player_id > %(first)s::uuid AND b.player_id <= %(last)s::uuid
          AND p.merged_into_id IS NULL AND b.offer_id = ANY (%(offers)s::uuid[])
        UNION ALL
        SELECT p.merged_into_id, b.offer_id, b.quantity, b.created_at
        FROM accounts_player p JOIN store_purchase b ON b.player_id = p.id
        WHERE p.merged_into_id > %(first)s::uuid AND p.merged_into_id <= %(last)s::uuid
          AND b.offer_id = ANY (%(offers)s::uuid[])
    ), bought AS (
        SELECT player_id, offer_id, sum(quantity) AS quantity, max(created_at) AS last_at
        FROM purchase GROUP BY player_id, offer_id
    ), held AS (
        SELECT player_id, offer_id, quantity, period_quantity, last_at FROM store_offeruse
        WHERE player_id > %(first)s::uuid AND player_id <= %(last)s::uuid
          AND offer_id = ANY (%(offers)s::uuid[])
    )
    SELECT format('player %%s, offer %%s', player_id, offer_id),
           format('counted %%s (%%s in a period, until %%s), bought %%s until %%s', held.quantity,
                  held.period_quantity, held.last_at, bought.quantity, bought.last_at)
    FROM held FULL JOIN bought USING (player_id, offer_id)
    WHERE held.quantity IS DISTINCT FROM bought.quantity
       OR held.period_quantity > held.quantity
       OR held.last_at < bought.last_at
"""

# A purchase or grant says what its transaction moved.
FACTS = """
    SELECT '{what} ' || f.id, 'its transaction moved ' || coalesce(moved.value::text, 'nothing')
    FROM {table} f
    LEFT JOIN store_transaction t ON t.id = f.id AND t.created_at = f.created_at
                                 AND t.player_id = f.{owner} AND t.game_id = f.game_id
    CROSS JOIN LATERAL (
        SELECT jsonb_build_object(
            'sink', coalesce((
                SELECT jsonb_object_agg(c.key, e.amount) FROM (
                    SELECT currency_id, sum(paid + earned) AS amount FROM store_entry
                    WHERE created_at = f.created_at AND transaction_id = f.id
                      AND account = 'sink:purchase' GROUP BY currency_id) e
                JOIN store_currency c ON c.id = e.currency_id), '{{}}'),
            'source', coalesce((
                SELECT jsonb_object_agg(c.key, e.amount) FROM (
                    SELECT currency_id, -sum(paid + earned) AS amount FROM store_entry
                    WHERE created_at = f.created_at AND transaction_id = f.id
                      AND account = '{source}' GROUP BY currency_id) e
                JOIN store_currency c ON c.id = e.currency_id), '{{}}'),
            'items', coalesce((
                SELECT jsonb_object_agg(i.key, m.quantity) FROM store_stackmovement m
                JOIN store_item i ON i.id = m.item_id
                WHERE m.created_at = f.created_at AND m.transaction_id = f.id), '{{}}')
        ) AS value
    ) moved
    WHERE f.id > %(first)s::uuid AND f.id <= %(last)s::uuid
      AND (%(game)s::uuid IS NULL OR f.game_id = %(game)s::uuid)
      AND (t.id IS NULL OR moved.value <> {expected})
"""
PURCHASES = FACTS.format(
    what="purchase",
    table="store_purchase",
    owner="player_id",
    source="source:purchase",
    expected="""jsonb_build_object('sink', f.price, 'source', f.granted -> 'currencies',
                                   'items', f.granted -> 'items')""",
)
GRANTS = FACTS.format(
    what="grant",
    table="store_grant",
    owner="player_id",
    source="source:grant",
    expected="""jsonb_build_object('sink', '{}'::jsonb, 'source', f.currencies,
                                   'items', f.items)""",
)
GIFTS = FACTS.format(
    what="gift",
    table="store_gift",
    owner="recipient_id",
    source="source:purchase",
    expected="""jsonb_build_object('sink', '{}'::jsonb, 'source', f.currencies,
                                   'items', f.items)""",
)

# A gift was bought by who gave it, and granted the buyer nothing.
GIFT_PURCHASES = """
    SELECT 'gift ' || g.id, 'is not what the purchase ' || g.purchase_id || ' paid for'
    FROM store_gift g LEFT JOIN store_purchase p ON p.id = g.purchase_id
    WHERE g.id > %(first)s::uuid AND g.id <= %(last)s::uuid
      AND (%(game)s::uuid IS NULL OR g.game_id = %(game)s::uuid)
      AND (p.player_id, p.offer_id, p.quantity, p.granted)
          IS DISTINCT FROM (g.sender_id, g.offer_id, g.quantity,
                            '{"currencies": {}, "items": {}}'::jsonb)
"""

# What merged players brought along, and what an undo gave back, one lost and the other got.
MERGES = """
    WITH posted AS MATERIALIZED (
        SELECT m.id, t.id AS transaction_id, t.created_at
        FROM accounts_merge m
        CROSS JOIN (VALUES (':in'), (':out'), (':undo:in'), (':undo:out')) AS way (suffix)
        JOIN store_transaction t ON t.game_id = m.game_id AND t.key = 'merge:' || m.id || suffix
        WHERE m.id > %(first)s::uuid AND m.id <= %(last)s::uuid
          AND (%(game)s::uuid IS NULL OR m.game_id = %(game)s::uuid)
    ), moved AS (
        SELECT p.id, c.key AS what, e.paid + e.earned AS amount
        FROM posted p
        JOIN store_entry e ON e.created_at = p.created_at AND e.transaction_id = p.transaction_id
                          AND e.account = 'wallet'
        JOIN store_currency c ON c.id = e.currency_id
        UNION ALL
        SELECT p.id, i.key, m.quantity
        FROM posted p
        JOIN store_stackmovement m ON m.created_at = p.created_at
                                  AND m.transaction_id = p.transaction_id
        JOIN store_item i ON i.id = m.item_id
    )
    SELECT 'merge ' || id, format('%%s %%s more came than went', sum(amount), what)
    FROM moved GROUP BY id, what HAVING sum(amount) <> 0
"""


def verify(
    *, game_id: UUID | None = None, progress: Progress | None = None
) -> Iterator[Difference]:
    """Everything in the books that is not as it should be, of one game or of all.

    `progress(check, slices done)` is told after each slice.
    """
    content = _content(game_id)
    checks: list[tuple[str, str, Iterator[tuple[Any, Any]]]] = [
        ("transactions balance", UNBALANCED, _windows()),
        ("balances are sums of entries", BALANCES, _slices("store_balance", "player_id")),
        ("stacks are sums of movements", STACKS, _slices("store_stack", "player_id")),
        ("limits count purchases", OFFER_USES, _slices("store_offeruse", "player_id")),
        ("purchases are in the ledger", PURCHASES, _slices("store_purchase", "id")),
        ("grants are in the ledger", GRANTS, _slices("store_grant", "id")),
        ("gifts are in the ledger", GIFTS, _slices("store_gift", "id")),
        ("gifts were bought", GIFT_PURCHASES, _slices("store_gift", "id")),
        (
            "platform purchases are in the ledger",
            PLATFORM_PURCHASES,
            _slices("store_platformpurchase", "id"),
        ),
        ("merges balance", MERGES, _slices("accounts_merge", "id")),
    ]
    for check, query, slices in checks:
        for number, (first, last) in enumerate(slices, 1):
            with connection.cursor() as cursor:
                cursor.execute(query, {"first": first, "last": last, "game": game_id} | content)
                rows = cursor.fetchall()
            for subject, detail in rows:
                yield Difference(check, subject, detail)
            if progress:
                progress(check, number)


def _content(game_id: UUID | None) -> dict[str, list[Any]]:
    found: dict[str, list[Any]] = {}
    for name, model in (("currencies", Currency), ("items", Item), ("offers", Offer)):
        rows = model._default_manager.all()
        if game_id is not None:
            rows = rows.filter(game_id=game_id)
        found[name] = list(rows.values_list("pk", flat=True))
    return found


def _windows() -> Iterator[tuple[datetime, datetime]]:
    """Spans of time that have entries, oldest first."""
    after = datetime(1970, 1, 1, tzinfo=UTC)
    while True:
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT min(created_at) FROM store_entry WHERE created_at >= %s", [after]
            )
            (first,) = cursor.fetchone()
        if first is None:
            return
        after = first + WINDOW
        yield first, after


def _slices(table: str, column: str) -> Iterator[tuple[UUID, UUID]]:
    """Ranges (first, last] of a table's column, with about `ROWS_AT_ONCE` rows each; together
    they cover all ids, also those that are missing from the table."""
    first = FIRST
    while first != LAST:
        with connection.cursor() as cursor:
            cursor.execute(
                f"SELECT {column} FROM {table} WHERE {column} > %s::uuid "  # noqa: S608 (names above)
                f"ORDER BY {column} OFFSET %s LIMIT 1",
                [first, ROWS_AT_ONCE],
            )
            row = cursor.fetchone()
        last = row[0] if row else LAST
        yield first, last
        first = last


def verify_and_report() -> int:
    """Check all games; how many differences. Each is logged, the figure is a metric."""
    count = 0
    for difference in verify():
        count += 1
        log.error(
            "ledger_difference",
            check=difference.check,
            subject=difference.subject,
            detail=difference.detail,
        )
    LEDGER_DIFFERENCES.set(count)
    BALANCES_IN_DEBT.set(Balance.objects.filter(in_debt=True).count())
    LEDGER_CHECKED.set(timezone.now().timestamp())
    return count
