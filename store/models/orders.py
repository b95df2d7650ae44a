"""Real money: what clients sent, what the platforms say of it, and each step between.

An `Order` is a receipt in the inbox; a `PlatformPurchase` is one line of one of the platform's
transactions. docs/store.md has the states, and the one order of locks.
"""

from django.db import models
from django.db.models import Q
from django.db.models.functions import Coalesce
from django.utils.timezone import now

from accounts.models import Game, Player
from config.db.ids import uuid7
from store.models.catalogue import Offer


class Order(models.Model):
    """A receipt as a client sent it: committed before it is answered, so that nothing is lost.

    digest       sha-256 of what makes two receipts the same
    data         what the provider needs to verify it
    purchases    ids of the `PlatformPurchase`s that it was found to be about
    """

    class State(models.TextChoices):
        RECEIVED = "received"
        VERIFYING = "verifying"
        RETRY = "retry"
        ACCEPTED = "accepted"
        REJECTED = "rejected"
        DEAD = "dead"

    OPEN = (State.RECEIVED, State.VERIFYING, State.RETRY)

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    game = models.ForeignKey(Game, models.PROTECT, related_name="+", db_index=False)
    player = models.ForeignKey(Player, models.PROTECT, related_name="+", db_index=False)
    provider = models.CharField(max_length=20)
    digest = models.BinaryField(max_length=32)
    data = models.JSONField()
    product = models.CharField(max_length=200, blank=True)
    purchases = models.JSONField(default=list)
    state = models.CharField(max_length=9, choices=State, default=State.RECEIVED)
    code = models.CharField(max_length=64, blank=True)
    last_error = models.CharField(max_length=500, blank=True)
    attempts = models.PositiveIntegerField(default=0)
    next_attempt_at = models.DateTimeField(default=now)
    first_tried_at = models.DateTimeField(null=True)
    created_at = models.DateTimeField(default=now, editable=False)
    updated_at = models.DateTimeField(default=now, editable=False)

    class Meta:
        constraints = [
            # Claimed with ON CONFLICT: clients send a receipt until they hear of its end.
            models.UniqueConstraint(
                fields=("player", "provider", "digest"), name="store_order_once"
            ),
            models.CheckConstraint(
                condition=Q(
                    state__in=("received", "verifying", "retry", "accepted", "rejected", "dead")
                ),
                name="store_order_state",
            ),
        ]
        indexes = [
            # For the sweeper.
            models.Index(
                fields=("next_attempt_at",),
                name="store_order_due",
                condition=Q(state__in=("received", "verifying", "retry")),
            ),
            # The player's orders, newest first.
            models.Index(fields=("player", "-id"), name="store_order_player"),
            # What staff have to look at.
            models.Index(fields=("id",), name="store_order_dead", condition=Q(state="dead")),
        ]

    def __str__(self) -> str:
        return str(self.id)


class PlatformPurchase(models.Model):
    """One line of one transaction in a platform's store: granted once, to one player, for ever.

    player      the owner; none where nobody has claimed it yet
    is_unbound  the owner is whoever sent it first: the purchase itself names nobody
    order       the first receipt that was about it
    granted     {"currencies": {key: amount}, "items": {key: quantity}}, as it was granted
    taken       the same, as refunds have taken it back so far, and "short": what they could not
    revoked     how much the platform has taken back, in thousandths of a percent
    reversals   how often value was taken back or given again: numbers the ledger's keys
    signed_at   how new what we know is: older news never changes it
    told        whether the platform knows that it was granted
    decision    what staff decided, whatever the platform says since (docs/adr/0077)
    """

    class State(models.TextChoices):
        PENDING = "pending"
        VERIFIED = "verified"
        GRANTED = "granted"
        QUARANTINED = "quarantined"
        PARTIALLY_REVOKED = "partially_revoked"
        REVOKED = "revoked"
        CANCELLED = "cancelled"

    class Told(models.TextChoices):
        NONE = "none"
        DUE = "due"
        DONE = "done"
        FAILED = "failed"

    class Decision(models.TextChoices):
        NONE = "", "–"
        GRANT = "grant", "granted by staff"
        REFUSE = "refuse", "refused by staff"
        REFUND = "refund", "taken back by staff"

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    game = models.ForeignKey(Game, models.PROTECT, related_name="+", db_index=False)
    provider = models.CharField(max_length=20)
    environment = models.CharField(max_length=10)
    app_id = models.CharField(max_length=255)
    transaction_id = models.CharField(max_length=512)
    line = models.CharField(max_length=200, blank=True)
    original_id = models.CharField(max_length=512, blank=True)
    player = models.ForeignKey(
        Player, models.PROTECT, related_name="+", db_index=False, null=True, blank=True
    )
    is_unbound = models.BooleanField(default=False)
    order = models.ForeignKey(
        Order, models.PROTECT, related_name="+", db_index=False, null=True, blank=True
    )
    offer = models.ForeignKey(
        Offer, models.PROTECT, related_name="+", db_index=False, null=True, blank=True
    )
    product = models.CharField(max_length=200)
    kind = models.CharField(max_length=12)
    quantity = models.PositiveIntegerField(default=1)
    state = models.CharField(max_length=17, choices=State, default=State.PENDING)
    code = models.CharField(max_length=64, blank=True)
    decision = models.CharField(
        max_length=6, choices=Decision, default="", db_default="", blank=True
    )
    granted = models.JSONField(default=dict, blank=True)
    taken = models.JSONField(default=dict, blank=True)
    revoked = models.PositiveIntegerField(default=0)
    reversals = models.PositiveIntegerField(default=0)
    told = models.CharField(max_length=6, choices=Told, default=Told.NONE)
    token = models.TextField(blank=True)
    # The account token that the client bound to the purchase, as the platform says.
    account = models.UUIDField(null=True, blank=True)
    price_minor_units = models.BigIntegerField(null=True, blank=True)
    price_currency = models.CharField(max_length=3, blank=True)
    country = models.CharField(max_length=3, blank=True)
    # For telling the platform, and for asking again about what is pending.
    attempts = models.PositiveIntegerField(default=0)
    next_attempt_at = models.DateTimeField(default=now)
    last_error = models.CharField(max_length=500, blank=True)
    signed_at = models.DateTimeField()
    purchased_at = models.DateTimeField(null=True, blank=True)
    granted_at = models.DateTimeField(null=True, blank=True)
    revoked_at = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField(default=now, editable=False)

    class Meta:
        verbose_name = "platform purchase"
        constraints = [
            # Claimed with ON CONFLICT: this is what makes a transaction grant once.
            models.UniqueConstraint(
                fields=("provider", "environment", "app_id", "transaction_id", "line"),
                name="store_platformpurchase_once",
            ),
            models.CheckConstraint(
                condition=Q(
                    state__in=(
                        "pending",
                        "verified",
                        "granted",
                        "quarantined",
                        "partially_revoked",
                        "revoked",
                        "cancelled",
                    )
                ),
                name="store_platformpurchase_state",
            ),
            models.CheckConstraint(
                condition=Q(told__in=("none", "due", "done", "failed")),
                name="store_platformpurchase_told",
            ),
            models.CheckConstraint(
                condition=Q(environment__in=("production", "sandbox")),
                name="store_platformpurchase_environment",
            ),
            models.CheckConstraint(
                condition=Q(revoked__lte=100_000, quantity__gte=1),
                name="store_platformpurchase_bounds",
            ),
            models.CheckConstraint(
                condition=Q(decision__in=("", "grant", "refuse", "refund")),
                name="store_platformpurchase_decision",
            ),
            # What was granted belongs to somebody and came of an offer.
            models.CheckConstraint(
                condition=~Q(state__in=("granted", "partially_revoked"))
                | Q(player__isnull=False, offer__isnull=False, granted_at__isnull=False),
                name="store_platformpurchase_granted",
            ),
        ]
        indexes = [
            # The player's purchases, newest first.
            models.Index(fields=("player", "-id"), name="store_platformpurchase_player"),
            # The owner of a subscription's earlier periods.
            models.Index(
                fields=("provider", "app_id", "original_id"), name="store_platformpurchase_series"
            ),
            # What the platform has to be told.
            models.Index(
                fields=("next_attempt_at",),
                name="store_platformpurchase_tell",
                condition=Q(told="due"),
            ),
            # What to ask the platform about again.
            models.Index(
                fields=("next_attempt_at",),
                name="store_platformpurchase_wait",
                condition=Q(state="pending"),
            ),
            # Who had money back, and how often.
            models.Index(
                fields=("player",),
                name="store_platformpurchase_refund",
                condition=Q(revoked__gt=0),
            ),
            # What staff have to look at: what was paid for and is held back until they decide, and
            # what its platform could not be told of.
            models.Index(
                fields=("id",),
                name="store_platformpurchase_held",
                condition=Q(state="quarantined", environment="production", decision=""),
            ),
            models.Index(
                fields=("id",),
                name="store_platformpurchase_untold",
                condition=Q(told="failed"),
            ),
            # Revenue by the time of the purchase, and exports of it; refunds by theirs.
            models.Index(
                "game",
                Coalesce("purchased_at", "created_at"),
                "id",
                name="store_platformpurchase_sold",
            ),
            models.Index(
                fields=("game", "revoked_at"),
                name="store_platformpurchase_back",
                condition=Q(revoked__gt=0),
            ),
        ]

    def __str__(self) -> str:
        return str(self.id)


class PurchaseStep(models.Model):
    """One transition of an order or a purchase, and why. Only ever added to."""

    class Cause(models.TextChoices):
        ORDER = "order"
        NOTICE = "notice"
        RECONCILIATION = "reconciliation"
        STAFF = "staff"
        SWEEPER = "sweeper"

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    purchase = models.ForeignKey(
        PlatformPurchase, models.PROTECT, related_name="+", db_index=False, null=True
    )
    order = models.ForeignKey(Order, models.PROTECT, related_name="+", db_index=False, null=True)
    at = models.DateTimeField(default=now, editable=False)
    before = models.CharField(max_length=17, blank=True)
    after = models.CharField(max_length=17)
    cause = models.CharField(max_length=14, choices=Cause)
    # The order's, notification's or staff member's name for it.
    reference = models.CharField(max_length=255, blank=True)
    detail = models.JSONField(default=dict)

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(purchase__isnull=False) | Q(order__isnull=False),
                name="store_purchasestep_subject",
            )
        ]
        indexes = [
            # The history of a purchase, and of an order, in the back office.
            models.Index(fields=("purchase", "id"), name="store_purchasestep_purchase"),
            models.Index(fields=("order", "id"), name="store_purchasestep_order"),
        ]

    def __str__(self) -> str:
        return f"{self.before} → {self.after}"


class OwnerConflict(models.Model):
    """Somebody sent a receipt of a purchase that is another player's. Staff decide; nothing
    moves by itself."""

    class State(models.TextChoices):
        OPEN = "open"
        KEPT = "kept", "kept with its owner"
        MOVED = "moved", "moved to the claimant"

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    purchase = models.ForeignKey(PlatformPurchase, models.PROTECT, related_name="+", db_index=False)
    claimant = models.ForeignKey(Player, models.PROTECT, related_name="+", db_index=False)
    order = models.ForeignKey(Order, models.PROTECT, related_name="+", db_index=False)
    state = models.CharField(max_length=5, choices=State, default=State.OPEN)
    decided_by = models.CharField(max_length=150, blank=True)
    decided_at = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField(default=now, editable=False)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=("purchase", "claimant"),
                name="store_ownerconflict_once",
                condition=Q(state="open"),
            ),
            models.CheckConstraint(
                condition=Q(state__in=("open", "kept", "moved")), name="store_ownerconflict_state"
            ),
        ]
        indexes = [
            # Claims of a purchase that were decided, too.
            models.Index(fields=("purchase", "-id"), name="store_ownerconflict_purchase"),
            # What a player has claimed.
            models.Index(fields=("claimant", "-id"), name="store_ownerconflict_claimant"),
            # What waits for staff.
            models.Index(
                fields=("id",), name="store_ownerconflict_open", condition=Q(state="open")
            ),
        ]

    def __str__(self) -> str:
        return f"{self.purchase_id} ({self.state})"
