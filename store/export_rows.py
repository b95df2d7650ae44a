"""What is in an exported file: columns, and the next rows after a cursor."""

import csv
import io
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

from django.db import connection

from store import finance
from store.finance import Period
from store.providers.money import major

CHUNK = 5_000
# A spreadsheet takes a cell that begins so for a formula (OWASP, "CSV Injection").
FORMULAS = frozenset("=+-@\t\r\n|%")


@dataclass(frozen=True, slots=True)
class Piece:
    """The next rows, the cursor after them, and how many of `total` are done by them; `is_last`:
    nothing comes after."""

    rows: Sequence[Sequence[object]]
    cursor: list[Any]
    done: int
    is_last: bool


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of file. `count(period)` is its total, `read(period, cursor)` the next of it."""

    title: str
    header: Sequence[str]
    count: Callable[[Period], int]
    read: Callable[[Period, list[Any]], Piece]


def cell(value: object) -> object:
    """A value as it is safe in a spreadsheet: a text that would be a formula is led by an
    apostrophe. Numbers stay numbers, below zero too."""
    if value is None:
        return ""
    if isinstance(value, bool | int | Decimal):
        return value
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat(timespec="seconds")
    text = str(value).replace("\0", "")
    # Full-width signs are folded into plain ones by some programs.
    first = unicodedata.normalize("NFKC", text.lstrip(" \u00a0\ufeff")[:1])
    return f"'{text}" if (first in FORMULAS and first) or text[:1] in FORMULAS else text


def lines(rows: Sequence[Sequence[object]]) -> str:
    """Rows as lines of CSV (RFC 4180)."""
    out = io.StringIO(newline="")
    csv.writer(out).writerows([cell(value) for value in row] for row in rows)
    return out.getvalue()


PURCHASES = (
    "purchase_id",
    "purchased_at",
    "day",
    "platform",
    "environment",
    "transaction_id",
    "original_id",
    "product",
    "offer",
    "quantity",
    "country",
    "currency",
    "price",
    "state",
    "decision",
    "refunded_percent",
    "refunded",
    "refunded_at",
    "player_id",
)
# One row of purchases, or of their refunds; {at} is what the purchases are ordered by, and in an
# index. A purchase that was last refunded after the period may have been in it, too: without such a
# refund it has one row without a date, which only moves the cursor.
SELECT = """
    SELECT p.id, p.at, p.sold, p.provider, p.environment, p.transaction_id, p.original_id,
           p.product, o.key, p.quantity, p.country, p.price_currency, p.price_minor_units, p.state,
           p.decision, r.revoked - r.before, {refunded}, r.at, p.player_id
    FROM (
        SELECT *, {at} AS at, {sold_at} AS sold FROM store_platformpurchase p
        WHERE game_id = %(game)s AND {at} >= %(since)s AND {paid} {which} {only}
          AND ({at}, id) > (%(at)s, %(id)s::uuid)
        ORDER BY {at}, id LIMIT %(limit)s
    ) p LEFT JOIN store_offer o ON o.id = p.offer_id LEFT JOIN LATERAL ({refunds}) r ON true
    ORDER BY 2, 1, r.at
"""
COUNT = """
    SELECT count(*) FROM store_platformpurchase p {join}
    WHERE game_id = %(game)s AND {at} >= %(since)s AND {paid} {which} {only}
"""
FIRST = "00000000-0000-0000-0000-000000000000"
# A purchase with all that was refunded of it.
WHOLE = "SELECT p.revoked_at AS at, p.revoked, 0 AS before"


def _filled(template: str, period: Period, *, refunds: bool) -> tuple[str, dict[str, Any]]:
    only, values = finance.only_sql(period)
    query = template.format(
        at="revoked_at" if refunds else finance.SOLD_AT,
        sold_at=finance.SOLD_AT,
        paid=finance.PAID,
        which="AND p.revoked > 0" if refunds else f"AND {finance.SOLD_AT} < %(until)s",
        refunds=finance.REFUNDS if refunds else WHOLE,
        refunded=finance.REFUNDED,
        join=f"CROSS JOIN LATERAL ({finance.REFUNDS}) r" if refunds else "",
        only=only,
    )
    times = {"since": period.since, "until": period.until}
    return query, {"game": period.game.pk, **times, **values}


def _count(period: Period, *, refunds: bool) -> int:
    query, values = _filled(COUNT, period, refunds=refunds)
    with connection.cursor() as cursor:
        cursor.execute(query, values)
        return int(cursor.fetchone()[0])


def page_query(period: Period, after: list[Any], *, refunds: bool) -> tuple[str, dict[str, Any]]:
    """The query of the next purchases (or refunds) after [time, id], by keyset."""
    query, values = _filled(SELECT, period, refunds=refunds)
    at, key = after or (period.since, FIRST)
    return query, values | {"at": at, "id": key, "limit": CHUNK}


def _read(period: Period, after: list[Any], *, refunds: bool) -> Piece:
    query, values = page_query(period, after, refunds=refunds)
    with connection.cursor() as cursor:
        cursor.execute(query, values)
        found = cursor.fetchall()
    zone = ZoneInfo(period.game.timezone)
    rows = [_row(row, zone, refunds=refunds) for row in found if row[17] or not refunds]
    at = [found[-1][1].isoformat(), str(found[-1][0])] if found else after
    return Piece(rows, at, len(rows), len({row[0] for row in found}) < CHUNK)


def _row(row: Sequence[Any], zone: ZoneInfo, *, refunds: bool) -> Sequence[object]:
    (key, _, sold, provider, environment, number, original, product, offer, quantity) = row[:10]
    (country, currency, price, state, decision, revoked, refunded, revoked_at, player) = row[10:]
    day = (revoked_at if refunds else sold).astimezone(zone).date()
    return (
        key,
        sold,
        day,
        provider,
        environment,
        number,
        original,
        product,
        offer,
        quantity,
        country,
        currency,
        None if price is None else major(price, currency),
        state,
        decision,
        Decimal(revoked) / 1000 if revoked else 0,
        major(refunded, currency) if revoked and refunded is not None else None,
        revoked_at,
        player,
    )


def _days(period: Period) -> int:
    return (period.last - period.first).days + 1


def _read_revenue(period: Period, after: list[Any]) -> Piece:
    """One week: each reads all refunds since its first day (docs/adr/0082)."""
    first = date.fromisoformat(after[0]) + timedelta(days=1) if after else period.first
    if first > period.last:
        return Piece([], after, 0, is_last=True)
    last = min(first + timedelta(days=6), period.last)
    week = Period(period.game, first, last, period.only)
    found = finance.revenue(week, list(finance.DIMENSIONS))
    rows = [
        (
            *row.labels,
            row.currency,
            row.sales,
            row.unpriced,
            major(row.sold, row.currency),
            row.refunds,
            major(row.refunded, row.currency),
            major(row.net, row.currency),
        )
        for row in found
    ]
    return Piece(rows, [last.isoformat()], _days(week), is_last=last >= period.last)


KINDS = {
    "purchases": Kind(
        "Purchases",
        PURCHASES,
        lambda period: _count(period, refunds=False),
        lambda period, after: _read(period, after, refunds=False),
    ),
    "refunds": Kind(
        "Refunds",
        PURCHASES,
        lambda period: _count(period, refunds=True),
        lambda period, after: _read(period, after, refunds=True),
    ),
    "revenue": Kind(
        "Revenue by day",
        (
            *finance.DIMENSIONS,
            "currency",
            "sales",
            "without_price",
            "sold",
            "refunds",
            "refunded",
            "net",
        ),
        _days,
        _read_revenue,
    ),
}
