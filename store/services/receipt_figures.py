"""What alerts are made of: how much real money waits, and for whom."""

from datetime import datetime

from django.db.models import Max, Min
from django.utils import timezone

from store import metrics
from store.models import (
    Order,
    OwnerConflict,
    PlatformApp,
    PlatformNotice,
    PlatformPurchase,
    Subscription,
)


def measure() -> None:
    """Set the gauges. Every query reads what waits, through its partial index, and no more."""
    now = timezone.now()

    def age(moment: datetime | None) -> float:
        return max(0.0, (now - moment).total_seconds()) if moment else 0.0

    orders = Order.objects.filter(state__in=Order.OPEN)
    notices = PlatformNotice.objects.filter(state=PlatformNotice.State.RECEIVED)
    for what, rows in (("orders", orders), ("notifications", notices)):
        oldest = rows.aggregate(at=Min("created_at"))["at"]
        metrics.OLDEST_UNPROCESSED.labels(what).set(age(oldest))
    metrics.DEAD.labels("orders").set(Order.objects.filter(state=Order.State.DEAD).count())
    metrics.DEAD.labels("notifications").set(
        PlatformNotice.objects.filter(state=PlatformNotice.State.DEAD).count()
    )
    subscribed = Subscription.objects.filter(phase__in=Subscription.OPEN)
    due_at = subscribed.aggregate(at=Min("next_attempt_at"))["at"]
    metrics.OLDEST_UNASKED.set(age(due_at))
    metrics.OPEN_CONFLICTS.set(OwnerConflict.objects.filter(state=OwnerConflict.State.OPEN).count())
    untold = PlatformPurchase.objects.filter(told=PlatformPurchase.Told.DUE)
    waiting = dict(untold.values_list("provider").annotate(at=Min("granted_at")))
    for provider in PlatformApp.objects.filter(is_active=True).values_list("provider", flat=True):
        metrics.OLDEST_UNTOLD.labels(provider).set(age(waiting.get(provider)))
        latest = PlatformNotice.objects.filter(provider=provider).aggregate(at=Max("created_at"))
        if latest["at"]:
            metrics.LAST_NOTICE.labels(provider).set(latest["at"].timestamp())
