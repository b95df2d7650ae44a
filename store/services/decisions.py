"""What staff decide about a purchase in a platform's store, and trying again what got stuck.

A decision is kept on the purchase and outlives whatever the platform says later (docs/adr/0077).
Value moves through the ledger alone, with the keys that the purchase has anyway: a decision that
is made twice, or while the platform's own news come in, grants or takes back once.
"""

from uuid import UUID

import structlog
from django.db import transaction
from django.utils import timezone

from config.api.problems import NotFound
from store.errors import NotForDecision
from store.metrics import PLATFORM_PURCHASES
from store.models import Order, PlatformPurchase, PurchaseStep
from store.services import contents, granting, orders, reversals, steps, telling
from store.services.steps import Cause

log = structlog.get_logger(__name__)
State = PlatformPurchase.State
Decision = PlatformPurchase.Decision


def grant(*, purchase_id: UUID, actor: str, reason: str) -> PlatformPurchase:
    """Grant a purchase that is paid for and was not granted: it was held back, or its product was
    unknown when it came. Raises `NotFound`, `NotForDecision`."""
    with transaction.atomic():
        row = _ungranted(purchase_id, State.QUARANTINED, State.VERIFIED)
        before = row.state
        if row.player_id is None:
            raise NotForDecision("Nobody owns the purchase")
        offer = contents.offer_of(row.game_id, row.provider, row.product)
        if offer is None:
            raise NotForDecision("No offer is sold as this product")
        bought = contents.of_offer(row.game_id, offer, row.quantity)
        if not bought.fits:
            raise NotForDecision("The books can't hold so many")
        granting.give(row, offer, bought)
        # A part of it may have been refunded before it was granted.
        reversals.settle(row)
        # Google gives back what it is not told of; other platforms don't mind being told.
        row.told = PlatformPurchase.Told.DUE
        row.attempts = 0
        row.next_attempt_at = timezone.now()
        cause = _decided(row, before, Decision.GRANT, actor, reason)
        if row.order_id is not None:
            _accept(row.order_id, cause)
    return row


def _accept(order_id: UUID, cause: Cause) -> None:
    """The receipt ended well after all: its player's client hears of that."""
    order = Order.objects.select_for_update(of=("self",)).get(pk=order_id)
    if order.state not in (Order.State.REJECTED, Order.State.DEAD):
        return
    before = order.state
    order.state, order.code, order.last_error = Order.State.ACCEPTED, "", ""
    order.updated_at = timezone.now()
    order.save(update_fields=["state", "code", "last_error", "updated_at"])
    steps.of_order(order, before, cause)


def refuse(*, purchase_id: UUID, actor: str, reason: str) -> PlatformPurchase:
    """Leave a purchase that was held back ungranted, for good. Raises `NotFound`,
    `NotForDecision`."""
    with transaction.atomic():
        row = _ungranted(purchase_id, State.QUARANTINED)
        if row.decision == Decision.REFUSE:
            raise NotForDecision("It is refused already")
        row.code = granting.REFUSED
        _decided(row, State.QUARANTINED, Decision.REFUSE, actor, reason)
    return row


def take_back(*, purchase_id: UUID, actor: str, reason: str) -> PlatformPurchase:
    """Treat a granted purchase as refunded, though its platform does not say so: what is left of it
    is taken back, into debt if need be. `revoked` stays what the platform says, for the money is
    where it was. Raises `NotFound`, `NotForDecision`."""
    with transaction.atomic():
        row = _locked(purchase_id)
        if row.state not in granting.HELD:
            raise NotForDecision("Nothing of it is granted (any more)")
        before = row.state
        row.decision = Decision.REFUND
        _decided(row, before, Decision.REFUND, actor, reason, reversals.settle(row))
    return row


def give_back(*, purchase_id: UUID, actor: str, reason: str) -> PlatformPurchase:
    """Give again what staff took back, as far as the platform has not refunded it meanwhile.
    Raises `NotFound`, `NotForDecision`."""
    with transaction.atomic():
        row = _locked(purchase_id)
        if row.decision != Decision.REFUND:
            raise NotForDecision("Staff have not taken it back")
        before = row.state
        row.decision = Decision.NONE
        _decided(row, before, Decision.NONE, actor, reason, reversals.settle(row))
    return row


def retry(*, purchase_id: UUID, actor: str, reason: str) -> list[str]:
    """Make what waits for the purchase's platform due now; what that was: "order", "telling",
    "pending". Raises `NotFound`."""
    row = PlatformPurchase.objects.filter(pk=purchase_id).first()
    if row is None:
        raise NotFound("There is no such purchase")
    found: list[str] = []
    if row.order_id is not None and retry_order(order_id=row.order_id, actor=actor):
        found.append("order")
    if telling.again(purchase_id=row.pk):
        found.append("telling")
    pending = PlatformPurchase.objects.filter(pk=row.pk, state=State.PENDING)
    if pending.update(next_attempt_at=timezone.now()):
        found.append("pending")
    if found:
        cause = Cause(PurchaseStep.Cause.STAFF, actor)
        steps.of_purchase(row, row.state, cause, {"tried_again": found, "reason": reason})
    return found


def retry_order(*, order_id: UUID, actor: str) -> bool:
    """Verify a receipt now that ended badly or waits to be tried again; whether there was such."""
    waiting = Order.objects.filter(
        pk=order_id, state__in=(Order.State.RETRY, Order.State.RECEIVED)
    ).update(next_attempt_at=timezone.now())
    if waiting:
        return True
    try:
        orders.again(order_id=order_id, cause=Cause(PurchaseStep.Cause.STAFF, actor))
    except NotFound:
        return False
    return True


def _locked(purchase_id: UUID) -> PlatformPurchase:
    rows = PlatformPurchase.objects.select_for_update(of=("self",))
    row = rows.filter(pk=purchase_id).first()
    if row is None:
        raise NotFound("There is no such purchase")
    return row


def _ungranted(purchase_id: UUID, *states: State) -> PlatformPurchase:
    row = _locked(purchase_id)
    if row.state not in states or row.granted_at is not None:
        raise NotForDecision("The purchase does not wait for a decision (any more)")
    return row


def _decided(
    row: PlatformPurchase,
    before: str,
    decision: PlatformPurchase.Decision,
    actor: str,
    reason: str,
    detail: dict[str, object] | None = None,
) -> Cause:
    row.decision = decision
    row.save()
    cause = Cause(PurchaseStep.Cause.STAFF, actor)
    noted = {"decision": decision.value or "give_back", "reason": reason}
    steps.of_purchase(row, before, cause, noted | (detail or {}))
    if row.state != before:
        PLATFORM_PURCHASES.labels(row.provider, row.environment, row.state).inc()
    log.info("purchase_decided", purchase=str(row.pk), decision=decision.value)
    return cause
