"""Real money: the platforms' apps, receipts as they came in, and notifications."""

from collections.abc import Sequence
from typing import Any, ClassVar

from django import forms
from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from unfold.decorators import action

from accounts.backoffice import (
    BigTableAdmin,
    GameContentAdmin,
    Panel,
    PanelsMixin,
    PlayerSearchMixin,
    by_known,
)
from accounts.confirmation import Confirmation, confirm
from accounts.roles import EVERYONE, HELPERS, Roles, may
from store import explanations, panels, purchase_page, stuck
from store.models import Order, PlatformApp, PlatformNotice, PlatformPurchase, PurchaseStep
from store.providers.registry import PROVIDERS


@admin.register(PlatformApp)
class PlatformAppAdmin(GameContentAdmin):
    fields = ("game", "provider", "app_id", "key_name", "options", "sandbox", "is_active")
    list_display = ("app_id", "provider", "game", "sandbox", "key_name", "is_active")
    list_filter = ("game", "provider", "is_active")
    search_fields = ("app_id",)


@admin.register(Order)
class OrderAdmin(PanelsMixin, PlayerSearchMixin, BigTableAdmin):
    """Receipts as they came in. What a receipt says is not shown: it is a credential."""

    roles: ClassVar[Roles] = {"view": EVERYONE, "again": HELPERS}
    also_search = ("id",)
    search_help_text = "Order's id; player's id, name, name#1234 or e-mail"
    list_display = ("id", "player", "provider", "product", "state", "code", "created_at")
    list_filter = ("state", by_known("provider", PROVIDERS), "game")
    indexed_filters = ({"state__exact": "dead"},)
    list_select_related = ("player",)
    fields = (
        "id",
        "game",
        "player",
        "provider",
        "product",
        "state",
        "code",
        "last_error",
        "attempts",
        "next_attempt_at",
        "created_at",
        "updated_at",
    )
    actions = ("verify_again",)
    actions_detail = ("retry",)
    change_form_outer_before_template = "admin/store/purchase.html"
    change_form_outer_after_template = None

    def panels_of(self, obj: Order) -> Sequence[tuple[str, Panel]]:
        bought = PlatformPurchase.objects.filter(pk__in=obj.purchases).order_by("id")
        steps = PurchaseStep.objects.filter(order=obj)
        return [
            ("Purchases", purchases_panel(bought)),
            ("What happened", purchase_page.steps(steps.order_by("id")[: purchase_page.SHOWN])),
        ]

    def on_top(self, obj: Order) -> dict[str, Any]:
        return {"verdict": explanations.of_order(obj)}

    def has_again_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return may(request.user, "again", self.roles)

    @action(description="Verify again", permissions=["again"])
    def verify_again(self, request: HttpRequest, queryset: "QuerySet[Order]") -> None:
        keys = list(queryset.values_list("pk", flat=True)[: stuck.AT_ONCE])
        done = stuck.try_again(kind="orders", keys=keys, actor=request.user.get_username())
        messages.success(request, f"{done} are verified again; those that ended well stay.")

    @action(description="Try again", url_path="retry", permissions=["again"], icon="refresh")
    def retry(self, request: HttpRequest, object_id: str) -> HttpResponse:
        order: Order = self.object_or_404(request, object_id)

        def act(form: forms.Form) -> str:
            if stuck.try_again(kind="orders", keys=[order.pk], actor=request.user.get_username()):
                return "It is verified now; load the page again in a moment."
            return "It ended well, or is being verified."

        question = Confirmation(
            title="Verify this receipt again?",
            text="Asks the platform anew and grants what was bought, once.",
            button="Try again",
            act=act,
            done="",
        )
        return confirm(self, request, order, question)


def purchases_panel(rows: "QuerySet[PlatformPurchase]") -> Panel:
    return Panel(
        ("Product", "State", "Code", "Environment", "Transaction", "Purchase"),
        [
            (
                row.product,
                row.get_state_display(),
                row.code,
                row.environment,
                row.transaction_id,
                panels.link("store_platformpurchase", row.pk),
            )
            for row in rows
        ],
    )


@admin.register(PlatformNotice)
class PlatformNoticeAdmin(BigTableAdmin):
    """The platforms' notifications."""

    roles: ClassVar[Roles] = {"view": EVERYONE, "again": HELPERS}
    list_display = ("notice_id", "provider", "kind", "app_id", "state", "created_at")
    list_filter = ("state", by_known("provider", PROVIDERS))
    indexed_filters = ({"state__exact": "dead"},)
    search_fields = ("notice_id",)
    search_help_text = "Platform's id of the notification"
    fields = (
        "id",
        "provider",
        "notice_id",
        "kind",
        "app_id",
        "state",
        "last_error",
        "attempts",
        "next_attempt_at",
        "signed_at",
        "created_at",
    )
    actions = ("process_again",)

    def get_search_results(
        self, request: HttpRequest, queryset: "QuerySet[Any]", search_term: str
    ) -> tuple["QuerySet[Any]", bool]:
        """Exact, with the provider, by which the index begins."""
        term = search_term.strip().replace("\0", "")
        if not term:
            return queryset, False
        return queryset.filter(provider__in=list(PROVIDERS), notice_id=term), False

    def has_again_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return may(request.user, "again", self.roles)

    @action(description="Process again", permissions=["again"])
    def process_again(self, request: HttpRequest, queryset: "QuerySet[PlatformNotice]") -> None:
        keys = list(queryset.values_list("pk", flat=True)[: stuck.AT_ONCE])
        done = stuck.try_again(kind="notices", keys=keys, actor=request.user.get_username())
        messages.success(request, f"{done} are processed again.")
