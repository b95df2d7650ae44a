"""`manage.py roll_up`: compute figures now."""

from datetime import date
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from accounts.models import Game
from analytics import selectors
from analytics.services import rollups


class Command(BaseCommand):
    help = "Compute daily figures: what is new, or again for the days from --from to --to."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--game", help="slug of one game; all games unless told")
        parser.add_argument("--from", dest="first", type=date.fromisoformat, help="first day")
        parser.add_argument("--to", dest="last", type=date.fromisoformat, help="last day")

    def handle(self, *args: Any, **options: Any) -> None:
        games = Game.objects.filter(is_active=True).order_by("slug")
        if options["game"]:
            games = games.filter(slug=options["game"])
            if not games:
                raise CommandError(f"There is no game {options['game']}")
        for game in games:
            if options["first"] is None:
                days = len(rollups.update(game_id=game.pk))
            else:
                last = options["last"] or selectors.today_of(game.pk)
                days = rollups.recompute(game_id=game.pk, first=options["first"], last=last)
            self.stdout.write(f"{game.slug}: {days} days")
