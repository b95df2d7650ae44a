"""Many scores at once, with real threads on the real database and Redis."""

import random
import threading
from typing import Any
from uuid import UUID

import pytest
from django.db import connection
from django.utils import timezone

from config.redis import RedisAway
from leaderboards import counting, index, ranking
from leaderboards.models import Entry, Submission
from leaderboards.order import pack, split, unpack
from leaderboards.services import entries, ranks, scores, seasons
from tests.factories.accounts import PlayerFactory
from tests.factories.leaderboards import board_of, submit
from tests.threads import Meeting, at_once

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


def newest_first(game: Any, monkeypatch: pytest.MonkeyPatch) -> UUID:
    """A season of 8 players who send 4 scores each at once, whose index gets all of them when all
    are committed, the newest first."""
    board = board_of(game, keep="last")
    players = [PlayerFactory.create(game=game).pk for _ in range(8)]
    meeting, turn = Meeting(THREADS), threading.Lock()
    changes: list[index.Change] = []
    real = index.apply

    def late(season_id: UUID, change: index.Change) -> index.Standing:
        changes.append(change)
        meeting.wait()
        with turn:
            changes.sort(key=lambda committed: committed.version)
            return real(season_id, changes.pop())

    monkeypatch.setattr(index, "apply", late)
    raise_first(at_once(THREADS, lambda number: submit(board, players[number % 8], number)))
    return seasons.current(board).id


def without_version(monkeypatch: pytest.MonkeyPatch) -> None:
    """The index takes whatever comes, as if it were new."""
    unguarded = index._APPLY.replace("if version <= have then", "if false then")
    assert unguarded != index._APPLY
    monkeypatch.setattr(index, "_APPLY", unguarded)


def test_32_writes__reach_the_index_newest_first__ranks_are_exact(
    game: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    season_id = newest_first(game, monkeypatch)
    assert indexed(season_id) == true_order(season_id)


def test_32_writes__reach_the_index_newest_first__control_without_the_version(
    game: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    without_version(monkeypatch)
    season_id = newest_first(game, monkeypatch)
    assert indexed(season_id) != true_order(season_id)


def ranks_too_good(game: Any) -> int:
    """How many ranks did not count a better score that was answered before they were asked for.

    Each thread writes twice, for two players; the second score is worse than all the first ones.
    """
    board = board_of(game)
    players = [PlayerFactory.create(game=game).pk for _ in range(2 * THREADS)]
    answered: list[int] = []
    lock = threading.Lock()

    def play(number: int) -> int:
        too_good = 0
        for score in (THREADS + number, number):
            with lock:
                better_before = sum(1 for other in answered if other > score)
            outcome = submit(board, players[score], score)
            with lock:
                answered.append(score)
            assert outcome.rank is not None
            assert outcome.rank <= 2 * THREADS - score
            too_good += outcome.rank < better_before + 1
        return too_good

    results: list[Any] = at_once(THREADS, play)
    raise_first(results)
    return sum(results)


def test_rank_in_the_answer__is_that_of_all_answered_writes(game: Any) -> None:
    """Once a write is answered, whoever asks next counts it."""
    assert ranks_too_good(game) == 0


def test_rank_in_the_answer__control_index_changed_after_the_answer(
    game: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As if a worker brought it up to date: no second score sees the thread's own first."""
    monkeypatch.setattr(index, "apply", index.peek)
    assert ranks_too_good(game) >= THREADS


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


def test_first_scores_of_one_player__control_look_then_insert__the_best_is_lost(
    game: Any,
) -> None:
    """Nobody finds an entry to improve on, one insert goes through: here not that of the best."""
    season = seasons.current(board_of(game))
    player = PlayerFactory.create(game=game).pk
    looked, inserted = threading.Barrier(THREADS), threading.Barrier(THREADS)

    def play(number: int) -> None:
        score = THREADS - number
        found = Entry.objects.filter(season_id=season.id, player_id=player)
        is_known = found.exists()
        looked.wait(30)
        if score == THREADS:
            inserted.wait(30)
        if is_known:
            found.filter(score__lt=score).update(score=score)
        else:
            entry = Entry(
                season_id=season.id,
                player_id=player,
                score=score,
                order_key=~score,
                achieved_at=timezone.now(),
            )
            Entry.objects.bulk_create([entry], ignore_conflicts=True)
        if score < THREADS:
            inserted.wait(30)

    raise_first(at_once(THREADS, play))
    assert Entry.objects.get().score < THREADS


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
    without_version(monkeypatch)
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


def test_lost_updates__control_without_the_reconciler__ranks_stay_wrong(
    game: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    season = seasons.current(board := board_of(game, keep="last"))
    players = [PlayerFactory.create(game=game).pk for _ in range(12)]
    real = index.apply

    def lost_for_one(season_id: UUID, change: index.Change) -> index.Standing:
        if change.player_id == players[0]:
            raise RedisAway
        return real(season_id, change)

    monkeypatch.setattr(index, "apply", lost_for_one)
    raise_first(at_once(12, lambda number: submit(board, players[number], number)))
    assert indexed(season.id) != true_order(season.id)


def write_while_rebuilt(game: Any, monkeypatch: pytest.MonkeyPatch) -> UUID:
    """A season with a score that comes when its builder has read all entries, and has not put
    its index in the other's place; nothing is reconciled."""
    board = board_of(game)
    season_id = seasons.current(board).id
    players = [PlayerFactory.create(game=game).pk for _ in range(2)]
    submit(board, players[0], 1)
    has_read, has_written = threading.Event(), threading.Event()
    real = index.finish_build

    def late(season_id: UUID, **how: Any) -> bool:
        has_read.set()
        assert has_written.wait(30)
        return real(season_id, **how)

    monkeypatch.setattr(index, "finish_build", late)

    def act(number: int) -> None:
        if number == 0:
            assert ranks.rebuild(season_id)
        else:
            assert has_read.wait(30)
            submit(board, players[1], 2)
            has_written.set()

    raise_first(at_once(2, act))
    return season_id


def test_write_during_a_rebuild__is_in_both(game: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    season_id = write_while_rebuilt(game, monkeypatch)
    assert indexed(season_id) == true_order(season_id)


def test_write_during_a_rebuild__control_written_once__is_missing(
    game: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The control: writers who change only the index that is read."""
    both = "if redis.call('EXISTS', KEYS[4]) == 1 then put("
    assert both in index._APPLY
    monkeypatch.setattr(index, "_APPLY", index._APPLY.replace(both, "if false then put("))
    season_id = write_while_rebuilt(game, monkeypatch)
    assert indexed(season_id) != true_order(season_id)
    ranks.reconcile()
    assert indexed(season_id) == true_order(season_id)
