"""What players see of their subscriptions."""

from datetime import datetime
from typing import Any
from uuid import UUID

from django.db.models import Exists, OuterRef, Q, QuerySet
from django.utils import timezone

from config.api.pagination import Page, PageQuery, keyset_page
from config.api.wire import UNSET, utc
from store.entitlement import ENTITLING, ends_at, entitles
from store.models import PlatformPurchase, Subscription
from store.subscription_serializers import State, SubscriptionOut

HELD = (PlatformPurchase.State.GRANTED, PlatformPurchase.State.PARTIALLY_REVOKED)


def subscriptions(*, player_id: UUID, query: PageQuery) -> Page[SubscriptionOut]:
    """The player's subscriptions, newest first, those that are over too: one query."""
    rows, after, before = keyset_page(
        of_player(player_id), order=["-id"], kinds=[UUID], query=query
    )
    now = timezone.now()
    return Page(results=[_out(row, now) for row in rows], next=after, previous=before)


def of_player(player_id: UUID) -> "QuerySet[Subscription, Any]":
    """The player's subscriptions with their latest period, and whether they were replaced."""
    return shown(Subscription.objects.filter(player_id=player_id))


def shown(rows: "QuerySet[Subscription]") -> "QuerySet[Subscription, Any]":
    """The rows with all that `state` needs."""
    after = Subscription.objects.filter(
        ~Q(replaces=""),
        provider=OuterRef("provider"),
        environment=OuterRef("environment"),
        app_id=OuterRef("app_id"),
        replaces=OuterRef("original_id"),
    )
    return rows.select_related("purchase__offer").annotate(is_replaced=Exists(after))


def entitlements(*, player_id: UUID) -> set[str]:
    """What the player is entitled to now by subscriptions."""
    now = timezone.now()
    rows = of_player(player_id).filter(phase__in=ENTITLING)
    return {
        row.purchase.offer.entitlement
        for row in rows
        if row.purchase.offer and row.purchase.offer.entitlement and is_entitled(row, now)
    }


def is_entitled(row: Any, now: datetime) -> bool:
    """Whether a row of `shown` entitles."""
    return entitles(
        row.phase,
        row.entitled_until,
        row.grace_until,
        renews=row.renews,
        is_granted=row.purchase.state in HELD,
        is_replaced=row.is_replaced,
        now=now,
    )


def state(row: Any, now: datetime) -> State:
    """What a row of `shown` is in: what is replaced, taken back or over is said to be so, even
    where the platform has not told it yet."""
    if row.is_replaced:
        return "replaced"
    if row.purchase.state == PlatformPurchase.State.REVOKED:
        return "revoked"
    if row.phase in ENTITLING and row.purchase.state in HELD and not is_entitled(row, now):
        return "expired"
    found: State = row.phase
    return found


def _out(row: Any, now: datetime) -> SubscriptionOut:
    purchase = row.purchase
    out = SubscriptionOut(
        id=row.pk,
        provider=row.provider,
        product=purchase.product,
        state=state(row, now),
        is_entitled=is_entitled(row, now),
        renews=row.renews,
        created_at=utc(row.created_at),
        updated_at=utc(row.updated_at),
    )
    if purchase.offer is not None:
        out.offer = purchase.offer.key
        out.entitlement = purchase.offer.entitlement or UNSET
    if end := ends_at(row.phase, row.entitled_until, row.grace_until):
        out.entitled_until = utc(end)
    if row.grace_until is not None:
        out.grace_until = utc(row.grace_until)
    if row.renewal_product not in ("", purchase.product):
        out.renewal_product = row.renewal_product
    return out
