"""Revenue, and files of it."""

from typing import Any, ClassVar

from django.contrib import admin
from django.db import transaction
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.shortcuts import redirect
from django.urls import URLPattern, path
from django.utils.text import slugify
from unfold.decorators import action, display

from accounts.backoffice import ReadOnlyAdmin, audit
from accounts.confirmation import Confirmation, confirm
from accounts.roles import FINANCE, Roles, may
from config.hooks import hasten
from store import tasks
from store.admin.revenue import RevenueView
from store.models import Export
from store.services import exports


@admin.register(Export)
class ExportAdmin(ReadOnlyAdmin):
    """Files that staff ordered. Also carries the page of revenue."""

    roles: ClassVar[Roles] = {"view": FINANCE, "export": FINANCE, "decide": FINANCE}
    list_display = ("title", "standing", "progress", "author", "created_at", "expires_at")
    list_filter = ("state",)
    list_select_related = ("author",)
    ordering = ("-pk",)
    fields = (("author", "created_at", "expires_at"),)
    actions_detail = ("download", "again")
    change_form_outer_before_template = "admin/store/export.html"

    def get_urls(self) -> list[URLPattern]:
        view: Any = self.admin_site.admin_view(RevenueView.as_view(model_admin=self))
        return [path("revenue/", view, name="store_revenue"), *super().get_urls()]

    @display(description="State", label={"due": "info", "done": "success", "failed": "danger"})
    def standing(self, export: Export) -> tuple[str, str]:
        return export.state, "being written" if export.state == "due" else export.state

    @display(description="Written")
    def progress(self, export: Export) -> str:
        return "–" if export.total is None else f"{percent(export)} %"

    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        export = self.get_object(request, object_id)
        context = dict(extra_context or {})
        is_due = export is not None and export.state == Export.State.DUE
        if export is not None:
            context |= {"export": export, "percent": max(1, percent(export)), "is_due": is_due}
        response: HttpResponse = super().change_view(request, object_id, form_url, context)
        if is_due:
            response["Refresh"] = "2"
        return response

    def get_actions_detail(self, request: HttpRequest, object_id: Any = None) -> list[Any]:
        offered: list[Any] = super().get_actions_detail(request, object_id)
        export = self.get_object(request, str(object_id)) if object_id else None
        fits = {Export.State.DONE: "_download", Export.State.FAILED: "_again"}
        end = fits.get(Export.State(export.state)) if export is not None else None
        return [one for one in offered if end is not None and one.action_name.endswith(end)]

    def has_export_permission(self, request: HttpRequest, object_id: Any = None) -> bool:
        return may(request.user, "export", self.roles)

    @action(description="Download", url_path="download", permissions=["export"], icon="download")
    def download(
        self, request: HttpRequest, object_id: str
    ) -> HttpResponse | StreamingHttpResponse:
        """The whole file; who took it is in the audit log."""
        export: Export = self.object_or_404(request, object_id)
        if export.state != Export.State.DONE:
            return redirect("admin:store_export_change", export.pk)
        audit(export, downloaded=("", export.title))
        response = StreamingHttpResponse(
            exports.file(export=export), content_type="text/csv; charset=utf-8"
        )
        response["Content-Disposition"] = f'attachment; filename="{slugify(export.title)}.csv"'
        response["Cache-Control"] = "no-store"
        return response

    @action(description="Try again", url_path="again", permissions=["export"], icon="refresh")
    def again(self, request: HttpRequest, object_id: str) -> HttpResponse:
        export: Export = self.object_or_404(request, object_id)

        def act(form: Any) -> str:
            with transaction.atomic():
                if not exports.again(export_id=export.pk):
                    return "It goes on already."
                audit(export, state=("failed", "due"))
                hasten(tasks.write_exports)
            return "It goes on where it stopped."

        question = Confirmation(
            title="Go on with this export?", button="Go on", act=act, done="", text=export.title
        )
        return confirm(self, request, export, question)


def percent(export: Export) -> int:
    """How much of an export is written; rows that come meanwhile may make it a little more."""
    if export.state == Export.State.DONE:
        return 100
    return min(99, 100 * export.written // export.total) if export.total else 0
