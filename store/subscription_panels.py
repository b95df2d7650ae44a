"""Subscriptions in the back office."""

from django.urls import reverse
from django.utils import timezone

from accounts.backoffice import Panel
from accounts.models import Player
from store.entitlement import ends_at
from store.models import PlatformPurchase, Subscription
from store.panels import SHOWN, link
from store.subscription_selectors import entitlements, of_player, state

PERIODS = 60


def subscriptions(player: Player) -> Panel:
    """The latest subscriptions, for the player's page."""
    now = timezone.now()
    entitled = sorted(entitlements(player_id=player.pk))
    return Panel(
        ("Since", "Product", "State", "Until", "Renews", "Platform", "Subscription"),
        [
            (
                row.created_at,
                row.purchase.product,
                state(row, now),
                ends_at(row.phase, row.entitled_until, row.grace_until) or "",
                "yes" if row.renews else "no",
                f"{row.provider} {row.environment}",
                link("store_subscription", row.pk, short=True),
            )
            for row in of_player(player.pk).order_by("-id")[:SHOWN]
        ],
        more_url=f"{reverse('admin:store_subscription_changelist')}?q={player.pk}",
        note=f"Entitled now: {', '.join(entitled)}." if entitled else "",
    )


def periods(row: Subscription) -> Panel:
    """The latest periods of a subscription: each was paid for, and granted, once."""
    rows = PlatformPurchase.objects.filter(
        provider=row.provider,
        app_id=row.app_id,
        original_id=row.original_id,
        environment=row.environment,
    )
    return Panel(
        ("When", "Product", "State", "Transaction", "Purchase"),
        [
            (
                one.purchased_at or one.created_at,
                one.product,
                one.get_state_display(),
                one.transaction_id,
                link("store_platformpurchase", one.pk, short=True),
            )
            for one in rows.order_by("-id")[:PERIODS]
        ],
        note=f"The latest {PERIODS}." if len(rows[: PERIODS + 1]) > PERIODS else "",
    )
