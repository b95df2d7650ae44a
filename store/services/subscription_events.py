"""Server events of what happens to subscriptions."""

from uuid import UUID

from config import events
from store.entitlement import ENTITLING, ends_at
from store.metrics import SUBSCRIPTIONS
from store.models import PlatformPurchase
from store.models import Subscription as Row

Phase = Row.Phase
# The phase and the latest period that a subscription had.
Was = tuple[str, UUID]


def tell(row: Row, was: Was | None) -> None:
    """Record what happened to an owned subscription that was in a phase of a period before."""
    before, period = was or ("", row.purchase_id)
    name = _event(row, before, is_new_period=row.purchase_id != period)
    if name is None:
        return
    purchase = row.purchase
    if name == "renewed" and _product(period) != purchase.product:
        name = "changed"
    SUBSCRIPTIONS.labels(row.provider, row.environment, name).inc()
    offer = purchase.offer
    end = ends_at(row.phase, row.entitled_until, row.grace_until)
    events.record(
        game_id=row.game_id,
        player_id=row.player_id,
        name=f"subscription_{name}",
        props={
            "id": str(row.pk),
            "provider": row.provider,
            "environment": row.environment,
            "product": purchase.product,
            "offer": offer.key if offer else "",
            "entitlement": offer.entitlement if offer else "",
            "phase": row.phase,
            "before": before,
            "renews": row.renews,
            "ends_at": end.isoformat() if end else None,
        },
    )


def _event(row: Row, before: str, *, is_new_period: bool) -> str | None:
    """What to call it; None where nothing happened that anybody would want to know."""
    if before in ("", Phase.PENDING):
        if row.phase not in ENTITLING:
            return None
        return "changed" if row.replaces else "started"
    if is_new_period and row.phase in ENTITLING:
        return "renewed" if before in ENTITLING else "resumed"
    if row.phase == before or row.phase == Phase.PENDING:
        return None
    return "resumed" if row.phase in (Phase.ACTIVE, Phase.TRIAL) else str(row.phase)


def _product(purchase_id: UUID) -> str | None:
    found = PlatformPurchase.objects.filter(pk=purchase_id)
    return found.values_list("product", flat=True).first()
