"""Promotion codes: campaigns, the codes that are handed out, and what came of them."""

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import F, Q
from django.utils.timezone import now

from accounts.models import Game, Player, StaffUser
from config.db.ids import uuid7

# A word as it is printed, dashes included.
MAX_WORD = 30


class CodeKey(models.Model):
    """What a game's codes are made and looked up with: 32 random bytes, sealed with a key derived
    from `SECRET_KEY` (docs/adr/0072)."""

    game = models.OneToOneField(Game, models.PROTECT, primary_key=True, related_name="+")
    sealed = models.TextField()

    def __str__(self) -> str:
        return str(self.game_id)


class Campaign(models.Model):
    """What codes give, to whom, and when.

    contents           {"currencies": {key: amount}, "items": {key: quantity}}
    max_redemptions    by all players together; null: no limit
    limit_per_player   how many of its codes one player may redeem
    countries          ISO 3166 codes of players who may; empty: all
    new_player_days    only players who have played for at most so many days; null: all
    """

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    game = models.ForeignKey(Game, models.PROTECT, related_name="+", db_index=False)
    key = models.CharField(max_length=64)
    title = models.CharField(max_length=100)
    contents = models.JSONField(default=dict)
    starts_at = models.DateTimeField(null=True, blank=True)
    ends_at = models.DateTimeField(null=True, blank=True)
    max_redemptions = models.PositiveIntegerField(null=True, blank=True)
    limit_per_player = models.PositiveIntegerField(default=1)
    countries = ArrayField(models.CharField(max_length=2), default=list, blank=True)
    new_player_days = models.PositiveIntegerField(null=True, blank=True)
    is_active = models.BooleanField(default=True)
    created_at = models.DateTimeField(default=now, editable=False)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=("game", "key"), name="store_campaign_once"),
            models.CheckConstraint(
                condition=Q(starts_at=None) | Q(ends_at=None) | Q(starts_at__lt=F("ends_at")),
                name="store_campaign_window",
            ),
            models.CheckConstraint(
                condition=Q(limit_per_player__gte=1)
                & (Q(max_redemptions=None) | Q(max_redemptions__gte=1)),
                name="store_campaign_limits",
            ),
        ]

    def __str__(self) -> str:
        return self.key


class CampaignUse(models.Model):
    """How often a limited campaign was redeemed: a row of its own, because it is locked by every
    redemption and a campaign's row is saved by designers. Unlimited ones are not counted."""

    campaign = models.OneToOneField(Campaign, models.PROTECT, primary_key=True, related_name="use")
    redemptions = models.PositiveIntegerField()

    def __str__(self) -> str:
        return f"{self.redemptions}"


class CodeBatch(models.Model):
    """Codes that are generated together. A job makes them; `made` of `count` are there."""

    class State(models.TextChoices):
        DUE = "due"
        DONE = "done"

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    campaign = models.ForeignKey(Campaign, models.PROTECT, related_name="batches")
    note = models.CharField(max_length=100, blank=True)
    count = models.PositiveIntegerField()
    made = models.PositiveIntegerField(default=0)
    state = models.CharField(max_length=4, choices=State, default=State.DUE)
    attempts = models.PositiveIntegerField(default=0)
    next_attempt_at = models.DateTimeField(default=now)
    last_error = models.CharField(max_length=200, blank=True)
    author = models.ForeignKey(StaffUser, models.PROTECT, related_name="+", db_index=False)
    created_at = models.DateTimeField(default=now, editable=False)

    class Meta:
        verbose_name_plural = "code batches"
        constraints = [
            models.CheckConstraint(
                condition=Q(count__gte=1, made__lte=F("count")), name="store_codebatch_made"
            ),
            models.CheckConstraint(
                condition=Q(state="due") | Q(state="done", made=F("count")),
                name="store_codebatch_state",
            ),
        ]
        indexes = [
            # For the sweeper, which looks only at what is due.
            models.Index(
                fields=("next_attempt_at",), name="store_codebatch_due", condition=Q(state="due")
            )
        ]

    def __str__(self) -> str:
        return f"{self.campaign} {self.created_at:%Y-%m-%d %H:%M}"


class Code(models.Model):
    """A code. Generated ones belong to a batch, are used once, and are not kept themselves: `hash`
    finds them, and the batch's id and `number` make them again. A `word` is no secret, is kept, and
    is redeemed by many players."""

    class State(models.TextChoices):
        OPEN = "open"
        USED = "used"
        VOID = "void"

    id = models.BigAutoField(primary_key=True)
    game = models.ForeignKey(
        Game, models.DO_NOTHING, related_name="+", db_index=False, db_constraint=False
    )
    campaign = models.ForeignKey(Campaign, models.PROTECT, related_name="+", db_index=False)
    batch = models.ForeignKey(
        CodeBatch, models.PROTECT, related_name="+", db_index=False, null=True
    )
    number = models.PositiveIntegerField(null=True)
    word = models.CharField(max_length=MAX_WORD, blank=True)
    hash = models.BinaryField(max_length=16)
    # What staff may see of a generated code.
    last4 = models.CharField(max_length=4)
    state = models.CharField(max_length=4, choices=State, default=State.OPEN)

    class Meta:
        constraints = [
            # Redeeming looks up by exactly this.
            models.UniqueConstraint(fields=("game", "hash"), name="store_code_once"),
            # Exports read a batch by it, and no job makes a code twice.
            models.UniqueConstraint(
                fields=("batch", "number"), name="store_code_number", condition=Q(word="")
            ),
            models.CheckConstraint(
                condition=Q(word="", batch__isnull=False, number__isnull=False)
                | Q(batch=None, number=None) & ~Q(word="") & ~Q(state="used"),
                name="store_code_kind",
            ),
            models.CheckConstraint(
                condition=Q(state__in=("open", "used", "void")), name="store_code_state"
            ),
        ]
        indexes = [
            # The words of a campaign.
            models.Index(fields=("campaign",), name="store_code_word", condition=~Q(word=""))
        ]

    def __str__(self) -> str:
        return self.word or f"…{self.last4}"


class Redemption(models.Model):
    """A code redeemed by a player. Its id is its grant's, and its ledger transaction's."""

    id = models.UUIDField(primary_key=True, editable=False)
    game = models.ForeignKey(
        Game, models.DO_NOTHING, related_name="+", db_index=False, db_constraint=False
    )
    player = models.ForeignKey(
        Player, models.DO_NOTHING, related_name="+", db_index=False, db_constraint=False
    )
    # Without constraints, as above: all who redeem a word would lock the same two rows.
    campaign = models.ForeignKey(
        Campaign, models.DO_NOTHING, related_name="+", db_index=False, db_constraint=False
    )
    code = models.ForeignKey(
        Code, models.DO_NOTHING, related_name="+", db_index=False, db_constraint=False
    )
    # Generated codes are used once, by anybody; words once by each player.
    is_single = models.BooleanField()
    created_at = models.DateTimeField()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=("code", "player"), name="store_redemption_once"),
            models.UniqueConstraint(
                fields=("code",), name="store_redemption_single", condition=Q(is_single=True)
            ),
        ]
        indexes = [
            # What a player has redeemed: of a campaign, for its limit, and in all.
            models.Index(fields=("player", "campaign", "-id"), name="store_redemption_player"),
            # A campaign's redemptions, newest first, in the back office.
            models.Index(fields=("campaign", "-id"), name="store_redemption_campaign"),
        ]

    def __str__(self) -> str:
        return str(self.id)
