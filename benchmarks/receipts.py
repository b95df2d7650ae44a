"""`python -m benchmarks.receipts`: a thousand receipts in a minute, while the platform answers
every second request with 500 and hangs now and then.

Starts everything on its own, as `python -m benchmarks` does: web server, two workers (one of them
for `receipts` alone), the beat, and a fake Google Play. Writes what was measured, and fails unless
each receipt was granted just once. See docs/performance.md.
"""

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg
import redis

from benchmarks import report, stack
from config.quickstart.processes import signal_group, spawn
from tests.fakes.faults import BROKEN, HANG, Fault, Request
from tests.fakes.play_keys import PACKAGE
from tests.fakes.play_store import APPLICATIONS, PlayStore

QUEUES = ("receipts", "default", "rollups")
OUTCOMES = """
    SELECT count(*) FILTER (WHERE state NOT IN ('received', 'verifying', 'retry')), count(*),
           count(*) FILTER (WHERE state = 'accepted'),
           (SELECT count(*) FROM store_platformpurchase WHERE told = 'done'),
           (SELECT count(*) FROM store_platformpurchase WHERE state = 'granted'),
           (SELECT count(*) FROM store_transaction WHERE reason = 'platform_purchase'),
           (SELECT coalesce(sum(paid), 0) FROM store_balance)
    FROM store_order
"""
WAITED = """
    SELECT percentile_cont(ARRAY[0.5, 0.9, 0.99, 1])
           WITHIN GROUP (ORDER BY extract(epoch FROM %s))
    FROM store_order
"""


class Shaky(PlayStore):
    """A Google Play that fails by chance. `hangs` counts the requests that it never answered."""

    def __init__(self, broken: float, hanging: float) -> None:
        super().__init__()
        self.broken, self.hanging, self.hangs = broken, hanging, 0
        self.chance = random.Random(1)

    def take(self, request: Request) -> Fault | None:
        with self.lock:
            self.seen.append(request)
            roll = self.chance.random() if request.path.startswith(APPLICATIONS) else 1.0
            if roll < self.hanging:
                self.hangs += 1
                return HANG
        return BROKEN if roll < self.hanging + self.broken else None


class Caller:
    """Sends requests at a steady pace from threads of its own; their seconds, and what failed."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.pool = ThreadPoolExecutor(64)
        self.lock = threading.Lock()

    def send(self, token: str, path: str, body: Any, into: list[float], bad: list[str]) -> None:
        data = None if body is None else json.dumps(body).encode()
        headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        headers |= {"X-Forwarded-Proto": "https", "X-Forwarded-For": "198.51.100.7"}
        request = urllib.request.Request(self.url + path, data, headers)  # noqa: S310 (ours)
        began = time.monotonic()
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310 (ours)
                answer.read()
        except urllib.error.HTTPError as error:
            with self.lock:
                bad.append(f"{error.code} {error.read(300).decode(errors='replace')}")
            return
        except OSError as error:
            with self.lock:
                bad.append(str(error))
            return
        with self.lock:
            into.append(1000 * (time.monotonic() - began))

    def pace(self, calls: Sequence[tuple[str, str, Any]], seconds: float) -> dict[str, Any]:
        """Spread over so many seconds; what they took in milliseconds."""
        took: list[float] = []
        bad: list[str] = []
        began = time.monotonic()
        pending = []
        for number, call in enumerate(calls):
            time.sleep(max(0.0, began + number * seconds / len(calls) - time.monotonic()))
            pending.append(self.pool.submit(self.send, *call, took, bad))
        for one in pending:
            one.result()
        failed = {text: bad.count(text) for text in sorted(set(bad))}
        return {"requests": len(calls), "failed": failed, **percentiles(took)}


def percentiles(values: list[float]) -> dict[str, float]:
    ordered = sorted(values) or [0.0]
    return {
        f"p{share:g}": round(ordered[min(len(ordered) - 1, int(len(ordered) * share / 100))], 1)
        for share in (50, 90, 99, 100)
    }


@contextmanager
def processes(environment: dict[str, str], receipts: int) -> Iterator[None]:
    """The workers and the beat."""
    # As in production, behind the web server.
    celery = ("nice", "-n", "10", sys.executable, "-m", "celery", "--app", "config")
    commands = {
        "receipts": ("worker", "--queues", "receipts", "--concurrency", str(receipts)),
        "others": ("worker", "--queues", "default,rollups,mail", "--concurrency", "2"),
        "beat": ("beat",),
    }
    started = [
        spawn(
            [*celery, *command, *(("--hostname", f"{name}@bench") if name != "beat" else ())],
            log=stack.WORK / f"{name}.log",
            env={**os.environ, **environment},
            cwd=stack.ROOT,
        )
        for name, command in commands.items()
    ]
    try:
        yield
    finally:
        for process in started:
            signal_group(process.pid, signal.SIGKILL)
            process.wait()


def prepare() -> None:
    """Run with Django's settings: the seeded game sells gems at Google Play."""
    import django

    django.setup()
    from accounts.models import Game
    from config.db import definitions
    from store.models import Currency, Offer, PlatformApp

    game = Game.objects.get()
    Currency.objects.create(game=game, key="bench_gems", name="Gems")
    contents, products = {"currencies": {"bench_gems": 100}}, {"google": "gems_product"}
    Offer.objects.create(game=game, key="bench_gems", contents=contents, products=products)
    PlatformApp.objects.create(game=game, provider="google", app_id=PACKAGE, key_name="garden")
    definitions.changed(game.pk)


def run_module(environment: dict[str, str], *command: str) -> None:
    environment = {**os.environ, **environment}
    subprocess.run(
        [sys.executable, "-m", *command],
        cwd=stack.ROOT,
        env=environment,
        check=True,
        stdout=subprocess.DEVNULL,
    )


def one(database: psycopg.Connection[Any], query: str) -> Any:
    return database.execute(query).fetchone()


def wait_until_settled(
    database: psycopg.Connection[Any], broker: "redis.Redis", count: int, limit: float
) -> tuple[dict[str, float], dict[str, int]]:
    """Seconds until all orders ended and all platforms were told, and the longest queues."""
    began, times = time.monotonic(), dict[str, float]()
    longest = dict.fromkeys(QUEUES, 0)
    while len(times) < 2 and time.monotonic() - began < limit:
        ended, _, _, told, *_ = one(database, OUTCOMES)
        for name, done in (("orders", ended), ("told", told)):
            if done >= count and name not in times:
                times[name] = round(time.monotonic() - began, 1)
        for queue in QUEUES:
            longest[queue] = max(longest[queue], int(broker.llen(queue)))
        time.sleep(0.5)
    return times, longest


def main() -> int:
    parser = argparse.ArgumentParser(prog="benchmarks.receipts", description=__doc__)
    parser.add_argument("--receipts", type=int, default=1_000)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--broken", type=float, default=0.5, help="share of answers that are 500")
    parser.add_argument("--hanging", type=float, default=0.01, help="share never answered")
    parser.add_argument("--processes", type=int, default=4, help="of the worker for receipts")
    parser.add_argument("--limit", type=float, default=900, help="seconds to wait for the end")
    parser.add_argument("--name", help="of the file in benchmarks/results")
    chosen = parser.parse_args()
    with stack.services() as base, Shaky(chosen.broken, chosen.hanging) as play:
        environment = {
            **base,
            "GOOGLE_PLAY_URL": play.url,
            "GOOGLE_TOKEN_URL": f"{play.url}/token",
            "PLATFORM_KEY_GARDEN": play.service_account(),
        }
        players = stack.WORK / "players.tsv"
        players.parent.mkdir(parents=True, exist_ok=True)
        run_module(environment, "benchmarks.seed", "200", str(players))
        run_module(environment, "benchmarks.receipts", "prepare")
        found = measure(environment, play, players, chosen)
        about = report.conditions(
            stack.versions(environment),
            {
                "load": f"{chosen.receipts:,} receipts in {chosen.seconds:g} s",
                "platform": f"{chosen.broken:.0%} answers of 500, {chosen.hanging:.0%} never",
                "server": f"granian, 2 processes of 16 threads; {chosen.processes} processes for "
                "receipts, 2 for other jobs, the beat",
            },
        )
    name = chosen.name or f"{datetime.now(UTC):%Y-%m-%d}-receipts"
    report.RESULTS.mkdir(parents=True, exist_ok=True)
    (report.RESULTS / f"{name}.json").write_text(
        json.dumps({"conditions": about, "results": found}, indent=1) + "\n"
    )
    sys.stdout.write(json.dumps(found, indent=1) + "\n")
    return 0 if found["outcome"]["each granted once"] else 1


def measure(
    environment: dict[str, str], play: Shaky, players: Path, chosen: argparse.Namespace
) -> dict[str, Any]:
    tokens = [line.split("\t")[0] for line in players.read_text().splitlines()]
    profile = [(token, "/v1/players/me", None) for token in tokens[:100]]
    submits = []
    for number in range(chosen.receipts):
        token = play.sell("gems_product", token=f"{number:06}{'.receipt' * 5}")
        signed = {"packageName": PACKAGE, "productId": "gems_product", "purchaseToken": token}
        payload = {"json": json.dumps(signed), "signature": "", "skuDetails": []}
        receipt = {"Store": "GooglePlay", "TransactionID": token, "Payload": json.dumps(payload)}
        submits.append((tokens[number % len(tokens)], "/v1/store/receipts", receipt))
    server = stack.Server("granian", "config.wsgi:application", 2, 16, environment)
    dsn = environment["DATABASE_URL"].replace("postgres://", "postgresql://", 1)
    broker = redis.Redis.from_url(environment["CELERY_BROKER_URL"])
    try:
        server.start("/healthz")
        caller = Caller(server.url)
        with (
            psycopg.connect(dsn, autocommit=True) as database,
            processes(environment, chosen.processes),
            ThreadPoolExecutor(2) as pool,
        ):
            caller.pace(profile, 5)
            without = caller.pace(profile, 10)
            began = time.monotonic()
            sending = pool.submit(caller.pace, submits, chosen.seconds)
            beside = pool.submit(caller.pace, profile * 3, chosen.seconds)
            times, longest = wait_until_settled(database, broker, chosen.receipts, chosen.limit)
            sent, with_load = sending.result(), beside.result()
            ended, orders, accepted, told, granted, booked, paid = one(database, OUTCOMES)
            if sent["failed"]:
                raise RuntimeError(f"Receipts were refused: {sent}")
            waits = {
                what: [round(float(value), 2) for value in one(database, WAITED % sql)[0]]
                for what, sql in (
                    ("until a worker had it", "first_tried_at - created_at"),
                    ("until it ended", "updated_at - created_at"),
                )
            }
    finally:
        server.stop()
    return {
        "submitting, ms": sent,
        "GET /v1/players/me without the load, ms": without,
        "GET /v1/players/me beside it, ms": with_load,
        "seconds from the first receipt until all": times,
        "seconds measured": round(time.monotonic() - began, 1),
        "seconds a receipt waited: p50, p90, p99, longest": waits,
        "longest queues": longest,
        "platform": {"requests": len(play.seen), "never answered": play.hangs},
        "outcome": {
            "orders": orders,
            "ended": ended,
            "accepted": accepted,
            "granted": granted,
            "told": told,
            "bookings": booked,
            "gems": int(paid),
            "each granted once": accepted == granted == booked == chosen.receipts
            and paid == 100 * chosen.receipts,
        },
    }


if __name__ == "__main__":
    if sys.argv[1:] == ["prepare"]:
        prepare()
    else:
        sys.exit(main())
