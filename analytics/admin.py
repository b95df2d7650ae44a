"""Analytics in the back office: figures, and a page to look through events."""

from typing import Any

from django.contrib import admin
from django.urls import URLPattern, path

from accounts.backoffice import ReadOnlyAdmin
from accounts.roles import ADMINS, EVERYONE
from analytics.event_pages import EventsView
from analytics.models import DailyFigure, RollupDay


@admin.register(DailyFigure)
class DailyFigureAdmin(ReadOnlyAdmin):
    """Every figure of every day. Also carries the page of events: their table has a composite
    key, for which Django has no admin."""

    roles = {"view": EVERYONE, "change": ADMINS}
    list_display = ("day", "game", "metric", "split", "label", "value")
    list_filter = ("game", "metric", "split")
    list_select_related = ("game",)
    ordering = ("-day", "metric", "split", "label")
    show_full_result_count = False

    def get_urls(self) -> list[URLPattern]:
        view: Any = self.admin_site.admin_view(EventsView.as_view(model_admin=self))
        return [path("events/", view, name="analytics_events"), *super().get_urls()]


@admin.register(RollupDay)
class RollupDayAdmin(ReadOnlyAdmin):
    """When days were computed last, and how long it took."""

    roles = {"view": EVERYONE, "change": ADMINS}
    list_display = ("day", "game", "computed_at", "took_ms")
    list_filter = ("game",)
    list_select_related = ("game",)
    ordering = ("-day",)
    show_full_result_count = False
