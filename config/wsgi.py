"""The WSGI application: `config.wsgi:application`."""

import gc
import os
from importlib import import_module

from django.core.cache import close_caches
from django.core.handlers.base import reset_urlconf
from django.core.signals import request_finished, request_started
from django.core.wsgi import get_wsgi_application
from django.db import close_old_connections, reset_queries

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
application = get_wsgi_application()

from django.conf import settings  # noqa: E402 (read after the application has set them up)

from config import scheduling  # noqa: E402

scheduling.let_threads_finish()

# What Django does at the end of each request, and need not here: the cache's connections are kept,
# all requests have one URLconf, and what is broken or old is closed when the next one begins.
for receiver in (close_caches, reset_urlconf, close_old_connections):
    request_finished.disconnect(receiver)
if not settings.DEBUG:
    # Nor are queries recorded.
    request_started.disconnect(reset_queries)

# Nobody's request shall be the one that loads the views. What is loaded stays for ever: the garbage
# collector need not look at it again.
import_module(settings.ROOT_URLCONF)
gc.collect()
gc.freeze()
