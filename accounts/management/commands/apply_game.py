"""`manage.py apply_game FILE`: make a game what its file says."""

import json
import sys
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from accounts.definition import Change
from accounts.services import game_files
from config.api.problems import Problem

SIGNS = {"created": "+", "changed": "~", "removed": "-"}


class Command(BaseCommand):
    help = "Apply a game definition (docs/game-definition.md). Prints JSON on standard output."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("file", help="a YAML file, or - for standard input")
        parser.add_argument(
            "--dry-run", action="store_true", help="check all, show the difference, change nothing"
        )
        parser.add_argument(
            "--new-server-key", action="store_true", help="make another server key and print it"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            applied = game_files.apply(
                text=_read(options["file"]),
                dry_run=options["dry_run"],
                new_server_key=options["new_server_key"],
            )
        except game_files.DefinitionError as refused:
            for finding in refused.findings:
                self.stderr.write(f"{finding.pointer or '/'}: {finding.message}")
            raise CommandError("The file has mistakes; nothing was changed.") from None
        except Problem as problem:
            raise CommandError(problem.detail) from None
        for change in applied.changes:
            self.stderr.write(_line(change))
        if not applied.changes:
            self.stderr.write("Nothing differs.")
        elif options["dry_run"]:
            self.stderr.write("A dry run: nothing was changed.")
        answer: dict[str, Any] = {
            "game": applied.game,
            "created": applied.created,
            "changed": applied.changed,
            "publishable_key": applied.publishable_key,
        }
        if applied.server_key is not None:
            answer["server_key"] = applied.server_key
        self.stdout.write(json.dumps(answer))


def _read(name: str) -> str:
    try:
        return sys.stdin.read() if name == "-" else Path(name).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise CommandError(f"{name} can't be read: {error}") from None


def _line(change: Change) -> str:
    detail = f": {change.detail}" if change.detail else ""
    return f"{SIGNS[change.kind]} {change.section} {change.key}{detail}"
