"""Whose a purchase is: account tokens, and purchases that two players claim."""

from datetime import timedelta
from uuid import UUID, uuid4

from django.db import connection, transaction
from django.db.models import Count, Max, QuerySet
from django.utils import timezone

from config.api.problems import NotFound
from store.errors import NotForDecision, RequestDecided
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

# What a receipt of somebody else's purchase is rejected with.
OWNED_BY_ANOTHER = "owned_by_another"
# A claim that staff did not follow is theirs to look at again after this time, if its player still
# sends the receipt; after twice the time where they have not followed it again, and so on.
CLAIMS_REST = timedelta(days=7)
MOST_DOUBLINGS = 6


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
    """Leave a purchase that two players claim where it is, or move it to the claimant. Where the
    claimant was merged meanwhile, the claim is the other's; it is kept if that is the owner.

    Moving takes back what the owner still has of it and gives that to the claimant; items that the
    owner has used up are gone. A subscription goes along: its renewals are the claimant's. Raises
    `NotFound`, `RequestDecided`.
    """
    with transaction.atomic():
        row, conflict = _locked(conflict_id)
        if conflict.state != OwnerConflict.State.OPEN:
            raise RequestDecided("The conflict is decided already")
        move = move and row.player_id != conflict.claimant_id
        conflict.state = OwnerConflict.State.MOVED if move else OwnerConflict.State.KEPT
        conflict.decided_by = actor
        conflict.decided_at = timezone.now()
        conflict.save(update_fields=["claimant", "state", "decided_by", "decided_at"])
        cause = Cause(PurchaseStep.Cause.STAFF, actor)
        if move:
            _move(row, conflict, cause, reason)
        else:
            noted = {"refused_claim_of": str(conflict.claimant_id), "reason": reason}
            steps.of_purchase(row, row.state, cause, noted)
    return conflict


def reopen(*, conflict_id: UUID, actor: str, reason: str) -> OwnerConflict:
    """Have a claim that staff did not follow decided once more; the new conflict, of who the
    claimant is now. The old one stays as it was decided. Raises `NotFound`, `NotForDecision`."""
    with transaction.atomic():
        row, known = _locked(conflict_id)
        if known.state != OwnerConflict.State.KEPT or row.player_id == known.claimant_id:
            raise NotForDecision("Nobody else has what was claimed")
        if _claims(row.pk, known.claimant_id).filter(state=OwnerConflict.State.OPEN).exists():
            raise NotForDecision("The claim is open already")
        conflict = OwnerConflict.objects.create(
            purchase=row, claimant_id=known.claimant_id, order_id=known.order_id
        )
        noted = {"reopened_claim_of": str(known.claimant_id), "reason": reason}
        steps.of_purchase(row, row.state, Cause(PurchaseStep.Cause.STAFF, actor), noted)
    return conflict


def claim(*, row: PlatformPurchase, order: Order) -> None:
    """Have staff look at a receipt of a purchase that is another player's; once, and again when
    the claim has rested. The caller holds the purchase's lock."""
    if not _rests(row.pk, order.player_id):
        OwnerConflict.objects.bulk_create(
            [OwnerConflict(purchase=row, claimant_id=order.player_id, order=order)],
            ignore_conflicts=True,
        )


def may_claim_again(*, order: Order) -> bool:
    """Whether a receipt that ended as another player's is worth a look: staff have decided about
    all that it claims, and something has rested since."""
    if order.code != OWNED_BY_ANOTHER:
        return False
    purchases = [UUID(purchase) for purchase in order.purchases]
    claims = OwnerConflict.objects.filter(purchase__in=purchases, claimant_id=order.player_id)
    return not claims.filter(state=OwnerConflict.State.OPEN).exists() and not all(
        _rests(purchase, order.player_id) for purchase in purchases
    )


def _claims(purchase_id: UUID, claimant_id: UUID) -> "QuerySet[OwnerConflict]":
    return OwnerConflict.objects.filter(purchase=purchase_id, claimant=claimant_id)


def _rests(purchase_id: UUID, claimant_id: UUID) -> bool:
    """Whether staff left the purchase where it still is, and not long ago."""
    kept = _claims(purchase_id, claimant_id).filter(state=OwnerConflict.State.KEPT)
    known = kept.aggregate(times=Count("pk"), last=Max("decided_at"))
    if not known["times"]:
        return False
    since = PurchaseStep.objects.filter(purchase=purchase_id, at__gt=known["last"])
    if since.filter(detail__has_key="moved_from").exists():
        return False  # it is somebody else's by now
    pause = CLAIMS_REST * 2 ** min(known["times"] - 1, MOST_DOUBLINGS)
    return bool(timezone.now() < known["last"] + pause)


def _locked(conflict_id: UUID) -> tuple[PlatformPurchase, OwnerConflict]:
    """The purchase and the conflict; its claimant is who the player is now."""
    known = OwnerConflict.objects.filter(pk=conflict_id).first()
    if known is None:
        raise NotFound("There is no such conflict")
    row = PlatformPurchase.objects.select_for_update(of=("self",)).get(pk=known.purchase_id)
    conflict = OwnerConflict.objects.select_for_update(of=("self",)).get(pk=conflict_id)
    # A merge in this moment does no harm: nothing is posted to who was absorbed, and what else
    # has become theirs is brought over when the merge is settled.
    conflict.claimant_id = conflict.claimant.merged_into_id or conflict.claimant_id
    return row, conflict


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
