"""Friends, friend requests and blocks, as their readers need them."""

from uuid import UUID

from django.db.models import Exists, OuterRef, QuerySet

from accounts.models import Block, FriendRequest, Friendship


def friend_ids(player_id: UUID) -> list[UUID]:
    """A player's friends; at most `MAX_FRIENDS`."""
    return list(Friendship.objects.filter(player_id=player_id).values_list("friend_id", flat=True))


def are_friends(player_id: UUID, other_id: UUID) -> bool:
    """Whether two players are friends. A block has ended that, whoever blocked whom."""
    return Friendship.objects.filter(player_id=player_id, friend_id=other_id).exists()


def friendships_of(player_id: UUID) -> "QuerySet[Friendship]":
    """A player's friendships, with the friends."""
    return Friendship.objects.filter(player_id=player_id).select_related("friend")


def requests_received(player_id: UUID) -> "QuerySet[FriendRequest]":
    """What a player was asked and has not answered, without those of whom the player blocks."""
    blocked = Block.objects.filter(
        player_id=OuterRef("recipient_id"), blocked_id=OuterRef("sender_id")
    )
    return FriendRequest.objects.filter(~Exists(blocked), recipient_id=player_id).select_related(
        "sender"
    )


def requests_sent(player_id: UUID) -> "QuerySet[FriendRequest]":
    """What a player has asked and was not answered."""
    return FriendRequest.objects.filter(sender_id=player_id).select_related("recipient")


def blocks_of(player_id: UUID) -> "QuerySet[Block]":
    """Whom a player has blocked, with the players."""
    return Block.objects.filter(player_id=player_id).select_related("blocked")
