"""The WSGI application: `config.wsgi:application`."""

import gc
import os
from importlib import import_module

from django.core.cache import close_caches
from django.core.signals import request_finished, request_started
from django.core.wsgi import get_wsgi_application
from django.db import reset_queries

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
application = get_wsgi_application()

from django.conf import settings  # noqa: E402 (read after the application has set them up)

from config import scheduling  # noqa: E402

scheduling.let_threads_finish()

# Django does both with every request. Here queries are not recorded but for debugging, and the
# cache's connections are kept.
if not settings.DEBUG:
    request_started.disconnect(reset_queries)
request_finished.disconnect(close_caches)

# Nobody's request shall be the one that loads the views. What is loaded stays for ever: the garbage
# collector need not look at it again.
import_module(settings.ROOT_URLCONF)
gc.collect()
gc.freeze()
