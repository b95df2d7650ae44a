from django.apps import AppConfig


class PlumbingConfig(AppConfig):
    name = "config"
    verbose_name = "Jobs and hooks"

    def ready(self) -> None:
        from config import checks, logs

        logs.configure()
        _ = checks
