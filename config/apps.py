from django.apps import AppConfig
from django.conf import settings
from django.core.cache import close_caches
from django.core.signals import request_finished, request_started
from django.db import reset_queries


class PlumbingConfig(AppConfig):
    name = "config"
    verbose_name = "Jobs and hooks"

    def ready(self) -> None:
        from config import checks, logs

        logs.configure()
        _ = checks
        # What Django does around every request and nothing here needs: django-redis keeps its
        # connections, and queries are noted only in DEBUG.
        request_finished.disconnect(close_caches)
        if not settings.DEBUG:
            request_started.disconnect(reset_queries)
