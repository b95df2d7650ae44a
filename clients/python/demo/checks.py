"""After the day: is everything there that the server confirmed, and are the ranks exact?"""

import hashlib
import time
from collections.abc import Iterable
from typing import Any

from clients.python.demo.life import BOARD, Life
from clients.python.evenkeel_client import PlayerClient

RANKS_WITHIN = 30.0


def missing_facts(life: Life) -> list[str]:
    """What the server confirmed to this player and does not have."""
    client, wrong = life.phone, []
    if life.flowers and "flowers" not in life.unsure:
        grown = client.stats().get("flowers_grown")
        if grown != life.flowers:
            wrong.append(
                f"{life.persona.name}: grew {life.flowers} flowers, the server has {grown}"
            )
    if life.save_digest and "saves" not in life.unsure:
        data = client.load("garden") or b""
        if hashlib.sha256(data).hexdigest() != life.save_digest:
            wrong.append(f"{life.persona.name}: the garden is not the one that was saved last")
    if life.best is not None and "scores" not in life.unsure:
        entry = client.my_entry(BOARD)
        if entry["score"] < life.best:
            wrong.append(f"{life.persona.name}: scored {life.best}, the board has {entry}")
    return wrong


def whole_board(client: PlayerClient) -> list[dict[str, Any]]:
    """All entries of the board, page by page."""
    rows: list[dict[str, Any]] = []
    params: dict[str, str | int] = {"limit": 200}
    while True:
        page = client.get(f"/v1/leaderboards/{BOARD}/entries", params)
        rows += page["results"]
        if not page.get("next"):
            return rows
        params["cursor"] = page["next"]


def wrong_ranks(lives: Iterable[Life]) -> list[str]:
    """What is wrong with the ranks; they may take half a minute after Redis came back."""
    playing = [life for life in lives if life.best is not None]
    if not playing:
        return []
    deadline = time.monotonic() + RANKS_WITHIN
    while True:
        wrong = _compare(playing)
        if not wrong or time.monotonic() > deadline:
            return wrong
        time.sleep(1)


def _compare(playing: list[Life]) -> list[str]:
    board = whole_board(playing[0].phone)
    wrong = []
    order = sorted(board, key=lambda row: (-row["score"], row["achieved_at"]))
    if [row["score"] for row in board] != [row["score"] for row in order]:
        wrong.append("the board is not in order")
    if [row["rank"] for row in board] != list(range(1, len(board) + 1)):
        wrong.append("the ranks are not 1, 2, 3 …")
    ranks = {row["player"]["id"]: row["rank"] for row in board}
    for life in playing[:: max(1, len(playing) // 20)]:
        rank = life.phone.my_entry(BOARD)["rank"]
        if ranks.get(life.phone.player_id) != rank:
            wrong.append(
                f"{life.persona.name}: own rank {rank}, on the board "
                f"{ranks.get(life.phone.player_id)}"
            )
    return wrong
