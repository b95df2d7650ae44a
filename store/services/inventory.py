"""Using up items."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from django.db import transaction

from config import events
from config.api.problems import NotFound
from config.db.ids import uuid7
from store.catalogue import catalogue
from store.errors import NotConsumable
from store.metrics import CONSUMPTIONS
from store.models import StackMovement, Transaction
from store.services import ledger


@dataclass(frozen=True, slots=True)
class Consumed:
    """What is left in the stack; of the first time where `replayed`."""

    item: str
    quantity: int
    updated_at: datetime
    replayed: bool


def consume(
    *,
    game_id: UUID,
    player_id: UUID,
    item: str,
    quantity: int,
    key: str | None = None,
    fingerprint: bytes | None = None,
    session_id: UUID | None = None,
) -> Consumed:
    """Use up `quantity` (above 0) of a consumable; once for `key`, where there is one.

    Raises `NotFound`, `NotConsumable`, `InsufficientItems`, `IdempotencyKeyReused`.
    """
    found = catalogue(game_id).items.get(item)
    if found is None:
        raise NotFound("The game has no such item")
    if not found.is_consumable:
        raise NotConsumable
    with transaction.atomic():
        posting = ledger.post(
            game_id=game_id,
            player_id=player_id,
            kind=Transaction.Kind.CONSUMPTION,
            key=f"consume:{player_id}:{key or uuid7()}",
            reason="consume",
            reference=item,
            stack_lines=[ledger.StackLine(found, -quantity)],
            fingerprint=fingerprint,
        )
        if posting.replayed:
            first = StackMovement.objects.get(created_at=posting.at, transaction_id=posting.id)
            return Consumed(item, first.quantity_after, posting.at, replayed=True)
        left = posting.stacks[0]
        events.record(
            game_id=game_id,
            player_id=player_id,
            name="consume",
            props={"item": item, "quantity": quantity, "left": left},
            session_id=session_id,
        )
    CONSUMPTIONS.inc()
    return Consumed(item, left, posting.at, replayed=False)
