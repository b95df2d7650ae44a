from django.apps import AppConfig
from django.contrib import admin

from config import events
from config.db import partitions


class AnalyticsConfig(AppConfig):
    name = "analytics"

    def ready(self) -> None:
        from accounts.backoffice import register_player_panel
        from analytics.event_pages import player_panel
        from analytics.services import server_events

        events.set_sink(server_events.record)
        partitions.register(
            partitions.Partitioned(
                "analytics_event", "at", "day", ahead=3, keep_setting="EVENT_KEEP_DAYS"
            )
        )
        # Dropped by analytics.services.retention, which looks at when an id was last received.
        partitions.register(partitions.Partitioned("analytics_eventid", "bucket", "month", ahead=1))
        partitions.register(
            partitions.Partitioned(
                "analytics_activeplayer", "day", "month", ahead=1, keep_setting="ACTIVE_KEEP_DAYS"
            )
        )
        register_player_panel("Recent events", player_panel, order=80)
        # Unfold stands before the apps in INSTALLED_APPS, so its own page of this name would win.
        admin.site.index_template = "admin/analytics/dashboard.html"
