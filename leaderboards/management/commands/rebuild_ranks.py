"""`manage.py rebuild_ranks`: build the rank index of seasons anew, while scores go on."""

import json
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db.models import Q
from django.utils import timezone

from config.redis import RedisAway
from leaderboards.models import Season
from leaderboards.services import ranks


class Command(BaseCommand):
    help = (
        "Build the rank index in Redis anew from PostgreSQL. Players go on reading the old index, "
        "if there is one, and writing scores, until the new one takes its place. Needed after "
        "PostgreSQL was restored to an earlier time; "
        "all other losses are found and repaired without it."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--game", help="slug of a game; all games unless told")
        parser.add_argument("--board", help="key of a board; all boards unless told")
        parser.add_argument("--season", type=int, help="number; the running ones unless told")

    def handle(self, *args: Any, **options: Any) -> None:
        if options["season"] is not None:
            seasons = Season.objects.filter(number=options["season"])
        else:
            now = timezone.now()
            seasons = Season.objects.filter(Q(ends_at__isnull=True) | Q(ends_at__gt=now))
        if options["game"]:
            seasons = seasons.filter(board__game__slug=options["game"])
        if options["board"]:
            seasons = seasons.filter(board__key=options["board"])
        rebuilt: list[str] = []
        busy: list[str] = []
        try:
            for season in seasons.select_related("board").order_by("board__key", "number"):
                done = ranks.rebuild(season.id)
                (rebuilt if done else busy).append(f"{season.board.key}/{season.number}")
        except RedisAway:
            raise CommandError("Redis does not answer") from None
        self.stdout.write(json.dumps({"rebuilt": rebuilt, "busy": busy}))
        if busy:
            raise CommandError("Some seasons are being rebuilt by another process")
