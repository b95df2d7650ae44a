from django.apps import AppConfig

from config import hooks
from config.db import partitions


class LeaderboardsConfig(AppConfig):
    name = "leaderboards"

    def ready(self) -> None:
        from auditlog.registry import auditlog

        from accounts import backoffice, definition
        from accounts import merging as merges
        from leaderboards import listeners, panels
        from leaderboards.definition import LeaderboardsSection
        from leaderboards.models import Board
        from leaderboards.services import merging

        merges.register(merging)
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
        hooks.after("tester_changed")(listeners.tester_changed)
        backoffice.register_player_panel("Scores", panels.scores_panel, order=40)
        auditlog.register(Board)
