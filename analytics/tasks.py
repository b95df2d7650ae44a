"""Jobs of analytics, in the queue `rollups`. Each may run twice."""

from uuid import UUID

from celery import shared_task

from analytics import selectors
from analytics.services import retention, rollups


@shared_task(ignore_result=True)
def roll_up() -> int:
    """Bring the figures of all games up to date; how many days were computed."""
    computed = 0
    for game_id in selectors.games_with_figures():
        computed += len(rollups.update(game_id=game_id))
    return computed


@shared_task(ignore_result=True)
def roll_up_game(game_id: str) -> int:
    """Bring the figures of one game up to date."""
    return len(rollups.update(game_id=UUID(game_id)))


@shared_task(ignore_result=True)
def forget() -> int:
    """Delete salts and event ids whose time is over."""
    return retention.renew_salts() + retention.forget_event_ids()
