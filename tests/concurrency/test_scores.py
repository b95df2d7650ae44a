"""Many scores at once, with real threads on the real database and Redis."""

import random
import threading
from typing import Any
from uuid import UUID

import pytest
from django.db import connection

from config.redis import RedisAway
from leaderboards import counting, index, ranking
from leaderboards.models import Entry, Submission
from leaderboards.order import pack, split, unpack
from leaderboards.services import entries, ranks, scores, seasons
from tests.factories.accounts import PlayerFactory
from tests.factories.leaderboards import board_of, submit
from tests.threads import at_once

pytestmark = pytest.mark.django_db(transaction=True)
THREADS = 32


def indexed(season_id: UUID) -> list[UUID]:
    found = index.page(season_id, start=None, backward=False, limit=100_000)
    assert found is not None
    return [unpack(member).player_id for member in split(found.members)]


def true_order(season_id: UUID) -> list[UUID]:
    positions = [
        ranking.position_of(entry)
        for entry in Entry.objects.filter(season_id=season_id, state="ranked")
    ]
    return [position.player_id for position in sorted(positions, key=pack)]


def raise_first(results: list[Any]) -> None:
    for result in results:
        if isinstance(result, Exception):
            raise result


def test_32_threads_on_one_board__ranks_are_exact(game: Any) -> None:
    """Few different scores, so that ties abound; some players come from several threads."""
    board = board_of(game, keep="last")
    season = seasons.current(board)
    players = [PlayerFactory.create(game=game).pk for _ in range(20)]

    def play(number: int) -> None:
        chance = random.Random(number)
        for _ in range(8):
            player = chance.choice(players)
            outcome = submit(board, player, chance.randrange(5))
            assert outcome.rank is not None
            if chance.random() < 0.1:
                entries.entry_hide(
                    game_id=game.pk, season_id=season.id, player_id=player, author="", reason=""
                )
            elif chance.random() < 0.2:
                entries.entry_show(
                    game_id=game.pk, season_id=season.id, player_id=player, author="", reason=""
                )

    raise_first(at_once(THREADS, play))
    assert Submission.objects.filter(verdict="accepted").count() == THREADS * 8
    # No reconciler has run: the writers alone have left it exact.
    assert indexed(season.id) == true_order(season.id)
    for rank, player in enumerate(indexed(season.id), 1):
        entry = Entry.objects.get(season_id=season.id, player_id=player)
        assert counting.rank(season.id, ranking.position_of(entry)) == rank


def test_rank_in_the_answer__is_that_of_all_answered_writes(game: Any) -> None:
    """Once a write is answered, whoever asks next counts it."""
    board = board_of(game)
    players = [PlayerFactory.create(game=game).pk for _ in range(THREADS)]
    answered: list[int] = []
    lock = threading.Lock()

    def play(number: int) -> None:
        with lock:
            better_before = sum(1 for score in answered if score > number)
        outcome = submit(board, players[number], number)
        with lock:
            answered.append(number)
        assert outcome.rank is not None
        assert outcome.rank >= better_before + 1
        assert outcome.rank <= THREADS - number

    raise_first(at_once(THREADS, play))


def test_sum__loses_nothing(game: Any) -> None:
    board = board_of(game, keep="sum")
    season = seasons.current(board)
    player = PlayerFactory.create(game=game).pk

    def play(_: int) -> None:
        for _ in range(5):
            submit(board, player, 1)

    raise_first(at_once(THREADS, play))
    assert Entry.objects.get().score == THREADS * 5
    rank, found = index.around(season.id, player, limit=1)
    assert rank == 1
    assert ~unpack(found.members).order_key == THREADS * 5


def test_sum__read_and_written_apart_would_lose_some(game: Any) -> None:
    """The control: the same sums, added in Python."""
    board = board_of(game, keep="sum")
    player = PlayerFactory.create(game=game).pk
    submit(board, player, 0)
    meet = threading.Barrier(THREADS)

    def play(_: int) -> None:
        entry = Entry.objects.get()
        meet.wait(30)
        Entry.objects.update(score=entry.score + 1)

    raise_first(at_once(THREADS, play))
    assert Entry.objects.get().score < THREADS


def test_first_scores_of_one_player__make_one_entry_of_the_best(game: Any) -> None:
    """Also where a statement can't see the entry that its insert ran into."""
    board = board_of(game)
    player = PlayerFactory.create(game=game).pk
    results = at_once(THREADS, lambda number: submit(board, player, THREADS - number))
    raise_first(results)
    assert Entry.objects.get().score == THREADS
    assert Submission.objects.count() == THREADS
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM analytics_event WHERE name = 'score'")
        assert cursor.fetchone()[0] == THREADS


def reordered(board: Any, player: UUID, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two scores of one player whose updates of the index arrive the other way round."""
    first_waits, second_done = threading.Event(), threading.Event()
    real = index.apply

    def late(season_id: UUID, change: index.Change) -> index.Standing:
        if change.version == 1:
            first_waits.set()
            assert second_done.wait(30)
        return real(season_id, change)

    monkeypatch.setattr(index, "apply", late)

    def play(number: int) -> None:
        if number == 1:
            assert first_waits.wait(30)
        submit(board, player, [20, 10][number])
        if number == 1:
            second_done.set()

    raise_first(at_once(2, play))


def test_older_write__never_wins(game: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    board = board_of(game, keep="last")
    season = seasons.current(board)
    player = PlayerFactory.create(game=game).pk
    reordered(board, player, monkeypatch)
    assert Entry.objects.get().score == 10
    _, found = index.around(season.id, player, limit=1)
    assert ~unpack(found.members).order_key == 10


def test_older_write__would_win_without_the_version(
    game: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The control: the script without its comparison of versions."""
    board = board_of(game, keep="last")
    season = seasons.current(board)
    player = PlayerFactory.create(game=game).pk
    unguarded = index._APPLY.replace("if version <= have then", "if false then")
    assert unguarded != index._APPLY
    monkeypatch.setattr(index, "_APPLY", unguarded)
    reordered(board, player, monkeypatch)
    assert Entry.objects.get().score == 10
    _, found = index.around(season.id, player, limit=1)
    assert ~unpack(found.members).order_key == 20


def test_rebuilds_and_repairs__during_writes(game: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Writers whose updates are lost every now and then, two who rebuild, two who reconcile."""
    board = board_of(game, keep="last")
    season = seasons.current(board)
    players = [PlayerFactory.create(game=game).pk for _ in range(12)]
    monkeypatch.setattr(ranks, "BATCH", 3)
    real = index.apply

    def sometimes_lost(season_id: UUID, change: index.Change) -> index.Standing:
        if random.random() < 0.2:
            raise RedisAway
        return real(season_id, change)

    monkeypatch.setattr(index, "apply", sometimes_lost)

    def play(number: int) -> None:
        chance = random.Random(number)
        for _ in range(10):
            if number < 2:
                ranks.rebuild(season.id)
            elif number < 4:
                ranks.reconcile()
            else:
                scores.submit(
                    board=board, player_id=chance.choice(players), score=chance.randrange(6)
                )

    raise_first(at_once(16, play))
    ranks.reconcile()
    assert indexed(season.id) == true_order(season.id)
