"""Settings for the environment that `DJANGO_ENV` names: development, test or production."""

import os

from django.core.exceptions import ImproperlyConfigured

DJANGO_ENV = os.environ.get("DJANGO_ENV", "development").strip().lower()

if DJANGO_ENV == "production":
    from config.settings.production import *
elif DJANGO_ENV == "test":
    from config.settings.test import *
elif DJANGO_ENV == "development":
    from config.settings.development import *
else:
    raise ImproperlyConfigured(
        f"DJANGO_ENV is {DJANGO_ENV!r}; it has to be development, test or production"
    )
