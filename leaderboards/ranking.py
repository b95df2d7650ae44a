"""Ranks: from the index in Redis, else from PostgreSQL.

Both order by the same three columns (leaderboards/order.py), so that an answer does not show
where it came from; only `RanksUnavailable` does, where PostgreSQL could not count in time.
"""

from datetime import datetime
from functools import partial
from typing import NamedTuple
from uuid import UUID

from django.db import connection, transaction

from config.redis import RedisAway
from leaderboards import counting, index
from leaderboards.errors import RanksUnavailable
from leaderboards.models import Entry
from leaderboards.order import Position, split, unpack


class Place(NamedTuple):
    """An entry in its 1-based rank."""

    rank: int
    position: Position


class Places(NamedTuple):
    """A run of entries, in rank order. `more`: others follow in the direction that was asked for.
    `state` names the state of the index that it was read from; empty if it was not."""

    places: list[Place]
    more: bool
    state: bytes = b""


def stand(season_id: UUID, change: index.Change) -> index.Standing | None:
    """Bring a change of an entry into the index, and the ranks that it leads to.

    Inside a transaction the index changes after the commit. None: the ranks can't be told now.
    Without the index the rank before is not known, unless nothing has changed it.
    """
    try:
        if connection.in_atomic_block:
            transaction.on_commit(partial(bring_in, season_id, change))
            return index.peek(season_id, change)
        return index.apply(season_id, change)
    except RedisAway:
        pass
    position = Position(change.order_key, change.achieved_at, change.player_id)
    try:
        rank = counting.rank(season_id, position)
    except RanksUnavailable:
        return None
    return index.Standing(rank, None, 0)


def bring_in(season_id: UUID, change: index.Change) -> None:
    """Put a committed change into the index; what fails here the reconciler finds in the log."""
    try:
        index.apply(season_id, change)
    except RedisAway:
        return


def page(
    season_id: UUID,
    *,
    start: Position | None,
    backward: bool,
    limit: int,
    known: bytes = b"",
) -> Places | None:
    """A page after (or before) `start`. None: the index is still in the state `known`.

    Raises `RanksUnavailable`.
    """
    try:
        found = index.page(season_id, start=start, backward=backward, limit=limit, known=known)
    except RedisAway:
        first, positions, more = counting.page(
            season_id, start=start, backward=backward, limit=limit
        )
        return Places(_number(first, positions), more)
    return None if found is None else _places(found)


def around(season_id: UUID, player_id: UUID, *, limit: int) -> Places:
    """A player's entry among its neighbours; empty without a ranked entry.

    Raises `RanksUnavailable`.
    """
    try:
        rank, found = index.around(season_id, player_id, limit=limit)
        return Places([], more=False) if rank is None else _places(found)
    except RedisAway:
        pass
    entry = Entry.objects.filter(
        season_id=season_id, player_id=player_id, state=Entry.State.RANKED
    ).first()
    if entry is None:
        return Places([], more=False)
    first, positions, more = counting.around(season_id, position_of(entry), limit=limit)
    return Places(_number(first, positions), more)


def rank_and_total(season_id: UUID, entry: Entry) -> tuple[int, int, Position]:
    """(rank, how many are ranked, the position that has this rank).

    The index may know a later score of the player than `entry`. An entry that is not ranked
    gets the rank that it would have. Raises `RanksUnavailable`.
    """
    position = position_of(entry)
    try:
        if entry.state == Entry.State.RANKED:
            rank, found = index.around(season_id, entry.player_id, limit=0)
            if rank is not None:
                return rank, found.total, unpack(found.members)
        return *index.rank(season_id, position), position
    except RedisAway:
        return *counting.rank_and_total(season_id, position), position


def position_of(entry: Entry) -> Position:
    achieved_at: datetime = entry.achieved_at
    return Position(entry.order_key, achieved_at, entry.player_id)


def _places(found: index.Slice) -> Places:
    positions = [unpack(member) for member in split(found.members)]
    return Places(_number(found.first_rank, positions), found.more, found.state)


def _number(first: int, positions: list[Position]) -> list[Place]:
    return [Place(rank, position) for rank, position in enumerate(positions, first)]
