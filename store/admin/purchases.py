"""One purchase with real money: what happened, why, and what staff may do about it."""

from collections.abc import Callable, Sequence
from typing import Any, ClassVar

from django import forms
from django.contrib import admin, messages
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import URLPattern, path
from unfold.decorators import action, display

from accounts.backoffice import (
    BigTableAdmin,
    Panel,
    PanelsMixin,
    PlayerSearchMixin,
    audit,
    by_known,
)
from accounts.confirmation import Confirmation, confirm
from accounts.roles import EVERYONE, HELPERS, Roles, may
from config.hooks import hasten
from store import explanations, lookup, panels, purchase_page, tasks
from store.admin.conflicts import ReasonForm, claim_of, decide_conflict
from store.admin.finding import FindView
from store.admin.stuck import StuckView
from store.models import PlatformPurchase
from store.providers.base import Environment
from store.providers.registry import PROVIDERS
from store.services import decisions, granting

State = PlatformPurchase.State
LEVELS = {state.value: "info" for state in State} | {
    State.GRANTED.value: "success",
    State.QUARANTINED.value: "danger",
    State.REVOKED.value: "warning",
    State.PARTIALLY_REVOKED.value: "warning",
}
Act = Callable[..., object]


@admin.register(PlatformPurchase)
class PlatformPurchaseAdmin(PanelsMixin, PlayerSearchMixin, BigTableAdmin):
    """What the platforms say was bought, and what became of it here."""

    roles: ClassVar[Roles] = {"view": EVERYONE, "decide": HELPERS}
    search_help_text = "Purchase's id; platform's transaction or order; player's id, name, e-mail"
    list_display = ("id", "player", "product", "standing", "code", "cost", "platform", "created_at")
    list_filter = (
        "state",
        "told",
        "decision",
        by_known("provider", PROVIDERS),
        by_known("environment", Environment),
        "is_unbound",
        "game",
    )
    indexed_filters = (
        {"state__exact": "quarantined", "environment": "production", "decision__exact": ""},
        {"told__exact": "failed"},
    )
    list_select_related = ("player",)
    change_form_outer_before_template = "admin/store/purchase.html"
    change_form_outer_after_template = None
    fieldsets = (
        (
            "Purchase",
            {
                "fields": (
                    ("player", "is_unbound", "game"),
                    ("product", "offer"),
                    ("quantity", "kind"),
                    ("state", "code", "decision"),
                    ("cost", "country", "revoked"),
                    ("granted", "taken"),
                    ("purchased_at", "granted_at", "revoked_at"),
                )
            },
        ),
        (
            "Platform",
            {
                "fields": (
                    ("provider", "environment", "app_id"),
                    "transaction_id",
                    ("original_id", "line"),
                    ("told", "last_error"),
                    ("signed_at", "id"),
                )
            },
        ),
    )
    actions_detail = ("retry", "grant", "refuse", "take_back", "give_back", "keep", "move")

    def get_urls(self) -> list[URLPattern]:
        find: Any = self.admin_site.admin_view(FindView.as_view(model_admin=self))
        stuck: Any = self.admin_site.admin_view(StuckView.as_view(model_admin=self))
        return [
            path("find/", find, name="store_find"),
            path("stuck/", stuck, name="store_stuck"),
            *super().get_urls(),
        ]

    def get_search_results(
        self, request: HttpRequest, queryset: Any, search_term: str
    ) -> tuple[Any, bool]:
        """By the platform's ids through their indexes; else by the player."""
        found = {hit.row.pk for hit in lookup.find(search_term) if hit.row.__class__ is self.model}
        if found:
            return queryset.filter(pk__in=found), False
        return super().get_search_results(request, queryset, search_term)

    @display(description="State", label=LEVELS)
    def standing(self, row: PlatformPurchase) -> tuple[str, str]:
        return row.state, row.get_state_display()

    @display(description="Price")
    def cost(self, row: PlatformPurchase) -> str:
        return panels.money(row.price_minor_units, row.price_currency)

    @display(description="Platform")
    def platform(self, row: PlatformPurchase) -> str:
        return f"{row.provider} {row.environment}"

    def panels_of(self, obj: PlatformPurchase) -> Sequence[tuple[str, Panel]]:
        parts = [
            ("What happened", purchase_page.timeline(obj)),
            ("Ledger", purchase_page.ledger(obj)),
        ]
        claims = purchase_page.claims(obj)
        return [*parts, ("Claims of other players", claims)] if claims else parts

    def on_top(self, obj: PlatformPurchase) -> dict[str, Any]:
        player = (
            panels.link("accounts_player", obj.player_id, text=str(obj.player))
            if obj.player_id
            else "nobody yet"
        )
        return {
            "verdict": explanations.of_purchase(obj, is_claimed=claim_of(obj) is not None),
            "facts": [
                ("Player", player),
                ("Product", obj.product),
                ("Price", self.cost(obj) or "not told"),
                ("Platform", f"{self.platform(obj)} · {obj.transaction_id[:60]}"),
            ],
        }

    def has_decide_permission(self, request: HttpRequest, object_id: Any = None) -> bool:
        return may(request.user, "decide", self.roles)

    def get_actions_detail(self, request: HttpRequest, object_id: Any = None) -> list[Any]:
        """Only what can be done about this purchase as it is. A page that was opened earlier may
        still ask for more: the service says no then."""
        offered: list[Any] = super().get_actions_detail(request, object_id)
        row = self.get_object(request, str(object_id)) if object_id and offered else None
        if row is None:
            return []
        names = tuple(f"_{name}" for name in possible(row))
        return [one for one in offered if one.action_name.endswith(names)]

    @action(description="Try again", url_path="retry", permissions=["decide"], icon="refresh")
    def retry(self, request: HttpRequest, object_id: str) -> HttpResponse:
        def act(row: PlatformPurchase, actor: str, reason: str) -> str:
            found = decisions.retry(purchase_id=row.pk, actor=actor, reason=reason)
            if not found:
                return "There is nothing to try again: nothing waits for the platform."
            audit(row, tried_again=("", ", ".join(found)), reason=("", reason))
            if row.order_id and "order" in found:
                hasten(tasks.process_order, str(row.order_id))
            hasten(tasks.tell_platforms)
            hasten(tasks.poll_pending)
            return "It is tried now; load the page again in a moment."

        text = "Verifies the receipt, asks about a pending payment, and tells the platform: now."
        return self._ask(request, object_id, "Try again?", text, "Try again", act)

    @action(description="Grant", url_path="grant", permissions=["decide"], icon="redeem")
    def grant(self, request: HttpRequest, object_id: str) -> HttpResponse:
        def act(row: PlatformPurchase, actor: str, reason: str) -> str:
            now = decisions.grant(purchase_id=row.pk, actor=actor, reason=reason)
            audit(row, decision=(row.decision, "grant"), reason=("", reason))
            hasten(tasks.tell_platforms)
            what = panels.amounts(now.granted["currencies"] | now.granted["items"])
            return f"Granted: {what}."

        text = "The player gets what the product's offer contains. This can be taken back later."
        return self._ask(request, object_id, "Grant this purchase?", text, "Grant", act)

    @action(description="Refuse", url_path="refuse", permissions=["decide"], icon="block")
    def refuse(self, request: HttpRequest, object_id: str) -> HttpResponse:
        def act(row: PlatformPurchase, actor: str, reason: str) -> str:
            decisions.refuse(purchase_id=row.pk, actor=actor, reason=reason)
            audit(row, decision=(row.decision, "refuse"), reason=("", reason))
            return "Refused. It can still be granted."

        text = "The player gets nothing, whatever the platform says later, until staff grant it."
        return self._ask(request, object_id, "Refuse this purchase?", text, "Refuse", act, True)

    @action(description="Take back", url_path="take-back", permissions=["decide"], icon="undo")
    def take_back(self, request: HttpRequest, object_id: str) -> HttpResponse:
        def act(row: PlatformPurchase, actor: str, reason: str) -> str:
            now = decisions.take_back(purchase_id=row.pk, actor=actor, reason=reason)
            audit(row, decision=(row.decision, "refund"), reason=("", reason))
            short = now.taken.get("short")
            gone = f" Gone already: {panels.amounts(short)}." if short else ""
            return f"Taken back.{gone}"

        text = (
            "What is left of it is taken back, currencies into debt if need be. No money is paid "
            "back by this: do that in the platform's own console, which tells us by itself."
        )
        return self._ask(request, object_id, "Take it back?", text, "Take back", act, True)

    @action(description="Give back", url_path="give-back", permissions=["decide"], icon="redo")
    def give_back(self, request: HttpRequest, object_id: str) -> HttpResponse:
        def act(row: PlatformPurchase, actor: str, reason: str) -> str:
            decisions.give_back(purchase_id=row.pk, actor=actor, reason=reason)
            audit(row, decision=("refund", ""), reason=("", reason))
            return "Given back."

        text = "The player gets again what staff took back, as far as the platform left it."
        return self._ask(request, object_id, "Give it back?", text, "Give back", act)

    @action(description="Leave with its owner", url_path="keep", permissions=["decide"])
    def keep(self, request: HttpRequest, object_id: str) -> HttpResponse:
        return self._decide_claim(request, object_id, move=False)

    @action(description="Move to the claimant", url_path="move", permissions=["decide"])
    def move(self, request: HttpRequest, object_id: str) -> HttpResponse:
        return self._decide_claim(request, object_id, move=True)

    def _decide_claim(self, request: HttpRequest, object_id: str, *, move: bool) -> HttpResponse:
        conflict = claim_of(self.object_or_404(request, object_id))
        if conflict is None:
            messages.info(request, "The claim is decided already.")
            return redirect("admin:store_platformpurchase_change", object_id)
        return decide_conflict(self, request, conflict, move=move)

    def _ask(
        self,
        request: HttpRequest,
        object_id: str,
        title: str,
        text: str,
        button: str,
        act: Act,
        is_dangerous: bool = False,
    ) -> HttpResponse:
        row: PlatformPurchase = self.object_or_404(request, object_id)

        def decide(form: forms.Form) -> object:
            # One transaction: what was decided and its line in the audit log, or neither.
            with transaction.atomic():
                return act(row, request.user.get_username(), form.cleaned_data["reason"])

        question = Confirmation(
            title=title,
            text=f"{row.product} of {row.player or 'nobody'}. {text}",
            button=button,
            form=ReasonForm,
            act=decide,
            done="Done.",
            is_dangerous=is_dangerous,
        )
        return confirm(self, request, row, question)


def possible(row: PlatformPurchase) -> set[str]:
    """The actions that make sense for a purchase as it is now."""
    names = set()
    if row.state in (State.PENDING, State.VERIFIED, State.QUARANTINED) or (
        row.told in (PlatformPurchase.Told.DUE, PlatformPurchase.Told.FAILED)
    ):
        names.add("retry")
    if row.state in (State.QUARANTINED, State.VERIFIED) and row.player_id:
        names.add("grant")
    if row.state == State.QUARANTINED and row.decision != PlatformPurchase.Decision.REFUSE:
        names.add("refuse")
    if row.state in granting.HELD:
        names.add("take_back")
    if row.decision == PlatformPurchase.Decision.REFUND:
        names.add("give_back")
    if claim_of(row) is not None:
        names |= {"keep", "move"}
    return names
