"""The section `platforms` of a game file: in which platforms' stores the game is sold."""

from collections.abc import Callable
from typing import Annotated, Any

import msgspec

from accounts.definition import Report
from accounts.models import Game
from config.api.parsing import convert
from config.api.problems import Problem
from config.api.wire import Input
from store.models import PlatformApp
from store.providers import registry
from store.services import platform_apps

FIELDS = ("app_id", "options", "key_name", "sandbox", "is_active")
KeyName = Annotated[str, msgspec.Meta(pattern=r"^[a-z][a-z0-9_]{0,39}$")]


class PlatformFile(Input, frozen=True, omit_defaults=True):
    """A game's app in a platform's store. `key_name` names its secret: PLATFORM_KEY_<NAME> in the
    environment; secrets are in no file."""

    provider: str
    # The sandbox' is the game's slug unless told.
    app_id: Annotated[str, msgspec.Meta(min_length=1, max_length=255)] | None = None
    key_name: KeyName | None = None
    sandbox: PlatformApp.Sandbox = PlatformApp.Sandbox.OFF
    options: dict[str, Any] = {}


class PlatformsSection:
    """`platforms`."""

    name = "platforms"
    order = 5

    def plan(self, game: Game, data: list[Any], report: Report) -> Callable[[], None]:
        wanted: dict[str, dict[str, Any]] = {}
        for index, raw in enumerate(data):
            pointer = f"/{self.name}/{index}"
            try:
                entry = convert(raw, PlatformFile)
            except Problem as problem:
                first = problem.errors[0] if problem.errors else None
                where, text = (first.pointer, first.detail) if first else ("", problem.detail)
                report.error(f"{pointer}{where}", text)
                continue
            app_id = entry.app_id or (game.slug if entry.provider == "sandbox" else "")
            if mistake := self._mistake(game, entry.provider, app_id, wanted):
                report.error(f"{pointer}/{mistake[0]}", mistake[1])
                continue
            wanted[entry.provider] = {
                "app_id": app_id,
                "options": entry.options,
                "key_name": entry.key_name or "",
                "sandbox": entry.sandbox.value,
                "is_active": True,
            }
        writes = self._differences(game, wanted, report)
        return lambda: platform_apps.write(game_id=game.pk, writes=writes)

    def _mistake(
        self, game: Game, provider: str, app_id: str, wanted: dict[str, Any]
    ) -> tuple[str, str] | None:
        if provider not in registry.PROVIDERS:
            return "provider", f"It is one of {', '.join(registry.PROVIDERS)}"
        if provider in wanted:
            return "provider", "A game has one app in each store"
        if not app_id:
            return "app_id", "This field is required"
        others = PlatformApp.objects.exclude(game_id=game.pk)
        if others.filter(provider=provider, app_id=app_id).exists():
            return "app_id", "Another game has this app"
        return None

    def _differences(
        self, game: Game, wanted: dict[str, dict[str, Any]], report: Report
    ) -> dict[str, dict[str, Any]]:
        rows = {row.provider: row for row in PlatformApp.objects.filter(game=game)}
        writes: dict[str, dict[str, Any]] = {}
        for provider, fields in wanted.items():
            row = rows.get(provider)
            if row is None:
                report.change("created", self.name, provider)
                writes[provider] = fields
            elif different := [name for name in FIELDS if getattr(row, name) != fields[name]]:
                report.change("changed", self.name, provider, ", ".join(different))
                writes[provider] = fields
        for provider, row in rows.items():
            if provider not in wanted and row.is_active:
                report.change("removed", self.name, provider)
                writes[provider] = {"is_active": False}
        return writes

    def export(self, game: Game) -> list[dict[str, Any]]:
        return [
            msgspec.to_builtins(
                PlatformFile(
                    provider=row.provider,
                    app_id=None
                    if row.provider == "sandbox" and row.app_id == game.slug
                    else row.app_id,
                    key_name=row.key_name or None,
                    sandbox=PlatformApp.Sandbox(row.sandbox),
                    options=row.options,
                )
            )
            for row in PlatformApp.objects.filter(game=game, is_active=True).order_by("provider")
        ]
