"""Applying and exporting game files (docs/game-definition.md).

Everything happens in one transaction, the game's row included: a mistake anywhere, or a dry run,
leaves nothing behind.
"""

import re
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import Any
from zoneinfo import available_timezones

import yaml
from django.db import transaction

from accounts import definition
from accounts.definition import Change, Finding, Report
from accounts.models import ApiKey, Game
from accounts.services import keys
from config.db import definitions
from config.db.transactions import advisory_lock

MAX_BYTES = 4 << 20
MAX_ENTRIES = 10_000
MAX_DEPTH = 20
_SLUG = re.compile(r"[a-z0-9][a-z0-9-]{0,49}")
_GAME_FIELDS = {"slug", "name", "timezone"}


class DefinitionError(Exception):
    """The file has mistakes; `findings` lists them."""

    def __init__(self, findings: list[Finding]) -> None:
        super().__init__(f"{len(findings)} mistakes")
        self.findings = findings


@dataclass
class Applied:
    """What applying a file did, or (dry run) would do. `server_key` only if one was made."""

    game: str
    created: int
    changed: int
    publishable_key: str | None
    server_key: str | None = None
    changes: list[Change] = field(default_factory=list)


class _Loader(yaml.SafeLoader):
    """Safe YAML without what a definition has no use for: repeated keys and aliases."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.events.AliasEvent):
            event: Any = self.peek_event()  # type: ignore[no-untyped-call]  # PyYAML's stubs
            raise yaml.composer.ComposerError(
                None, None, "aliases are not taken here", event.start_mark
            )
        return super().compose_node(parent, index)

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[Any] = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if not isinstance(key, str):
                problem = f"the key {key!r} is no text; quote it"
                raise yaml.constructor.ConstructorError(None, None, problem, key_node.start_mark)
            if key in seen:
                problem = f"the key {key} is there twice"
                raise yaml.constructor.ConstructorError(None, None, problem, key_node.start_mark)
            seen.add(key)
        return super().construct_mapping(node, deep)


def read_file(text: str) -> dict[str, Any]:
    """The file's top level. Raises `DefinitionError`."""
    if len(text.encode()) > MAX_BYTES:
        raise _refused("", f"The file is larger than {MAX_BYTES >> 20} MiB")
    try:
        # A subclass of SafeLoader: it makes plain values only.
        data = yaml.load(text, _Loader)  # noqa: S506
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        where = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        raise _refused("", f"{where}{error.problem}") from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise _refused("", f"This is not YAML: {error}") from None
    if not isinstance(data, dict):
        raise _refused("", "The file is a mapping: game, currencies, items and so on")
    return data


def _refused(pointer: str, message: str) -> DefinitionError:
    return DefinitionError([Finding(pointer, message)])


def apply(*, text: str, dry_run: bool = False, new_server_key: bool = False) -> Applied:
    """Make a game what the file says. Raises `DefinitionError`, `TooManyServerKeys`.

    A definition that a section of the file no longer has is archived; a section that the file
    lacks is left alone. A dry run checks and compares all of it, and leaves nothing behind.
    """
    data = read_file(text)
    report = Report()
    settings_of_game = _check_shape(data, report)
    if report.errors:
        raise DefinitionError(report.errors)
    with transaction.atomic():
        advisory_lock("apply_game", settings_of_game["slug"])
        game, is_new = _plan_game(settings_of_game, report)
        steps = _plan_sections(game, data, report)
        if report.errors:
            raise DefinitionError(report.errors)
        for step in steps if not dry_run else ():
            step()
        server_key = None
        if is_new or new_server_key:
            _, server_key = keys.create(
                game_id=game.pk, kind=ApiKey.Kind.SECRET, name="made by apply_game"
            )
        publishable_key: str | None = keys.publishable_key(game)
        if report.changes:
            definitions.changed(game.pk)
        if dry_run:
            transaction.set_rollback(True)
    if dry_run:
        server_key = None
        publishable_key = None if is_new else _existing_publishable_key(game)
    return Applied(
        game=game.slug,
        created=report.count("created"),
        changed=report.count("changed") + report.count("removed"),
        publishable_key=publishable_key,
        server_key=server_key,
        changes=report.changes,
    )


def _existing_publishable_key(game: Game) -> str | None:
    key = keys.active(game.pk, ApiKey.Kind.PUBLISHABLE).first()
    return key.shown if key else None


def _check_shape(data: dict[str, Any], report: Report) -> dict[str, str]:
    """Check what holds for every section; the game's own settings."""
    known = {section.name for section in definition.sections()}
    for name, part in data.items():
        if name == "game":
            continue
        if name not in known:
            report.error(f"/{name}", "There is no such section")
        elif not isinstance(part, list):
            report.error(f"/{name}", "A section is a list")
        elif len(part) > MAX_ENTRIES:
            report.error(f"/{name}", f"A section has at most {MAX_ENTRIES} entries")
        else:
            _check_entries(name, part, report)
    return _check_game(data.get("game"), report)


def _check_entries(name: str, entries: list[Any], report: Report) -> None:
    seen: set[str] = set()
    for index, entry in enumerate(entries):
        pointer = f"/{name}/{index}"
        if not isinstance(entry, dict):
            report.error(pointer, "An entry is a mapping")
            continue
        if _depth(entry) > MAX_DEPTH:
            report.error(pointer, "This is nested too deeply")
        key = entry.get("key")
        if isinstance(key, str):
            if key in seen:
                report.error(f"{pointer}/key", f"The key {key} is there twice")
            seen.add(key)


def _depth(value: Any) -> int:
    children = value.values() if isinstance(value, dict) else value
    if not isinstance(value, dict | list):
        return 0
    return 1 + max((_depth(child) for child in children), default=0)


def _check_game(part: Any, report: Report) -> dict[str, str]:
    if not isinstance(part, dict):
        report.error("/game", "The file needs a game: slug, name and time zone")
        return {}
    for unknown in sorted(part.keys() - _GAME_FIELDS):
        report.error(f"/game/{unknown}", "There is no such field")
    slug, name, zone = part.get("slug"), part.get("name"), part.get("timezone", "UTC")
    if not isinstance(slug, str) or not _SLUG.fullmatch(slug):
        report.error("/game/slug", "A slug has 1 to 50 of a–z, 0–9 and -")
    if not isinstance(name, str) or not 1 <= len(name.strip()) <= 100:
        report.error("/game/name", "A name has 1 to 100 characters")
    if not isinstance(zone, str) or zone not in available_timezones():
        report.error("/game/timezone", "This is no IANA time zone")
    return {"slug": str(slug), "name": str(name).strip(), "timezone": str(zone)}


def _plan_game(wanted: dict[str, str], report: Report) -> tuple[Game, bool]:
    """The game, written; and whether it is new. The caller's transaction may take it back."""
    game = Game.objects.select_for_update(no_key=True).filter(slug=wanted["slug"]).first()
    if game is None:
        report.change("created", "game", wanted["slug"])
        return Game.objects.create(**wanted), True
    different = [name for name in ("name", "timezone") if getattr(game, name) != wanted[name]]
    if different:
        report.change("changed", "game", game.slug, ", ".join(different))
        for name in different:
            setattr(game, name, wanted[name])
        game.save(update_fields=different)
    return game, False


def _plan_sections(game: Game, data: dict[str, Any], report: Report) -> list[Callable[[], None]]:
    """Let every section of the file plan, in order; the steps that apply what they planned."""
    steps: list[Callable[[], None]] = []
    for section in definition.sections():
        given = section.name in data
        entries = data[section.name] if given else section.export(game)
        report.keys[section.name] = {
            entry["key"] for entry in entries if isinstance(entry.get("key"), str)
        }
        if given:
            steps.append(section.plan(game, entries, report))
    return steps


def export(*, slug: str) -> str:
    """The game as a file; applying it changes nothing. Raises `Game.DoesNotExist`."""
    game = Game.objects.get(slug=slug)
    data: dict[str, Any] = {
        "game": {"slug": game.slug, "name": game.name, "timezone": game.timezone}
    }
    for section in definition.sections():
        data[section.name] = section.export(game)
    return yaml.safe_dump(data, sort_keys=False, allow_unicode=True, width=100)
