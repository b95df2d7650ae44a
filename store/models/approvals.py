"""Grants by staff that a second person has to approve."""

from django.db import models
from django.db.models import F, Q
from django.utils.timezone import now

from accounts.models import Game, Player, StaffUser
from config.db.ids import uuid7
from store.models.catalogue import Currency, Item


class GrantThreshold(models.Model):
    """How much of a currency or item staff may give one player in a day without being approved."""

    id = models.BigAutoField(primary_key=True)
    game = models.ForeignKey(Game, models.PROTECT, related_name="+")
    currency = models.OneToOneField(
        Currency, models.PROTECT, related_name="+", null=True, blank=True
    )
    item = models.OneToOneField(Item, models.PROTECT, related_name="+", null=True, blank=True)
    amount = models.BigIntegerField(help_text="0: every grant is approved by a second person.")

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(currency__isnull=False, item=None)
                | Q(currency=None, item__isnull=False),
                name="store_grantthreshold_what",
            ),
            models.CheckConstraint(condition=Q(amount__gte=0), name="store_grantthreshold_amount"),
        ]

    def __str__(self) -> str:
        return f"{self.amount:,} {self.what[1]}"

    @property
    def what(self) -> tuple[str, str]:
        """("currencies" or "items", the key)."""
        if self.currency is not None:
            return "currencies", self.currency.key
        return "items", self.item.key if self.item is not None else ""


class GrantRequest(models.Model):
    """A grant that waits for a second person, or what became of it.

    `token` names the form that it was asked with, so that a form sent twice asks once.
    """

    class State(models.TextChoices):
        WAITING = "waiting"
        GIVEN = "given"
        REFUSED = "refused"
        EXPIRED = "expired"

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    game = models.ForeignKey(Game, models.PROTECT, related_name="+", db_index=False)
    player = models.ForeignKey(
        Player, models.DO_NOTHING, related_name="+", db_index=False, db_constraint=False
    )
    currencies = models.JSONField(default=dict)
    items = models.JSONField(default=dict)
    reason = models.CharField(max_length=200)
    requester = models.ForeignKey(StaffUser, models.PROTECT, related_name="+", db_index=False)
    token = models.UUIDField(unique=True)
    state = models.CharField(max_length=8, choices=State, default=State.WAITING)
    decider = models.ForeignKey(
        StaffUser, models.PROTECT, related_name="+", db_index=False, null=True
    )
    decision = models.CharField(max_length=200, blank=True)
    decided_at = models.DateTimeField(null=True)
    grant_id = models.UUIDField(null=True)
    expires_at = models.DateTimeField()
    created_at = models.DateTimeField(default=now, editable=False)
    # Set by the service, on what a form that was sent twice returns.
    is_replay = False

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(decider=None) | ~Q(decider=F("requester")),
                name="store_grantrequest_second_person",
            ),
            models.CheckConstraint(
                condition=Q(state__in=("waiting", "expired"), decider=None, grant_id=None)
                | Q(state="refused", decider__isnull=False, grant_id=None)
                | Q(state="given", decider__isnull=False, grant_id__isnull=False),
                name="store_grantrequest_state",
            ),
        ]
        indexes = [
            # What waits: the badge, and what has expired.
            models.Index(
                fields=("expires_at",),
                name="store_grantrequest_waiting",
                condition=Q(state="waiting"),
            ),
            # A player's requests, newest first.
            models.Index(fields=("player", "-id"), name="store_grantrequest_player"),
        ]

    def __str__(self) -> str:
        return str(self.id)
