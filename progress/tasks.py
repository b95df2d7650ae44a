"""Jobs of progress."""

from celery import shared_task

from progress.services import save_history


@shared_task
def purge_deleted_saves() -> int:
    """Remove the slots whose time for restoring is over."""
    return save_history.purge_deleted()
