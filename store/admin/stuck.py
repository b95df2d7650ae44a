"""The page of what is stuck, with "try again"."""

from typing import Any
from uuid import UUID

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.views.generic import TemplateView
from unfold.views import UnfoldModelAdminViewMixin

from store import stuck


class StuckView(UnfoldModelAdminViewMixin, TemplateView):
    """Dead letters and open decisions, by kind. POST: `kind`, and `key` or all of the kind."""

    title = "Stuck"
    permission_required = ()
    template_name = "admin/store/stuck.html"

    def has_permission(self) -> bool:
        return bool(self.model_admin.has_view_permission(self.request))

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        context: dict[str, Any] = super().get_context_data(**kwargs)
        context["sections"] = [section for section in stuck.sections() if section.letters]
        context["headers"] = ["Since (UTC)", "Who", "What", "Why", "Page", ""]
        context["may_retry"] = self.model_admin.has_decide_permission(self.request)
        return context

    def post(self, request: HttpRequest) -> HttpResponse:
        if not self.model_admin.has_decide_permission(request):
            raise PermissionDenied
        kind, key = request.POST.get("kind", ""), request.POST.get("key", "")
        if kind in stuck.WAYS:
            try:
                keys = [UUID(key)] if key else stuck.waiting(kind)
            except ValueError:
                keys = []
            done = stuck.try_again(kind=kind, keys=keys, actor=request.user.get_username())
            messages.success(request, f"Tried again: {done:,}. Load the page in a moment.")
        return redirect("admin:store_stuck")
