from django.apps import AppConfig

from config.db import partitions


class LeaderboardsConfig(AppConfig):
    name = "leaderboards"

    def ready(self) -> None:
        from accounts import definition
        from config import hooks
        from leaderboards.definition import LeaderboardsSection

        definition.register(LeaderboardsSection())
        partitions.register(
            partitions.Partitioned(
                "leaderboards_submission",
                "created_at",
                "day",
                ahead=3,
                keep_setting="SUBMISSION_KEEP_DAYS",
            )
        )
        hooks.declare_point(
            "score",
            "before: game_id, player_id, board (key), score, metadata; after: game_id, player_id, "
            "board, season (number), score (as kept), improved. Ids are UUIDs before and "
            "strings after.",
        )
