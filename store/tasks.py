"""The store's jobs."""

from celery import shared_task

from store.services import verification


@shared_task
def verify_ledger() -> int:
    """Recompute the books of all games; how many differences there are. Reads only."""
    return verification.verify_and_report()
