"""The rank index: what is lost is found, and rebuilt while scores go on."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from io import StringIO
from typing import Any
from uuid import UUID

import pytest
from django.core.management import CommandError, call_command
from django.db import connection, connections, transaction
from django.utils import timezone

from config import redis
from config.redis import RedisAway
from leaderboards import index, ranking, tasks
from leaderboards.models import Entry, Season
from leaderboards.order import split, unpack
from leaderboards.services import entries, ranks, seasons
from tests.factories.accounts import PlayerFactory
from tests.factories.leaderboards import board_of, submit
from tests.fixtures.faults import redis_down

pytestmark = pytest.mark.django_db(transaction=True)


def players_of(game: Any, count: int) -> list[UUID]:
    return [PlayerFactory.create(game=game).pk for _ in range(count)]


def indexed(season_id: UUID) -> list[UUID]:
    """The players in the index, in rank order."""
    found = index.page(season_id, start=None, backward=False, limit=100_000)
    assert found is not None
    return [unpack(member).player_id for member in split(found.members)]


def true_order(season_id: UUID) -> list[UUID]:
    """The players in rank order, by the entries."""
    ranked = Entry.objects.filter(season_id=season_id, state="ranked")
    return list(
        ranked.order_by("order_key", "achieved_at", "player_id").values_list("player_id", flat=True)
    )


@contextmanager
def index_lost(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Within: no change reaches the index, as when a process dies right after its commit."""

    def lost(*_: Any) -> Any:
        raise RedisAway

    with monkeypatch.context() as patch:
        patch.setattr(index, "apply", lost)
        patch.setattr(index, "peek", lost)
        yield


def test_lost_update__is_found_by_the_reconciler(
    game: Any, board: Any, season: seasons.SeasonInfo, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two = players_of(game, 2)
    submit(board, one, 10)
    ranks.reconcile()
    with index_lost(monkeypatch):
        assert submit(board, two, 20).rank == 1  # counted in PostgreSQL
    assert indexed(season.id) == [one]
    assert ranks.reconcile().repaired == 1
    assert indexed(season.id) == [two, one]
    assert ranks.reconcile() == ranks.Report()


def test_lost_removal__is_found_by_the_reconciler(
    game: Any, board: Any, season: seasons.SeasonInfo, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two = players_of(game, 2)
    submit(board, one, 10)
    submit(board, two, 20)
    with index_lost(monkeypatch):
        entries.entry_remove(
            game_id=game.pk, season_id=season.id, player_id=two, author="staff", reason="Bot"
        )
    assert ranks.reconcile().repaired == 1
    assert indexed(season.id) == [one]


def test_open_transaction__holds_the_mark_back(
    game: Any, board: Any, season: seasons.SeasonInfo, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A score that was logged before a run, but committed after it, is not passed over."""
    (player,) = players_of(game, 1)
    monkeypatch.setattr(ranks, "OVERLAP", timedelta(0))
    written, finish = threading.Event(), threading.Event()

    def slow() -> None:
        try:
            with index_lost(monkeypatch), transaction.atomic():
                submit(board, player, 10)
                written.set()
                assert finish.wait(30)
        finally:
            connections.close_all()

    thread = threading.Thread(target=slow)
    thread.start()
    assert written.wait(30)
    before = ranks.horizon()
    assert ranks.reconcile().repaired == 0
    finish.set()
    thread.join(30)
    assert ranks.horizon() > before
    assert ranks.reconcile().repaired == 1
    assert indexed(season.id) == [player]


def test_open_transaction__would_be_missed_without_the_horizon(
    game: Any, board: Any, season: seasons.SeasonInfo, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The control: with the clock alone as the mark, the same score is lost to the index."""
    (player,) = players_of(game, 1)
    monkeypatch.setattr(ranks, "OVERLAP", timedelta(0))
    monkeypatch.setattr(ranks, "horizon", seasons.database_now)
    written, finish = threading.Event(), threading.Event()

    def slow() -> None:
        try:
            with index_lost(monkeypatch), transaction.atomic():
                submit(board, player, 10)
                written.set()
                assert finish.wait(30)
        finally:
            connections.close_all()

    thread = threading.Thread(target=slow)
    thread.start()
    assert written.wait(30)
    ranks.reconcile()
    finish.set()
    thread.join(30)
    assert ranks.reconcile().repaired == 0
    assert indexed(season.id) == []


def test_emptied_redis__is_rebuilt(game: Any, board: Any, season: seasons.SeasonInfo) -> None:
    players = players_of(game, 5)
    for score, player in enumerate(players):
        submit(board, player, score)
    index.forget(season.id)
    with pytest.raises(index.NotReady):
        indexed(season.id)
    assert submit(board, players[0], 99).rank == 1
    assert tasks.reconcile_ranks() == 1
    assert indexed(season.id) == true_order(season.id)


def test_older_data__is_brought_up_to_date(
    game: Any, board: Any, season: seasons.SeasonInfo
) -> None:
    """Redis restarts with what it had saved some time ago: the keys as they were then."""
    one, two, three = players_of(game, 3)
    submit(board, one, 10)
    ranks.reconcile()
    client = redis.client()
    saved = {name: client.dump(name) for name in index.keys_of(season.id)[:2]}
    submit(board, two, 20)
    submit(board, one, 30)
    ranks.reconcile()
    submit(board, three, 25)
    for name, data in saved.items():
        client.restore(name, 0, data or b"", replace=True)
    assert indexed(season.id) == [one]
    assert ranks.reconcile().repaired == 3
    assert indexed(season.id) == [one, three, two]


def test_mark_beyond_the_log__is_rebuilt(
    game: Any, board: Any, season: seasons.SeasonInfo, monkeypatch: pytest.MonkeyPatch
) -> None:
    (player,) = players_of(game, 1)
    with index_lost(monkeypatch):
        submit(board, player, 10)
    client = redis.client()
    old = index.to_mark(timezone.now() - timedelta(hours=2))
    client.hset(index.keys_of(season.id)[1], "mark", old)
    assert ranks.reconcile() == ranks.Report(0, 1, 0)
    assert indexed(season.id) == [player]


def test_rebuild__while_it_is_written(
    game: Any, board: Any, season: seasons.SeasonInfo, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Scores come in before, between and after the batches; reads go on from the old index."""
    players = players_of(game, 30)
    for score, player in enumerate(players):
        submit(board, player, score)
    late = players_of(game, 4)
    monkeypatch.setattr(ranks, "BATCH", 5)
    real = index.apply_many
    batches = 0

    def between(*args: Any, **kwargs: Any) -> int:
        nonlocal batches
        batches += 1
        submit(board, players[batches], 100 + batches)
        submit(board, players[-batches], 200 + batches)
        if batches <= len(late):
            submit(board, late[batches - 1], 300)
        changed = real(*args, **kwargs)
        submit(board, players[0], 400 + batches)
        assert indexed(season.id) == true_order(season.id)
        return changed

    monkeypatch.setattr(index, "apply_many", between)
    assert ranks.rebuild(season.id)
    assert batches > 5
    assert indexed(season.id) == true_order(season.id)
    assert not redis.client().exists(*index.keys_of(season.id)[2:])


def test_rebuild__that_ignored_writers_would_lose_them(
    game: Any, board: Any, season: seasons.SeasonInfo, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The control: where writers do not write into what is being built, scores are missing."""
    players = players_of(game, 10)
    for score, player in enumerate(players):
        submit(board, player, score)
    monkeypatch.setattr(ranks, "BATCH", 5)
    monkeypatch.setattr(index, "_APPLY", index._APPLY.replace("EXISTS', KEYS[4]", "EXISTS', '-'"))
    real = index.apply_many

    def between(*args: Any, **kwargs: Any) -> int:
        changed = real(*args, **kwargs)
        submit(board, players[0], 100 + changed)
        return changed

    monkeypatch.setattr(index, "apply_many", between)
    assert ranks.rebuild(season.id)
    assert indexed(season.id) != true_order(season.id)
    monkeypatch.undo()
    # What the build missed lies after its mark.
    assert ranks.reconcile().repaired == 1
    assert indexed(season.id) == true_order(season.id)


def test_rebuild__by_two_at_once_is_done_by_one(
    game: Any, board: Any, season: seasons.SeasonInfo
) -> None:
    token = index.start_build(season.id)
    assert token is not None
    assert index.start_build(season.id) is None
    assert not ranks.rebuild(season.id)
    assert tasks.rebuild_ranks(str(season.id)) is False
    assert index.finish_build(season.id, token=token, mark=timezone.now())
    assert tasks.rebuild_ranks(str(season.id)) is True


def test_killed_builder__is_taken_over_after_its_lease(
    game: Any, board: Any, season: seasons.SeasonInfo
) -> None:
    (player,) = players_of(game, 1)
    submit(board, player, 1)
    dead = index.start_build(season.id)
    assert dead is not None
    assert redis.client().pttl(index.keys_of(season.id)[3]) > 0
    redis.client().hset(index.keys_of(season.id)[3], "lease", 1)
    assert ranks.rebuild(season.id)
    # The dead one wakes up: what it wants to write is refused.
    change = index.Change(player, 0, timezone.now(), 9, ranked=True)
    assert index.apply_many(season.id, [change.packed()], token=dead) == -1
    assert not index.finish_build(season.id, token=dead, mark=timezone.now())
    assert indexed(season.id) == [player]


def test_removal__is_not_undone_by_a_late_older_write(
    game: Any, board: Any, season: seasons.SeasonInfo
) -> None:
    (player,) = players_of(game, 1)
    submit(board, player, 10)
    entry = Entry.objects.get()
    late = index.Change(player, entry.order_key, entry.achieved_at, entry.version, ranked=True)
    entries.entry_remove(game_id=game.pk, season_id=season.id, player_id=player, author="staff")
    index.apply(season.id, late)
    assert indexed(season.id) == []
    assert ranks.rebuild(season.id)
    index.apply(season.id, late)
    assert indexed(season.id) == []


def test_rolled_back_score__never_reaches_the_index(
    game: Any, board: Any, season: seasons.SeasonInfo
) -> None:
    (player,) = players_of(game, 1)

    def fail() -> None:
        with transaction.atomic():
            assert submit(board, player, 10).rank == 1
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert indexed(season.id) == []
    assert submit(board, player, 5).rank == 1
    assert indexed(season.id) == [player]


def test_two_scores_in_one_transaction__end_up_right(
    game: Any, board: Any, season: seasons.SeasonInfo
) -> None:
    one, two = players_of(game, 2)
    submit(board, two, 15)
    with transaction.atomic():
        assert submit(board, one, 10).rank == 2
        assert submit(board, one, 20).rank == 1
    assert indexed(season.id) == [one, two]


def test_ended_seasons__are_looked_after_for_a_week_then_forgotten(game: Any) -> None:
    board = board_of(game, key="daily", reset="0 0 * * *")
    now = timezone.now()
    old = seasons.current(board, now=now - timedelta(days=9))
    recent = seasons.current(board, now=now - timedelta(days=2))
    running = seasons.current(board)
    for season in (old, recent, running):
        index.forget(season.id)
    assert ranks.reconcile().rebuilt == 2
    assert index.marks([old.id])[0] is None
    for season in (recent, running):
        seconds = redis.client().ttl(index.keys_of(season.id)[1])
        assert timedelta(days=5).total_seconds() < seconds < timedelta(days=10).total_seconds()


def test_reconcile__without_redis(board: Any, season: seasons.SeasonInfo) -> None:
    with redis_down():
        assert tasks.reconcile_ranks() == 0
        with pytest.raises(RedisAway):
            ranks.reconcile()


def test_refused_command__counts_as_away(board: Any, season: seasons.SeasonInfo) -> None:
    """A key of another type, or no memory left: the index is not trusted, PostgreSQL answers."""
    redis.client().set(index.keys_of(season.id)[0], "something else")
    page = ranking.page(season.id, start=None, backward=False, limit=3)
    assert page is not None
    assert page.places == []
    assert page.state == b""


def test_reconcile__without_a_season_does_nothing(db: None) -> None:
    assert ranks.reconcile() == ranks.Report()


def test_command__rebuilds_what_it_is_told(
    game: Any, board: Any, season: seasons.SeasonInfo
) -> None:
    (player,) = players_of(game, 1)
    submit(board, player, 1)
    index.forget(season.id)

    def run(*arguments: str) -> Any:
        out = StringIO()
        call_command("rebuild_ranks", *arguments, stdout=out)
        return json.loads(out.getvalue())

    assert run("--game", "nobody") == {"rebuilt": [], "busy": []}
    assert run("--board", "harvest", "--season", "1") == {"rebuilt": ["harvest/1"], "busy": []}
    assert indexed(season.id) == [player]
    index.start_build(season.id)
    with pytest.raises(CommandError, match="another process"):
        run()
    with redis_down(), pytest.raises(CommandError, match="Redis"):
        run()


def test_log__is_partitioned_by_day() -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM pg_inherits WHERE inhparent = 'leaderboards_submission'::regclass"
        )
        assert cursor.fetchone()[0] >= 1
    assert Season.objects.count() == 0
