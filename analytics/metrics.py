"""Prometheus metrics of analytics."""

from prometheus_client import Counter, Gauge, Histogram

EVENTS = Counter("evenkeel_events_total", "Events sent by games, by outcome", ["outcome"])
ROLLUP_SECONDS = Histogram(
    "evenkeel_rollup_seconds",
    "Seconds that one day of one game took to compute",
    buckets=(0.01, 0.1, 1, 10, 60, 600),
)
ROLLUP_LAG = Gauge(
    "evenkeel_rollup_lag_seconds",
    "How long ago the events were received that the figures do not count yet",
    multiprocess_mode="mostrecent",
)
