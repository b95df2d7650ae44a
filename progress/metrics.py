"""Prometheus metrics of saves, stats and achievements."""

from prometheus_client import Counter, Histogram

SAVES = Counter(
    "evenkeel_save_writes_total",
    "Writes of saves: created, replaced, replayed, conflict, deleted, restored",
    ["outcome"],
)
SAVE_BYTES = Histogram(
    "evenkeel_save_bytes",
    "Sizes of written saves",
    buckets=(256, 1024, 4096, 16384, 65536, 262144, 1048576),
)
SAVES_PURGED = Counter("evenkeel_saves_purged_total", "Deleted slots that were removed for good")
STAT_UPDATES = Counter(
    "evenkeel_stat_updates_total",
    "Updates of stats by outcome: applied, or the refusal's code",
    ["outcome"],
)
UNLOCKS = Counter("evenkeel_achievements_unlocked_total", "Achievements unlocked")
