"""Jobs of analytics, in the queue `rollups`. Each may run twice."""

import structlog
from celery import shared_task

from analytics import selectors
from analytics.services import retention, rollups

log = structlog.get_logger(__name__)


@shared_task(ignore_result=True)
def roll_up() -> int:
    """Bring the figures of all games up to date; how many days were computed.

    A game whose figures can't be computed is logged, and keeps no other game waiting.
    """
    computed = 0
    for game_id in selectors.games_with_figures():
        try:
            computed += len(rollups.update(game_id=game_id))
        except Exception as error:
            log.error("rollup_failed", game=str(game_id), exc_info=error)
    return computed


@shared_task(ignore_result=True)
def forget() -> int:
    """Delete salts and event ids whose time is over."""
    return retention.renew_salts() + retention.forget_event_ids()
