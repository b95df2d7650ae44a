"""Subscriptions: what the platforms say of them now, over all of their periods.

A period is a `PlatformPurchase`, which grants its contents once; the subscription is what they have
in common. docs/store.md has the rule of what entitles.
"""

from django.db import models
from django.db.models import Q
from django.utils.timezone import now

from accounts.models import Game, Player
from config.db.ids import uuid7
from store.models.orders import PlatformPurchase


class Subscription(models.Model):
    """What a player is subscribed to in a platform's store.

    line             tells several products apart that share a platform's id
    player           the owner; none where nobody has claimed it yet
    account          what the periods named when its owner was found: renewals that name the same
                     are that owner's
    purchase         the latest period: its offer, if it was granted, says what is entitled
    entitled_until   the end of the period; with `grace_until` of the time to pay after it
    replaces         the original id of the subscription that this one took the place of
    period_since     when the period began that all this is about; news of an earlier one is old
    signed_at        how new the news is; older news of the same period never changes it
    next_attempt_at  when the platform is asked, if it has not told more by itself
    """

    class Phase(models.TextChoices):
        ACTIVE = "active"
        TRIAL = "trial", "free trial"
        GRACE = "grace", "grace period"
        CANCELLED = "cancelled", "cancelled, until its end"
        HOLD = "hold", "on hold"
        PAUSED = "paused"
        PENDING = "pending"
        EXPIRED = "expired"
        REVOKED = "revoked"

    OPEN = (
        Phase.ACTIVE,
        Phase.TRIAL,
        Phase.GRACE,
        Phase.CANCELLED,
        Phase.HOLD,
        Phase.PAUSED,
        Phase.PENDING,
    )

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    game = models.ForeignKey(Game, models.PROTECT, related_name="+", db_index=False)
    provider = models.CharField(max_length=20)
    environment = models.CharField(max_length=10)
    app_id = models.CharField(max_length=255)
    original_id = models.CharField(max_length=512)
    line = models.CharField(max_length=200, blank=True)
    player = models.ForeignKey(
        Player, models.PROTECT, related_name="+", db_index=False, null=True, blank=True
    )
    account = models.UUIDField(null=True, blank=True)
    purchase = models.ForeignKey(PlatformPurchase, models.PROTECT, related_name="+", db_index=False)
    phase = models.CharField(max_length=9, choices=Phase, default=Phase.PENDING)
    entitled_until = models.DateTimeField(null=True, blank=True)
    grace_until = models.DateTimeField(null=True, blank=True)
    renews = models.BooleanField(default=False)
    renewal_product = models.CharField(max_length=200, blank=True)
    replaces = models.CharField(max_length=512, blank=True)
    period_since = models.DateTimeField(null=True, blank=True)
    signed_at = models.DateTimeField()
    attempts = models.PositiveIntegerField(default=0)
    next_attempt_at = models.DateTimeField(default=now)
    last_error = models.CharField(max_length=500, blank=True)
    created_at = models.DateTimeField(default=now, editable=False)
    updated_at = models.DateTimeField(default=now, editable=False)

    class Meta:
        constraints = [
            # Claimed with ON CONFLICT. Also finds the owner of what a subscription replaces.
            models.UniqueConstraint(
                fields=("provider", "environment", "app_id", "original_id", "line"),
                name="store_subscription_once",
            ),
            models.CheckConstraint(
                condition=Q(
                    phase__in=(
                        "active",
                        "trial",
                        "grace",
                        "cancelled",
                        "hold",
                        "paused",
                        "pending",
                        "expired",
                        "revoked",
                    )
                ),
                name="store_subscription_phase",
            ),
            models.CheckConstraint(
                condition=Q(environment__in=("production", "sandbox")),
                name="store_subscription_environment",
            ),
        ]
        indexes = [
            # The player's subscriptions, newest first.
            models.Index(fields=("player", "-id"), name="store_subscription_player"),
            # What took a subscription's place.
            models.Index(
                fields=("provider", "app_id", "replaces"),
                name="store_subscription_replaces",
                condition=~Q(replaces=""),
            ),
            # For the job that asks the platforms.
            models.Index(
                fields=("next_attempt_at",),
                name="store_subscription_due",
                condition=Q(
                    phase__in=(
                        "active",
                        "trial",
                        "grace",
                        "cancelled",
                        "hold",
                        "paused",
                        "pending",
                    )
                ),
            ),
        ]

    def __str__(self) -> str:
        return str(self.id)
