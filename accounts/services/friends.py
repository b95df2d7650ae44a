"""Asking, accepting and ending friendships, and blocking.

Everything between two players happens with both of their rows locked, in the order of their ids:
what is between them, and how much each of them has, can't change meanwhile. Whoever is blocked
gets the same answers as everyone (docs/adr/0017).
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Literal
from uuid import UUID

from django.conf import settings
from django.db import transaction
from django.db.models import Q, QuerySet
from django.utils import timezone

from accounts.errors import (
    BlocksFull,
    FriendCodeUnknown,
    FriendRequestsFull,
    FriendsFull,
    NoFriendRequest,
    NotYourself,
    PlayerBlocked,
)
from accounts.locks import lock_players
from accounts.models import Block, FriendRequest, Friendship, Player
from accounts.services import friend_codes
from config import hooks
from config.api import gate
from config.api.problems import NotFound, Problem


@dataclass(frozen=True, slots=True)
class Asked:
    """What came of asking `player`, now or (not `is_new`) before; and when it did."""

    player: Player
    status: Literal["requested", "friends"]
    at: datetime
    is_new: bool


def ask(*, game_id: UUID, player_id: UUID, other_id: UUID) -> Asked:
    """Ask another player to be friends; whoever was asked by them already is a friend at once.

    Raises `NotYourself`, `NotFound`, `PlayerBlocked` (by the caller), `FriendRequestsFull`,
    `FriendsFull`.
    """
    with transaction.atomic():
        other = _lock(game_id, player_id, other_id)
        if _has_blocked(player_id, other_id):
            raise PlayerBlocked
        friendship = Friendship.objects.filter(player_id=player_id, friend_id=other_id).first()
        if friendship is not None:
            return Asked(other, "friends", friendship.created_at, is_new=False)
        waiting = {request.sender_id: request for request in _between(player_id, other_id)}
        if other_id in waiting:
            made = _befriend(game_id, player_id, other)
            return Asked(other, "friends", made.created_at, is_new=True)
        if player_id in waiting:
            return Asked(other, "requested", waiting[player_id].created_at, is_new=False)
        _check_requests(player_id, other_id)
        request = FriendRequest.objects.create(sender_id=player_id, recipient_id=other_id)
    return Asked(other, "requested", request.created_at, is_new=True)


def ask_by_code(*, game_id: UUID, player_id: UUID, typed: str, address: str) -> Asked:
    """Ask the player whose friend code this is.

    Codes that nobody has count against limits of the player and of `address`, so that no one is
    found by trying. Raises `FriendCodeUnknown`, `RateLimited`, and what else `ask` raises.
    """
    counted = (("friend_code_misses", str(player_id)), ("friend_code_misses_address", address))
    with gate.count_misses(*counted, is_miss=_is_miss):
        other_id = friend_codes.owner(game_id=game_id, typed=typed)
        try:
            return ask(game_id=game_id, player_id=player_id, other_id=other_id)
        except NotFound:
            # Its owner was merged into somebody else, which must not be told.
            raise FriendCodeUnknown from None


def _is_miss(error: Exception) -> bool:
    """Whatever else was wrong, the code is somebody's; of what broke off, nobody knows."""
    return isinstance(error, FriendCodeUnknown) or not isinstance(error, Problem)


def accept(*, game_id: UUID, player_id: UUID, other_id: UUID) -> tuple[Friendship, bool]:
    """The friendship with a player who has asked, and whether it is new.

    Raises `NotYourself`, `NotFound`, `NoFriendRequest`, `FriendsFull`.
    """
    with transaction.atomic():
        other = _lock(game_id, player_id, other_id)
        friendship = Friendship.objects.filter(player_id=player_id, friend_id=other_id).first()
        if friendship is not None:
            friendship.friend = other
            return friendship, False
        asked = FriendRequest.objects.filter(sender_id=other_id, recipient_id=player_id)
        if _has_blocked(player_id, other_id) or not asked.exists():
            raise NoFriendRequest
        return _befriend(game_id, player_id, other), True


def drop_request(*, game_id: UUID, player_id: UUID, other_id: UUID) -> None:
    """Withdraw what the player has asked the other, or decline what the other has asked.

    Raises `NotYourself`, `NotFound`, `NoFriendRequest`.
    """
    with transaction.atomic():
        _lock(game_id, player_id, other_id)
        # Of the request of someone they have blocked, players know nothing.
        if _has_blocked(player_id, other_id) or not _between(player_id, other_id).delete()[0]:
            raise NoFriendRequest


def unfriend(*, game_id: UUID, player_id: UUID, other_id: UUID) -> None:
    """End a friendship, for both. Raises `NotYourself`, `NotFound`."""
    with transaction.atomic():
        _lock(game_id, player_id, other_id)
        if not _end(player_id, other_id):
            raise NotFound("You are not friends")


def block(*, game_id: UUID, player_id: UUID, other_id: UUID) -> tuple[Block, bool]:
    """The block of another player, and whether it is new.

    It ends their friendship, and drops the requests of both. Raises `NotYourself`, `NotFound`,
    `BlocksFull`.
    """
    with transaction.atomic():
        other = _lock(game_id, player_id, other_id)
        own = Block.objects.filter(player_id=player_id)
        found = own.filter(blocked_id=other_id).first()
        if found is not None:
            found.blocked = other
            return found, False
        if own.count() >= settings.MAX_BLOCKS:
            raise BlocksFull
        _end(player_id, other_id)
        _between(player_id, other_id).delete()
        return Block.objects.create(player_id=player_id, blocked=other), True


def unblock(*, game_id: UUID, player_id: UUID, other_id: UUID) -> None:
    """Let another player ask again; what was asked meanwhile is never seen.

    Raises `NotYourself`, `NotFound`.
    """
    with transaction.atomic():
        _lock(game_id, player_id, other_id)
        if not Block.objects.filter(player_id=player_id, blocked_id=other_id).delete()[0]:
            raise NotFound("You have not blocked this player")
        _between(player_id, other_id).delete()


def _lock(game_id: UUID, player_id: UUID, other_id: UUID) -> Player:
    """The other player; both are locked."""
    if player_id == other_id:
        raise NotYourself
    return lock_players(game_id=game_id, ids=(player_id, other_id))[other_id]


def _has_blocked(player_id: UUID, other_id: UUID) -> bool:
    return Block.objects.filter(player_id=player_id, blocked_id=other_id).exists()


def _between(player_id: UUID, other_id: UUID) -> "QuerySet[FriendRequest]":
    """The requests of two players to each other."""
    return FriendRequest.objects.filter(
        Q(sender_id=player_id, recipient_id=other_id)
        | Q(sender_id=other_id, recipient_id=player_id)
    )


def _check_requests(player_id: UUID, other_id: UUID) -> None:
    """Room for one more. Those of blocked players count: their answers tell nobody."""
    sent = FriendRequest.objects.filter(sender_id=player_id).count()
    if sent >= settings.MAX_FRIEND_REQUESTS_SENT:
        raise FriendRequestsFull(whose="own")
    received = FriendRequest.objects.filter(recipient_id=other_id).count()
    if received >= settings.MAX_FRIEND_REQUESTS_RECEIVED:
        raise FriendRequestsFull("This player has too many requests to answer", whose="theirs")


def _befriend(game_id: UUID, player_id: UUID, other: Player) -> Friendship:
    """Make both friends, if both have room for one more."""
    _check_friends(player_id, other.pk)
    at = timezone.now()
    made, _ = Friendship.objects.bulk_create(
        [
            Friendship(player_id=player_id, friend=other, created_at=at),
            Friendship(player_id=other.pk, friend_id=player_id, created_at=at),
        ]
    )
    _between(player_id, other.pk).delete()
    hooks.run_after(
        "friendship_made",
        game_id=str(game_id),
        player_id=str(player_id),
        friend_id=str(other.pk),
    )
    return made


def _check_friends(player_id: UUID, other_id: UUID) -> None:
    for who, whose in ((player_id, "own"), (other_id, "theirs")):
        if Friendship.objects.filter(player_id=who).count() >= settings.MAX_FRIENDS:
            raise FriendsFull(whose=whose)


def _end(player_id: UUID, other_id: UUID) -> int:
    """End the friendship of two players; how many rows that were."""
    deleted, _ = Friendship.objects.filter(
        Q(player_id=player_id, friend_id=other_id) | Q(player_id=other_id, friend_id=player_id)
    ).delete()
    return deleted
