"""`make demo`: play a few hundred players through a day.

    python -m clients.python.demo [--players 300] [--threads 8] [--url http://127.0.0.1:8000]

The address and the keys are those of `make run`, or EVENKEEL_URL, EVENKEEL_GAME_KEY and
EVENKEEL_SERVER_KEY. The server may be restarted meanwhile, its Redis emptied or stopped: nothing
that it confirmed may be lost, which is checked at the end.
"""

import argparse
import json
import os
import random
import sys
import time
from concurrent.futures import ThreadPoolExecutor, as_completed
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import requests
from tqdm import tqdm

from clients.python.demo.checks import missing_facts, wrong_ranks
from clients.python.demo.life import Life
from clients.python.demo.people import make_people
from clients.python.demo.tally import Tally
from clients.python.evenkeel_client import ServerClient, Transport

ROOT = Path(__file__).resolve().parent.parent.parent.parent
LOCAL = Path(os.environ.get("EVENKEEL_LOCAL") or ROOT / ".local")


def read(name: str) -> dict[str, Any]:
    try:
        value = json.loads((LOCAL / name).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="demo", description="A day in the Lantern Garden.")
    parser.add_argument("--players", type=int, default=300)
    parser.add_argument("--threads", type=int, default=8)
    parser.add_argument("--seed", type=int, default=7, help="the same seed makes the same day")
    parser.add_argument("--url", default="", help="the server; the one of `make run` unless told")
    options = parser.parse_args(arguments)
    keys = read("keys.json")
    url = options.url or os.environ.get("EVENKEEL_URL") or read("run/running.json").get("url", "")
    game_key = os.environ.get("EVENKEEL_GAME_KEY") or keys.get("publishable_key")
    server_key = os.environ.get("EVENKEEL_SERVER_KEY") or keys.get("server_key")
    if not url or not game_key:
        print(
            "No running server is known. Start one with `make run`, or set EVENKEEL_URL and "
            "EVENKEEL_GAME_KEY.",
            file=sys.stderr,
        )
        return 2
    tally = Tally()
    transport = Transport(url, patience=120, on_retry=tally.retry)
    try:
        requests.get(f"{url}/readyz", timeout=10).raise_for_status()
    except requests.RequestException as error:
        print(f"The server at {url} is not ready: {error}", file=sys.stderr)
        return 2
    server = ServerClient(transport, server_key) if server_key else None
    begun = time.monotonic()
    lives = make_lives(options, transport, game_key, server, tally)
    play(lives, options.threads, tally)
    problems = check(lives, options.threads)
    return summarise(url, tally, problems, lives, time.monotonic() - begun)


def make_lives(
    options: argparse.Namespace,
    transport: Transport,
    game_key: str,
    server: ServerClient | None,
    tally: Tally,
) -> list[Life]:
    # The last 24 hours, so that no event is ahead of its time.
    midnight = datetime.now(UTC) - timedelta(hours=24)
    people = make_people(options.players, random.Random(options.seed))
    return [
        Life(persona, transport, game_key, server, midnight, tally, options.seed)
        for persona in people
    ]


def play(lives: list[Life], threads: int, tally: Tally) -> None:
    """All visits, in the order of the day's hours."""
    visits = sorted(
        ((hour, life) for life in lives for hour in life.persona.hours), key=lambda pair: pair[0]
    )
    with (
        ThreadPoolExecutor(threads) as pool,
        tqdm(total=len(visits), desc="A day in the garden", unit="visit") as progress,
    ):
        for done in as_completed([pool.submit(life.visit, hour) for hour, life in visits]):
            done.result()
            progress.update()
            waits = sum(tally.retries.values())
            progress.set_postfix_str(f"{waits} retries" if waits else "", refresh=False)


def check(lives: list[Life], threads: int) -> list[str]:
    """What the server confirmed and lost, and what is wrong with the ranks."""
    problems: list[str] = []
    with (
        ThreadPoolExecutor(threads) as pool,
        tqdm(total=len(lives), desc="Looking at everything again", unit="player") as progress,
    ):
        for done in as_completed([pool.submit(missing_facts, life) for life in lives]):
            problems += done.result()
            progress.update()
    return problems + wrong_ranks(lives)


def summarise(
    url: str, tally: Tally, problems: list[str], lives: list[Life], seconds: float
) -> int:
    print(f"\n{len(lives)} players, {seconds:.0f} s\n")
    for what, number in sorted(tally.done.items(), key=lambda pair: -pair[1]):
        print(f"  {number:>6}  {what}")
    for title, counts in (
        ("Refused, as on any day", tally.refused),
        ("Cheats refused", tally.cheats),
        ("Repeated after a pause", tally.retries),
    ):
        if counts:
            listed = ", ".join(f"{code} {number}" for code, number in counts.most_common())
            print(f"\n{title}: {listed}")
    wrong = tally.problems + problems
    if wrong:
        print(f"\n{len(wrong)} things went wrong:")
        for text in wrong[:20]:
            print(f"  {text}")
    else:
        print("\nEverything that the server confirmed is there, and the ranks are exact.")
    print(f"""
Where to look:
  {url}/admin/                          the day's figures
  {url}/admin/accounts/player/          players: wallet, saves, scores, purchases, sessions
  {url}/admin/progress/save/            saves and their versions
  {url}/docs/                           the API
""")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
