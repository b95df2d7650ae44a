"""What friends and blocks bring to a merge. All that is between anybody and one of the two players
is done with that player locked (accounts/services/friends.py), so nobody else has to be."""

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from django.db import connection
from django.db.models import Q

from accounts.merging import Json, Moved, Pair
from accounts.models import Block, FriendRequest, Friendship, Player

name, order = "friends", 15

# Both rows of each friendship of %(giver)s, made %(taker)s's; those of the two with each other go.
MOVE_FRIENDS = """
WITH gone AS (
    DELETE FROM accounts_friendship f
    WHERE f.player_id = %(giver)s
      AND (f.friend_id = ANY(%(only)s::uuid[]) OR %(only)s::uuid[] IS NULL)
    RETURNING friend_id, created_at
), back AS (
    DELETE FROM accounts_friendship f USING gone
    WHERE f.player_id = gone.friend_id AND f.friend_id = %(giver)s
), made AS (
    INSERT INTO accounts_friendship (player_id, friend_id, created_at)
    SELECT side.player_id, side.friend_id, gone.created_at
    FROM gone CROSS JOIN LATERAL (
        VALUES (%(taker)s::uuid, gone.friend_id), (gone.friend_id, %(taker)s::uuid)
    ) side (player_id, friend_id)
    WHERE gone.friend_id <> %(taker)s::uuid
    ON CONFLICT (player_id, friend_id) DO NOTHING
    RETURNING player_id, friend_id
)
SELECT gone.friend_id, made.friend_id IS NOT NULL
FROM gone LEFT JOIN made ON made.player_id = %(taker)s::uuid AND made.friend_id = gone.friend_id
"""
COPY_BLOCKS = """
INSERT INTO accounts_block (player_id, blocked_id, created_at)
SELECT %(survivor)s::uuid, blocked_id, created_at FROM accounts_block
WHERE player_id = %(absorbed)s AND blocked_id <> %(survivor)s
UNION ALL
SELECT player_id, %(survivor)s::uuid, created_at FROM accounts_block
WHERE blocked_id = %(absorbed)s AND player_id <> %(survivor)s
ON CONFLICT (player_id, blocked_id) DO NOTHING
RETURNING id
"""


def holds(player: Player) -> Json:
    return {
        "friends": Friendship.objects.filter(player=player).count(),
        "blocked": Block.objects.filter(player=player).count(),
    }


def lock(player_ids: Sequence[UUID]) -> None:
    """The two players' rows are all that is needed."""


def merge(pair: Pair, choices: Mapping[str, Any]) -> Moved:
    """Friends and requests move; blocks, by and of the absorbed player, are copied, and win over a
    friendship of the other."""
    brought = _move_friends(pair.absorbed, pair.survivor)
    with connection.cursor() as cursor:
        cursor.execute(COPY_BLOCKS, {"survivor": pair.survivor.pk, "absorbed": pair.absorbed.pk})
        copied = [row[0] for row in cursor.fetchall()]
    _move_requests(pair)
    journal = {
        # Of friends that both had, too: an undo gives each the friend again.
        "friends": [str(friend) for friend, is_new in brought if is_new],
        "shared": [str(friend) for friend, is_new in brought if not is_new],
        "blocks": copied,
    }
    return Moved(journal, {"friends": len(journal["friends"]), "blocked": len(copied)})


def settle(pair: Pair, journal: Json) -> Json:
    """Nothing is between a player and another but under their lock."""
    return journal


def undo(pair: Pair, journal: Json) -> Json:
    """Friends that the survivor still has go back. Requests were answered by the survivor."""
    back = _move_friends(pair.survivor, pair.absorbed, only=journal["friends"])
    shared = Friendship.objects.filter(
        player=pair.survivor, friend__in=journal["shared"], friend__merged_into__isnull=True
    ).exclude(friend=pair.absorbed)
    again: list[Friendship] = []
    for row in shared:
        once = {"created_at": row.created_at}
        again += [
            Friendship(player=pair.absorbed, friend_id=row.friend_id, **once),
            Friendship(player_id=row.friend_id, friend=pair.absorbed, **once),
        ]
    Friendship.objects.bulk_create(again)
    Block.objects.filter(pk__in=journal["blocks"]).delete()
    returned = len(back) + len(shared)
    return {
        "friends": returned,
        "friends_lost_since": len(journal["friends"]) + len(journal["shared"]) - returned,
    }


def _move_friends(
    giver: Player, taker: Player, *, only: list[str] | None = None
) -> list[tuple[UUID, bool]]:
    """(friend, whether the taker did not have it yet) of those that moved: all, or some."""
    with connection.cursor() as cursor:
        cursor.execute(MOVE_FRIENDS, {"giver": giver.pk, "taker": taker.pk, "only": only})
        return [(row[0], row[1]) for row in cursor.fetchall() if row[0] != taker.pk]


def _end_blocked(survivor: UUID) -> set[UUID]:
    """End the friendships with whom a block stands between; all of those players."""
    blocks = Block.objects.filter(Q(player=survivor) | Q(blocked=survivor))
    others = {other for pair in blocks.values_list("player", "blocked") for other in pair}
    others.discard(survivor)
    # Each side by the primary key, which begins with the player.
    Friendship.objects.filter(player=survivor, friend__in=others).delete()
    Friendship.objects.filter(player__in=others, friend=survivor).delete()
    return others


def _move_requests(pair: Pair) -> None:
    """Make the absorbed player's requests the survivor's, but where there is nothing more to ask:
    of friends, over a block, and of whom either has asked already."""
    survivor, absorbed = pair.survivor.pk, pair.absorbed.pk
    done = {survivor} | _end_blocked(survivor)
    done |= set(Friendship.objects.filter(player=survivor).values_list("friend", flat=True))
    own = FriendRequest.objects.filter(Q(sender=survivor) | Q(recipient=survivor))
    for sender, recipient in own.values_list("sender", "recipient"):
        done.add(recipient if sender == survivor else sender)
    for side, other in (("sender", "recipient"), ("recipient", "sender")):
        rows = FriendRequest.objects.filter(**{side: absorbed})
        rows.filter(**{f"{other}__in": done}).delete()
        rows.update(**{side: survivor})
