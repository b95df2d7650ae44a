"""Restoring on another device: receipts of what was bought before go through the same inbox.

What a receipt once granted is never granted again: the purchase's row and the ledger's key see to
that. What is another player's becomes a conflict for staff.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from store.errors import ReceiptRefused, UnknownPlatform
from store.models import Order
from store.services import orders, subscription_checks

# Why a receipt can't be read.
Unreadable = UnknownPlatform | ReceiptRefused


@dataclass(frozen=True, slots=True)
class Restored:
    """A receipt's order, which is to be processed if it `is_new`."""

    order: Order
    is_new: bool


def restore(
    *, game_id: UUID, player_id: UUID, receipts: Sequence[tuple[str, Any] | Unreadable]
) -> list[Restored | Unreadable]:
    """Put receipts, (provider, receipt) each, into the inbox; what became of each, in their order.
    One that can't be read does not keep the others from it.

    Those that were verified before are not verified again: their orders say what the player has of
    them. The player's subscriptions that are not over are due to be asked about.
    """
    found = [_submit(game_id, player_id, receipt) for receipt in receipts]
    subscription_checks.refresh(player_id=player_id)
    return found


def _submit(
    game_id: UUID, player_id: UUID, receipt: tuple[str, Any] | Unreadable
) -> Restored | Unreadable:
    if not isinstance(receipt, tuple):
        return receipt
    provider, content = receipt
    try:
        order, is_new = orders.submit(
            game_id=game_id, player_id=player_id, provider=provider, receipt=content
        )
    except (UnknownPlatform, ReceiptRefused) as error:
        return error
    return Restored(order, is_new)
