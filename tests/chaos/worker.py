"""The Celery applications of workers under test: `celery -A tests.chaos.worker:app worker`.

`app` is config.celery's own; only, it waits longer for platforms that hang, so that a test decides
when it ends. `careless` (tests/chaos/careless.py) lacks the guards, for controls.
"""

from typing import Any

from celery.signals import worker_init

from config.celery import app
from store.providers import apple_client, registry
from store.providers.google import GoogleProvider

__all__ = ["app"]
PATIENT = (5.0, 60.0)


class PatientGoogle(GoogleProvider):
    """Waits for an answer for a minute."""

    def __init__(self, **options: Any) -> None:
        super().__init__(timeout=PATIENT, **options)


registry.PROVIDERS["google"] = f"{__name__}.PatientGoogle"
apple_client.TIMEOUT = PATIENT


@worker_init.connect
def _load_once(**_: Any) -> None:
    """Before the processes of the pool are forked, which then have it."""
    for name in ("apple", "google"):
        registry.provider(name)
