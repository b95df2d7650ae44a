"""`manage.py export_game SLUG`: a game as the file that `apply_game` takes."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from accounts.models import Game
from accounts.services import game_files


class Command(BaseCommand):
    help = "Print a game's definition as YAML; applying it changes nothing."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("slug")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            text = game_files.export(slug=options["slug"])
        except Game.DoesNotExist:
            raise CommandError(f"There is no game {options['slug']}") from None
        self.stdout.write(text, ending="")
