"""Subscriptions: what the platforms say of them now, and their periods."""

from collections.abc import Sequence
from typing import Any, ClassVar

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils import timezone
from unfold.decorators import action, display

from accounts.backoffice import (
    BigTableAdmin,
    Panel,
    PanelsMixin,
    PlayerSearchMixin,
    audit,
    by_known,
)
from accounts.roles import EVERYONE, HELPERS, Roles, may
from config.hooks import hasten
from store import lookup, subscription_panels, subscription_selectors, tasks
from store.models import Subscription
from store.providers.base import Environment
from store.providers.registry import PROVIDERS
from store.services import subscription_checks


@admin.register(Subscription)
class SubscriptionAdmin(PanelsMixin, PlayerSearchMixin, BigTableAdmin):
    """Nobody edits them: platforms say what they are. Staff decide about their purchases."""

    roles: ClassVar[Roles] = {"view": EVERYONE, "ask": HELPERS}
    also_search = ("id",)
    search_help_text = "Subscription's or platform's id; player's id, name or e-mail"
    list_display = ("id", "player", "product", "standing", "entitled_until", "renews", "platform")
    list_filter = (
        "phase",
        by_known("provider", PROVIDERS),
        by_known("environment", Environment),
        "game",
    )
    list_select_related = ("player", "purchase")
    fields = (
        "id",
        "game",
        "player",
        "standing",
        "phase",
        "entitled_until",
        "grace_until",
        "renews",
        "renewal_product",
        "product",
        "provider",
        "environment",
        "app_id",
        "original_id",
        "line",
        "replaces",
        "signed_at",
        "next_attempt_at",
        "attempts",
        "last_error",
        "created_at",
        "updated_at",
    )
    actions = ("ask",)

    def get_queryset(self, request: HttpRequest) -> "QuerySet[Subscription, Any]":
        return subscription_selectors.shown(super().get_queryset(request))

    def get_search_results(
        self, request: HttpRequest, queryset: "QuerySet[Any]", search_term: str
    ) -> tuple["QuerySet[Any]", bool]:
        """By the platform's ids, through its purchases and their indexes; else by the player."""
        of_platform = lookup.series_of(search_term.strip().replace("\0", ""))
        if of_platform is not None:
            return queryset.filter(of_platform), False
        return super().get_search_results(request, queryset, search_term)

    @display(description="Product")
    def product(self, row: Subscription) -> str:
        return row.purchase.product

    @display(description="State")
    def standing(self, row: Any) -> str:
        now = timezone.now()
        state = subscription_selectors.state(row, now)
        is_entitled = subscription_selectors.is_entitled(row, now)
        return f"{state}, entitled" if is_entitled else state

    @display(description="Platform")
    def platform(self, row: Subscription) -> str:
        return f"{row.provider} {row.environment}"

    def panels_of(self, obj: Subscription) -> Sequence[tuple[str, Panel]]:
        return [("Periods", subscription_panels.periods(obj))]

    def has_ask_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return may(request.user, "ask", self.roles)

    @action(description="Ask the platform now", permissions=["ask"])
    def ask(self, request: HttpRequest, queryset: "QuerySet[Subscription]") -> None:
        done = 0
        for row in queryset[:200]:
            if subscription_checks.refresh(subscription_id=row.pk):
                audit(row, asked=(False, True))
                done += 1
        hasten(tasks.ask_about_subscriptions)
        messages.success(request, f"{done} are asked about; those that are over are not.")
