"""Events, the ids that make resending them safe, who was active on which day, and daily figures.

The first three grow with play: they are partitioned by time (analytics/apps.py), have no foreign
keys, and are written by SQL alone (analytics/services).
"""

from django.db import models
from django.utils.timezone import now

from accounts.models import Game
from config.db.ids import uuid7


class Event(models.Model):
    """Something that happened in a game: told by the game, or recorded by the server itself.

    Partitioned by day of `at`. There is no unique index: `EventId` keeps the promise that an
    event counts once, and server events are written once with their fact.
    `player_id` is null for a player without analytics consent; such a row also has no session, its
    time is cut to the minute, and its id was made here.
    """

    class Source(models.IntegerChoices):
        CLIENT = 0
        SERVER = 1

    pk = models.CompositePrimaryKey("at", "id")
    id = models.UUIDField(default=uuid7)
    game_id = models.UUIDField()
    player_id = models.UUIDField(null=True)
    name = models.CharField(max_length=64)
    # When it happened, by the server's clock.
    at = models.DateTimeField()
    received_at = models.DateTimeField(default=now)
    source = models.SmallIntegerField(choices=Source)
    is_tester = models.BooleanField(default=False)
    session = models.CharField(max_length=64, blank=True)
    platform = models.CharField(max_length=20, blank=True)
    country = models.CharField(max_length=2, blank=True)
    app_version = models.CharField(max_length=20, blank=True)
    props = models.JSONField(default=dict)

    class Meta:
        db_table = "analytics_event"
        indexes = [
            # A game's events by time: the back office's list, and the rollup of a day.
            models.Index(fields=("game_id", "at"), name="analytics_event_by_time"),
            # A player's events: the player page, the archive of a player's data, erasure.
            models.Index(
                fields=("player_id", "at"),
                name="analytics_event_by_player",
                condition=models.Q(player_id__isnull=False),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.name} {self.id}"


class EventId(models.Model):
    """The id of an event that a game sent: a second one with it is a duplicate.

    Partitioned by `bucket`, which is made from the id alone (analytics/services/batches.py), so
    that the unique index (game, id, bucket) holds for (game, id) over all partitions.
    """

    pk = models.CompositePrimaryKey("game_id", "id", "bucket")
    game_id = models.UUIDField()
    id = models.UUIDField()
    bucket = models.DateField()
    received_on = models.DateField()

    class Meta:
        db_table = "analytics_eventid"

    def __str__(self) -> str:
        return str(self.id)


class ActivePlayer(models.Model):
    """A player was active on a day of the game's time zone. Partitioned by month.

    `who` is the player's id with analytics consent; without, a pseudonym that holds for this day
    only and can't be made again once the day's salt is deleted. Two requests at once may both
    write a row (nothing here waits for another transaction): readers count distinct `who`.
    """

    pk = models.CompositePrimaryKey("game_id", "day", "who", "seen_at")
    game_id = models.UUIDField()
    day = models.DateField()
    who = models.UUIDField()
    seen_at = models.DateTimeField()
    platform = models.CharField(max_length=20, blank=True)
    country = models.CharField(max_length=2, blank=True)
    app_version = models.CharField(max_length=20, blank=True)

    class Meta:
        db_table = "analytics_activeplayer"
        indexes = [
            # "Is this player counted already?" on each sign-in, and the count of a day.
            models.Index(fields=("game_id", "day", "who"), name="analytics_active_once")
        ]

    def __str__(self) -> str:
        return f"{self.day} {self.who}"


class DaySalt(models.Model):
    """The random bytes behind a day's pseudonyms, deleted when the day's figures are final."""

    day = models.DateField(primary_key=True)
    salt = models.BinaryField(max_length=32)

    def __str__(self) -> str:
        return str(self.day)


class DailyFigure(models.Model):
    """One figure of one day: a metric, whole or for one value of what it is split by."""

    id = models.BigAutoField(primary_key=True)
    game = models.ForeignKey(Game, models.PROTECT, related_name="+", db_index=False)
    day = models.DateField()
    metric = models.CharField(max_length=40)
    # "" for the whole; else "platform", "country", "app_version", "name" or "currency".
    split = models.CharField(max_length=20, blank=True)
    label = models.CharField(max_length=64, blank=True)
    value = models.BigIntegerField()

    class Meta:
        constraints = [
            # Also serves every read: a metric of a game between two days.
            models.UniqueConstraint(
                fields=("game", "metric", "split", "day", "label"),
                name="analytics_dailyfigure_once",
            )
        ]

    def __str__(self) -> str:
        return f"{self.day} {self.metric} {self.label}".rstrip()


class RollupDay(models.Model):
    """When a game's day was last computed, and what that cost."""

    id = models.BigAutoField(primary_key=True)
    game = models.ForeignKey(Game, models.PROTECT, related_name="+", db_index=False)
    day = models.DateField()
    computed_at = models.DateTimeField()
    took_ms = models.PositiveIntegerField()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=("game", "day"), name="analytics_rollupday_once")
        ]

    def __str__(self) -> str:
        return f"{self.game_id} {self.day}"


class RollupProgress(models.Model):
    """How far the rollup has looked at what came in, a row a game."""

    game = models.OneToOneField(Game, models.PROTECT, primary_key=True, related_name="+")
    # Events received before this have been looked at.
    seen_until = models.DateTimeField()

    class Meta:
        verbose_name_plural = "rollup progress"

    def __str__(self) -> str:
        return f"{self.game_id} {self.seen_until}"
