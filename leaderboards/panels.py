"""What a player's page in the back office shows of leaderboards."""

from django.urls import reverse
from django.utils.timezone import localtime

from accounts.backoffice import Panel
from accounts.models import Player
from leaderboards.selectors import player_entries

SHOWN = 20


def scores_panel(player: Player) -> Panel:
    return Panel(
        columns=["Board", "Season", "Score", "Achieved", "State"],
        rows=[
            [
                season.board.key,
                season.number,
                entry.score,
                localtime(entry.achieved_at),
                entry.get_state_display(),
            ]
            for season, entry in player_entries(player, limit=SHOWN)
        ],
        more_url=f"{reverse('admin:leaderboards_entryrow_changelist')}?q={player.pk}",
    )
