"""What belongs to a player and holds no value itself: purchases with real money, receipts, codes;
and how often an offer was bought."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from django.db.models import Q
from django.utils import timezone

from accounts.merging import Json, Pair
from store.catalogue import Catalogue
from store.models import (
    GrantRequest,
    OfferUse,
    Order,
    OwnerConflict,
    PlatformPurchase,
    Redemption,
    Subscription,
)

# What belongs to a player and holds no value itself, with what must not be there twice.
OWNED: Mapping[type[Any], tuple[str, ...]] = {
    PlatformPurchase: (),
    Subscription: (),
    Order: ("provider", "digest"),
    Redemption: ("code_id",),
    GrantRequest: (),
}
# In the journal: those of the purchases that were granted when they came along; and claims.
GRANTED, MOVED_CLAIMS, CLOSED_CLAIMS = "granted", "moved_claims", "closed_claims"
# Who has closed a claim.
MERGE = "merge"


def own(journal: Mapping[str, list[str]], pair: Pair) -> dict[str, list[str]]:
    """Make the survivor the owner of what is still the absorbed player's; `journal` with it. What
    the survivor has as well stays where it is."""
    bought = PlatformPurchase.objects.filter(player=pair.absorbed, granted_at__isnull=False)
    granted = [str(pk) for pk in bought.values_list("pk", flat=True)]
    rows = {GRANTED: [*journal.get(GRANTED, []), *granted]}
    for model, unique in OWNED.items():
        found = model.objects.filter(player=pair.absorbed)
        if unique:
            own = set(model.objects.filter(player=pair.survivor).values_list(*unique))
            ids = [pk for pk, *what in found.values_list("pk", *unique) if tuple(what) not in own]
        else:
            ids = list(found.values_list("pk", flat=True))
        model.objects.filter(pk__in=ids).update(player=pair.survivor)
        rows[model.__name__] = [*journal.get(model.__name__, []), *map(str, ids)]
    for what, ids in _settle_claims(pair).items():
        rows[what] = [*journal.get(what, []), *ids]
    return rows


def purchases(journal: Mapping[str, list[str]]) -> list[PlatformPurchase]:
    """The purchases with real money that came along."""
    return list(PlatformPurchase.objects.filter(pk__in=journal.get("PlatformPurchase", [])))


def give_back(
    pair: Pair, journal: Mapping[str, list[str]], bought: Iterable[PlatformPurchase]
) -> None:
    """Make the absorbed player the owner again of what the survivor still has of it: not of what
    was `bought` and granted since, for the survivor has what it gave."""
    since = {str(row.pk) for row in bought if row.granted_at} - set(journal.get(GRANTED, []))
    for model in OWNED:
        ids = set(journal.get(model.__name__, [])) - since
        model.objects.filter(pk__in=ids, player=pair.survivor).update(player=pair.absorbed)
    _claims_again(pair, journal)


def _settle_claims(pair: Pair) -> dict[str, list[str]]:
    """Claims of the absorbed player are the survivor's; who claims what is theirs has it. Which
    have moved, and which were closed."""
    claims = OwnerConflict.objects.filter(state=OwnerConflict.State.OPEN)
    own = claims.filter(claimant=pair.survivor).values("purchase_id")
    moving = claims.filter(claimant=pair.absorbed).exclude(purchase_id__in=own)
    moved = [str(pk) for pk in moving.values_list("pk", flat=True)]
    claims.filter(pk__in=moved).update(claimant=pair.survivor)
    closed = []
    settled = claims.filter(claimant__in=[pair.survivor, pair.absorbed])
    for claim in settled.select_related("purchase"):
        if claim.claimant_id == pair.absorbed.pk or claim.purchase.player_id == claim.claimant_id:
            claim.state = OwnerConflict.State.KEPT
            claim.decided_by, claim.decided_at = MERGE, timezone.now()
            claim.save(update_fields=["state", "decided_by", "decided_at"])
            closed.append(str(claim.pk))
    return {MOVED_CLAIMS: moved, CLOSED_CLAIMS: closed}


def _claims_again(pair: Pair, journal: Mapping[str, list[str]]) -> None:
    """Put claims back as they were before `own`, unless somebody has decided or claimed since."""
    mine = OwnerConflict.objects.filter(claimant__in=[pair.survivor, pair.absorbed])
    kept = mine.filter(pk__in=journal.get(CLOSED_CLAIMS, []), decided_by=MERGE)
    moved = set(journal.get(MOVED_CLAIMS, []))
    is_open = Q(state=OwnerConflict.State.OPEN)
    for claim in mine.filter(is_open, pk__in=moved) | kept:
        claim.claimant = pair.absorbed if str(claim.pk) in moved else claim.claimant
        again = mine.filter(is_open, purchase=claim.purchase_id, claimant=claim.claimant)
        if again.exclude(pk=claim.pk).exists():
            continue
        claim.state, claim.decided_by, claim.decided_at = OwnerConflict.State.OPEN, "", None
        claim.save(update_fields=["claimant", "state", "decided_by", "decided_at"])


def count_uses(content: Catalogue, pair: Pair) -> list[Json]:
    """What both have bought of an offer counts for its limit together."""
    now = timezone.now()
    offers = {offer.id: offer for offer in content.offers.values()}
    brought = list(OfferUse.objects.filter(player=pair.absorbed).select_for_update())
    own = {use.offer_id: use for use in OfferUse.objects.filter(player=pair.survivor)}
    for use in brought:
        mine = own.get(use.offer_id) or OfferUse(
            player=pair.survivor, offer_id=use.offer_id, quantity=0
        )
        offer = offers.get(use.offer_id)
        period = offer.period(now) if offer else None
        since = period[0] if period else None
        running = [each for each in (mine, use) if _is_since(each.last_at, since)]
        mine.period_quantity = sum(each.period_quantity for each in running)
        mine.quantity += use.quantity
        mine.last_at = max(filter(None, (mine.last_at, use.last_at)), default=None)
        if use.offer_id in own:
            OfferUse.objects.filter(pk=(pair.survivor.pk, use.offer_id)).update(
                quantity=mine.quantity, period_quantity=mine.period_quantity, last_at=mine.last_at
            )
        else:
            mine.save(force_insert=True)
    OfferUse.objects.filter(player=pair.absorbed).delete()
    return [
        {
            "offer_id": str(use.offer_id),
            "quantity": use.quantity,
            "period_quantity": use.period_quantity,
            "last_at": use.last_at and use.last_at.isoformat(),
        }
        for use in brought
    ]


def _is_since(at: datetime | None, since: datetime | None) -> bool:
    return at is not None and (since is None or at >= since)


def uncount_uses(pair: Pair, uses: Iterable[Json]) -> None:
    for use in uses:
        OfferUse.objects.create(player=pair.absorbed, **use)
        found = OfferUse.objects.filter(player=pair.survivor, offer_id=use["offer_id"])
        mine = found.get()
        rest = mine.quantity - use["quantity"]
        if rest:
            period_quantity = max(0, mine.period_quantity - use["period_quantity"])
            found.update(quantity=rest, period_quantity=min(rest, period_quantity))
        else:
            found.delete()
