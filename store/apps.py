from django.apps import AppConfig


class StoreConfig(AppConfig):
    name = "store"
    verbose_name = "Store"

    def ready(self) -> None:
        from auditlog.registry import auditlog

        from accounts import definition as game_file
        from accounts import merging as merges
        from accounts.backoffice import register_player_panel
        from config.db.partitions import Partitioned, register
        from config.hooks import declare_point
        from store import (
            definition,
            definition_codes,
            definition_platforms,
            models,
            panels,
            subscription_panels,
        )
        from store.providers import apple_checks  # noqa: F401 (registers its checks)
        from store.services import merging

        for section in (
            definition_platforms.PlatformsSection(),
            definition.CurrenciesSection(),
            definition.ItemsSection(),
            definition.OffersSection(),
            definition.StoresSection(),
            definition_codes.CampaignsSection(),
            definition_codes.GrantThresholdsSection(),
        ):
            game_file.register(section)
        # Kept for ever: a balance can always be recomputed from them.
        for table, after_make in (
            ("store_entry", models.GUARD_ENTRIES),
            ("store_stackmovement", models.REFUSE_TRUNCATE),
        ):
            register(Partitioned(table, "created_at", "month", after_make=after_make))
        declare_point(
            "purchase",
            "Buying with virtual currency. before: game_id, player_id (UUIDs), offer (key), "
            "quantity. after: game_id, player_id, purchase_id (strings), offer, quantity.",
        )
        declare_point(
            "platform_purchase",
            "A purchase in a platform's store was granted. after: game_id, player_id, purchase_id "
            "(strings), offer, quantity.",
        )
        merges.register(merging)
        register_player_panel("Wallet", panels.wallet, order=20)
        register_player_panel("Inventory", panels.inventory, order=21)
        register_player_panel("Purchases", panels.purchases, order=22)
        register_player_panel("Gifts", panels.gifts, order=23)
        register_player_panel("Grants", panels.grants, order=23)
        register_player_panel("Real money", panels.platform_purchases, order=22)
        register_player_panel("Receipts", panels.orders, order=22)
        register_player_panel("Subscriptions", subscription_panels.subscriptions, order=22)
        register_player_panel("Codes", panels.redemptions, order=24)
        for model in (
            models.Currency,
            models.Item,
            models.Offer,
            models.Storefront,
            models.Campaign,
            models.PlatformApp,
        ):
            auditlog.register(model)
        auditlog.register(models.GrantThreshold)
