"""Boards, their seasons, the entries that are ranked, and the log of what was submitted."""

from django.core.serializers.json import DjangoJSONEncoder
from django.db import models
from django.db.models import F, Q
from django.utils.timezone import now

from accounts.models import Game, Player
from config.db.ids import uuid7


class Board(models.Model):
    """A leaderboard as its game defines it. Changed by leaderboards/services/boards.py alone."""

    class Sort(models.TextChoices):
        DESC = "desc", "highest first"
        ASC = "asc", "lowest first"

    class Keep(models.TextChoices):
        BEST = "best"
        LAST = "last"
        SUM = "sum"

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    game = models.ForeignKey(Game, models.PROTECT, related_name="+", db_index=False)
    key = models.CharField(max_length=64)
    name = models.CharField(max_length=100)
    sort = models.CharField(max_length=4, choices=Sort, default=Sort.DESC)
    keep = models.CharField(max_length=4, choices=Keep, default=Keep.BEST)
    reset = models.CharField(
        max_length=100,
        blank=True,
        help_text="When a season ends: cron, in the game's time zone. Empty: never.",
    )
    min_score = models.BigIntegerField(null=True, blank=True)
    max_score = models.BigIntegerField(null=True, blank=True)
    requires_run = models.BooleanField(default=False)
    bucket_size = models.PositiveIntegerField(null=True, blank=True)
    rewards = models.JSONField(default=list, blank=True, encoder=DjangoJSONEncoder)
    is_active = models.BooleanField(default=True)
    created_at = models.DateTimeField(default=now, editable=False)

    class Meta:
        constraints = [
            # Also serves the list of a game's boards, which is by key.
            models.UniqueConstraint(fields=("game", "key"), name="leaderboards_board_key"),
            models.CheckConstraint(
                condition=Q(sort__in=("asc", "desc")), name="leaderboards_board_sort"
            ),
            models.CheckConstraint(
                condition=Q(keep__in=("best", "last", "sum")), name="leaderboards_board_keep"
            ),
            models.CheckConstraint(
                condition=Q(min_score__isnull=True)
                | Q(max_score__isnull=True)
                | Q(min_score__lte=F("max_score")),
                name="leaderboards_board_bounds",
            ),
        ]

    def __str__(self) -> str:
        return self.key


class Season(models.Model):
    """A span of time in which a board collects entries; ends_at is null for a permanent one.

    Made when it is first needed. The numbers of a board count up without gaps.
    """

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    board = models.ForeignKey(Board, models.PROTECT, related_name="seasons", db_index=False)
    number = models.PositiveIntegerField()
    starts_at = models.DateTimeField()
    ends_at = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField(default=now, editable=False)

    class Meta:
        constraints = [
            # Looks up `?season=`, and the latest.
            models.UniqueConstraint(fields=("board", "number"), name="leaderboards_season_number"),
            models.CheckConstraint(
                condition=Q(ends_at__isnull=True) | Q(ends_at__gt=F("starts_at")),
                name="leaderboards_season_span",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.board_id} season {self.number}"


class Entry(models.Model):
    """What one player has on a board in one season: the truth behind the ranks.

    `order_key` is the score for an ascending board and its complement (`~score`) for a descending
    one, so that one ascending index ranks both, over all 64 bits. `version` counts every
    change of the row: the index in Redis takes a change only if its version is higher. Rows are
    not deleted, so that a version is never used twice; a removed entry is a state.
    """

    class State(models.TextChoices):
        RANKED = "ranked"
        HIDDEN = "hidden"  # by staff; the player goes on, nobody sees it
        TESTER = "tester"  # the player is a tester
        REMOVED = "removed"  # gone; the next score starts anew

    pk = models.CompositePrimaryKey("season", "player")
    season = models.ForeignKey(Season, models.PROTECT, related_name="entries", db_index=False)
    # A player's entries are found through the seasons of the game, by the primary key.
    player = models.ForeignKey(Player, models.CASCADE, related_name="+", db_index=False)
    score = models.BigIntegerField()
    order_key = models.BigIntegerField()
    achieved_at = models.DateTimeField()
    # The score before the latest change; tells whether that was an improvement.
    previous_score = models.BigIntegerField(null=True)
    metadata = models.JSONField(null=True)
    version = models.BigIntegerField(default=1)
    state = models.CharField(max_length=7, choices=State, default=State.RANKED)

    class Meta:
        indexes = [
            # Ranks, tops and neighbours where Redis can't answer.
            models.Index(
                fields=("season", "order_key", "achieved_at", "player"),
                name="leaderboards_entry_order",
                condition=Q(state="ranked"),
            )
        ]
        constraints = [
            models.CheckConstraint(
                condition=Q(state__in=("ranked", "hidden", "tester", "removed")),
                name="leaderboards_entry_state",
            )
        ]

    def __str__(self) -> str:
        return f"{self.player_id}: {self.score}"


class Submission(models.Model):
    """One line of the log: a score that was accepted or refused, or what staff did to an entry.

    Partitioned by day of `created_at`. The index in Redis is repaired from it: every change of an
    entry has a line here, written by the same statement (leaderboards/services/ranks.py).
    """

    class Verdict(models.TextChoices):
        ACCEPTED = "accepted"
        REFUSED = "refused"
        HIDDEN = "hidden"
        SHOWN = "shown"
        REMOVED = "removed"

    pk = models.CompositePrimaryKey("created_at", "id")
    created_at = models.DateTimeField()
    id = models.UUIDField(default=uuid7)
    game_id = models.UUIDField()
    season_id = models.UUIDField()
    player_id = models.UUIDField()
    score = models.BigIntegerField(null=True)
    metadata = models.JSONField(null=True)
    verdict = models.CharField(max_length=8, choices=Verdict)
    # Why it was refused (a problem's code), or the reason that staff gave.
    reason = models.CharField(max_length=200, blank=True)
    # "player", "server" or the name of a member of staff.
    author = models.CharField(max_length=150)

    class Meta:
        db_table = "leaderboards_submission"

    def __str__(self) -> str:
        return f"{self.verdict} {self.score}"


class EntryRow(models.Model):
    """Entries as the back office lists them: Django's admin needs a key of one column.

    A database view over `Entry`; `id` is "season:player".
    """

    id = models.CharField(primary_key=True, max_length=73)
    season = models.ForeignKey(Season, models.DO_NOTHING, related_name="+")
    player = models.ForeignKey(Player, models.DO_NOTHING, related_name="+")
    score = models.BigIntegerField()
    achieved_at = models.DateTimeField()
    metadata = models.JSONField(null=True)
    version = models.BigIntegerField()
    state = models.CharField(max_length=7, choices=Entry.State)

    class Meta:
        managed = False
        db_table = "leaderboards_entryrow"
        verbose_name = "entry"
        verbose_name_plural = "entries"
        default_permissions = ("view", "change")

    def __str__(self) -> str:
        return f"{self.player_id}: {self.score}"
