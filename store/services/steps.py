"""The log of what happened to orders and purchases, and why."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from store.models import Order, PlatformPurchase, PurchaseStep


@dataclass(frozen=True, slots=True)
class Cause:
    """Who brought the news: an order, a notification, a check, a member of staff."""

    kind: PurchaseStep.Cause
    reference: str = ""


def of_purchase(
    row: PlatformPurchase, before: str, cause: Cause, detail: Mapping[str, Any] | None = None
) -> None:
    """Note that a purchase went from `before` to the state that it has now."""
    PurchaseStep.objects.create(
        purchase=row,
        before=before,
        after=row.state,
        cause=cause.kind,
        reference=cause.reference[:255],
        detail=dict(detail or {}),
    )


def of_order(
    row: Order, before: str, cause: Cause, detail: Mapping[str, Any] | None = None
) -> None:
    """Note that an order went from `before` to the state that it has now."""
    PurchaseStep.objects.create(
        order=row,
        before=before,
        after=row.state,
        cause=cause.kind,
        reference=cause.reference[:255],
        detail=dict(detail or {}),
    )
