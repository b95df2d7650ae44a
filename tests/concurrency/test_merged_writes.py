"""Saves, stats and scores that are written for a player in the very moment in which it is merged.

Such a write has passed all checks, waits for what the merge has locked, and is then done for the
player who was absorbed.
"""

import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from django.db import OperationalError, connection, transaction
from django.utils import timezone

from accounts.models import Merge, Player
from accounts.services import merging
from config.api.preconditions import Precondition
from leaderboards import index
from leaderboards.boards import BoardDefinition
from leaderboards.models import Entry
from leaderboards.order import split, unpack
from leaderboards.services import seasons
from progress.models import Save, StatValue
from progress.services import saves, stats
from progress.services.save_rows import Writer
from tests.concurrency.test_sessions import waits_for_a_lock_or_done
from tests.factories.accounts import PlayerFactory
from tests.factories.leaderboards import board_of, submit
from tests.factories.merging import merge
from tests.factories.progress import make_stat
from tests.threads import at_once

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def survivor(game: Any) -> Player:
    return PlayerFactory(game=game)


@pytest.fixture
def absorbed(game: Any) -> Player:
    return PlayerFactory(game=game)


@pytest.fixture
def boards(game: Any) -> list[BoardDefinition]:
    make_stat(game, "flowers")
    # Of two kinds, or both scores would be one statement.
    return [board_of(game, key="begun", keep="sum"), board_of(game, key="new", keep="last")]


def write(player: Player, slot: str, body: bytes, seen: int | None) -> None:
    saves.put(
        writer=Writer(game_id=player.game_id, player_id=player.pk),
        slot=slot,
        body=body,
        content_type="application/octet-stream",
        precondition=Precondition(match=str(seen)) if seen else Precondition(must_not_exist=True),
    )


def report(player: Player, value: int) -> None:
    stats.update(game_id=player.game_id, player_id=player.pk, updates=[("flowers", value)])


def waiting() -> int:
    """How many others wait for a lock of this connection."""
    with connection.cursor() as cursor:
        # Not pg_stat_activity: within a transaction that shows one moment for ever.
        cursor.execute(
            """SELECT count(DISTINCT pid) FROM pg_locks
               WHERE NOT granted AND pg_backend_pid() = ANY(pg_blocking_pids(pid))"""
        )
        return int(cursor.fetchone()[0])


def merged_while_written(
    survivor: Player,
    absorbed: Player,
    boards: list[BoardDefinition],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Merge two players, and commit when all of these writes wait for what the merge holds."""
    write(absorbed, "garden", b"first", None)
    report(absorbed, 1)
    submit(boards[0], absorbed.pk, 1)
    merge(survivor, absorbed, preview=True)
    writes: list[Callable[[], object]] = [
        lambda: write(absorbed, "garden", b"second", 1),
        lambda: write(absorbed, "diary", b"new", None),
        lambda: report(absorbed, 20),
        lambda: submit(boards[0], absorbed.pk, 20),
        lambda: submit(boards[1], absorbed.pk, 300),
    ]
    is_moved = threading.Event()
    real = merging._merge

    def slow(*args: Any) -> Merge:
        made = real(*args)
        is_moved.set()
        until = time.monotonic() + 30
        while waiting() < len(writes):
            assert time.monotonic() < until, "The writes do not wait"
            is_moved.wait(0.01)
        return made

    monkeypatch.setattr(merging, "_merge", slow)

    def act(number: int) -> object:
        if number == 0:
            return merge(survivor, absorbed)
        assert is_moved.wait(30)
        return writes[number - 1]()

    for result in at_once(len(writes) + 1, act):
        if isinstance(result, Exception):
            raise result


def held(player: Player, boards: list[BoardDefinition]) -> dict[str, Any]:
    """What the survivor has of what was written."""
    entries = Entry.objects.filter(player=player, state="ranked")
    bodies = Save.objects.filter(player=player).order_by("slot")
    return {
        "saves": list(bodies.values_list("slot", "size")),
        "stats": list(StatValue.objects.filter(player=player).values_list("value", flat=True)),
        "scores": [
            entries.filter(season_id=seasons.current(board).id).values_list("score", flat=True)[0]
            for board in boards
            if entries.filter(season_id=seasons.current(board).id).exists()
        ],
    }


def test_written_in_the_moment_of_the_merge__all_is_the_survivors_once_settled(
    survivor: Player,
    absorbed: Player,
    boards: list[BoardDefinition],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    merged_while_written(survivor, absorbed, boards, monkeypatch)
    Merge.objects.update(next_attempt_at=timezone.now())
    assert merging.settle_due() == 1
    assert held(survivor, boards) == {
        "saves": [("diary", 3), ("garden", 6)],
        "stats": [21],
        "scores": [21, 300],
    }
    for board in boards:
        found = index.page(seasons.current(board).id, start=None, backward=False, limit=10)
        assert found is not None
        assert [unpack(member).player_id for member in split(found.members)] == [survivor.pk]


def test_written_in_the_moment_of_the_merge__control_never_settled__is_missing(
    survivor: Player,
    absorbed: Player,
    boards: list[BoardDefinition],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    merged_while_written(survivor, absorbed, boards, monkeypatch)
    assert held(survivor, boards) == {"saves": [("garden", 5)], "stats": [1], "scores": [1]}


def test_first_score_of_the_survivor_in_the_moment_of_the_merge__counts_or_is_refused(
    survivor: Player, absorbed: Player, boards: list[BoardDefinition]
) -> None:
    """Each waits for the other: PostgreSQL ends one of them, and a merge is tried again."""
    submit(boards[0], absorbed.pk, 9)
    merge(survivor, absorbed, preview=True)
    is_written = threading.Event()

    def act(number: int) -> None:
        if number == 0:
            assert is_written.wait(30)
            merge(survivor, absorbed)
            return
        with transaction.atomic():
            submit(boards[0], survivor.pk, 5)
            is_written.set()
            waits_for_a_lock_or_done(lambda: False)

    merged, scored = at_once(2, act)

    assert merged is None
    assert scored is None or isinstance(scored, OperationalError)
    assert held(survivor, boards)["scores"] == [14 if scored is None else 9]
