"""A game with many players, written with COPY; run with Django's settings in the environment."""

import hashlib
import io
import json
import random
import secrets
import sys
import time
from collections.abc import Iterable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import django
from django.db import connection, models

GAME = Path(__file__).parent / "game.yaml"
# Who signs in during the run; the others only stand in the tables.
ACTIVE = 2_000


def copy_rows(model: type[models.Model], rows: Iterable[dict[str, Any]]) -> None:
    """COPY rows into a model's table; fields that a row lacks get the model's default."""
    fields = model._meta.concrete_fields
    columns = ", ".join(f'"{field.column}"' for field in fields)
    table = model._meta.db_table
    with (
        connection.cursor() as cursor,
        cursor.copy(f"COPY {table} ({columns}) FROM STDIN") as copy,
    ):
        for row in rows:
            copy.write_row(
                [row[f.attname] if f.attname in row else f.get_default() for f in fields]
            )


def game_from_file() -> tuple[Any, str]:
    """(the game, its publishable key)."""
    from django.core.management import call_command

    from accounts.models import Game

    call_command("migrate", interactive=False, stdout=io.StringIO())
    call_command("partitions", stdout=io.StringIO())
    output = io.StringIO()
    call_command("apply_game", str(GAME), stdout=output)
    applied = json.loads(output.getvalue())
    return Game.objects.get(slug=applied["game"]), applied["publishable_key"]


def seed(players: int, out: Path) -> str:
    """Make `players` players with an entry each, and write down how `ACTIVE` of them sign in.

    Returns the publishable key.
    """
    from django.utils import timezone

    from accounts.models import Identity, Player, Session
    from accounts.names import name_key
    from accounts.tokens import make_access_token
    from config.db.ids import uuid7
    from leaderboards.boards import board_get
    from leaderboards.models import Entry
    from leaderboards.order import order_key
    from leaderboards.services import ranks, seasons

    game, game_key = game_from_file()
    board = board_get(game_id=game.pk, key="harvest")
    season = seasons.current(board)
    ids: list[UUID] = [uuid7() for _ in range(players)]
    now = timezone.now()

    def player_rows() -> Iterator[dict[str, Any]]:
        for number, player in enumerate(ids):
            name = f"Player {number}"
            yield {
                "id": player,
                "game_id": game.pk,
                "display_name": name,
                "name_key": name_key(name),
                "tag": number % 10_000,
            }

    copy_rows(Player, player_rows())
    chance = random.Random(1)

    def entry_rows() -> Iterator[dict[str, Any]]:
        for player in ids:
            score = chance.randrange(1_000_000_000)
            yield {
                "season_id": season.id,
                "player_id": player,
                "score": score,
                "order_key": order_key(score, board.sort),
                "achieved_at": now,
            }

    copy_rows(Entry, entry_rows())
    active = chance.sample(ids, min(ACTIVE, players))
    secret_of = {player: secrets.token_urlsafe(32) for player in active}
    sessions = {player: uuid7() for player in active}
    copy_rows(
        Identity,
        (
            {
                "game_id": game.pk,
                "player_id": player,
                "method": Identity.Method.DEVICE.value,
                "subject": f"device-{player}",
                "secret": hashlib.sha256(secret_of[player].encode()).hexdigest(),
            }
            for player in active
        ),
    )
    copy_rows(
        Session,
        (
            {
                "id": sessions[player],
                "game_id": game.pk,
                "player_id": player,
                "method": Identity.Method.DEVICE.value,
                "expires_at": now + timedelta(days=30),
            }
            for player in active
        ),
    )
    with out.open("w") as lines:
        for player in active:
            token = make_access_token(
                player_id=player,
                session_id=sessions[player],
                game_id=game.pk,
                is_tester=False,
            )
            lines.write(f"{token}\tdevice-{player}\t{secret_of[player]}\n")
    save_rows(game.pk, active)
    first_purchases(game.pk, active)
    with connection.cursor() as cursor:
        cursor.execute("VACUUM (ANALYZE)")
    started = time.monotonic()
    ranks.rebuild(season.id)
    sys.stderr.write(f"rank index of {players} built in {time.monotonic() - started:.1f} s\n")
    with connection.cursor() as cursor:
        cursor.execute("CHECKPOINT")
    return game_key


def save_rows(game_id: UUID, players: list[UUID]) -> None:
    """Two saves for each of `players`, through the service."""
    from config.api.preconditions import Precondition
    from progress.services import saves
    from progress.services.save_rows import Writer

    for player in players:
        for slot, size in (("bench-1k", 1024), ("bench-32k", 32 * 1024)):
            saves.put(
                writer=Writer(game_id=game_id, player_id=player),
                slot=slot,
                body=secrets.token_bytes(size),
                content_type="application/octet-stream",
                precondition=Precondition(must_not_exist=True),
            )


def first_purchases(game_id: UUID, players: list[UUID]) -> None:
    """One purchase for each of `players`: the first one also gives the beginning balance and makes
    the rows of balance, stack and limit, and is not what a game is busy with."""
    from store.services import purchases

    for player in players:
        purchases.purchase(game_id=game_id, player_id=player, offer="seed", quantity=1, key="first")


if __name__ == "__main__":
    django.setup()
    sys.stdout.write(seed(int(sys.argv[1]), Path(sys.argv[2])) + "\n")
