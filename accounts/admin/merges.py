"""Merges of players, and undoing them."""

from collections.abc import Iterator
from typing import Any, ClassVar

from django import forms
from django.contrib import admin
from django.http import HttpRequest, HttpResponse
from unfold.decorators import action, display
from unfold.widgets import UnfoldAdminTextareaWidget

from accounts.backoffice import (
    BigTableAdmin,
    Panel,
    PanelsMixin,
    PlayerSearchMixin,
    audit,
    drawn_panel,
)
from accounts.confirmation import Confirmation, confirm
from accounts.merging import Json, parts
from accounts.models import Merge
from accounts.panels import player_link
from accounts.roles import HELPERS, Roles, may
from accounts.services import merging
from config.api.problems import Problem


class ReasonForm(forms.Form):
    """Why a merge is undone."""

    reason = forms.CharField(max_length=500, widget=UnfoldAdminTextareaWidget(attrs={"rows": 3}))


@admin.register(Merge)
class MergeAdmin(PanelsMixin, PlayerSearchMixin, BigTableAdmin):
    """Found by either player. What an undo would give back is shown before it is done."""

    roles: ClassVar[Roles] = {"view": HELPERS, "help": HELPERS}
    player_field = "survivor"
    also_search = ("id", "absorbed")
    list_display = ("created_at", "absorbed", "survivor", "standing", "undone_by")
    list_select_related = ("absorbed", "survivor")
    fieldsets = (
        (
            None,
            {
                "fields": (
                    ("standing", "created_at"),
                    ("absorbed_page", "survivor_page"),
                    ("undone_at", "undone_by"),
                    "reason",
                    "last_error",
                )
            },
        ),
    )
    readonly_fields = ("standing", "absorbed_page", "survivor_page")
    actions_detail = ("undo",)

    @display(
        description="State", label={"settling": "info", "done": "success", "undone": "warning"}
    )
    def standing(self, merge: Merge) -> str:
        return merge.state

    @display(description="Who was absorbed")
    def absorbed_page(self, merge: Merge) -> str:
        return player_link(merge.absorbed)

    @display(description="Into whom")
    def survivor_page(self, merge: Merge) -> str:
        return player_link(merge.survivor)

    def has_help_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return may(request.user, "help", self.roles)

    def drawings(self, obj: Merge) -> list[dict[str, Any]]:
        panels = [("What came along", "merged")]
        if obj.state == Merge.State.UNDONE:
            panels.append(("What the undo gave back", "undone"))
        columns = ("Part", "What", "How much")
        return [drawn_panel(title, Panel(columns, said(obj, what))) for title, what in panels]

    @action(description="Undo", url_path="undo", permissions=["help"])
    def undo(self, request: HttpRequest, object_id: str) -> HttpResponse:
        merge: Merge = self.object_or_404(request, object_id)
        actor = request.user.get_username()

        def act(form: ReasonForm) -> None:
            reason = form.cleaned_data["reason"]
            merging.undo(merge_id=merge.pk, actor=actor, reason=reason)
            audit(merge, state=(merge.state, Merge.State.UNDONE), reason=("", reason))

        question = Confirmation(
            title=f"Make {merge.absorbed} and {merge.survivor} two players again?",
            text=_would(merge, actor),
            button="Undo the merge",
            form=ReasonForm,
            act=act,
            done="They are two players again. Both have to sign in.",
            is_dangerous=True,
        )
        return confirm(self, request, merge, question)


def _would(merge: Merge, actor: str) -> str:
    """What undoing would do, from doing it and taking it back."""
    try:
        tried = merging.undo(merge_id=merge.pk, actor=actor, reason="", preview=True)
    except Problem as problem:
        return problem.detail
    lines = [f"{part} · {what}: {much}" for part, what, much in said(tried, "undone")]
    return f"It would end so. {'; '.join(lines)}."


def said(merge: Merge, what: str) -> list[tuple[str, str, str]]:
    """The outcome "merged" or "undone" as rows: part, what, how much."""
    told = merge.outcome.get(what, {})
    return [
        (part.name, " · ".join(path), value)
        for part in parts()
        for path, value in _leaves(told.get(part.name, {}))
    ]


def _leaves(told: Json, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], str]]:
    for name, value in told.items():
        if isinstance(value, dict):
            yield from _leaves(value, (*path, name))
        elif value:
            shown = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
            yield (*path, name), shown
