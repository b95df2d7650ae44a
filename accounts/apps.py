from django.apps import AppConfig


class AccountsConfig(AppConfig):
    name = "accounts"

    def ready(self) -> None:
        from allauth.mfa.signals import authenticator_added
        from auditlog.registry import auditlog

        from accounts import merging, middleware, models, panels
        from accounts.services import merge_friends, merge_identity
        from config.hooks import declare_point

        declare_point(
            "validate_display_name",
            "before a display name is taken: game_id, player_id (None for a new player), "
            "display_name; refuse with HookRefused",
        )
        declare_point("player_created", "after a player was made: game_id, player_id")
        declare_point(
            "tester_changed",
            "after a player became a tester, or is none any more: game_id, player_id, is_tester",
        )
        declare_point(
            "player_sanctioned",
            "after a player was sanctioned: game_id, player_id, sanction_id, kind",
        )
        declare_point(
            "players_merged",
            "after a player was merged into another: game_id, survivor_id, absorbed_id",
        )
        merging.register(merge_identity)
        merging.register(merge_friends)
        declare_point(
            "friendship_made", "after two players became friends: game_id, player_id, friend_id"
        )
        auditlog.register(models.Game, exclude_fields=["definition_version"])
        auditlog.register(models.ApiKey, exclude_fields=["hash", "last_used_at"])
        auditlog.register(
            models.StaffUser, exclude_fields=["password", "last_login"], m2m_fields=set()
        )
        auditlog.register(models.Sanction)
        authenticator_added.connect(middleware.note_enrolment)
        panels.register()
