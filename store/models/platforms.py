"""A game's apps in the platforms' stores, what those stores notify us of, and how far we have
looked for what they failed to."""

from django.db import models
from django.db.models import Q
from django.utils.timezone import now

from accounts.models import Game, Player
from config.db.ids import uuid7


class PlatformApp(models.Model):
    """A game's app in a platform's store.

    options    what the platform needs beside the secret; docs/store.md lists them by provider
    key_name   names the secret in the environment: PLATFORM_KEY_<NAME>
    sandbox    whose purchases in the platform's sandbox are granted
    """

    class Sandbox(models.TextChoices):
        OFF = "off", "nobody's"
        TESTERS = "testers", "testers'"
        ALL = "all", "everybody's"

    id = models.BigAutoField(primary_key=True)
    game = models.ForeignKey(Game, models.PROTECT, related_name="+", db_index=False)
    provider = models.CharField(max_length=20)
    app_id = models.CharField(max_length=255)
    options = models.JSONField(default=dict, blank=True)
    key_name = models.CharField(max_length=40, blank=True)
    sandbox = models.CharField(max_length=7, choices=Sandbox, default=Sandbox.OFF)
    is_active = models.BooleanField(default=True)
    created_at = models.DateTimeField(default=now, editable=False)

    class Meta:
        verbose_name = "platform app"
        constraints = [
            models.UniqueConstraint(fields=("game", "provider"), name="store_platformapp_once"),
            # A notification names the app alone.
            models.UniqueConstraint(fields=("provider", "app_id"), name="store_platformapp_id"),
            models.CheckConstraint(
                condition=Q(sandbox__in=("off", "testers", "all")), name="store_platformapp_sandbox"
            ),
            models.CheckConstraint(
                condition=Q(key_name__regex="^([a-z][a-z0-9_]*)?$"), name="store_platformapp_key"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.provider}: {self.app_id}"


class Watermark(models.Model):
    """Until when a platform was asked for what its notifications may have missed. Its own sweeper
    row: `next_attempt_at` says when it is asked again."""

    class Kind(models.TextChoices):
        RECENT = "recent", "the last day, hourly"
        LONG = "long", "as far back as it pays, daily"

    id = models.BigAutoField(primary_key=True)
    app = models.ForeignKey(PlatformApp, models.CASCADE, related_name="+", db_index=False)
    kind = models.CharField(max_length=6, choices=Kind)
    until = models.DateTimeField()
    attempts = models.PositiveIntegerField(default=0)
    next_attempt_at = models.DateTimeField(default=now)
    last_error = models.CharField(max_length=500, blank=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=("app", "kind"), name="store_watermark_once"),
            models.CheckConstraint(
                condition=Q(kind__in=("recent", "long")), name="store_watermark_kind"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.app_id} {self.kind}"


class AccountToken(models.Model):
    """The UUID that a client binds to the purchases of this player. Random: platforms see it."""

    player = models.OneToOneField(Player, models.PROTECT, primary_key=True, related_name="+")
    token = models.UUIDField(unique=True)
    created_at = models.DateTimeField(default=now, editable=False)

    def __str__(self) -> str:
        return str(self.token)


class PlatformNotice(models.Model):
    """A platform's notification: stored once, answered, and then processed by a worker."""

    class State(models.TextChoices):
        RECEIVED = "received"
        DONE = "done"
        IGNORED = "ignored"
        DEAD = "dead"

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    provider = models.CharField(max_length=20)
    notice_id = models.CharField(max_length=255)
    kind = models.CharField(max_length=100)
    app_id = models.CharField(max_length=255)
    data = models.JSONField()
    signed_at = models.DateTimeField()
    state = models.CharField(max_length=8, choices=State, default=State.RECEIVED)
    attempts = models.PositiveIntegerField(default=0)
    next_attempt_at = models.DateTimeField(default=now)
    first_tried_at = models.DateTimeField(null=True)
    last_error = models.CharField(max_length=500, blank=True)
    created_at = models.DateTimeField(default=now, editable=False)

    class Meta:
        verbose_name = "platform notification"
        constraints = [
            # Claimed with ON CONFLICT: platforms send a notification more than once.
            models.UniqueConstraint(fields=("provider", "notice_id"), name="store_notice_once"),
            models.CheckConstraint(
                condition=Q(state__in=("received", "done", "ignored", "dead")),
                name="store_notice_state",
            ),
        ]
        indexes = [
            # For the sweeper.
            models.Index(
                fields=("next_attempt_at",),
                name="store_notice_due",
                condition=Q(state="received"),
            ),
            # What staff have to look at.
            models.Index(fields=("id",), name="store_notice_dead", condition=Q(state="dead")),
            # When a platform was last heard of.
            models.Index(fields=("provider", "-created_at"), name="store_notice_latest"),
        ]

    def __str__(self) -> str:
        return f"{self.provider} {self.kind}"
