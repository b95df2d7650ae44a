"""Saves with their versions, stats, achievements."""

from django.db import models
from django.db.models import Q
from django.utils.timezone import now

from accounts.models import Game, Player
from config.api.parsing import INT64_MAX, INT64_MIN
from config.db.ids import uuid7


class Save(models.Model):
    """One slot of one player: what its latest version says about itself, without the bytes.

    The row is small and none of its changing columns is indexed, so that a write is one heap
    update. A slot that was deleted keeps its row and versions until the purge; its version
    goes on counting when the slot is made again, so that no entity tag is ever used twice.
    """

    class Access(models.TextChoices):
        PRIVATE = "private"
        PUBLIC = "public"
        SERVER = "server"

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    game = models.ForeignKey(Game, models.PROTECT, related_name="+", db_index=False)
    player = models.ForeignKey(Player, models.CASCADE, related_name="+", db_index=False)
    slot = models.CharField(max_length=64)
    version = models.BigIntegerField()
    access = models.CharField(max_length=7, choices=Access)
    size = models.PositiveIntegerField()
    sha256 = models.BinaryField(max_length=32)
    content_type = models.CharField(max_length=40)
    device = models.CharField(max_length=100, blank=True)
    created_at = models.DateTimeField(default=now)
    updated_at = models.DateTimeField(default=now)
    deleted_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = [
            # Every read and write of a slot, and the list of a player's slots.
            models.UniqueConstraint(fields=("player", "slot"), name="progress_save_slot"),
            models.CheckConstraint(
                condition=Q(access__in=("private", "public", "server")), name="progress_save_access"
            ),
            models.CheckConstraint(condition=Q(version__gte=1), name="progress_save_version"),
        ]
        indexes = [
            # For the purge of what was deleted long ago.
            models.Index(
                fields=("deleted_at",),
                name="progress_save_deleted",
                condition=Q(deleted_at__isnull=False),
            )
        ]

    def __str__(self) -> str:
        return f"{self.slot} v{self.version}"


class SaveVersion(models.Model):
    """One version of a save, with its bytes as they were sent.

    The latest one is the save's content; there are never more than `SAVE_KEPT_VERSIONS` of a
    save, because the statement that adds one takes away the oldest (docs/adr/0030).
    """

    pk = models.CompositePrimaryKey("save_row", "version")
    save_row = models.ForeignKey(
        Save, models.CASCADE, related_name="versions", db_column="save_id", db_index=False
    )
    version = models.BigIntegerField()
    size = models.PositiveIntegerField()
    sha256 = models.BinaryField(max_length=32)
    content_type = models.CharField(max_length=40)
    device = models.CharField(max_length=100, blank=True)
    created_at = models.DateTimeField(default=now)
    restored_from = models.BigIntegerField(null=True)
    body = models.BinaryField()

    def __str__(self) -> str:
        return f"v{self.version}"


class Stat(models.Model):
    """A number that the game keeps of each player: how reports add up, and what is plausible."""

    class Aggregation(models.TextChoices):
        SUM = "sum"
        MAX = "max"
        MIN = "min"
        LAST = "last"

    class Writer(models.TextChoices):
        PLAYER = "player"
        SERVER = "server"

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    game = models.ForeignKey(Game, models.PROTECT, related_name="+", db_index=False)
    key = models.CharField(max_length=64)
    name = models.CharField(max_length=100, blank=True)
    aggregation = models.CharField(max_length=4, choices=Aggregation)
    minimum = models.BigIntegerField(default=INT64_MIN)
    maximum = models.BigIntegerField(default=INT64_MAX)
    max_step = models.BigIntegerField(
        null=True, blank=True, help_text="The largest change that one report of a player may make"
    )
    rate_amount = models.BigIntegerField(
        null=True, blank=True, help_text="The most that a player's reports may change it by …"
    )
    rate_seconds = models.PositiveIntegerField(
        null=True, blank=True, help_text="… within so many seconds"
    )
    writer = models.CharField(max_length=6, choices=Writer, default=Writer.PLAYER)
    is_active = models.BooleanField(default=True)
    created_at = models.DateTimeField(default=now, editable=False)

    class Meta:
        ordering = ("key",)
        constraints = [
            models.UniqueConstraint(fields=("game", "key"), name="progress_stat_key"),
            models.CheckConstraint(
                condition=Q(aggregation__in=("sum", "max", "min", "last")),
                name="progress_stat_aggregation",
            ),
            models.CheckConstraint(
                condition=Q(writer__in=("player", "server")), name="progress_stat_writer"
            ),
            models.CheckConstraint(
                condition=Q(minimum__lte=models.F("maximum")), name="progress_stat_bounds"
            ),
            models.CheckConstraint(
                condition=Q(max_step__isnull=True) | Q(max_step__gte=1), name="progress_stat_step"
            ),
            models.CheckConstraint(
                condition=Q(rate_amount__isnull=True, rate_seconds__isnull=True)
                | Q(rate_amount__gte=1, rate_seconds__gte=1),
                name="progress_stat_rate",
            ),
        ]

    def __str__(self) -> str:
        return self.key


class StatValue(models.Model):
    """A player's value of a stat.

    `spent` and `spent_at` are the level of the stat's rate: what the player's reports have
    changed it by, draining at the allowed rate.
    """

    pk = models.CompositePrimaryKey("player", "stat")
    player = models.ForeignKey(Player, models.CASCADE, related_name="+", db_index=False)
    stat = models.ForeignKey(Stat, models.PROTECT, related_name="+", db_index=False)
    value = models.BigIntegerField()
    spent = models.FloatField(default=0)
    spent_at = models.DateTimeField()
    updated_at = models.DateTimeField()

    def __str__(self) -> str:
        return str(self.value)


class Achievement(models.Model):
    """Something to reach: from a stat, or by the game's own report."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    game = models.ForeignKey(Game, models.PROTECT, related_name="+", db_index=False)
    key = models.CharField(max_length=64)
    name = models.CharField(max_length=100)
    description = models.CharField(max_length=500, blank=True)
    stat = models.ForeignKey(
        Stat, models.PROTECT, null=True, blank=True, related_name="+", db_index=False
    )
    threshold = models.BigIntegerField(
        default=1, help_text="Reached at this value or above; for a `min` stat, at or below"
    )
    hidden = models.BooleanField(default=False, help_text="Masked until it is unlocked")
    reportable = models.BooleanField(default=False, help_text="Players may report progress")
    # As in a grant: amounts under "currencies" and quantities under "items", by key.
    reward = models.JSONField(default=dict, blank=True)
    position = models.PositiveIntegerField(default=0, help_text="Where it stands in the list")
    is_active = models.BooleanField(default=True)
    created_at = models.DateTimeField(default=now, editable=False)

    class Meta:
        ordering = ("position", "key")
        constraints = [
            models.UniqueConstraint(fields=("game", "key"), name="progress_achievement_key"),
            models.CheckConstraint(
                condition=Q(stat__isnull=True) | Q(reportable=False),
                name="progress_achievement_source",
            ),
            models.CheckConstraint(
                condition=Q(stat__isnull=False) | Q(threshold__gte=1),
                name="progress_achievement_threshold",
            ),
        ]

    def __str__(self) -> str:
        return self.key

    @property
    def stat_key(self) -> str | None:
        """The key of the stat that it follows."""
        return self.stat.key if self.stat is not None else None


class AchievementState(models.Model):
    """A player's reported progress towards an achievement, and when it was unlocked.

    Achievements that follow a stat have a row only once they are unlocked. The primary key is
    what makes an unlock happen once.
    """

    pk = models.CompositePrimaryKey("player", "achievement")
    player = models.ForeignKey(Player, models.CASCADE, related_name="+", db_index=False)
    achievement = models.ForeignKey(Achievement, models.PROTECT, related_name="+", db_index=False)
    progress = models.BigIntegerField(default=0)
    unlocked_at = models.DateTimeField(null=True)
    updated_at = models.DateTimeField()

    def __str__(self) -> str:
        return f"{self.progress}, unlocked {self.unlocked_at or 'not yet'}"
