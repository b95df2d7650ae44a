"""The page of revenue: by day, country, product, platform, environment, always by currency."""

import json
from collections.abc import Sequence
from datetime import date, timedelta
from typing import Any, cast
from urllib.parse import urlencode
from zoneinfo import ZoneInfo

from django import forms
from django.db import OperationalError, transaction
from django.http import HttpRequest, HttpResponse, HttpResponseBadRequest
from django.shortcuts import redirect
from django.utils import timezone
from django.views.generic import TemplateView
from psycopg.errors import QueryCanceled
from unfold.views import UnfoldModelAdminViewMixin
from unfold.widgets import (
    UnfoldAdminDateWidget,
    UnfoldAdminSelectWidget,
    UnfoldAdminTextInputWidget,
)

from accounts.backoffice import audit
from accounts.models import Game, StaffUser
from analytics.dashboard import OPTIONS
from config.hooks import hasten
from store import finance, panels, tasks
from store.export_rows import KINDS
from store.finance import COLUMNS, DIMENSIONS, MAX_DAYS, Period, Row
from store.providers.money import major
from store.services import exports

SHOWN = 500
# As many currencies have a chart of their own; they can't share one without being converted.
CHARTS = 4
SOLD, REFUNDED = "#0072b2", "#d55e00"


class RevenueForm(forms.Form):
    """What to count. Days are the game's."""

    game = forms.ModelChoiceField(
        Game.objects.order_by("name"), widget=UnfoldAdminSelectWidget, empty_label=None
    )
    first = forms.DateField(label="From", widget=UnfoldAdminDateWidget)
    last = forms.DateField(label="To", widget=UnfoldAdminDateWidget)
    by = forms.ChoiceField(
        choices=list(DIMENSIONS.items()), label="By", widget=UnfoldAdminSelectWidget
    )
    environment = forms.ChoiceField(
        choices=[("production", "production"), ("sandbox", "sandbox"), ("any", "both")],
        widget=UnfoldAdminSelectWidget,
    )
    platform = forms.CharField(
        required=False, max_length=20, widget=UnfoldAdminTextInputWidget(attrs={"size": 8})
    )
    country = forms.CharField(
        required=False, max_length=2, widget=UnfoldAdminTextInputWidget(attrs={"size": 4})
    )
    product = forms.CharField(
        required=False, max_length=200, widget=UnfoldAdminTextInputWidget(attrs={"size": 12})
    )

    def clean(self) -> dict[str, Any]:
        data = super().clean() or {}
        first, last = data.get("first"), data.get("last")
        if first and last and not timedelta() <= last - first < timedelta(days=MAX_DAYS):
            raise forms.ValidationError(f"Look at {MAX_DAYS} days or fewer, oldest day first")
        return data

    def period(self) -> Period:
        """Only after `is_valid()`."""
        data = self.cleaned_data
        wanted = {name: data[name] for name in COLUMNS}
        wanted["country"] = wanted["country"].upper()
        if wanted["environment"] == "any":
            wanted["environment"] = ""
        only = tuple((name, value) for name, value in wanted.items() if value)
        return Period(data["game"], data["first"], data["last"], only)


class RevenueView(UnfoldModelAdminViewMixin, TemplateView):
    """GET shows the figures; POST orders a file of them (`kind`)."""

    title = "Revenue"
    permission_required = ()
    template_name = "admin/store/revenue.html"

    def has_permission(self) -> bool:
        return bool(self.model_admin.has_view_permission(self.request))

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        context: dict[str, Any] = super().get_context_data(**kwargs)
        form = RevenueForm(_given(self.request.GET))
        context |= {"form": form, "kinds": {key: kind.title for key, kind in KINDS.items()}}
        if not form.is_valid():
            return context
        period, by = form.period(), form.cleaned_data["by"]
        try:
            rows = finance.revenue(period, [by])
            days = rows if by == "day" else finance.revenue(period, ["day"])
            totals = finance.revenue(period, []) if by == "day" else _totals(rows)
        except OperationalError as error:
            if not isinstance(error.__cause__, QueryCanceled):
                raise
            context["empty"] = "That took too long. Ask for fewer days, or export it."
            return context
        query = {name: form.data.get(name) or "" for name in form.fields}
        return context | {
            "empty": "Nothing was sold or refunded.",
            "query": "?" + urlencode(query),
            "cards": [_card(row) for row in totals],
            "charts": charts(period, days),
            "chart_options": OPTIONS,
            "table": {
                "headers": [
                    DIMENSIONS[by],
                    "Currency",
                    "Sales",
                    "Sold",
                    "Refunds",
                    "Refunded",
                    "Net",
                    "Without a price",
                ],
                "rows": [_cells(row) for row in _shown(rows, by)[:SHOWN]],
            },
            "more": len(rows) > SHOWN,
            "timezone": period.game.timezone,
        }

    def post(self, request: HttpRequest) -> HttpResponse:
        form = RevenueForm(_given(request.GET))
        kind = request.POST.get("kind", "")
        if not form.is_valid() or kind not in KINDS:
            return HttpResponseBadRequest("Choose what to export on the page of revenue.")
        with transaction.atomic():
            export = exports.order(
                kind=kind, period=form.period(), author=cast(StaffUser, request.user)
            )
            audit(export, ordered=("", export.title))
            hasten(tasks.write_exports)
        return redirect("admin:store_export_change", export.pk)


def _given(said: Any) -> dict[str, Any]:
    """What was asked for; else the last 30 days of the first game."""
    games = Game.objects.order_by("name")
    game = games.filter(pk=said["game"]).first() if _is_uuid(said.get("game")) else games.first()
    zone = ZoneInfo(game.timezone) if game else ZoneInfo("UTC")
    today = timezone.now().astimezone(zone).date()
    return {
        "game": game.pk if game else None,
        "first": (today - timedelta(days=29)).isoformat(),
        "last": today.isoformat(),
        "by": "day",
        "environment": "production",
    } | {name: value for name, value in said.items() if value and name != "game"}


def _is_uuid(text: str | None) -> bool:
    try:
        forms.UUIDField().clean(text)
    except forms.ValidationError:
        return False
    return True


def _totals(rows: Sequence[Row]) -> list[Row]:
    """Sums by currency."""
    found: dict[str, Row] = {}
    for row in rows:
        so_far = found.get(row.currency, Row((), row.currency, 0, 0, 0, 0, 0))
        found[row.currency] = Row(
            (),
            row.currency,
            so_far.sales + row.sales,
            so_far.unpriced + row.unpriced,
            so_far.sold + row.sold,
            so_far.refunds + row.refunds,
            so_far.refunded + row.refunded,
        )
    return sorted(found.values(), key=lambda row: (not row.currency, -row.sales, row.currency))


def _shown(rows: list[Row], by: str) -> list[Row]:
    """Newest day first; else what sold most."""
    if by == "day":
        return sorted(rows, key=lambda row: (row.labels, -row.sales), reverse=True)
    return sorted(rows, key=lambda row: (-row.sales, row.labels, row.currency))


def _card(row: Row) -> dict[str, object]:
    return {
        "title": row.currency or "No price told",
        "net": panels.money(row.net, row.currency) if row.currency else f"{row.sales:,}",
        "detail": f"{row.sales:,} sales, {row.refunds:,} refunds",
    }


def _cells(row: Row) -> list[object]:
    def money(amount: int) -> str:
        return f"{major(amount, row.currency):,}" if row.currency else "–"

    return [
        row.labels[0] or "unknown",
        row.currency or "not told",
        f"{row.sales:,}",
        money(row.sold),
        f"{row.refunds:,}",
        money(-row.refunded),
        money(row.net),
        f"{row.unpriced:,}" if row.unpriced else "–",
    ]


def charts(period: Period, rows: Sequence[Row]) -> list[dict[str, str]]:
    """A bar chart by day for each of the currencies with most sales."""
    length = (period.last - period.first).days + 1
    days = [period.first + timedelta(days=number) for number in range(length)]
    drawn = []
    for total in [row for row in _totals(rows) if row.currency][:CHARTS]:
        own = {
            date.fromisoformat(row.labels[0]): row for row in rows if row.currency == total.currency
        }
        sold = [float(major(own[day].sold, total.currency)) if day in own else 0 for day in days]
        back = [
            -float(major(own[day].refunded, total.currency)) if day in own else 0 for day in days
        ]
        data = {
            "labels": [f"{day:%d %b}" for day in days],
            "datasets": [
                {"label": "Sold", "data": sold, "backgroundColor": SOLD, "stack": "a"},
                {"label": "Refunded", "data": back, "backgroundColor": REFUNDED, "stack": "a"},
            ],
        }
        drawn.append({"title": f"{total.currency} by day", "data": json.dumps(data)})
    return drawn
