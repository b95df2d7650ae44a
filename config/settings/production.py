"""Production: refuses to start while anything is missing or unsafe, and names all of it."""

from config.settings.base import *
from config.settings.env import env

PRODUCTION = True
DEBUG = False
STAFF_MFA_REQUIRED = True
LOG_FORMAT = env.text("LOG_FORMAT", "json", doc="console or json (production: json)")

for name in (
    "SECRET_KEY",
    "ACCESS_TOKEN_KEYS",
    "DATABASE_URL",
    "REDIS_URL",
    "CELERY_BROKER_URL",
    "ALLOWED_HOSTS",
    "PUBLIC_URL",
):
    if env.raw(name) is None:
        env.problems.append(f"{name} is not set ({env.variables[name].doc})")

if env.raw("SECRET_KEY") and (len(SECRET_KEY) < 50 or len(set(SECRET_KEY)) < 10):
    env.problems.append("SECRET_KEY is too short or too regular: use 50 random characters or more")
if "*" in ALLOWED_HOSTS:
    env.problems.append("ALLOWED_HOSTS must name hosts; * would accept forged Host headers")
if env.raw("PUBLIC_URL") and not PUBLIC_URL.startswith("https://"):
    env.problems.append("PUBLIC_URL must start with https://")
if env.raw("DEBUG") and env.flag("DEBUG", False, doc="refused in production"):
    env.problems.append("DEBUG must not be set in production")
if "*" in CORS_ALLOWED_ORIGINS:
    env.problems.append("CORS_ALLOWED_ORIGINS must name origins")
if STORE_SANDBOX:
    env.problems.append("STORE_SANDBOX must not be set in production: its purchases cost nothing")
if METRICS_TOKEN and len(METRICS_TOKEN) < 20:
    env.problems.append("METRICS_TOKEN is too short: use 20 random characters or more")

env.refuse_problems()

SECURE_SSL_REDIRECT = True
SECURE_REDIRECT_EXEMPT = [r"^healthz$", r"^readyz$", r"^metrics$"]
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
SECURE_HSTS_SECONDS = 365 * 86400
SECURE_HSTS_INCLUDE_SUBDOMAINS = True
SECURE_HSTS_PRELOAD = True
SESSION_COOKIE_SECURE = True
CSRF_COOKIE_SECURE = True
SESSION_COOKIE_NAME = "__Host-sessionid"
CSRF_COOKIE_NAME = "__Host-csrftoken"

if SENTRY_DSN:
    import sentry_sdk

    sentry_sdk.init(dsn=SENTRY_DSN, send_default_pii=False, max_request_body_size="never")
