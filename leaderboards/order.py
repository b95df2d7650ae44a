"""The order of entries, and its exact form in Redis.

Rank order is (score, achieved_at, player): whoever got there first stands before whoever came
later. Scores are signed 64-bit integers, and the scores of a Redis sorted set are doubles, exact
only up to 2^53. So all members have the score 0, and Redis orders them as byte strings:

    8 bytes   order_key + 2^63, big-endian     (order_key: the score, or its complement if
    8 bytes   achieved_at, microseconds since 1970 in UTC, big-endian     highest is first)
    16 bytes  the player's id

Comparing two members is comparing the three columns, in PostgreSQL's order too.
"""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from struct import Struct
from typing import NamedTuple
from uuid import UUID

from leaderboards.models import Board

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)
HALF = 1 << 63
MEMBER_BYTES = 32
KEY_BYTES = 16
_pair = Struct(">QQ")


class Position(NamedTuple):
    """Where an entry stands: what the ranks are ordered by."""

    order_key: int
    achieved_at: datetime
    player_id: UUID


def order_key(score: int, sort: str) -> int:
    """What orders `score` on a board: lower is better. `~x` = -x - 1 reverses without overflow."""
    return ~score if sort == Board.Sort.DESC else score


def score_of(key: int, sort: str) -> int:
    """The score behind an order key."""
    return order_key(key, sort)


def pack_key(key: int, achieved_at: datetime) -> bytes:
    """The first 16 bytes of a member."""
    return _pair.pack(key + HALF, (achieved_at - EPOCH) // MICROSECOND)


def pack(position: Position) -> bytes:
    """A member of the sorted set."""
    return pack_key(position.order_key, position.achieved_at) + position.player_id.bytes


def unpack(member: bytes) -> Position:
    key, microseconds = _pair.unpack_from(member)
    return Position(
        key - HALF, EPOCH + timedelta(microseconds=microseconds), UUID(bytes=member[KEY_BYTES:])
    )


def split(members: bytes) -> Iterator[bytes]:
    """The members in a run of them."""
    for start in range(0, len(members), MEMBER_BYTES):
        yield members[start : start + MEMBER_BYTES]
