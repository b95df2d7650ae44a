"""`python -m benchmarks`: start everything, load it, write what was measured.

Uses DATABASE_URL and REDIS_URL where they are set (a database of its own is made and dropped),
and embedded services otherwise. Needs wrk. See docs/performance.md.
"""

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

from benchmarks import load, meter, report, stack
from benchmarks.scenarios import FLOOR, SCENARIOS, Scenario

SERVERS = ("granian", "gunicorn", "gunicorn-sync")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="benchmarks", description=__doc__)
    parser.add_argument("scenarios", nargs="*", help="names; all unless told")
    parser.add_argument("--server", action="append", choices=SERVERS, help="granian and gunicorn")
    parser.add_argument("--players", type=int, default=100_000, help="players, an entry each")
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--connections", type=int, default=32)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--threads", type=int, default=16)
    parser.add_argument("--name", help="of the files in benchmarks/results")
    chosen = parser.parse_args()
    known = {scenario.name for scenario in SCENARIOS}
    if unknown := set(chosen.scenarios) - known:
        parser.error(f"no such scenario: {', '.join(sorted(unknown))}; there are {sorted(known)}")
    return chosen


def main() -> int:
    chosen = arguments()
    wanted = [s for s in SCENARIOS if not chosen.scenarios or s.name in chosen.scenarios]
    results: list[report.Result] = []
    with stack.services() as environment:
        players = stack.WORK / "players.tsv"
        players.parent.mkdir(parents=True, exist_ok=True)
        say(f"seeding {chosen.players} players")
        game_key = seed(environment, chosen.players, players)
        environment = {
            **environment,
            "BENCH_PLAYERS": str(players),
            "BENCH_GAME_KEY": game_key,
        }
        versions = stack.versions(environment)
        for kind in chosen.server or SERVERS[:2]:
            results += measure(kind, wanted, environment, chosen)
    about = report.conditions(
        versions,
        {
            "players": f"{chosen.players:,}",
            "load": f"wrk, one thread, {chosen.connections} connections, {chosen.seconds:g} s, "
            f"{chosen.runs} runs in turn with the floor",
            "server": f"{chosen.workers} processes of {chosen.threads} threads; "
            "production settings, no line a request in the log",
        },
    )
    name = chosen.name or datetime.now(UTC).strftime("%Y-%m-%d-%H%M")
    path = report.write(results, about, name)
    sys.stdout.write(path.read_text())
    return 1 if any(result.errors for result in results) else 0


def say(text: str) -> None:
    sys.stderr.write(f"{datetime.now(UTC):%H:%M:%S} {text}\n")


def seed(environment: Mapping[str, str], count: int, players: Path) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.seed", str(count), str(players)],
        cwd=stack.ROOT,
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return done.stdout.strip()


def measure(
    kind: str,
    wanted: list[Scenario],
    environment: dict[str, str],
    chosen: argparse.Namespace,
) -> list[report.Result]:
    """Every scenario under one web server, in turn with the floor under the same."""
    server = stack.Server(
        kind, "config.wsgi:application", chosen.workers, chosen.threads, environment
    )
    floor = stack.Server(
        kind, "benchmarks.floor:application", chosen.workers, chosen.threads, environment
    )
    services = {
        "database": stack.database_pid(environment["DATABASE_URL"]),
        "redis": stack.redis_pid(environment["REDIS_URL"]),
    }
    found = []
    try:
        server.start("/healthz")
        floor.start("/")

        def run(scenario: Scenario, target: stack.Server, seconds: float) -> load.Run:
            return load.run(
                scenario.name,
                target.url,
                seconds=seconds,
                connections=chosen.connections,
                environment=environment,
                roots={**services, "web": target.pid},
            )

        for scenario in wanted:
            result = report.Result(scenario, kind, [], [])
            run(scenario, server, min(2.0, chosen.seconds))
            for _ in range(chosen.runs):
                result.floor.append(run(FLOOR, floor, chosen.seconds / 2))
                result.runs.append(run(scenario, server, chosen.seconds))
                time.sleep(0.5)
            result.memory_mb = meter.memory_megabytes(server.pid)
            say(
                f"{kind}: {scenario.title}: {result.rate:,.0f}/s, "
                f"{result.share_of_floor:.1%} of the floor, {result.errors} errors, "
                f"others {result.others:.2f} cores"
            )
            found.append(result)
    finally:
        server.stop()
        floor.stop()
    return found


if __name__ == "__main__":
    sys.exit(main())
