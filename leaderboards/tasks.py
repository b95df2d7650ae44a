"""Jobs of leaderboards."""

from uuid import UUID

from celery import shared_task

from config.redis import RedisAway
from leaderboards.services import ranks


@shared_task
def reconcile_ranks() -> int:
    """Bring the rank index up to date; how many entries and seasons needed it."""
    try:
        report = ranks.reconcile()
    except RedisAway:
        return 0
    return report.repaired + report.rebuilt


@shared_task
def rebuild_ranks(season_id: str) -> bool:
    """Build one season's index anew."""
    return ranks.rebuild(UUID(season_id))
