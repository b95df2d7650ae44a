from django.apps import AppConfig


class StoreConfig(AppConfig):
    name = "store"
    verbose_name = "Store"

    def ready(self) -> None:
        from auditlog.registry import auditlog

        from accounts import definition as game_file
        from accounts.backoffice import register_player_panel
        from config.db.partitions import Partitioned, register
        from config.hooks import declare_point
        from store import definition, models, panels

        for section in (
            definition.CurrenciesSection(),
            definition.ItemsSection(),
            definition.OffersSection(),
        ):
            game_file.register(section)
        # Kept for ever: a balance can always be recomputed from them.
        for table in ("store_entry", "store_stackmovement"):
            register(Partitioned(table, "created_at", "month", after_make=models.REFUSE_TRUNCATE))
        declare_point(
            "purchase",
            "Buying with virtual currency. before: game_id, player_id (UUIDs), offer (key), "
            "quantity. after: game_id, player_id, purchase_id (strings), offer, quantity.",
        )
        register_player_panel("Wallet", panels.wallet, order=20)
        register_player_panel("Inventory", panels.inventory, order=21)
        register_player_panel("Purchases", panels.purchases, order=22)
        register_player_panel("Grants", panels.grants, order=23)
        for model in (models.Currency, models.Item, models.Offer):
            auditlog.register(model)
