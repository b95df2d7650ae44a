"""Prometheus metrics of the plumbing. Domains keep theirs in their own metrics.py.

With several processes, `PROMETHEUS_MULTIPROC_DIR` names a folder in which prometheus-client
adds the processes' counters up (config/gunicorn.py empties it at start).
"""

from prometheus_client import Counter, Histogram

REQUESTS = Counter("evenkeel_http_requests_total", "Requests", ["method", "route", "status"])
REQUEST_SECONDS = Histogram(
    "evenkeel_http_request_seconds",
    "Seconds from the first byte in to the last byte out",
    ["route"],
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10),
)
TASKS = Counter("evenkeel_tasks_total", "Celery tasks by outcome", ["task", "outcome"])
TASK_SECONDS = Histogram(
    "evenkeel_task_seconds", "Seconds of one task", ["task"], buckets=(0.01, 0.1, 1, 10, 60, 600)
)
REDIS_FAILURES = Counter(
    "evenkeel_redis_failures_total", "Times that Redis was asked and did not answer", ["purpose"]
)
DATABASE_FAILURES = Counter(
    "evenkeel_database_failures_total", "Requests that found no working database"
)
RATE_LIMITED = Counter("evenkeel_rate_limited_total", "Requests refused by a limit", ["limit"])
PROBLEMS = Counter("evenkeel_problems_total", "Problem documents by code", ["code"])
HOOKS = Counter("evenkeel_hooks_total", "Hook calls by outcome", ["hook", "outcome"])
HOOK_SECONDS = Histogram("evenkeel_hook_seconds", "Seconds of one hook call", ["hook"])
CACHE = Counter("evenkeel_cache_total", "Look-ups in process caches", ["cache", "outcome"])
