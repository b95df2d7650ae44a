"""Merging players in tests."""

from collections.abc import Mapping
from typing import Any

from accounts.models import Identity, Merge, Player
from accounts.services import merging
from tests.factories.accounts import IdentityFactory


def token_for(survivor: Player, absorbed: Player) -> str:
    """What linking an identity of `absorbed` answers to `survivor`."""
    found = Identity.objects.filter(player=absorbed).first()
    return merging.make_token(
        survivor_id=survivor.pk, identity=found or IdentityFactory.create(player=absorbed)
    )


def merge(
    survivor: Player,
    absorbed: Player,
    choices: Mapping[str, Any] | None = None,
    *,
    preview: bool = False,
) -> Merge:
    """Merge `absorbed` into `survivor`, each of whom signs in with a device."""
    if not Identity.objects.filter(player=survivor).exists():
        IdentityFactory.create(player=survivor)
    made, _ = merging.merge(
        game_id=survivor.game_id,
        player_id=survivor.pk,
        token=token_for(survivor, absorbed),
        choices=choices or {},
        preview=preview,
    )
    return made


def undo(made: Merge) -> Merge:
    return merging.undo(merge_id=made.pk, actor="test", reason="A mistake")
