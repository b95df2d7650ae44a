"""Locking players, for what concerns more than one of them."""

from collections.abc import Iterable
from uuid import UUID

from accounts.models import Player
from config.api.problems import NotFound


def lock_players(*, game_id: UUID, ids: Iterable[UUID]) -> dict[UUID, Player]:
    """These players of a game by id, locked until the transaction ends.

    In the order of their ids, as everyone who locks several (docs/ledger.md, "Lock order").
    Raises `NotFound` unless all are there; who was merged into another is not.
    """
    wanted = set(ids)
    # By the ids alone, so that no plan can take the index of the game's names.
    rows = Player.objects.select_for_update(no_key=True).filter(pk__in=wanted).order_by("pk")
    found = {
        player.pk: player
        for player in rows
        if player.game_id == game_id and player.merged_into_id is None
    }
    if len(found) < len(wanted):
        raise NotFound("There is no such player")
    return found
