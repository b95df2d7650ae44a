"""`manage.py verify_ledger`: recompute the books."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from accounts.models import Game
from store.services import verification


class Command(BaseCommand):
    help = (
        "Recompute all balances, stacks and limits from the ledger and say what differs. "
        "Reads only, in small slices; can run while the game does. Exit code 1: something differs."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--game", help="slug of the one game to look at")

    def handle(self, *args: Any, **options: Any) -> None:
        game_id = None
        if options["game"]:
            game = Game.objects.filter(slug=options["game"]).first()
            if game is None:
                raise CommandError(f"There is no game {options['game']}", returncode=2)
            game_id = game.pk
        seen = ""

        def progress(check: str, slices: int) -> None:
            nonlocal seen
            if check != seen:
                self.stderr.write(f"{check} …")
                seen = check
            elif slices % 100 == 0:
                self.stderr.write(f"  {slices} slices")

        count = 0
        for difference in verification.verify(game_id=game_id, progress=progress):
            count += 1
            self.stdout.write(str(difference))
        if count:
            raise CommandError(f"{count} differences", returncode=1)
        self.stdout.write("The books are right.")
