"""The one search of the back office."""

from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.utils.html import format_html
from django.views.generic import TemplateView
from unfold.views import UnfoldModelAdminViewMixin

from store import explanations, lookup, panels
from store.lookup import Hit
from store.models import Order, PlatformPurchase


class FindView(UnfoldModelAdminViewMixin, TemplateView):
    """`?q=`: leads to what was found, or lists it where it is more than one."""

    title = "Find"
    permission_required = ()
    template_name = "admin/store/find.html"

    def has_permission(self) -> bool:
        return bool(self.model_admin.has_view_permission(self.request))

    def get(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        term = request.GET.get("q", "")
        hits = lookup.find(term)
        if len(hits) == 1:
            return redirect(f"admin:{hits[0].page}_change", hits[0].row.pk)
        context = self.get_context_data(term=term.strip(), searched=bool(term.strip()))
        context["table"] = {
            "headers": ["What", "Found", "Where it stands"],
            "rows": [_row(hit) for hit in hits],
        }
        return self.render_to_response(context)


def _row(hit: Hit) -> list[object]:
    return [
        hit.what,
        format_html("{} {}", panels.link(hit.page, hit.row.pk), _label(hit.row)),
        _standing(hit.row),
    ]


def _label(row: Any) -> str:
    name = str(row)
    return "" if name == str(row.pk) else name


def _standing(row: Any) -> str:
    if isinstance(row, PlatformPurchase):
        return f"{row.player or 'nobody'} · {row.product} · {explanations.of_purchase(row).text}"
    if isinstance(row, Order):
        return explanations.of_order(row).text
    return "–"
