"""Metrics of the store."""

from prometheus_client import Counter, Gauge

PURCHASES = Counter("evenkeel_store_purchases_total", "Purchases with virtual currency")
GRANTS = Counter("evenkeel_store_grants_total", "Grants by who gave them", ["source"])
CONSUMPTIONS = Counter("evenkeel_store_consumptions_total", "Consumptions of items")
REDEMPTIONS = Counter(
    "evenkeel_store_redemptions_total", "Promotion codes sent, by outcome", ["outcome"]
)
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

# --- real money ------------------------------------------------------------------------------

ORDERS = Counter("evenkeel_store_orders_total", "Receipts by how they ended", ["provider", "state"])
PLATFORM_PURCHASES = Counter(
    "evenkeel_store_platform_purchases_total",
    "Purchases in platforms' stores by the state they came to",
    ["provider", "environment", "state"],
)
PLATFORM_CALLS = Counter(
    "evenkeel_store_platform_calls_total",
    "Times that a platform was to be asked, by outcome",
    ["provider", "outcome"],
)
NOTICES = Counter(
    "evenkeel_store_notifications_total", "Platforms' notifications", ["provider", "outcome"]
)
OWNER_CONFLICTS = Counter(
    "evenkeel_store_owner_conflicts_total", "Receipts of purchases that are another player's"
)
SANDBOX_GRANTS = Counter(
    "evenkeel_store_sandbox_grants_total", "Grants of what nobody paid for", ["provider"]
)
SUBSCRIPTIONS = Counter(
    "evenkeel_store_subscriptions_total",
    "What happened to subscriptions",
    ["provider", "environment", "event"],
)
RECONCILED = Counter(
    "evenkeel_store_reconciled_total",
    "What was found by asking, because no notification told of it",
    ["provider"],
)


def _now(name: str, text: str, labels: tuple[str, ...] = ()) -> Gauge:
    return Gauge(f"evenkeel_store_{name}", text, labels, multiprocess_mode="mostrecent")


DEAD = _now("dead", "Orders and notifications that need a person", ("what",))
OLDEST_UNPROCESSED = _now(
    "oldest_unprocessed_seconds", "How long the oldest order or notification waits", ("what",)
)
OLDEST_UNTOLD = _now(
    "oldest_untold_seconds",
    "How long the oldest granted purchase waits until its platform is told",
    ("provider",),
)
OLDEST_UNASKED = _now(
    "oldest_unasked_seconds",
    "How long the subscription that was to be asked about first is overdue",
)
OPEN_CONFLICTS = _now("open_owner_conflicts", "Purchases that two players claim")
LAST_NOTICE = _now(
    "last_notification_timestamp_seconds", "When a platform last notified us", ("provider",)
)
BALANCES_IN_DEBT = _now("balances_in_debt", "Balances below zero after refunds")
