"""Races around events and their figures, each with a control."""

import threading
from datetime import UTC, date, datetime, timedelta
from typing import Any
from uuid import UUID

import msgspec
import pytest
from django.db import connection, transaction
from django.utils import timezone

from accounts.models import Game
from analytics.models import ActivePlayer, DailyFigure, Event, EventId, RollupProgress
from analytics.services import batches, rollups
from analytics.services.batches import NewEvent, bucket_of
from config import events
from config.db.ids import uuid7
from tests.factories.analytics import client_of, consenting, event
from tests.threads import at_once

pytestmark = pytest.mark.django_db(transaction=True)
THREADS = 16


def new_events(count: int) -> list[NewEvent]:
    made = []
    for _ in range(count):
        event_id = uuid7()
        made.append(
            NewEvent(
                id=event_id,
                bucket=bucket_of(event_id),
                name="raced",
                at=datetime.now(UTC).isoformat(),
            )
        )
    return made


def store(game: Game, player_id: UUID, batch: list[NewEvent]) -> int:
    return batches.store(
        game_id=game.pk, player_id=player_id, session_id=None, events=batch
    ).accepted


def test_resends_at_once__each_event_is_stored_once(game: Game) -> None:
    player = consenting(game)
    batch = new_events(50)

    accepted = at_once(THREADS, lambda number: store(game, player.pk, batch))

    assert sum(n for n in accepted if isinstance(n, int)) == 50, accepted
    assert Event.objects.count() == EventId.objects.count() == 50


def test_resends_at_once__control_that_looks_before_it_writes(game: Game) -> None:
    """Without the unique index deciding, both of two senders find nothing, and both write."""
    player = consenting(game)
    batch = new_events(5)
    unguarded = batches.STORE_SQL.replace(
        batches.STORE_SQL[
            batches.STORE_SQL.index("INSERT INTO analytics_eventid") : batches.STORE_SQL.index(
                "), stored AS"
            )
        ],
        "SELECT id FROM batch WHERE NOT EXISTS "
        "(SELECT FROM analytics_event WHERE analytics_event.id = batch.id)",
    )
    looked = threading.Barrier(2)

    def send(number: int) -> int:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(
                unguarded,
                {
                    "game": game.pk,
                    "player": player.pk,
                    "session": None,
                    "events": msgspec.json.encode(batch).decode(),
                },
            )
            accepted: int = cursor.fetchone()[0]
            looked.wait(20)
        return accepted

    assert at_once(2, send) == [5, 5]
    assert Event.objects.count() == 10


def test_overlapping_batches_in_opposite_order__neither_fails(game: Game) -> None:
    player = consenting(game)
    for _ in range(10):
        batch = new_events(100)
        turned = batch[::-1]

        def send(n: int, a: list[Any] = batch, b: list[Any] = turned) -> Any:
            return store(game, player.pk, a if n % 2 else b)

        accepted = at_once(8, send)

        assert sum(n for n in accepted if isinstance(n, int)) == 100, accepted


def test_resends_over_http_at_once__answers_add_up(game: Game) -> None:
    player = consenting(game)
    body = {"events": [event() for _ in range(20)]}
    clients = [client_of(player) for _ in range(8)]

    answers: list[Any] = at_once(8, lambda n: clients[n].post("/v1/events", body).json())

    assert sum(answer["accepted"] for answer in answers) == 20
    assert sum(answer["duplicates"] for answer in answers) == 7 * 20


def test_active_on_a_day__marked_at_once__counts_once_and_waits_for_nobody(game: Game) -> None:
    player = consenting(game)

    def sign_in(number: int) -> None:
        events.record(game_id=game.pk, player_id=player.pk, name="session_start", props={})

    # Another transaction that has marked the player, and is not over, holds nobody up.
    with transaction.atomic():
        sign_in(0)
        assert at_once(THREADS, sign_in, timeout=20) == [None] * THREADS

    today = datetime.now(UTC).date()
    rollups.compute_day(game_id=game.pk, day=today)
    assert ActivePlayer.objects.count() >= 1
    assert figure(game, "dau", today) == 1


def figure(game: Game, metric: str, day: date) -> int:
    return DailyFigure.objects.get(game=game, metric=metric, split="", day=day).value


def race_two_computations(game: Game, monkeypatch: pytest.MonkeyPatch, *, patience: float) -> int:
    """One computation reads, then 5 more events come, then another reads and writes, and only
    then may the first write, or after `patience` seconds. The figure that remains."""
    today = datetime.now(UTC).date()
    player = consenting(game)
    first_has_read, second_is_done = threading.Event(), threading.Event()
    real = rollups._replace
    turn = iter(("first", "second"))
    lock = threading.Lock()

    def paused(*args: Any) -> None:
        with lock:
            mine = next(turn)
        if mine == "first":
            first_has_read.set()
            # With the lock the second can't finish before us; without it, it does.
            second_is_done.wait(patience)
        real(*args)

    monkeypatch.setattr(rollups, "_replace", paused)

    def compute(number: int) -> None:
        if number == 1:
            assert first_has_read.wait(20)
            store(game, player.pk, new_events(5))
        rollups.compute_day(game_id=game.pk, day=today)
        if number == 1:
            second_is_done.set()

    assert at_once(2, compute) == [None, None]
    return figure(game, "events", today)


def test_two_computations_of_a_day__the_later_figures_stay(
    game: Game, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert race_two_computations(game, monkeypatch, patience=1.5) == 5


def test_two_computations_of_a_day__control_without_the_lock(
    game: Game, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The one that began earlier overwrites the later one with what it had read."""
    monkeypatch.setattr(rollups, "advisory_lock", lambda *parts: None)

    assert race_two_computations(game, monkeypatch, patience=30) == 0


def test_computations_at_once__same_figures_as_one(game: Game) -> None:
    player = consenting(game)
    store(game, player.pk, new_events(30))
    today = datetime.now(UTC).date()

    results = at_once(8, lambda number: rollups.compute_day(game_id=game.pk, day=today))

    assert len(set(map(str, results))) == 1, results
    assert figure(game, "events", today) == 30
    assert figure(game, "dau", today) == 1


def test_update__killed_before_it_notes_its_progress__counts_nothing_twice(
    game: Game, monkeypatch: pytest.MonkeyPatch
) -> None:
    player = consenting(game)
    store(game, player.pk, new_events(7))
    today = datetime.now(UTC).date()

    class KilledError(BaseException):
        pass

    def killed(**_: Any) -> None:
        raise KilledError

    with monkeypatch.context() as patch:
        patch.setattr(RollupProgress.objects, "update_or_create", killed)
        with pytest.raises(KilledError):
            rollups.update(game_id=game.pk)
    store(game, player.pk, new_events(1))
    later = datetime.now(UTC) + timedelta(minutes=1)
    monkeypatch.setattr(timezone, "now", lambda: later)
    rollups.update(game_id=game.pk)
    rollups.update(game_id=game.pk)

    assert figure(game, "events", today) == 8
