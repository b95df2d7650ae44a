"""Promotion codes, and what players redeemed."""

import csv
from collections.abc import Iterator
from typing import Any, ClassVar

from django import forms
from django.contrib import admin
from django.db import transaction
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.urls import reverse
from django.utils.html import format_html
from unfold.decorators import action, display

from accounts.backoffice import BigTableAdmin, PlayerSearchMixin, ReadOnlyAdmin, audit
from accounts.confirmation import Confirmation, confirm
from accounts.models import Game
from accounts.roles import ADMINS, EVERYONE, MAKERS, Roles, may
from store.models import Code, CodeBatch, Redemption
from store.services import campaigns


@admin.register(CodeBatch)
class CodeBatchAdmin(ReadOnlyAdmin):
    """Codes that were generated together."""

    roles: ClassVar[Roles] = {"view": EVERYONE, "export": ADMINS, "void": MAKERS}
    list_display = ("campaign", "note", "progress", "author", "created_at")
    list_filter = ("campaign__game",)
    list_select_related = ("campaign", "author")
    ordering = ("-pk",)
    fields = ("campaign", "note", "progress", "author", "created_at", "last_error")
    readonly_fields = ("progress",)
    actions_detail = ("export", "void")

    @display(description="Made")
    def progress(self, batch: CodeBatch) -> str:
        return f"{batch.made:,} of {batch.count:,}"

    def has_export_permission(self, request: HttpRequest, object_id: Any = None) -> bool:
        return may(request.user, "export", self.roles)

    def has_void_permission(self, request: HttpRequest, object_id: Any = None) -> bool:
        return may(request.user, "void", self.roles)

    @action(description="Download CSV", url_path="export", permissions=["export"])
    def export(self, request: HttpRequest, object_id: str) -> StreamingHttpResponse:
        """All codes of the batch, as they are written; who took them is in the audit log."""
        batch: CodeBatch = self.object_or_404(request, object_id)
        audit(batch, exported=("", f"{batch.made} codes"))
        response = StreamingHttpResponse(_csv(batch), content_type="text/csv; charset=utf-8")
        name = f"{batch.campaign.key}-{batch.created_at:%Y%m%d-%H%M}.csv"
        response["Content-Disposition"] = f'attachment; filename="{name}"'
        response["Cache-Control"] = "no-store"
        return response

    @action(description="Make worthless", url_path="void", permissions=["void"])
    def void(self, request: HttpRequest, object_id: str) -> HttpResponse:
        batch: CodeBatch = self.object_or_404(request, object_id)

        def act(form: forms.Form) -> str:
            with transaction.atomic():
                count = campaigns.void_batch(batch=batch)
                audit(batch, made_worthless=("", f"{count} codes"))
            return f"{count:,} codes are worthless now."

        question = Confirmation(
            title=f"Make the codes of {batch} worthless?",
            text="Those that nobody has used can't be redeemed any more. This can't be undone.",
            button="Make worthless",
            act=act,
            done="",
            is_dangerous=True,
        )
        return confirm(self, request, batch, question)


class _Echo:
    """A file that returns what is written to it."""

    def write(self, text: str) -> str:
        return text


def _csv(batch: CodeBatch) -> Iterator[str]:
    writer = csv.writer(_Echo())
    yield writer.writerow(["code", "state"])
    for row in campaigns.export(batch=batch):
        yield writer.writerow(row)


@admin.register(Code)
class CodeAdmin(BigTableAdmin):
    """Codes are found by what a player typed; of generated ones only the end is shown."""

    roles: ClassVar[Roles] = {"view": EVERYONE, "void": MAKERS}
    search_fields = ("pk",)
    search_help_text = "The whole code, as the player typed it"
    list_display = ("shown", "campaign", "batch", "state_label")
    list_filter = ("state",)
    list_select_related = ("campaign", "batch__campaign")
    fields = ("shown", "campaign", "batch", "number", "state_label", "redeemed")
    readonly_fields = ("shown", "state_label", "redeemed")
    actions_detail = ("void",)

    @display(description="Code")
    def shown(self, code: Code) -> str:
        return str(code)

    @display(description="State", label={"open": "success", "used": "info", "void": "danger"})
    def state_label(self, code: Code) -> str:
        return code.state

    @display(description="Redeemed")
    def redeemed(self, code: Code) -> str:
        url = f"{reverse('admin:store_redemption_changelist')}?code__id__exact={code.pk}"
        return format_html('<a class="text-primary-600" href="{}">by whom</a>', url)

    def get_search_results(
        self, request: HttpRequest, queryset: "QuerySet[Any]", search_term: str
    ) -> tuple["QuerySet[Any]", bool]:
        if not search_term.strip():
            return queryset, False
        found = [
            campaigns.find(game_id=game_id, typed=search_term)
            for game_id in Game.objects.values_list("pk", flat=True)
        ]
        return queryset.filter(pk__in=[code.pk for code in found if code is not None]), False

    def has_void_permission(self, request: HttpRequest, object_id: Any = None) -> bool:
        return may(request.user, "void", self.roles)

    @action(description="Make worthless", url_path="void", permissions=["void"])
    def void(self, request: HttpRequest, object_id: str) -> HttpResponse:
        code: Code = self.object_or_404(request, object_id)

        def act(form: forms.Form) -> str:
            with transaction.atomic():
                if not campaigns.void(code_id=code.pk):
                    return "The code was used or worthless already."
                audit(code, state=("open", "void"))
            return "The code is worthless now."

        question = Confirmation(
            title=f"Make the code {code} worthless?",
            text="It can't be redeemed any more.",
            button="Make worthless",
            act=act,
            done="",
            is_dangerous=True,
        )
        return confirm(self, request, code, question)


@admin.register(Redemption)
class RedemptionAdmin(PlayerSearchMixin, BigTableAdmin):
    also_search = ("id",)
    search_help_text = "Redemption's (grant's) id; player's id, name, name#1234 or e-mail"
    list_display = ("id", "player", "campaign", "code", "created_at")
    list_filter = ("campaign",)
    indexed_filters = ({"campaign__id__exact": None}, {"code__id__exact": None})
    list_select_related = ("player", "campaign", "code")
    fields = ("id", "game", "player", "campaign", "code", "created_at")

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest) -> bool:
        return lookup == "code__id__exact" or super().lookup_allowed(lookup, value, request)
