"""Whose a purchase is: account tokens, and purchases that two players claim."""

from uuid import UUID, uuid4

from django.db import connection, transaction
from django.utils import timezone

from config.api.problems import NotFound
from store.errors import RequestDecided
from store.models import (
    AccountToken,
    Order,
    OwnerConflict,
    PlatformPurchase,
    PurchaseStep,
    Subscription,
)
from store.providers.base import WHOLE
from store.services import reversals, steps
from store.services.steps import Cause


def account_token(*, player_id: UUID) -> UUID:
    """The UUID that binds platforms' purchases to the player; made when it is first asked for."""
    found = AccountToken.objects.filter(pk=player_id).values_list("token", flat=True).first()
    if found is not None:
        return found
    AccountToken.objects.bulk_create(
        [AccountToken(player_id=player_id, token=uuid4())], ignore_conflicts=True
    )
    return AccountToken.objects.values_list("token", flat=True).get(pk=player_id)


def decide(*, conflict_id: UUID, move: bool, actor: str, reason: str = "") -> OwnerConflict:
    """Leave a purchase that two players claim where it is, or move it to the claimant.

    Moving takes back what the owner still has of it and gives that to the claimant; items that the
    owner has used up are gone. A subscription goes along: its renewals are the claimant's. Raises
    `NotFound`, `RequestDecided`.
    """
    with transaction.atomic():
        known = OwnerConflict.objects.filter(pk=conflict_id).first()
        if known is None:
            raise NotFound("There is no such conflict")
        row = PlatformPurchase.objects.select_for_update(of=("self",)).get(pk=known.purchase_id)
        conflict = OwnerConflict.objects.select_for_update(of=("self",)).get(pk=conflict_id)
        if conflict.state != OwnerConflict.State.OPEN:
            raise RequestDecided("The conflict is decided already")
        conflict.state = OwnerConflict.State.MOVED if move else OwnerConflict.State.KEPT
        conflict.decided_by = actor
        conflict.decided_at = timezone.now()
        conflict.save(update_fields=["state", "decided_by", "decided_at"])
        cause = Cause(PurchaseStep.Cause.STAFF, actor)
        if move:
            _move(row, conflict, cause, reason)
        else:
            noted = {"refused_claim_of": str(conflict.claimant_id), "reason": reason}
            steps.of_purchase(row, row.state, cause, noted)
    return conflict


def _move(row: PlatformPurchase, conflict: OwnerConflict, cause: Cause, reason: str) -> None:
    first, before = row.player_id, row.state
    series = Subscription.objects.select_for_update(of=("self",)).filter(
        provider=row.provider,
        environment=row.environment,
        app_id=row.app_id,
        original_id=row.original_id,
        line=row.line,
    )
    for subscription in series if row.original_id else ():
        if subscription.player_id == first:
            subscription.player_id = conflict.claimant_id
            subscription.save(update_fields=["player_id"])
    if row.granted_at is not None:
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT 1 FROM accounts_player WHERE id = ANY (%s) ORDER BY id FOR NO KEY UPDATE",
                [[first, conflict.claimant_id]],
            )
        reversals.settle(row, revoked=WHOLE)
    row.player_id = conflict.claimant_id
    row.is_unbound = False
    if row.granted_at is not None:
        reversals.settle(row)
    row.save()
    steps.of_purchase(row, before, cause, {"moved_from": str(first), "reason": reason})
    order = Order.objects.select_for_update().get(pk=conflict.order_id)
    if order.state == Order.State.REJECTED:
        order.state, order.code = Order.State.ACCEPTED, ""
        order.purchases = [*{*order.purchases, str(row.pk)}]
        order.updated_at = timezone.now()
        order.save(update_fields=["state", "code", "purchases", "updated_at"])
        steps.of_order(order, Order.State.REJECTED, cause)
