"""What a player's page in the admin shows of progress."""

from django.urls import reverse
from django.utils.timezone import localtime

from accounts.backoffice import Panel
from accounts.models import Player
from progress.models import AchievementState, Save, StatValue

MOST = 20


def saves_panel(player: Player) -> Panel:
    rows = Save.objects.filter(player=player).order_by("slot").defer("sha256")[:MOST]
    return Panel(
        columns=["Slot", "Version", "Access", "Bytes", "Device", "Written", "State"],
        rows=[
            [
                row.slot,
                row.version,
                row.access,
                row.size,
                row.device or "–",
                localtime(row.updated_at),
                "deleted" if row.deleted_at else "",
            ]
            for row in rows
        ],
        more_url=f"{reverse('admin:progress_save_changelist')}?q={player.pk}",
    )


def stats_panel(player: Player) -> Panel:
    values = StatValue.objects.filter(player=player).select_related("stat")
    return Panel(
        columns=["Stat", "Value", "Changed"],
        rows=[
            [row.stat.key, row.value, localtime(row.updated_at)]
            for row in values.order_by("stat__key")[:MOST]
        ],
    )


def achievements_panel(player: Player) -> Panel:
    states = AchievementState.objects.filter(player=player).select_related("achievement")
    return Panel(
        columns=["Achievement", "Reported progress", "Unlocked"],
        rows=[
            [
                row.achievement.name,
                row.progress or "–",
                localtime(row.unlocked_at) if row.unlocked_at else "not yet",
            ]
            for row in states.order_by("-unlocked_at")[:MOST]
        ],
    )
