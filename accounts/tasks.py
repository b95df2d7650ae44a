"""Jobs of accounts. Each may run twice."""

from celery import shared_task

from accounts.services import merging, revocations, sessions


@shared_task(ignore_result=True)
def publish_gate_state() -> int:
    """Repeat to Redis the revocations and versions that it may have missed."""
    return revocations.publish_recent()


@shared_task(ignore_result=True)
def forget_expired_sessions() -> int:
    """Delete sessions that ended long ago."""
    return sessions.forget_expired()


@shared_task(ignore_result=True)
def settle_merges() -> int:
    """Bring over what was still on its way to players while they were merged."""
    return merging.settle_due()
