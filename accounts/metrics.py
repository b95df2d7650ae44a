"""Prometheus metrics of accounts."""

from prometheus_client import Counter, Gauge

SIGN_INS = Counter("evenkeel_sign_ins_total", "Sign-ins by outcome", ["method", "outcome"])
REFRESHES = Counter("evenkeel_refreshes_total", "Refreshes by outcome", ["outcome"])
PLAYERS_CREATED = Counter("evenkeel_players_created_total", "New players by method", ["method"])
SESSIONS_REVOKED = Counter("evenkeel_sessions_revoked_total", "Ended sessions", ["reason"])
SANCTIONS = Counter("evenkeel_sanctions_total", "Sanctions by kind", ["kind"])
PASSWORD_WAITING = Gauge(
    "evenkeel_password_lane",
    "Requests whose password is being checked or waits for it",
    multiprocess_mode="livesum",
)
REVOCATIONS_REPEATED = Counter(
    "evenkeel_revocations_repeated_total", "Revocations told to Redis again by the job"
)
MERGES = Counter("evenkeel_merges_total", "Players merged, and merges undone", ["what"])
