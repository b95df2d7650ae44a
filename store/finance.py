"""Revenue from purchases with real money: as the platforms said it, by currency.

Nothing is converted. A sale counts on the day of the purchase, a refund on the day it came (the
platform's date where it tells one); days are the game's. What was never paid (pending, cancelled)
does not count; what was paid and is held back here does. Each of several partial refunds counts on
its own day (docs/adr/0082); one that the platform took back is gone from its day. What staff took
back is no refund: the platform kept the money.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from django.db import connection, transaction

from accounts.models import Game

DIMENSIONS = {
    "day": "Day",
    "country": "Country",
    "product": "Product",
    "platform": "Platform",
    "environment": "Environment",
}
COLUMNS = {
    "country": "country",
    "product": "product",
    "platform": "provider",
    "environment": "environment",
}
MAX_DAYS = 366
TIMEOUT_MS = 15_000
SOLD_AT = "coalesce(purchased_at, created_at)"
PAID = "state NOT IN ('pending', 'cancelled')"


@dataclass(frozen=True, slots=True)
class Period:
    """Days of a game, both included, and what else the rows have to be: columns of `COLUMNS`."""

    game: Game
    first: date
    last: date
    only: tuple[tuple[str, str], ...] = ()

    @property
    def since(self) -> datetime:
        return _midnight(self.first, self.game)

    @property
    def until(self) -> datetime:
        return _midnight(self.last + timedelta(days=1), self.game)

    def as_json(self) -> dict[str, Any]:
        return {
            "game": str(self.game.pk),
            "first": self.first.isoformat(),
            "last": self.last.isoformat(),
            "only": [list(pair) for pair in self.only],
        }

    @classmethod
    def of_json(cls, said: dict[str, Any]) -> "Period":
        return cls(
            Game.objects.get(pk=UUID(said["game"])),
            date.fromisoformat(said["first"]),
            date.fromisoformat(said["last"]),
            tuple((name, value) for name, value in said["only"] if name in COLUMNS),
        )


@dataclass(frozen=True, slots=True)
class Row:
    """One line of revenue. `sold`, `refunded` are minor units of `currency`; `unpriced` of the
    sales have no price that the platform told, and are in no sum."""

    labels: tuple[str, ...]
    currency: str
    sales: int
    unpriced: int
    sold: int
    refunds: int
    refunded: int

    @property
    def net(self) -> int:
        return self.sold - self.refunded


# The single refunds of a purchase p: {at}, and how much was gone after it ({revoked}) and before.
# The log has how much was gone in all by then. What came later can only have given back the last of
# it, so the least of what is told from then on is what is still gone of it. The row itself is told
# last, also where the log has nothing: the purchase is older than what it keeps.
REFUNDS = """
    SELECT at, revoked, before FROM (
        SELECT at, revoked, coalesce(lag(revoked) OVER (ORDER BY number), 0) AS before FROM (
            SELECT at, number, min(revoked) OVER (ORDER BY number DESC) AS revoked FROM (
                SELECT (detail ->> 'revoked_at')::timestamptz AS at, id AS number,
                       (detail ->> 'revoked')::int AS revoked
                FROM store_purchasestep WHERE purchase_id = p.id AND detail ? 'revoked'
                UNION ALL
                SELECT p.revoked_at, 'ffffffff-ffff-ffff-ffff-ffffffffffff'::uuid, p.revoked
            ) told
        ) held
    ) parts
    WHERE revoked > before AND at >= %(since)s AND at < %(until)s
"""
# What was paid back by one of them, in minor units: rounded so that the parts add up to the whole.
REFUNDED = "p.price_minor_units * r.revoked / 100000 - p.price_minor_units * r.before / 100000"

REVENUE = """
    WITH lines AS (
        SELECT {sold_labels} price_currency AS currency, 1 AS sales, 0 AS refunds,
               (price_minor_units IS NULL)::int AS unpriced,
               coalesce(price_minor_units, 0) AS sold, 0::bigint AS refunded
        FROM store_platformpurchase
        WHERE game_id = %(game)s AND {sold_at} >= %(since)s AND {sold_at} < %(until)s
          AND {paid} {only}
        UNION ALL
        SELECT {back_labels} price_currency, 0, 1, 0, 0, coalesce({refunded}, 0)
        FROM store_platformpurchase p CROSS JOIN LATERAL ({refunds}) r
        WHERE game_id = %(game)s AND p.revoked > 0 AND revoked_at >= %(since)s AND {paid} {only}
    )
    SELECT {names} currency, sum(sales), sum(unpriced), sum(sold), sum(refunds), sum(refunded)
    FROM lines GROUP BY {numbers} ORDER BY {numbers}
"""


def revenue(period: Period, by: Sequence[str]) -> list[Row]:
    """Revenue of a period by these dimensions and, always, by currency. Stops with an
    `OperationalError` after `TIMEOUT_MS`."""
    names = [name for name in DIMENSIONS if name in by]
    query, values = _revenue_query(period, names)
    with transaction.atomic(), connection.cursor() as cursor:
        # Compiling the query takes half a second, many times what few refunds take.
        cursor.execute(
            "SELECT set_config('statement_timeout', %s, true), set_config('jit', 'off', true)",
            [f"{TIMEOUT_MS}ms"],
        )
        cursor.execute(query, values)
        rows = cursor.fetchall()
    width = len(names)
    return [
        Row(
            tuple(str(label) for label in row[:width]),
            row[width],
            *(int(value) for value in row[width + 1 :]),
        )
        for row in rows
    ]


def _revenue_query(period: Period, names: Sequence[str]) -> tuple[str, dict[str, Any]]:
    def labels(moment: str) -> str:
        columns = {"day": f"({moment} AT TIME ZONE %(zone)s)::date", **COLUMNS}
        return "".join(f"{columns[name]} AS {name}, " for name in names)

    only, values = only_sql(period)
    query = REVENUE.format(
        sold_labels=labels(SOLD_AT),
        back_labels=labels("at"),
        refunds=REFUNDS,
        refunded=REFUNDED,
        sold_at=SOLD_AT,
        paid=PAID,
        only=only,
        names="".join(f"{name}, " for name in names),
        numbers=", ".join(str(number) for number in range(1, len(names) + 2)),
    )
    return query, values | {
        "game": period.game.pk,
        "since": period.since,
        "until": period.until,
        "zone": period.game.timezone,
    }


def only_sql(period: Period) -> tuple[str, dict[str, Any]]:
    """The further conditions of a period, beginning with AND, and their values."""
    parts = [f"AND {COLUMNS[name]} = %(only_{name})s" for name, _ in period.only]
    return " ".join(parts), {f"only_{name}": value for name, value in period.only}


def _midnight(day: date, game: Game) -> datetime:
    return datetime.combine(day, time(), ZoneInfo(game.timezone))
