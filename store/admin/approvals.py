"""Grants that wait for a second person, and the thresholds above which they do."""

from typing import Any, ClassVar, cast

from django import forms
from django.contrib import admin
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from unfold.decorators import action, display
from unfold.widgets import UnfoldAdminTextInputWidget

from accounts.backoffice import BigTableAdmin, PlayerSearchMixin, RoleAdmin, audit
from accounts.confirmation import Confirmation, confirm
from accounts.models import StaffUser
from accounts.roles import ADMINS, EVERYONE, Roles, may
from store import panels
from store.models import GrantRequest, GrantThreshold
from store.services import approvals


class RefusalForm(forms.Form):
    """Why not."""

    reason = forms.CharField(
        max_length=200,
        widget=UnfoldAdminTextInputWidget,
        help_text="Whoever asked reads it; the player does not.",
    )


class ThresholdForm(forms.ModelForm):  # type: ignore[type-arg]  # not generic at run time
    """How much of one currency or item."""

    def clean(self) -> dict[str, Any]:
        values = super().clean() or {}
        if self.errors or self.instance.pk:
            return values
        chosen = [row for row in (values.get("currency"), values.get("item")) if row is not None]
        if len(chosen) != 1:
            self.add_error(None, "Choose a currency or an item.")
        elif chosen[0].game_id != values["game"].pk:
            self.add_error(None, "That belongs to another game.")
        return values


@admin.register(GrantThreshold)
class GrantThresholdAdmin(RoleAdmin):
    """How much staff may give one player in a day alone."""

    roles: ClassVar[Roles] = {
        "view": EVERYONE,
        "add": ADMINS,
        "change": ADMINS,
        "delete": ADMINS,
    }
    form = ThresholdForm
    fields = ("game", "currency", "item", "amount")
    list_display = ("subject", "game", "amount")
    list_filter = ("game",)
    list_select_related = ("game", "currency", "item")

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        return () if obj is None else ("game", "currency", "item")

    @display(description="Of")
    def subject(self, threshold: GrantThreshold) -> str:
        return threshold.what[1]


@admin.register(GrantRequest)
class GrantRequestAdmin(PlayerSearchMixin, BigTableAdmin):
    """What staff asked to give; admins other than the one who asked decide."""

    roles: ClassVar[Roles] = {"view": EVERYONE, "decide": ADMINS}
    also_search = ("id",)
    search_help_text = "Request's id; player's id, name, name#1234 or e-mail"
    list_display = ("id", "player", "what", "reason", "requester", "standing", "created_at")
    list_filter = ("state", "game")
    indexed_filters = ({"state__exact": "waiting"},)
    list_select_related = ("player", "requester")
    fields = (
        ("player", "game"),
        "what",
        "reason",
        ("requester", "created_at"),
        ("standing", "expires_at"),
        ("decider", "decided_at"),
        "decision",
        "grant_id",
    )
    readonly_fields = ("what", "standing")
    actions_detail = ("approve", "refuse")

    @display(description="What")
    def what(self, request: GrantRequest) -> str:
        return panels.amounts(request.currencies | request.items)

    @display(
        description="State",
        label={"waiting": "warning", "given": "success", "refused": "danger", "expired": "info"},
    )
    def standing(self, request: GrantRequest) -> str:
        return request.state

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        title = f"Grant requests: {approvals.waiting()} waiting"
        context = {**(extra_context or {}), "title": title}
        response: HttpResponse = super().changelist_view(request, context)
        return response

    def has_decide_permission(self, request: HttpRequest, object_id: Any = None) -> bool:
        return may(request.user, "decide", self.roles)

    @action(description="Approve", url_path="approve", permissions=["decide"])
    def approve(self, request: HttpRequest, object_id: str) -> HttpResponse:
        asked: GrantRequest = self.object_or_404(request, object_id)

        def act(form: forms.Form) -> None:
            with transaction.atomic():
                approvals.approve(request_id=asked.pk, decider=cast(StaffUser, request.user))
                _audit(asked, "given", "")

        question = Confirmation(
            title=f"Give {self.what(asked)} to {asked.player}?",
            text=f"{asked.requester} asked for it: {asked.reason}",
            button="Approve",
            act=act,
            done="Approved and given.",
        )
        return confirm(self, request, asked, question)

    @action(description="Refuse", url_path="refuse", permissions=["decide"])
    def refuse(self, request: HttpRequest, object_id: str) -> HttpResponse:
        asked: GrantRequest = self.object_or_404(request, object_id)

        def act(form: forms.Form) -> None:
            reason = form.cleaned_data["reason"]
            with transaction.atomic():
                approvals.refuse(
                    request_id=asked.pk, decider=cast(StaffUser, request.user), reason=reason
                )
                _audit(asked, "refused", reason)

        question = Confirmation(
            title=f"Refuse {self.what(asked)} for {asked.player}?",
            text=f"{asked.requester} asked for it: {asked.reason}",
            button="Refuse",
            form=RefusalForm,
            act=act,
            done="Refused.",
            is_dangerous=True,
        )
        return confirm(self, request, asked, question)


def _audit(asked: GrantRequest, state: str, reason: str) -> None:
    changes = {"state": ("waiting", state)} | ({"decision": ("", reason)} if reason else {})
    audit(asked, **changes)
