from django.apps import AppConfig


class ProgressConfig(AppConfig):
    name = "progress"

    def ready(self) -> None:
        from auditlog.registry import auditlog

        from accounts import backoffice, definition
        from accounts import merging as merges
        from config import hooks
        from progress import panels
        from progress.definition import AchievementsSection, StatsSection
        from progress.models import Achievement, Stat
        from progress.selectors import values_of_stats
        from progress.services import merging
        from store.services import shoppers

        shoppers.register_stats(values_of_stats)
        merges.register(merging)
        definition.register(StatsSection())
        definition.register(AchievementsSection())
        hooks.declare_point(
            "save",
            "before: game_id, player_id, slot, size (bytes), content_type. The writer's save is "
            "refused with the hook's problem.",
        )
        hooks.declare_point(
            "stat",
            "before: game_id, player_id, updates ({stat: value} as reported). All of the batch is "
            "refused with the hook's problem.",
        )
        hooks.declare_point(
            "unlock", "after: game_id, player_id (strings), achievement (key). Once an unlock."
        )
        backoffice.register_player_panel("Saves", panels.saves_panel, order=30)
        backoffice.register_player_panel("Stats", panels.stats_panel, order=31)
        backoffice.register_player_panel("Achievements", panels.achievements_panel, order=32)
        for model in (Stat, Achievement):
            auditlog.register(model)
