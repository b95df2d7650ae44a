"""The WSGI application: `config.wsgi:application`."""

import os

from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
application = get_wsgi_application()

from django.conf import settings  # noqa: E402 (read after the application has set them up)

from config import cores  # noqa: E402

if settings.WEB_PIN_CORES:
    cores.pin()
