"""The Celery application: `celery -A config worker -Q default,receipts,rollups,mail`."""

import os
import time
from typing import Any

from celery import Celery
from celery.signals import (
    setup_logging,
    task_failure,
    task_postrun,
    task_prerun,
    task_retry,
    task_success,
)
from django_structlog.celery.steps import DjangoStructLogInitStep

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")

app = Celery("evenkeel")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()
app.steps["worker"].add(DjangoStructLogInitStep)  # request ids travel with tasks


@setup_logging.connect
def _keep_our_logging(**_: Any) -> None:
    """Celery would replace the handlers that settings made."""


@task_prerun.connect
def _start_clock(task: Any = None, **_: Any) -> None:
    task.request.started = time.perf_counter()


@task_postrun.connect
def _observe(task: Any = None, **_: Any) -> None:
    from config.metrics import TASK_SECONDS

    started = getattr(task.request, "started", None)
    if started is not None:
        TASK_SECONDS.labels(task.name).observe(time.perf_counter() - started)


def _count(outcome: str) -> Any:
    def count(sender: Any = None, **_: Any) -> None:
        from config.metrics import TASKS

        TASKS.labels(getattr(sender, "name", "unknown"), outcome).inc()

    return count


# Celery keeps weak references to receivers; the names keep these alive.
_success, _failure, _retry = _count("success"), _count("failure"), _count("retry")
task_success.connect(_success)
task_failure.connect(_failure)
task_retry.connect(_retry)
