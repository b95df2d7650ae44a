"""What all environments share. Every value that an operator may change comes from `env`."""

from pathlib import Path
from typing import Any

import environ
from celery.schedules import crontab

from config.settings.backoffice import *
from config.settings.env import env

BASE_DIR = Path(__file__).resolve().parent.parent.parent
LOCAL_DIR = BASE_DIR / ".local"
PRODUCTION = False

# --- secrets and addresses -------------------------------------------------------------------

SECRET_KEY = env.text(
    "SECRET_KEY", "", secret=True, doc="Django's secret: signs admin sessions and cursors"
)
SECRET_KEY_FALLBACKS = env.names(
    "SECRET_KEY_FALLBACKS",
    [],
    doc="earlier SECRET_KEYs whose sessions and refresh tokens still work",
)
ACCESS_TOKEN_KEYS = env.text(
    "ACCESS_TOKEN_KEYS",
    "",
    secret=True,
    doc="Ed25519 private keys (PEM, one after another): the first signs access tokens, "
    "all of them verify; `manage.py make_token_key` makes one",
)
ALLOWED_HOSTS = env.names(
    "ALLOWED_HOSTS", ["localhost", "127.0.0.1", "[::1]"], doc="host names that this server answers"
)
TRUSTED_PROXIES = env.names(
    "TRUSTED_PROXIES",
    [],
    doc="networks (CIDR) whose X-Forwarded-For and X-Forwarded-Proto count",
)
CSRF_TRUSTED_ORIGINS = env.names(
    "CSRF_TRUSTED_ORIGINS", [], doc="origins (with scheme) from which the admin accepts forms"
)
CORS_ALLOWED_ORIGINS = env.names(
    "CORS_ALLOWED_ORIGINS", [], doc="origins of browser games (WebGL) that may call the API"
)
PUBLIC_URL = env.text(
    "PUBLIC_URL", "http://127.0.0.1:8000", doc="address that players' mails and pages link to"
)

# --- database, Redis, broker -----------------------------------------------------------------

DATABASE_URL = env.text(
    "DATABASE_URL",
    "postgres://postgres@127.0.0.1:5432/evenkeel",
    secret=True,
    doc="PostgreSQL 15 or later, postgres://user:password@host:port/name",
)
DATABASE_REPLICA_URLS = env.names(
    "DATABASE_REPLICA_URLS", [], doc="read replicas for reads that need not see one's own write"
)
REDIS_URL = env.text(
    "REDIS_URL",
    "redis://127.0.0.1:6379/0",
    secret=True,
    doc="Redis 7 or Valkey: ranks, limits, revocations; never the only copy of anything",
)
CELERY_BROKER_URL = env.text(
    "CELERY_BROKER_URL", "", secret=True, doc="Redis or RabbitMQ for jobs; REDIS_URL when not set"
)
DB_CONN_MAX_AGE = env.number("DB_CONN_MAX_AGE", 600, doc="seconds a database connection is kept")
DB_SERVER_SIDE_BINDING = env.flag(
    "DB_SERVER_SIDE_BINDING",
    True,
    doc="bind parameters in PostgreSQL; needed for prepared statements",
)
DB_PREPARED_STATEMENTS = env.flag(
    "DB_PREPARED_STATEMENTS",
    True,
    doc="keep prepared statements; switch off behind PgBouncer before 1.21 in transaction mode",
)
DB_STATEMENT_TIMEOUT_MS = env.number(
    "DB_STATEMENT_TIMEOUT_MS",
    0,
    doc="longest statement in milliseconds, sent as a connection option; 0: as PostgreSQL is set",
)


def database(url: str) -> dict[str, Any]:
    """Django's settings for one PostgreSQL address."""
    config: dict[str, Any] = environ.Env.db_url_config(url)
    options: dict[str, Any] = config.setdefault("OPTIONS", {})
    options["server_side_binding"] = DB_SERVER_SIDE_BINDING
    options["prepare_threshold"] = 3 if DB_PREPARED_STATEMENTS else None
    options.setdefault("connect_timeout", 5)
    options.setdefault("application_name", "evenkeel")
    if DB_STATEMENT_TIMEOUT_MS:
        options["options"] = f"-c statement_timeout={DB_STATEMENT_TIMEOUT_MS}"
    return config | {
        "ENGINE": "django.db.backends.postgresql",
        "CONN_MAX_AGE": DB_CONN_MAX_AGE,
        "CONN_HEALTH_CHECKS": False,
        "DISABLE_SERVER_SIDE_CURSORS": True,
    }


DATABASES = {"default": database(DATABASE_URL)}
for number, replica_url in enumerate(DATABASE_REPLICA_URLS):
    DATABASES[f"replica{number}"] = database(replica_url) | {"TEST": {"MIRROR": "default"}}

DATABASE_ROUTERS = ["config.db.replicas.ReplicaRouter"]

REDIS_KEY_PREFIX = env.text("REDIS_KEY_PREFIX", "ek", doc="stands before every key in Redis")
REDIS_TIMEOUT_MS = env.number(
    "REDIS_TIMEOUT_MS", 500, doc="longest wait for Redis, connecting or reading, in milliseconds"
)
CACHES = {
    "default": {
        "BACKEND": "django_redis.cache.RedisCache",
        "LOCATION": REDIS_URL,
        "KEY_PREFIX": f"{REDIS_KEY_PREFIX}:cache",
        "OPTIONS": {
            "CLIENT_CLASS": "django_redis.client.DefaultClient",
            "SOCKET_CONNECT_TIMEOUT": REDIS_TIMEOUT_MS / 1000,
            "SOCKET_TIMEOUT": REDIS_TIMEOUT_MS / 1000,
            "CONNECTION_POOL_KWARGS": {"max_connections": 200},
        },
    }
}

# --- applications ----------------------------------------------------------------------------

INSTALLED_APPS = [
    "unfold",
    "unfold.contrib.filters",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "django.contrib.humanize",
    "rest_framework",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "corsheaders",
    "csp",
    "accounts",  # before allauth, whose pages it redraws
    "allauth",
    "allauth.account",
    "allauth.mfa",
    "auditlog",
    "django_celery_beat",
    "django_structlog",
    "config",
    "analytics",
    "store",
    "progress",
    "leaderboards",
]
STUDIO_APPS = env.names(
    "STUDIO_APPS", [], doc="your own Django apps (their AppConfig.ready registers hooks)"
)
INSTALLED_APPS += STUDIO_APPS

# Those after ApiMiddleware serve only the back office (see config/middleware.py).
MIDDLEWARE = [
    "config.middleware.RequestMiddleware",
    "corsheaders.middleware.CorsMiddleware",
    "config.middleware.ApiMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "allauth.account.middleware.AccountMiddleware",
    "auditlog.middleware.AuditlogMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "csp.middleware.CSPMiddleware",
    "accounts.middleware.StaffSecondFactorMiddleware",
]
if not CORS_ALLOWED_ORIGINS:
    MIDDLEWARE.remove("corsheaders.middleware.CorsMiddleware")
CORS_URLS_REGEX = r"^/v1/.*$"
CORS_ALLOW_HEADERS = (
    "accept",
    "authorization",
    "content-type",
    "content-encoding",
    "content-digest",
    "idempotency-key",
    "if-match",
    "if-none-match",
    "x-game-key",
    "x-request-id",
)
CORS_EXPOSE_HEADERS = (
    "etag",
    "idempotent-replayed",
    "location",
    "ratelimit",
    "ratelimit-policy",
    "retry-after",
    "x-request-id",
)

ROOT_URLCONF = "config.urls"
WSGI_APPLICATION = "config.wsgi.application"
APPEND_SLASH = True
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "config" / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "accounts.context_processors.back_office",
            ]
        },
    }
]
STATIC_URL = "/static/"
STATIC_ROOT = env.text(
    "STATIC_ROOT", str(BASE_DIR / ".local" / "static"), doc="where collectstatic puts files"
)
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
USE_TZ = True
TIME_ZONE = "UTC"
LANGUAGE_CODE = "en"
# Django looks for its own middlewares by name; ours are subclasses of those three.
SILENCED_SYSTEM_CHECKS = ["security.W001", "security.W002", "security.W003"]

# --- the API ---------------------------------------------------------------------------------

API_AUTHENTICATE = "accounts.authentication.authenticate"
API_CONFIRM_KEY = "accounts.authentication.confirm_key"
API_SESSION_IS_LIVE = "accounts.selectors.session_is_live"
API_REBUILD_GATE = "accounts.services.revocations.rebuild"

REST_FRAMEWORK = {
    "DEFAULT_SCHEMA_CLASS": "config.api.schema.EndpointSchema",
    "DEFAULT_AUTHENTICATION_CLASSES": [],
    "DEFAULT_PERMISSION_CLASSES": [],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_PARSER_CLASSES": ["rest_framework.parsers.JSONParser"],
    "EXCEPTION_HANDLER": "config.api.problems.drf_exception_handler",
    "UNAUTHENTICATED_USER": None,
}
SPECTACULAR_SETTINGS = {
    "TITLE": "Evenkeel",
    "DESCRIPTION": "A self-hosted game backend: accounts, progress, leaderboards, store, "
    "analytics.",
    "VERSION": "1.0.0",
    # 3.1 is JSON Schema itself, which is what msgspec describes Structs in.
    "OAS_VERSION": "3.1.1",
    "SERVE_INCLUDE_SCHEMA": False,
    "SERVE_AUTHENTICATION": [],
    "SERVE_PERMISSIONS": [],
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
    "SCHEMA_PATH_PREFIX": "/v1",
    "COMPONENT_SPLIT_REQUEST": False,
    "ENUM_GENERATE_CHOICE_DESCRIPTION": False,
    "POSTPROCESSING_HOOKS": ["config.api.schema.finish"],
    "APPEND_COMPONENTS": {
        "securitySchemes": {
            "GameKey": {"type": "apiKey", "in": "header", "name": "X-Game-Key"},
            "Player": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"},
            "ServerKey": {"type": "apiKey", "in": "header", "name": "Authorization"},
        }
    },
}

PASSWORD_MEMORY_KIB = env.number(
    "PASSWORD_MEMORY_KIB", 19_456, doc="argon2id memory of one check of a player's password"
)
PASSWORD_PASSES = env.number("PASSWORD_PASSES", 2, doc="argon2id passes of a player's password")
PASSWORD_LANE_THREADS = env.number(
    "PASSWORD_LANE_THREADS", 1, doc="players' passwords that a web process checks at once"
)
PASSWORD_LANE_WAITING = env.number(
    "PASSWORD_LANE_WAITING", 3, doc="requests that may wait for it; fewer than WEB_THREADS"
)
PASSWORD_LANE_PERCENT = env.number(
    "PASSWORD_LANE_PERCENT", 10, doc="of one core, that this may take in each web process"
)
PASSWORD_LANE_SECONDS = env.number("PASSWORD_LANE_SECONDS", 3, doc="longest wait for it")
ACCESS_TOKEN_SECONDS = env.number("ACCESS_TOKEN_SECONDS", 900, doc="life of an access token")
REFRESH_TOKEN_SECONDS = env.number(
    "REFRESH_TOKEN_SECONDS", 30 * 86400, doc="life of a refresh token that is not used"
)
REFRESH_GRACE_SECONDS = env.number(
    "REFRESH_GRACE_SECONDS", 30, doc="how long the latest spent refresh token may be repeated"
)
MERGE_TOKEN_SECONDS = env.number(
    "MERGE_TOKEN_SECONDS", 15 * 60, doc="how long a player may think about merging another"
)
MERGES_A_YEAR = env.number("MERGES_A_YEAR", 5, doc="players that one may absorb in a year")
MERGE_UNDO_DAYS = env.number("MERGE_UNDO_DAYS", 30, doc="how long staff can undo a merge")
MERGE_SETTLE_SECONDS = env.number(
    "MERGE_SETTLE_SECONDS",
    90,
    doc="when what was on its way to a merged player is brought over: longer than any request",
)
MAX_BODY_BYTES = env.number("MAX_BODY_BYTES", 256 * 1024, doc="largest request body, decompressed")
MAX_EVENT_BATCH_BYTES = env.number("MAX_EVENT_BATCH_BYTES", 1 << 20, doc="largest batch of events")
MAX_FRIENDS = env.number("MAX_FRIENDS", 200, doc="friends of a player")
MAX_FRIEND_REQUESTS_SENT = env.number(
    "MAX_FRIEND_REQUESTS_SENT", 100, doc="friend requests of one player that wait for an answer"
)
MAX_FRIEND_REQUESTS_RECEIVED = env.number(
    "MAX_FRIEND_REQUESTS_RECEIVED", 500, doc="friend requests that wait for one player's answer"
)
MAX_BLOCKS = env.number("MAX_BLOCKS", 1_000, doc="players whom one player may block")
SAVE_MAX_BYTES = env.number("SAVE_MAX_BYTES", 1 << 20, doc="largest save")
SAVE_MAX_SLOTS = env.number("SAVE_MAX_SLOTS", 10, doc="save slots a player")
SAVE_MAX_TOTAL_BYTES = env.number("SAVE_MAX_TOTAL_BYTES", 10 << 20, doc="all saves of a player")
SAVE_KEPT_VERSIONS = env.number("SAVE_KEPT_VERSIONS", 10, doc="versions kept of each save")
SAVE_RESTORE_DAYS = env.number("SAVE_RESTORE_DAYS", 30, doc="days a deleted save can be restored")
STORE_MAX_CURRENCIES = env.number("STORE_MAX_CURRENCIES", 50, doc="currencies of a game")
STORE_MAX_ITEMS = env.number("STORE_MAX_ITEMS", 10_000, doc="items of a game")
STORE_MAX_OFFERS = env.number("STORE_MAX_OFFERS", 2_000, doc="offers of a game")
STORE_MAX_STORES = env.number("STORE_MAX_STORES", 100, doc="stores of a game")
STORE_NEW_PLAYER_DAYS = env.number(
    "STORE_NEW_PLAYER_DAYS", 7, doc="how many days a player is in the segment new_player"
)
STORE_MAX_PRICES = env.number("STORE_MAX_PRICES", 20, doc="prices and product ids of an offer")
STORE_MAX_CONTENTS = env.number("STORE_MAX_CONTENTS", 100, doc="kinds of items in an offer")
STORE_MAX_CAMPAIGNS = env.number("STORE_MAX_CAMPAIGNS", 2_000, doc="promotion campaigns of a game")
STORE_GIFTS_A_DAY = env.number(
    "STORE_GIFTS_A_DAY", 10, doc="gifts that a player may give within 24 hours; of five, five"
)
STORE_GIFTS_RECEIVED_A_DAY = env.number(
    "STORE_GIFTS_RECEIVED_A_DAY", 20, doc="gifts that a player may get within 24 hours"
)
STORE_MAX_CODES = env.number("STORE_MAX_CODES", 100_000, doc="promotion codes of one batch")
GRANT_REQUEST_DAYS = env.number(
    "GRANT_REQUEST_DAYS", 7, doc="days in which a staff grant has to be approved"
)
STORE_MAX_STACKS = env.number("STORE_MAX_STACKS", 10_000, doc="stacks of a player")
PLATFORM_KEYS = env.family(
    "PLATFORM_KEY_",
    doc="a private key or service account for a platform's store; a game's `platforms` name it",
)
STORE_SANDBOX = env.flag(
    "STORE_SANDBOX",
    False,
    doc="the store `sandbox`, whose purchases cost nothing (development: true; production: never)",
)
APPLE_STORE_URL = env.text(
    "APPLE_STORE_URL", "https://api.storekit.apple.com", doc="the App Store Server API"
)
APPLE_SANDBOX_URL = env.text(
    "APPLE_SANDBOX_URL", "https://api.storekit-sandbox.apple.com", doc="the same of the sandbox"
)
APPLE_ROOT_CERTIFICATES = env.names(
    "APPLE_ROOT_CERTIFICATES",
    [],
    doc="files (PEM or DER) with the roots of Apple's signatures; when not set, Apple Root CA - G3",
)
GOOGLE_PLAY_URL = env.text(
    "GOOGLE_PLAY_URL", "https://androidpublisher.googleapis.com", doc="Google Play's developer API"
)
GOOGLE_TOKEN_URL = env.text(
    "GOOGLE_TOKEN_URL",
    "https://oauth2.googleapis.com/token",
    doc="where Google gives access tokens to service accounts",
)
GOOGLE_CERTS_URL = env.text(
    "GOOGLE_CERTS_URL",
    "https://www.googleapis.com/oauth2/v3/certs",
    doc="the keys that Google signs Pub/Sub's tokens with (JWKS)",
)
EVENT_MAX_AGE_SECONDS = env.number("EVENT_MAX_AGE_SECONDS", 7 * 86400, doc="oldest event accepted")
EVENT_MAX_AHEAD_SECONDS = env.number("EVENT_MAX_AHEAD_SECONDS", 300, doc="furthest event ahead")
EVENT_KEEP_DAYS = env.number("EVENT_KEEP_DAYS", 400, doc="days events are kept; 0: for ever")
EVENT_ID_KEEP_DAYS = env.number(
    "EVENT_ID_KEEP_DAYS", 35, doc="days in which an event that is sent again is known"
)
ACTIVE_KEEP_DAYS = env.number(
    "ACTIVE_KEEP_DAYS", 400, doc="days that it is kept who was active on a day; 0: for ever"
)
SUBMISSION_KEEP_DAYS = env.number(
    "SUBMISSION_KEEP_DAYS", 90, doc="days the log of submitted scores is kept; 0: for ever"
)
RANKS_TIMEOUT_MS = env.number(
    "RANKS_TIMEOUT_MS",
    300,
    doc="longest time PostgreSQL counts ranks for a request while Redis has none, milliseconds",
)
IDEMPOTENCY_DAYS = env.number("IDEMPOTENCY_DAYS", 14, doc="days an Idempotency-Key is remembered")
DATA_UPLOAD_MAX_MEMORY_SIZE = 2_621_440

# Name → (count, seconds). Each is one bucket a caller; see config/api/gate.py.
RATE_LIMITS = {
    "player": env.rate("RATE_LIMIT_PLAYER", "300/60", doc="requests of one player"),
    "scores": env.rate("RATE_LIMIT_SCORES", "30/60", doc="scores of one player"),
    "server": env.rate("RATE_LIMIT_SERVER", "6000/60", doc="requests of one server key"),
    "address": env.rate("RATE_LIMIT_ADDRESS", "600/60", doc="anonymous requests of one address"),
    "staff_sign_in": env.rate(
        "RATE_LIMIT_STAFF_SIGN_IN", "10/300", doc="staff sign-ins from one address, and to one name"
    ),
    "second_factor": env.rate(
        "RATE_LIMIT_SECOND_FACTOR", "5/300", doc="second-factor codes of one member of staff"
    ),
    "merges": env.rate(
        "RATE_LIMIT_MERGES", "20/600", doc="merges and their previews of one player"
    ),
    "restorations": env.rate(
        "RATE_LIMIT_RESTORATIONS", "10/600", doc="restorations of purchases by one player"
    ),
    "codes": env.rate("RATE_LIMIT_CODES", "20/60", doc="promotion codes that one player sends"),
    "code_misses": env.rate(
        "RATE_LIMIT_CODE_MISSES", "10/600", doc="promotion codes of one player that do not exist"
    ),
    "code_misses_address": env.rate(
        "RATE_LIMIT_CODE_MISSES_ADDRESS",
        "100/600",
        doc="promotion codes from one address that do not exist",
    ),
    "friend_requests": env.rate(
        "RATE_LIMIT_FRIEND_REQUESTS", "60/3600", doc="friend requests that one player sends"
    ),
    "friend_code_misses": env.rate(
        "RATE_LIMIT_FRIEND_CODE_MISSES", "10/600", doc="friend codes of one player that nobody has"
    ),
    "friend_code_misses_address": env.rate(
        "RATE_LIMIT_FRIEND_CODE_MISSES_ADDRESS",
        "100/600",
        doc="friend codes from one address that nobody has",
    ),
    "notices_refused": env.rate(
        "RATE_LIMIT_NOTICES_REFUSED",
        "600/60",
        doc="notifications in a platform's name, from one address, that are refused or at work",
    ),
    "sign_in": env.rate("RATE_LIMIT_SIGN_IN", "60/60", doc="sign-ins from one address"),
    "sign_in_identity": env.rate(
        "RATE_LIMIT_SIGN_IN_IDENTITY", "20/60", doc="sign-ins to one identity"
    ),
    "register": env.rate("RATE_LIMIT_REGISTER", "10/3600", doc="registrations from one address"),
}

# --- jobs ------------------------------------------------------------------------------------

CELERY_BROKER_URL = CELERY_BROKER_URL or REDIS_URL
CELERY_TASK_IGNORE_RESULT = True
CELERY_TASK_SERIALIZER = "json"
CELERY_ACCEPT_CONTENT = ["json"]
CELERY_TASK_DEFAULT_QUEUE = "default"
CELERY_TASK_CREATE_MISSING_QUEUES = True
CELERY_TASK_ACKS_LATE = False
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
CELERY_TASK_SOFT_TIME_LIMIT = 540
CELERY_TASK_TIME_LIMIT = 600
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_BROKER_TRANSPORT_OPTIONS: dict[str, Any] = (
    {
        "global_keyprefix": f"{REDIS_KEY_PREFIX}:celery:",
        "socket_connect_timeout": 2,
        "socket_timeout": 30,
        "visibility_timeout": 3600,
    }
    if CELERY_BROKER_URL.startswith(("redis", "unix"))
    else {"confirm_publish": True}
)
CELERY_TASK_PUBLISH_RETRY_POLICY = {"max_retries": 1, "interval_start": 0.1, "interval_max": 0.2}
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
CELERY_TIMEZONE = "UTC"
CELERY_BEAT_SCHEDULER = "django_celery_beat.schedulers:DatabaseScheduler"
CELERY_TASK_ROUTES = {
    "analytics.tasks.*": {"queue": "rollups"},
    # What takes long does not stand in the way of receipts.
    "store.tasks.verify_ledger": {"queue": "rollups"},
    "store.tasks.make_codes": {"queue": "rollups"},
    "store.tasks.tidy": {"queue": "rollups"},
    "store.tasks.reconcile": {"queue": "rollups"},
    "store.tasks.write_exports": {"queue": "rollups"},
    "store.tasks.*": {"queue": "receipts"},
}
CELERY_BEAT_SCHEDULE = {
    "run-due-hooks": {"task": "config.tasks.run_due_hooks", "schedule": 30.0},
    "make-and-drop-partitions": {
        "task": "config.tasks.maintain_partitions",
        "schedule": crontab(minute="17", hour="*/6"),
    },
    "forget-old-idempotency-keys": {
        "task": "config.tasks.forget_idempotency_keys",
        "schedule": crontab(minute="41"),
    },
    "roll-up-figures": {"task": "analytics.tasks.roll_up", "schedule": 20.0},
    "forget-salts-and-event-ids": {
        "task": "analytics.tasks.forget",
        "schedule": crontab(minute="23", hour="*/6"),
    },
    "sweep-orders": {
        "task": "store.tasks.sweep_orders",
        "schedule": 30.0,
        "options": {"expires": 30},
    },
    "sweep-notifications": {
        "task": "store.tasks.sweep_notices",
        "schedule": 30.0,
        "options": {"expires": 30},
    },
    "tell-platforms": {
        # Google sells a consumable to a player again only when it was consumed.
        "task": "store.tasks.tell_platforms",
        "schedule": 30.0,
        "options": {"expires": 30},
    },
    "poll-pending-purchases": {
        "task": "store.tasks.poll_pending",
        "schedule": 300.0,
        "options": {"expires": 300},
    },
    "ask-about-subscriptions": {
        "task": "store.tasks.ask_about_subscriptions",
        "schedule": 300.0,
        "options": {"expires": 300},
    },
    "reconcile-platforms": {
        "task": "store.tasks.reconcile",
        "schedule": 300.0,
        "options": {"expires": 300},
    },
    "measure-receipts": {
        "task": "store.tasks.measure_receipts",
        "schedule": 60.0,
        "options": {"expires": 60},
    },
    "verify-ledger": {
        "task": "store.tasks.verify_ledger",
        "schedule": crontab(minute="23", hour="3"),
    },
    "make-due-codes": {"task": "store.tasks.make_codes", "schedule": 60.0},
    "write-exports": {
        "task": "store.tasks.write_exports",
        "schedule": 60.0,
        "options": {"expires": 60},
    },
    "tidy-codes-and-grant-requests": {
        "task": "store.tasks.tidy",
        "schedule": crontab(minute="7"),
    },
    "publish-definition-versions": {
        "task": "accounts.tasks.publish_gate_state",
        "schedule": 5.0,
    },
    "settle-merges": {
        "task": "accounts.tasks.settle_merges",
        "schedule": 30.0,
        "options": {"expires": 30},
    },
    "forget-expired-sessions": {
        "task": "accounts.tasks.forget_expired_sessions",
        "schedule": crontab(minute="47", hour="3"),
    },
    "repair-ranks": {
        "task": "leaderboards.tasks.reconcile_ranks",
        "schedule": 5.0,
        "options": {"expires": 10},
    },
    "purge-deleted-saves": {
        "task": "progress.tasks.purge_deleted_saves",
        "schedule": crontab(minute="23", hour="4"),
    },
}

# --- mail, logs, metrics ---------------------------------------------------------------------

EMAIL_URL = env.text(
    "EMAIL_URL", "consolemail://", secret=True, doc="smtp+tls://user:password@host:port"
)
vars().update(environ.Env.email_url_config(EMAIL_URL))
DEFAULT_FROM_EMAIL = env.text(
    "DEFAULT_FROM_EMAIL", "Evenkeel <noreply@localhost>", doc="sender of players' mails"
)
LOG_LEVEL = env.text("LOG_LEVEL", "INFO", doc="DEBUG, INFO, WARNING or ERROR")
LOG_FORMAT = env.text("LOG_FORMAT", "console", doc="console or json (production: json)")
LOG_REQUESTS = env.flag("LOG_REQUESTS", True, doc="one log line for each request")
METRICS_TOKEN = env.text(
    "METRICS_TOKEN", "", secret=True, doc="bearer token for /metrics; without one it is not served"
)
SENTRY_DSN = env.text("SENTRY_DSN", "", secret=True, doc="where errors are reported, if anywhere")

PORT = env.number("PORT", 8000, doc="port of the web server")
WEB_SERVER = env.text("WEB_SERVER", "gunicorn", doc="gunicorn or granian")
WEB_WORKERS = env.number("WEB_WORKERS", 2, doc="web processes")
WEB_THREADS = env.number("WEB_THREADS", 16, doc="threads of each web process")

DJANGO_STRUCTLOG_CELERY_ENABLED = True
