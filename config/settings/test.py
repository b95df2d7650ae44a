"""Tests: fixed keys, cheap password hashing, a Redis prefix of one's own for each worker."""

import os

from config.settings.base import *
from config.settings.env import env

DEBUG = False
SECRET_KEY = "tests-only-secret-0123456789abcdefghijklmnopqrstuvwxyz"
ALLOWED_HOSTS = ["*"]
METRICS_TOKEN = "tests-metrics-token"
ACCESS_TOKEN_KEYS = """-----BEGIN PRIVATE KEY-----
MC4CAQAwBQYDK2VwBCIEIJ1hsZ3v/VpguoRK9JLsLMREScVpezJpGXA7rAMcrn9g
-----END PRIVATE KEY-----
"""
# The password rules are tested with argon2 itself; everywhere else its cost would only be waiting.
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher", *PASSWORD_HASHERS]
PASSWORD_MEMORY_KIB, PASSWORD_PASSES = 8, 1
# A worker process under test is told its parent's prefix.
REDIS_KEY_PREFIX = env.raw("REDIS_KEY_PREFIX") or (
    f"ektest:{os.environ.get('PYTEST_XDIST_WORKER', 'main')}:{os.getpid()}"
)
CACHES["default"]["KEY_PREFIX"] = f"{REDIS_KEY_PREFIX}:cache"
if CELERY_BROKER_URL.startswith(("redis", "unix")):
    CELERY_BROKER_TRANSPORT_OPTIONS["global_keyprefix"] = f"{REDIS_KEY_PREFIX}:celery:"
else:
    # What a killed run left in RabbitMQ must not reach the next one's workers.
    CELERY_TASK_DEFAULT_QUEUE = f"{REDIS_KEY_PREFIX}:default"
    CELERY_TASK_ROUTES = {
        task: {**route, "queue": f"{REDIS_KEY_PREFIX}:{route['queue']}"}
        for task, route in CELERY_TASK_ROUTES.items()
    }
# The ledger's tables refuse TRUNCATE, except where a test has to empty its database. No test needs
# what it wrote to survive the machine.
DATABASES["default"]["OPTIONS"]["options"] = (
    "-c evenkeel.ledger_may_be_emptied=on -c synchronous_commit=off"
)
EMAIL_BACKEND = "django.core.mail.backends.locmem.EmailBackend"
LOG_REQUESTS = False
STORE_SANDBOX = True
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.InMemoryStorage"},
    "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"},
}

env.refuse_problems()
