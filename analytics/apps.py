from django.apps import AppConfig

from config import events
from config.db import partitions


class AnalyticsConfig(AppConfig):
    name = "analytics"

    def ready(self) -> None:
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
