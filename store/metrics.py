"""Metrics of the store."""

from prometheus_client import Counter, Gauge

PURCHASES = Counter("evenkeel_store_purchases_total", "Purchases with virtual currency")
GRANTS = Counter("evenkeel_store_grants_total", "Grants by who gave them", ["source"])
CONSUMPTIONS = Counter("evenkeel_store_consumptions_total", "Consumptions of items")
REFUSALS = Counter(
    "evenkeel_store_refusals_total", "Movements that the ledger refused, by reason", ["reason"]
)
LEDGER_DIFFERENCES = Gauge(
    "evenkeel_store_ledger_differences",
    "Differences that the last check of the ledger found; anything but 0 needs a person",
    multiprocess_mode="mostrecent",
)
LEDGER_CHECKED = Gauge(
    "evenkeel_store_ledger_checked_timestamp_seconds",
    "When the ledger was last checked whole (Unix time)",
    multiprocess_mode="mostrecent",
)
