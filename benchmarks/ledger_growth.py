"""`python -m benchmarks.ledger_growth`: what a posting and a wallet cost as the ledger grows.

    python -m benchmarks.ledger_growth [--millions 1 10 50] [--players N] [--seconds S]

A database of its own (docs/performance.md) is grown to so many million entries, two for each
transaction, over the year before today. Nothing that is grown passes `store_post`: triggers are off
while one statement writes transactions, both sides of each, and the balances that they add up to.
`verify_ledger` recomputes all of it at the first size. Then they are on again, and what is measured
is the service itself: `ledger.post`, durable, from several threads, for players spread over all,
and `ledger.wallet`.
"""

import argparse
import json
import os
import statistics
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import django
from django.db import connection

from benchmarks import report, stack

# Every so-manieth player is measured and none of the history is theirs.
MEASURED = 50
THREADS = 4
MONTHS = 12
TABLES = ("store_transaction", "store_entry", "store_balance")

# %s: the first and the last number, how many players there are, when the first was, how far apart
# they are. A player's k-th posting is number k * players + their own.
GROW = """
    WITH posted AS MATERIALIZED (
        SELECT n, %(begin)s::timestamptz + n * %(step)s::interval AS at, p.id AS player,
               n / %(players)s::bigint + 1 AS earned_after
        FROM generate_series(%(first)s::bigint, %(last)s::bigint) n
        JOIN grown_player p ON p.number = n %% %(players)s::bigint
        ORDER BY n
    ), timed AS MATERIALIZED (
        SELECT *, lpad(to_hex((extract(epoch FROM at) * 1000)::bigint), 12, '0') AS ms,
               md5(n::text) AS tail FROM posted
    ), named AS MATERIALIZED (
        SELECT *, (ms || substr(tail, 1, 20))::uuid AS id FROM timed
    ), written AS (
        INSERT INTO store_transaction
            (id, game_id, player_id, kind, key, fingerprint, reason, reference, created_at)
        SELECT id, %(game)s::uuid, player, 'grant', 'grant:' || player || ':' || tail, NULL,
               'growth', '', at
        FROM named
    )
    INSERT INTO store_entry (created_at, id, transaction_id, currency_id, account, player_id,
                             paid, earned, paid_after, earned_after)
    SELECT at, (ms || substr(tail, 12, 19) || side.digit)::uuid, named.id, %(currency)s::bigint,
           side.account, CASE WHEN side.sign > 0 THEN player END, 0, side.sign,
           CASE WHEN side.sign > 0 THEN 0 END, CASE WHEN side.sign > 0 THEN earned_after END
    FROM named,
         (VALUES ('1', 'wallet', 1), ('2', 'source:grant', -1)) side (digit, account, sign)
"""
BALANCES = """
    INSERT INTO store_balance (player_id, currency_id, paid, earned, in_debt, updated_at)
    SELECT id, %(currency)s::bigint, 0, k + 1, false,
           %(begin)s::timestamptz + (k * %(players)s::bigint + number) * %(step)s::interval
    FROM (SELECT id, number, (%(last)s::bigint - number) / %(players)s::bigint AS k
          FROM grown_player) counted
    ON CONFLICT (player_id, currency_id)
    DO UPDATE SET earned = excluded.earned, updated_at = excluded.updated_at
"""
# What is found by random values is built when all of them are there.
DROP_INDEXES = """
    DROP INDEX store_entry_player;
    ALTER TABLE store_transaction DROP CONSTRAINT store_transaction_once;
"""
MAKE_INDEXES = """
    ALTER TABLE store_transaction ADD CONSTRAINT store_transaction_once UNIQUE (game_id, key);
    CREATE INDEX store_entry_player ON store_entry (player_id, created_at DESC, id DESC)
        WHERE player_id IS NOT NULL;
"""


@dataclass
class Figures:
    """At one size. Times in microseconds; `database_us` is CPU of the connection's own process."""

    entries: int
    grown_in_seconds: float
    gigabytes: float
    partitions: int
    posts_per_second: float
    post_us: float
    post_database_us: float
    reads_per_second: float
    read_us: float
    read_database_us: float
    verified_in_seconds: float | None = None


def main() -> int:
    parser = argparse.ArgumentParser(prog="benchmarks.ledger_growth")
    parser.add_argument("--millions", type=float, nargs="+", default=[1, 10, 50])
    parser.add_argument("--players", type=int, default=100_000)
    parser.add_argument("--seconds", type=float, default=8)
    parser.add_argument("--name", help="of the files in benchmarks/results")
    chosen = parser.parse_args()
    with stack.services() as environment:
        os.environ.update(environment)
        django.setup()
        found = grow(sorted(chosen.millions), chosen.players, chosen.seconds)
        about = report.conditions(
            stack.versions(environment),
            {
                "players": f"{chosen.players:,}, {chosen.players // MEASURED:,} of them measured",
                "load": f"ledger.post from {THREADS} threads for {chosen.seconds:g} s; then post "
                "and wallet from one, medians",
            },
        )
        connection.close()
    name = chosen.name or f"{datetime.now(UTC):%Y-%m-%d}-ledger-growth"
    sys.stdout.write(write(found, about, name).read_text())
    return 0


def grow(millions: list[float], players: int, seconds: float) -> list[Figures]:
    """Grow the ledger from size to size, and measure at each."""
    from benchmarks.seed import game_from_file
    from store.models import Currency

    game, _ = game_from_file()
    currency = Currency.objects.get(game=game)
    measured, grown = make_players(game.pk, players)
    today = datetime.now(UTC).date()
    begin = datetime.combine(make_months(today), datetime.min.time(), UTC)
    total = round(millions[-1] * 500_000)
    end = datetime.now(UTC) - timedelta(hours=1)
    values = {
        "game": game.pk,
        "currency": currency.pk,
        "players": grown,
        "begin": begin,
        "step": (end - begin) / total,
    }
    found = []
    done = 0
    # The wallets that are measured are there before: a first posting is not what is looked at.
    for player in measured:
        post(game.pk, player, currency.pk)
    for size in millions:
        started = time.monotonic()
        wanted = round(size * 500_000)
        add(values, done, wanted)
        done = wanted
        grown_in = time.monotonic() - started
        figures = measure(game.pk, measured, currency.pk, seconds)
        found.append(Figures(round(size * 1_000_000), grown_in, *sizes(), *figures))
        if len(found) == 1:
            found[0].verified_in_seconds = verify()
        stack_say(f"{size:g} million: {found[-1]}")
    return found


def stack_say(text: str) -> None:
    sys.stderr.write(f"{datetime.now(UTC):%H:%M:%S} {text}\n")


def execute(sql: str, values: Any = None) -> None:
    with connection.cursor() as cursor:
        cursor.execute(sql, values)


def make_players(game_id: UUID, count: int) -> tuple[list[UUID], int]:
    """(the players that are measured, how many others there are)."""
    from accounts.models import Player
    from accounts.names import name_key
    from benchmarks.seed import copy_rows
    from config.db.ids import uuid7

    ids = [uuid7() for _ in range(count)]
    copy_rows(
        Player,
        (
            {
                "id": player,
                "game_id": game_id,
                "display_name": f"Player {number}",
                "name_key": name_key(f"Player {number}"),
                "tag": number % 10_000,
            }
            for number, player in enumerate(ids)
        ),
    )
    others = [player for number, player in enumerate(ids) if number % MEASURED]
    execute("CREATE UNLOGGED TABLE grown_player (number bigint PRIMARY KEY, id uuid NOT NULL)")
    with connection.cursor() as cursor, cursor.copy("COPY grown_player FROM STDIN") as copy:
        for row in enumerate(others):
            copy.write_row(row)
    execute("ANALYZE grown_player, accounts_player")
    return ids[::MEASURED], len(others)


def make_months(today: date) -> date:
    """Partitions for the months of the history; the first day of it."""
    first = today.replace(day=1)
    for _ in range(MONTHS):
        following = first
        first = (first - timedelta(days=1)).replace(day=1)
        name = f"store_entry_p{first:%Y%m%d}"
        execute(
            f"CREATE TABLE {name} PARTITION OF store_entry "
            f"FOR VALUES FROM ('{first} 00:00+00') TO ('{following} 00:00+00')"
        )
    return first


def add(values: dict[str, Any], done: int, wanted: int) -> None:
    """Transactions number `done` up to `wanted`, with their entries, and the balances."""
    execute("SET maintenance_work_mem = '1GB'; SET work_mem = '256MB'; SET jit = off")
    for table in TABLES:
        execute(f"ALTER TABLE {table} DISABLE TRIGGER USER")
    execute(DROP_INDEXES)
    execute("SET synchronous_commit = off")
    for first in range(done, wanted, 500_000):
        execute(GROW, values | {"first": first, "last": min(first + 500_000, wanted) - 1})
        if first % 5_000_000 == 0:
            stack_say(f"{first:,} transactions")
    execute(BALANCES, values | {"last": wanted - 1})
    stack_say("indexes")
    execute(MAKE_INDEXES)
    for table in TABLES:
        execute(f"ALTER TABLE {table} ENABLE TRIGGER USER")
    execute("RESET ALL")
    execute("ANALYZE store_transaction, store_entry, store_balance")
    execute("CHECKPOINT")


def post(game_id: UUID, player: UUID, currency_id: int) -> None:
    from config.db.ids import uuid7
    from store.catalogue import catalogue
    from store.models import Account, Transaction
    from store.services import ledger

    content = catalogue(game_id)
    (currency,) = content.currencies.values()
    assert currency.id == currency_id
    ledger.post(
        game_id=game_id,
        player_id=player,
        kind=Transaction.Kind.GRANT,
        key=f"grant:{player}:{uuid7()}",
        reason="measured",
        lines=[ledger.Line(currency, 1, "earned", Account.SOURCE_GRANT)],
    )


def measure(
    game_id: UUID, players: list[UUID], currency_id: int, seconds: float
) -> tuple[float, float, float, float, float, float]:
    from store.services import ledger

    def add_one(player: UUID) -> None:
        post(game_id, player, currency_id)

    def read_one(player: UUID) -> None:
        assert ledger.wallet(player)

    run(add_one, players, 1)
    together = at_once(add_one, players, seconds)
    _, post_us, post_cpu = run(add_one, players, seconds / 2)
    run(read_one, players, 0.5)
    reads, read_us, read_cpu = run(read_one, players, seconds / 2)
    return together, post_us, post_cpu, reads, read_us, read_cpu


def run(
    act: Callable[[UUID], None], players: list[UUID], seconds: float
) -> tuple[float, float, float]:
    """(how many a second, µs of one at the median, CPU µs of the database in one)."""
    import random

    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        (pid,) = cursor.fetchone()
    used = Path(f"/proc/{pid}/schedstat")
    taken = []
    cpu = int(used.read_text().split()[0])
    started = now = time.perf_counter()
    while now - started < seconds:
        act(random.choice(players))
        before, now = now, time.perf_counter()
        taken.append(now - before)
    cpu = int(used.read_text().split()[0]) - cpu
    return len(taken) / (now - started), 1e6 * statistics.median(taken), cpu / 1e3 / len(taken)


def at_once(act: Callable[[UUID], None], players: list[UUID], seconds: float) -> float:
    """How many a second from all threads together."""
    rates: list[float] = []

    def work(mine: list[UUID]) -> None:
        try:
            rates.append(run(act, mine, seconds)[0])
        finally:
            connection.close()

    threads = [threading.Thread(target=work, args=(players[n::THREADS],)) for n in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(rates) == THREADS, "a thread has failed"
    return sum(rates)


def sizes() -> tuple[float, int]:
    """(gigabytes of the ledger's tables and indexes, partitions of the entries)."""
    with connection.cursor() as cursor:
        cursor.execute(
            """SELECT (pg_total_relation_size('store_transaction')
                       + sum(pg_total_relation_size(inhrelid))) / 1e9, count(*)
               FROM pg_inherits WHERE inhparent = 'store_entry'::regclass"""
        )
        gigabytes, count = cursor.fetchone()
    return float(gigabytes), int(count)


def verify() -> float:
    """Seconds for recomputing all books. Fails if they are not right."""
    from store.services import verification

    started = time.monotonic()
    for difference in verification.verify():
        raise AssertionError(str(difference))
    return time.monotonic() - started


def write(found: list[Figures], about: dict[str, Any], name: str) -> Path:
    """Write NAME.md and NAME.json; the table's path."""
    report.RESULTS.mkdir(parents=True, exist_ok=True)
    rows = [asdict(figures) for figures in found]
    (report.RESULTS / f"{name}.json").write_text(
        json.dumps({"conditions": about, "results": rows}, indent=1) + "\n"
    )
    columns: list[tuple[str, Callable[[Figures], str]]] = [
        ("entries", lambda f: f"{f.entries:,}"),
        ("posts/s", lambda f: f"{f.posts_per_second:,.0f}"),
        ("entries/s", lambda f: f"{2 * f.posts_per_second:,.0f}"),
        ("post µs", lambda f: f"{f.post_us:,.0f}"),
        ("its database µs", lambda f: f"{f.post_database_us:,.0f}"),
        ("wallets/s", lambda f: f"{f.reads_per_second:,.0f}"),
        ("wallet µs", lambda f: f"{f.read_us:,.0f}"),
        ("its database µs", lambda f: f"{f.read_database_us:,.0f}"),
        ("ledger GB", lambda f: f"{f.gigabytes:.1f}"),
        ("partitions", lambda f: str(f.partitions)),
        ("grown in s", lambda f: f"{f.grown_in_seconds:,.0f}"),
        (
            "verify_ledger s",
            lambda f: f"{f.verified_in_seconds:,.0f}" if f.verified_in_seconds else "–",
        ),
    ]
    lines = ["# The ledger as it grows", "", "| condition | |", "| --- | --- |"]
    lines += [f"| {key} | {value} |" for key, value in about.items()]
    lines += [
        "",
        "A post is `ledger.post` of one reward: a transaction, two entries and a balance, in one",
        f"durable commit. posts/s: {THREADS} threads of one process at once; the times are of one",
        "thread, at the median, with the commit. Database µs is CPU time of the connection's",
        "process. Entries are grown in bulk, those of every month of the last year in a partition.",
        "",
        "| " + " | ".join(title for title, _ in columns) + " |",
        "| " + " | ".join("--:" for _ in columns) + " |",
        *("| " + " | ".join(cell(f) for _, cell in columns) + " |" for f in found),
    ]
    path = report.RESULTS / f"{name}.md"
    path.write_text("\n".join(lines) + "\n")
    return path


if __name__ == "__main__":
    sys.exit(main())
