"""The order of entries, against a model: over all 64 bits, with ties, in Redis and PostgreSQL."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from config.db.ids import uuid7
from leaderboards import counting, index
from leaderboards.models import Board, Entry
from leaderboards.order import Position, order_key, pack, score_of, unpack
from leaderboards.services import ranks, seasons
from tests.factories.accounts import PlayerFactory
from tests.factories.leaderboards import board_of

INT64 = st.integers(-(2**63), 2**63 - 1)
# Few enough to tie often, and the edges where doubles and signs go wrong.
SCORES = st.sampled_from(
    [-(2**63), -(2**63) + 1, -(2**53) - 1, -1, 0, 1, 2**53, 2**53 + 1, 2**63 - 2, 2**63 - 1]
)
START = datetime(2026, 11, 21, tzinfo=UTC)
TIMES = st.integers(0, 3).map(lambda n: START + timedelta(microseconds=n))
SORTS = st.sampled_from(["asc", "desc"])


@given(st.lists(st.tuples(INT64 | SCORES, TIMES, st.uuids()), max_size=30), SORTS)
def test_packed__orders_as_the_columns_do(rows: list[Any], sort: str) -> None:
    positions = [Position(order_key(score, sort), at, player) for score, at, player in rows]
    assert sorted(positions, key=pack) == sorted(
        positions, key=lambda p: (p.order_key, p.achieved_at, p.player_id.bytes)
    )
    assert [unpack(pack(position)) for position in positions] == positions


@given(INT64, INT64, SORTS)
def test_order_key__is_lower_for_the_better_score(one: int, other: int, sort: str) -> None:
    better = one > other if sort == "desc" else one < other
    assert (order_key(one, sort) < order_key(other, sort)) == better
    assert score_of(order_key(one, sort), sort) == one


def model_ranks(entries: dict[UUID, Position]) -> dict[UUID, int]:
    best_first = sorted(entries.values(), key=lambda p: (p.order_key, p.achieved_at, p.player_id))
    return {position.player_id: rank for rank, position in enumerate(best_first, 1)}


@given(
    st.lists(st.tuples(st.integers(0, 7), SCORES | INT64, TIMES, st.booleans()), max_size=25),
    SORTS,
)
@settings(max_examples=60, deadline=None)
def test_index__ranks_as_the_model_does(steps: list[Any], sort: str) -> None:
    """Changes of eight players, each of them the next version of the entry."""
    season_id = uuid7()
    players = [UUID(int=number + 1) for number in range(8)]
    index.begin(season_id, since=START)
    entries: dict[UUID, Position] = {}
    for version, (number, score, at, ranked) in enumerate(steps, 1):
        player = players[number]
        position = Position(order_key(score, sort), at, player)
        before = model_ranks(entries).get(player)
        if ranked:
            entries[player] = position
        else:
            entries.pop(player, None)
        change = index.Change(player, position.order_key, at, version, ranked)
        expected = model_ranks({**entries, player: position})[player]
        peeked = index.peek(season_id, change)
        standing = index.apply(season_id, change)
        assert standing == index.Standing(expected, before, len(entries))
        assert (peeked.rank, peeked.previous) == (expected, before)
        # The same change again, and an older one, change nothing.
        older = index.Change(player, 0, START, version - 1, ranked=True)
        assert index.apply(season_id, change).rank == expected
        index.apply(season_id, older)
        assert index.apply_many(season_id, [change.packed(), older.packed()]) == 0
    ranked_now = model_ranks(entries)
    found = index.page(season_id, start=None, backward=False, limit=20)
    assert found is not None
    assert found.members == b"".join(
        pack(entries[player]) for player in sorted(ranked_now, key=ranked_now.__getitem__)
    )
    for player, rank in ranked_now.items():
        assert index.around(season_id, player, limit=3)[0] == rank
    index.forget(season_id)


@pytest.mark.django_db
@given(
    rows=st.lists(st.tuples(SCORES | INT64, TIMES), min_size=1, max_size=12),
    sort=SORTS,
    limit=st.integers(1, 13),
)
@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_database_and_index__agree(game: Any, rows: list[Any], sort: str, limit: int) -> None:
    board = board_of(game, key=f"b{uuid7()}", sort=sort)
    season = seasons.current(board)
    positions = []
    for score, at in rows:
        player = PlayerFactory.create(game=game)
        key = order_key(score, sort)
        Entry.objects.create(
            season_id=season.id, player=player, score=score, order_key=key, achieved_at=at
        )
        positions.append(Position(key, at, player.pk))
    assert ranks.rebuild(season.id)
    ordered = sorted(positions, key=pack)
    for number, position in enumerate(ordered, 1):
        assert counting.rank(season.id, position) == number
        assert index.rank(season.id, position) == (number, len(rows))
        assert counting.rank_and_total(season.id, position) == (number, len(rows))
        first, found, more = counting.around(season.id, position, limit=limit)
        rank, members = index.around(season.id, position.player_id, limit=limit)
        assert (rank, members.first_rank, members.more) == (number, first, more)
        assert members.members == b"".join(map(pack, found))
        for backward in (True, False):
            first, found, more = counting.page(
                season.id, start=position, backward=backward, limit=limit
            )
            other = index.page(season.id, start=position, backward=backward, limit=limit)
            assert other is not None
            assert (other.members, other.more) == (b"".join(map(pack, found)), more)
            assert not found or other.first_rank == first
    assert Board.objects.filter(pk=board.id).exists()
