"""`manage.py simulate`: weeks of history for a development database.

Each day is played through the services that requests use, and then moved to where it belongs:
the services know no other time than now. The ledger is append-only and can't be moved: purchases
and grants count on their simulated day in the charts, and carry the real time in the ledger. A
run that is stopped leaves whole days behind, and at most one that lies on today.
"""

import itertools
import random
import secrets
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import connection, transaction
from django.utils import timezone

from accounts.models import Game
from accounts.services import players, sign_in
from accounts.services.opening import Client
from analytics.services import rollups
from config import events
from config.api.preconditions import Precondition
from config.api.problems import Problem
from config.db import partitions
from leaderboards.boards import boards
from leaderboards.services import scores
from progress.selectors import content
from progress.services import saves, stats
from progress.services.save_rows import Writer
from store.catalogue import catalogue
from store.services import purchases

PLATFORMS = ("ios", "android", "android", "ios", "webgl")
COUNTRIES = ("DE", "JP", "US", "US", "BR", "FR", "IN", "SE")
VERSIONS = ("1.3.2", "1.4.0", "1.4.0", "1.4.1")
# How likely a player comes back, by days since the first visit; in between it falls evenly.
RETURNS = ((1, 0.42), (7, 0.2), (30, 0.09), (365, 0.04))


@dataclass
class Regular:
    """A simulated player: how to sign in, and what the client would remember."""

    device_id: str
    secret: str
    client: Client
    joined: int
    devotion: float
    player_id: UUID | None = None
    saved_version: int = 0
    visits: int = field(default=0)


def chance_of_return(age: int) -> float:
    """The chance of a visit, `age` days after the first one (1 and later)."""
    for (first, high), (last, low) in itertools.pairwise(RETURNS):
        if age <= last:
            return high + (low - high) * (age - first) / (last - first)
    return RETURNS[-1][1]


class Command(BaseCommand):
    help = "Plays weeks of history into a development database, so that charts have something."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--game", default="", help="slug; not needed where there is one game")
        parser.add_argument("--weeks", type=int, default=4)
        parser.add_argument("--players", type=int, default=12, help="new players a day, at most")
        parser.add_argument("--seed", type=int, default=1, help="the same seed, the same habits")

    def handle(self, *args: Any, **options: Any) -> None:
        if settings.PRODUCTION:
            raise CommandError("This is for development: it would invent players in production.")
        if not 1 <= options["weeks"] <= 52 or not 1 <= options["players"] <= 10_000:
            raise CommandError("--weeks is 1 to 52, --players 1 to 10000.")
        game = find_game(options["game"])
        # Years of sign-ins in minutes: the limits are for people.
        settings.RATE_LIMITS = dict.fromkeys(settings.RATE_LIMITS, (10_000_000, 60))
        history = History(game, random.Random(options["seed"]))  # noqa: S311 (habits, not secrets)
        days = options["weeks"] * 7
        for number in range(days):
            ago = days - 1 - number
            visits = history.play_day(number, ago, options["players"])
            today = timezone.localdate() - timedelta(days=ago)
            self.stdout.write(f"{today}: {visits} visits, {len(history.regulars)} players")
        partitions.maintain()
        self.stdout.write("The dashboard: /admin/")


def find_game(slug: str) -> Game:
    games = Game.objects.filter(slug=slug) if slug else Game.objects.all()
    found = list(games[:2])
    if len(found) != 1:
        raise CommandError(
            "There is no such game; apply_game makes one."
            if slug or not found
            else "There are several games: say which with --game."
        )
    return found[0]


class History:
    """The days of one game."""

    def __init__(self, game: Game, chance: random.Random) -> None:
        self.game = game
        self.chance = chance
        self.regulars: list[Regular] = []

    def play_day(self, number: int, ago: int, newcomers: int) -> int:
        """Play a day and move it `ago` days back; how many visits it had."""
        begun = timezone.now()
        here = Here(self.game, begun)
        weekend = 1.25 if (timezone.localdate() - timedelta(days=ago)).weekday() >= 5 else 1.0
        fresh = max(1, round(newcomers * weekend * self.chance.uniform(0.5, 1.0)))
        joined = [self._newcomer(number) for _ in range(fresh)]
        visitors = [
            (regular, self.chance.choice((1, 1, 2)))
            for regular in self.regulars
            if self.chance.random()
            < chance_of_return(number - regular.joined) * weekend * regular.devotion
        ]
        visitors += [(regular, self.chance.choice((1, 2))) for regular in joined]
        self.regulars += joined
        for regular, times in visitors:
            for _ in range(times):
                self._visit(regular)
        if ago:
            here.move_new(ago)
        rollups.compute_day(game_id=self.game.pk, day=day_of(self.game, begun, ago))
        return sum(times for _, times in visitors)

    def _newcomer(self, number: int) -> Regular:
        client = Client(
            device="Simulated",
            platform=self.chance.choice(PLATFORMS),
            app_version=self.chance.choice(VERSIONS),
            country=self.chance.choice(COUNTRIES),
        )
        return Regular(
            device_id=secrets.token_hex(16),
            secret=secrets.token_urlsafe(32),
            client=client,
            joined=number,
            devotion=self.chance.uniform(0.5, 1.6),
        )

    def _visit(self, regular: Regular) -> None:
        opened = sign_in.with_device(
            game_id=self.game.pk,
            device_id=regular.device_id,
            device_secret=regular.secret,
            create=True,
            client=regular.client,
        )
        if regular.player_id is None:
            regular.player_id = opened.player.id
            players.update_profile(
                game_id=self.game.pk,
                player_id=opened.player.id,
                changes={"analytics_consent": self.chance.random() < 0.86},
                expected=Precondition(any_version=True),
            )
        regular.visits += 1
        for act in (self._report, self._score, self._buy, self._save):
            # "Not enough petals" is a part of any day.
            try:
                act(regular, opened.player.id, opened.session_id)
            except Problem:
                continue

    def _report(self, regular: Regular, player_id: UUID, session_id: UUID) -> None:
        updates = []
        for rule in content.get(self.game.pk).stats.values():
            if rule.writer == "player" and rule.aggregation != "last":
                step = min(40, rule.max_step or 40)
                low = max(1, rule.minimum)
                updates.append((rule.key, min(low + self.chance.randint(0, step), rule.maximum)))
        if updates:
            stats.update(game_id=self.game.pk, player_id=player_id, updates=updates)
        events.record(
            game_id=self.game.pk,
            player_id=player_id,
            name="bed_harvested",
            props={"beds": self.chance.randint(1, 5)},
            session_id=session_id,
        )

    def _score(self, regular: Regular, player_id: UUID, session_id: UUID) -> None:
        for board in boards.get(self.game.pk).values():
            low = board.min_score if board.min_score is not None else 0
            high = board.max_score if board.max_score is not None else low + 10_000
            score = low + int((high - low) * min(0.9, self.chance.betavariate(2, 60)))
            scores.submit(board=board, player_id=player_id, score=score, session_id=session_id)

    def _buy(self, regular: Regular, player_id: UUID, session_id: UUID) -> None:
        priced = [offer for offer in catalogue(self.game.pk).offers.values() if offer.price]
        if priced and self.chance.random() < 0.5:
            purchases.purchase(
                game_id=self.game.pk,
                player_id=player_id,
                offer=self.chance.choice(priced).key,
                quantity=1,
                key=secrets.token_hex(16),
                session_id=session_id,
            )

    def _save(self, regular: Regular, player_id: UUID, session_id: UUID) -> None:
        seen = regular.saved_version
        expected = Precondition(match=str(seen)) if seen else Precondition(must_not_exist=True)
        state = saves.put(
            writer=Writer(game_id=self.game.pk, player_id=player_id, session_id=session_id),
            slot="garden",
            body=b'{"visits": %d}' % regular.visits,
            content_type="application/json",
            precondition=expected,
        )
        regular.saved_version = state.version


def day_of(game: Game, moment: datetime, ago: int) -> date:
    """The game's day on which `moment` lies, `ago` days earlier."""
    return moment.astimezone(ZoneInfo(game.timezone)).date() - timedelta(days=ago)


# What a day made, in the tables that charts and lists read times from. Analytics keeps no exact
# time of players who did not agree to it: there, the new rows are those that were not here before.
MOVES = (
    """UPDATE analytics_event SET at = at - %(back)s::interval
       WHERE game_id = %(game)s::uuid AND at >= %(minute)s::timestamptz
         AND received_at >= %(minute)s::timestamptz AND NOT id = ANY(%(events)s::uuid[])""",
    """UPDATE analytics_activeplayer
       SET day = (day - %(back)s::interval)::date, seen_at = seen_at - %(back)s::interval
       WHERE game_id = %(game)s::uuid AND day = %(day)s::date
         AND NOT who = ANY(%(active)s::uuid[])""",
    """UPDATE accounts_player SET created_at = created_at - %(back)s::interval
       WHERE game_id = %(game)s::uuid AND created_at >= %(begun)s::timestamptz""",
    """UPDATE accounts_session
       SET created_at = created_at - %(back)s::interval,
           last_used_at = last_used_at - %(back)s::interval,
           refreshed_at = refreshed_at - %(back)s::interval
       WHERE game_id = %(game)s::uuid AND created_at >= %(begun)s::timestamptz""",
    """UPDATE progress_save SET updated_at = updated_at - %(back)s::interval,
                               created_at = LEAST(created_at, updated_at - %(back)s::interval)
       WHERE game_id = %(game)s::uuid AND updated_at >= %(begun)s::timestamptz""",
)


class Here:
    """What today holds before a simulated day is played on it: that stays."""

    def __init__(self, game: Game, begun: datetime) -> None:
        self.arguments: dict[str, Any] = {
            "game": game.pk,
            "begun": begun,
            "minute": begun.replace(second=0, microsecond=0),
            "day": day_of(game, begun, 0),
        }
        self.arguments["events"] = self._ids(
            """SELECT id FROM analytics_event
               WHERE game_id = %(game)s::uuid AND at >= %(minute)s::timestamptz"""
        )
        self.arguments["active"] = self._ids(
            """SELECT who FROM analytics_activeplayer
               WHERE game_id = %(game)s::uuid AND day = %(day)s::date"""
        )

    def _ids(self, statement: str) -> list[UUID]:
        with connection.cursor() as cursor:
            cursor.execute(statement, self.arguments)
            return [row_id for (row_id,) in cursor.fetchall()]

    def move_new(self, days: int) -> None:
        """Move what has been made since by `days` days, all of it or nothing."""
        arguments: dict[str, Any] = {**self.arguments, "back": timedelta(days=days)}
        with transaction.atomic(), connection.cursor() as cursor:
            for statement in MOVES:
                cursor.execute(statement, arguments)
