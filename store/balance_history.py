"""Every posting to one balance of a player, with its cause and what the balance was after it."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db import OperationalError, connection, transaction
from psycopg.errors import QueryCanceled

from accounts.models import Player
from config.api.pagination import decode_cursor, encode_cursor
from store.models import Balance, Currency, Grant

PAGE = 100
TIMEOUT_MS = 5_000
# Of a transaction of a purchase with real money: the key names it.
OF_PURCHASES = frozenset({"platform_purchase", "refund", "refund_reversed"})


@dataclass(frozen=True, slots=True)
class Posting:
    """One entry. `after` is the balance after it; `follows`: that is the balance before it, by the
    posting before, and this amount (None for the last one that was read)."""

    at: datetime
    paid: int
    earned: int
    after: int
    follows: bool | None
    transaction_id: UUID
    kind: str
    reason: str
    reference: str
    actor: str
    purchase_id: UUID | None

    @property
    def amount(self) -> int:
        return self.paid + self.earned


@dataclass(frozen=True, slots=True)
class Check:
    """A balance beside the sum of its postings; `postings` is None where there are too many to add
    up in time (the daily check of all books does)."""

    paid: int
    earned: int
    paid_sum: int
    earned_sum: int
    postings: int | None

    @property
    def is_right(self) -> bool:
        return (self.paid, self.earned) == (self.paid_sum, self.earned_sum)


# Backwards in the index store_entry_player: a page costs the same however far down it is.
PAGE_SQL = """
    SELECT e.created_at, e.id, e.paid, e.earned, e.paid_after + e.earned_after,
           t.id, t.kind, t.reason, t.reference, t.key
    FROM (
        SELECT * FROM store_entry
        WHERE player_id = %(player)s::uuid AND currency_id = %(currency)s
          AND created_at <= %(at)s AND (created_at, id) < (%(at)s, %(id)s::uuid)
        ORDER BY created_at DESC, id DESC LIMIT %(limit)s
    ) e JOIN store_transaction t ON t.id = e.transaction_id
    ORDER BY e.created_at DESC, e.id DESC
"""
SUM_SQL = """
    SELECT coalesce(sum(paid), 0), coalesce(sum(earned), 0), count(*)
    FROM store_entry WHERE player_id = %s::uuid AND currency_id = %s
"""
END = (datetime.fromisoformat("9999-01-01T00:00:00+00:00"), UUID(int=2**128 - 1))


def page(player: Player, currency: Currency, cursor: str = "") -> tuple[list[Posting], str]:
    """(postings, the cursor of the next page or ""), newest first. Raises `InvalidCursor`."""
    at, key = decode_cursor(cursor, (datetime, UUID))[1] if cursor else END
    with connection.cursor() as raw:
        values = {"player": player.pk, "currency": currency.pk, "at": at, "id": key}
        raw.execute(PAGE_SQL, values | {"limit": PAGE + 1})
        rows = raw.fetchall()
    actors = dict(Grant.objects.filter(pk__in=[row[5] for row in rows]).values_list("pk", "actor"))
    before = [*(row[4] for row in rows[1:]), None][: len(rows)]
    found = [_posting(row, after, actors) for row, after in zip(rows, before, strict=True)]
    if len(rows) <= PAGE:
        return found, ""
    last = rows[PAGE - 1]
    return found[:PAGE], encode_cursor([last[0], last[1]])


def _posting(row: Sequence[Any], before: int | None, actors: dict[UUID, str]) -> Posting:
    at, _, paid, earned, after, number, kind, reason, reference, key = row
    return Posting(
        at=at,
        paid=paid,
        earned=earned,
        after=int(after),
        follows=None if before is None else before + paid + earned == after,
        transaction_id=number,
        kind=kind,
        reason=reason,
        reference=reference,
        actor=actors.get(number, ""),
        purchase_id=UUID(key.split(":")[1]) if reason in OF_PURCHASES else None,
    )


def check(player: Player, currency: Currency) -> Check:
    """The balance's row against the sum of all of its postings."""
    row = Balance.objects.filter(player_id=player.pk, currency_id=currency.pk).first()
    paid, earned = (row.paid, row.earned) if row else (0, 0)
    try:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute("SELECT set_config('statement_timeout', %s, true)", [f"{TIMEOUT_MS}ms"])
            cursor.execute(SUM_SQL, [player.pk, currency.pk])
            paid_sum, earned_sum, count = cursor.fetchone()
    except OperationalError as error:
        if not isinstance(error.__cause__, QueryCanceled):
            raise
        return Check(paid, earned, paid, earned, None)
    return Check(paid, earned, int(paid_sum), int(earned_sum), count)
