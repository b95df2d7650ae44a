"""Purchases that two players claim: staff leave them or move them, with a reason."""

from typing import Any, ClassVar

from django import forms
from django.contrib import admin
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from unfold.decorators import action, display
from unfold.widgets import UnfoldAdminTextInputWidget

from accounts.backoffice import BigTableAdmin, PlayerSearchMixin, audit
from accounts.confirmation import Confirmation, confirm
from accounts.roles import EVERYONE, HELPERS, Roles, may
from store.models import OwnerConflict, PlatformPurchase
from store.services import ownership

# The actions that make sense for a claim, by its state.
POSSIBLE = {
    OwnerConflict.State.OPEN: ("_keep", "_move"),
    OwnerConflict.State.KEPT: ("_reopen",),
}


class ReasonForm(forms.Form):
    """Why; the audit log and the purchase's steps keep it."""

    reason = forms.CharField(
        max_length=200,
        widget=UnfoldAdminTextInputWidget,
        help_text="Staff read it here and in the audit log; the player does not.",
    )


def claim_of(row: PlatformPurchase) -> OwnerConflict | None:
    """The oldest claim that nobody has decided."""
    found = OwnerConflict.objects.filter(purchase=row, state=OwnerConflict.State.OPEN)
    return found.select_related("purchase__player", "claimant").order_by("id").first()


def decide_conflict(
    model_admin: Any, request: HttpRequest, conflict: OwnerConflict, *, move: bool
) -> HttpResponse:
    """Ask for the reason, and leave a purchase or move it; then the purchase's page."""
    owner, claimant = conflict.purchase.player or "nobody", conflict.claimant

    def act(form: forms.Form) -> None:
        reason, actor = form.cleaned_data["reason"], request.user.get_username()
        with transaction.atomic():
            ownership.decide(conflict_id=conflict.pk, move=move, actor=actor, reason=reason)
            after = "moved" if move else "kept"
            audit(conflict, state=("open", after), reason=("", reason))
            audit(conflict.purchase, claim=(str(owner), after), reason=("", reason))

    question = Confirmation(
        title="Move the purchase to the claimant?" if move else "Leave it with its owner?",
        text=f"What {owner} still has of it is taken back, into debt if need be, and given to "
        f"{claimant}. Items that were used up are gone."
        if move
        else f"{owner} keeps the purchase; {claimant} gets nothing.",
        button="Move it" if move else "Leave it",
        form=ReasonForm,
        act=act,
        done="Decided.",
        is_dangerous=move,
    )
    return confirm(model_admin, request, conflict.purchase, question)


@admin.register(OwnerConflict)
class OwnerConflictAdmin(PlayerSearchMixin, BigTableAdmin):
    """Purchases that two players claim."""

    roles: ClassVar[Roles] = {"view": EVERYONE, "decide": HELPERS}
    player_field = "claimant"
    also_search = ("purchase_id",)
    list_display = ("id", "owner", "claimant", "product", "state", "created_at")
    list_filter = ("state",)
    indexed_filters = ({"state__exact": "open"},)
    list_select_related = ("claimant", "purchase__player")
    fields = ("purchase", "owner", "claimant", "order", "state", "decided_by", "decided_at")
    actions_detail = ("keep", "move", "reopen")

    @display(description="Owner")
    def owner(self, conflict: OwnerConflict) -> str:
        return str(conflict.purchase.player or "–")

    @display(description="Product")
    def product(self, conflict: OwnerConflict) -> str:
        return conflict.purchase.product

    def has_decide_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return may(request.user, "decide", self.roles)

    def get_actions_detail(self, request: HttpRequest, object_id: Any = None) -> list[Any]:
        """Only what can be done about this claim as it is."""
        offered: list[Any] = super().get_actions_detail(request, object_id)
        row = self.get_object(request, str(object_id)) if object_id and offered else None
        names = POSSIBLE.get(row.state, ()) if row else ()
        return [one for one in offered if one.action_name.endswith(names)]

    @action(description="Leave it where it is", url_path="keep", permissions=["decide"])
    def keep(self, request: HttpRequest, object_id: str) -> HttpResponse:
        conflict: OwnerConflict = self.object_or_404(request, object_id)
        return decide_conflict(self, request, conflict, move=False)

    @action(description="Move it to the claimant", url_path="move", permissions=["decide"])
    def move(self, request: HttpRequest, object_id: str) -> HttpResponse:
        conflict: OwnerConflict = self.object_or_404(request, object_id)
        return decide_conflict(self, request, conflict, move=True)

    @action(description="Decide it again", url_path="reopen", permissions=["decide"])
    def reopen(self, request: HttpRequest, object_id: str) -> HttpResponse:
        known: OwnerConflict = self.object_or_404(request, object_id)

        def act(form: forms.Form) -> None:
            reason, actor = form.cleaned_data["reason"], request.user.get_username()
            with transaction.atomic():
                conflict = ownership.reopen(conflict_id=known.pk, actor=actor, reason=reason)
                audit(conflict, state=("", "open"), reason=("", reason))
                audit(known.purchase, claim=("kept", "open"), reason=("", reason))

        question = Confirmation(
            title="Decide this claim again?",
            text=f"{known.claimant}'s claim waits for a decision once more. Nothing moves by this.",
            button="Decide it again",
            form=ReasonForm,
            act=act,
            done="It waits for a decision: leave it or move it here.",
        )
        return confirm(self, request, known.purchase, question)
