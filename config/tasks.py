"""The plumbing's own jobs."""

from celery import shared_task

from config.api import idempotency
from config.db import partitions


@shared_task
def run_due_hooks() -> int:
    """Call the `after_*` hooks that are due."""
    from config import hooks

    return hooks.run_due()


@shared_task
def maintain_partitions() -> int:
    """Make partitions ahead, drop what retention lets go."""
    return len(partitions.maintain())


@shared_task
def forget_idempotency_keys() -> int:
    """Delete idempotency keys past their days."""
    return idempotency.forget_old()
