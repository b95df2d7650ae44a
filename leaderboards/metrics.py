"""Metrics of leaderboards."""

from prometheus_client import Counter, Gauge

SCORES = Counter("evenkeel_scores_total", "Scores by verdict", ["verdict"])
INDEX_FAILURES = Counter(
    "evenkeel_rank_index_failures_total", "Times that the rank index could not be asked or changed"
)
INDEX_REPAIRED = Counter(
    "evenkeel_rank_index_repaired_total", "Entries that the reconciler found missing or old"
)
RANKS_FROM_DATABASE = Counter(
    "evenkeel_ranks_from_database_total",
    "Ranks read from PostgreSQL because the index had none",
    ["outcome"],
)
INDEX_LAG = Gauge(
    "evenkeel_rank_index_lag_seconds",
    "Age of the moment up to which every index is known to be complete",
    multiprocess_mode="mostrecent",
)
SEASONS_WITHOUT_INDEX = Gauge(
    "evenkeel_rank_seasons_without_index",
    "Running seasons whose index is missing or being built",
    multiprocess_mode="mostrecent",
)
REBUILD_SECONDS = Gauge(
    "evenkeel_rank_rebuild_seconds",
    "How long the latest rebuild of an index took",
    multiprocess_mode="mostrecent",
)
