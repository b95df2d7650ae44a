"""What a game sells and counts: currencies, items, offers, and the stores that show them.

Items, offers and stores may have a `draft`: what designers have changed and not published yet, as
the fields of the game file that differ (docs/adr/0069). Columns of JSON hold what the file says, in
its form (store/shapes.py).
"""

from django.db import models
from django.db.models import CompositePrimaryKey, F, Q
from django.utils.timezone import now

from accounts.models import Game, Player
from config.db.ids import uuid7

INT64_MAX = 2**63 - 1
MAX_STACK = 10**12


class Currency(models.Model):
    """A virtual currency. `initial` is granted once to each player, when first needed."""

    id = models.BigAutoField(primary_key=True)
    game = models.ForeignKey(Game, models.PROTECT, related_name="+", db_index=False)
    key = models.CharField(max_length=64)
    name = models.CharField(max_length=100)
    initial = models.BigIntegerField(default=0)
    # A balance never grows beyond it.
    max = models.BigIntegerField(default=INT64_MAX)
    is_active = models.BooleanField(default=True)
    created_at = models.DateTimeField(default=now, editable=False)

    class Meta:
        verbose_name_plural = "currencies"
        constraints = [
            models.UniqueConstraint(fields=("game", "key"), name="store_currency_once"),
            models.CheckConstraint(
                condition=Q(initial__gte=0, max__gte=1, initial__lte=F("max")),
                name="store_currency_bounds",
            ),
        ]

    def __str__(self) -> str:
        return self.key


class Item(models.Model):
    """A thing that players own in stacks. Only consumables can be consumed.

    A bundle is never owned: wherever it is granted, its `contents` are (as an offer's).
    """

    class Kind(models.TextChoices):
        DURABLE = "durable"
        CONSUMABLE = "consumable"
        BUNDLE = "bundle"

    id = models.BigAutoField(primary_key=True)
    game = models.ForeignKey(Game, models.PROTECT, related_name="+", db_index=False)
    key = models.CharField(max_length=64)
    name = models.CharField(max_length=100)
    kind = models.CharField(max_length=10, choices=Kind, default=Kind.DURABLE)
    # A stack never grows beyond it.
    max_stack = models.BigIntegerField(default=MAX_STACK)
    contents = models.JSONField(default=dict, db_default={}, blank=True)
    titles = models.JSONField(default=dict, db_default={}, blank=True)
    descriptions = models.JSONField(default=dict, db_default={}, blank=True)
    properties = models.JSONField(default=dict, db_default={}, blank=True)
    draft = models.JSONField(null=True, blank=True, editable=False)
    is_active = models.BooleanField(default=True)
    created_at = models.DateTimeField(default=now, editable=False)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=("game", "key"), name="store_item_once"),
            models.CheckConstraint(
                condition=Q(max_stack__gte=1, max_stack__lte=MAX_STACK), name="store_item_max_stack"
            ),
            models.CheckConstraint(
                condition=Q(kind__in=("durable", "consumable", "bundle")), name="store_item_kind"
            ),
        ]

    def __str__(self) -> str:
        return self.key


class Offer(models.Model):
    """Something for sale: what is in it, and what it costs.

    contents   {"currencies": {key: amount}, "items": {key: quantity}}
    price      {currency key: amount}: all of them are paid. Empty: not for virtual currency
    other_prices   further prices: the player pays one of them instead
    products   {platform: product id in that platform's store}
    schedule   when it is open inside its window, again and again; null: always
    limit_reset    cron, in the game's time zone: when the limit begins anew. Empty: never
    cooldown_seconds   how long a player waits between two purchases
    requires   what a player has to have or be
    sale       a lower price for a time
    entitlement   what a subscription to it unlocks: an offer that has one is a subscription's, and
                  its contents are granted in each period
    is_listed  whether the list of all offers has it, or only stores that name it
    is_giftable    whether a player may buy it for a friend
    """

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    game = models.ForeignKey(Game, models.PROTECT, related_name="+", db_index=False)
    key = models.CharField(max_length=64)
    contents = models.JSONField(default=dict)
    price = models.JSONField(default=dict, blank=True)
    products = models.JSONField(default=dict, blank=True)
    # What it costs in real money by our own list, for charts: minor units and ISO 4217 code.
    reference_minor_units = models.BigIntegerField(null=True, blank=True)
    reference_currency = models.CharField(max_length=3, blank=True)
    limit_per_player = models.PositiveIntegerField(null=True, blank=True)
    limit_reset = models.CharField(max_length=100, default="", db_default="", blank=True)
    cooldown_seconds = models.PositiveIntegerField(null=True, blank=True)
    other_prices = models.JSONField(default=list, db_default=[], blank=True)
    schedule = models.JSONField(null=True, blank=True)
    requires = models.JSONField(default=dict, db_default={}, blank=True)
    sale = models.JSONField(null=True, blank=True)
    titles = models.JSONField(default=dict, db_default={}, blank=True)
    descriptions = models.JSONField(default=dict, db_default={}, blank=True)
    properties = models.JSONField(default=dict, db_default={}, blank=True)
    entitlement = models.CharField(max_length=64, default="", db_default="", blank=True)
    is_listed = models.BooleanField(default=True, db_default=True)
    is_giftable = models.BooleanField(default=False, db_default=False)
    draft = models.JSONField(null=True, blank=True, editable=False)
    starts_at = models.DateTimeField(null=True, blank=True)
    ends_at = models.DateTimeField(null=True, blank=True)
    is_active = models.BooleanField(default=True)
    created_at = models.DateTimeField(default=now, editable=False)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=("game", "key"), name="store_offer_once"),
            models.CheckConstraint(
                condition=Q(starts_at=None) | Q(ends_at=None) | Q(starts_at__lt=F("ends_at")),
                name="store_offer_window",
            ),
            models.CheckConstraint(
                condition=Q(limit_per_player=None) | Q(limit_per_player__gte=1),
                name="store_offer_limit",
            ),
            models.CheckConstraint(
                condition=Q(cooldown_seconds=None) | Q(cooldown_seconds__gte=1),
                name="store_offer_cooldown",
            ),
            models.CheckConstraint(
                condition=Q(reference_minor_units=None, reference_currency="")
                | Q(reference_minor_units__gte=0, reference_currency__regex="^[A-Z]{3}$"),
                name="store_offer_reference_price",
            ),
        ]

    def __str__(self) -> str:
        return self.key


class Storefront(models.Model):
    """A store by name: which offers, in which order, and what they cost there.

    offers   [{"offer": key, "price"?: as the offer's, "prices"?: all of them}]
    """

    id = models.BigAutoField(primary_key=True)
    game = models.ForeignKey(Game, models.PROTECT, related_name="+", db_index=False)
    key = models.CharField(max_length=64)
    offers = models.JSONField(default=list, blank=True)
    draft = models.JSONField(null=True, blank=True, editable=False)
    is_active = models.BooleanField(default=True)
    created_at = models.DateTimeField(default=now, editable=False)

    class Meta:
        verbose_name = "store"
        constraints = [
            models.UniqueConstraint(fields=("game", "key"), name="store_storefront_once")
        ]

    def __str__(self) -> str:
        return self.key


class OfferUse(models.Model):
    """How many of an offer a player has bought.

    period_quantity   since the limit's last reset; counts if `last_at` is in the running period
    last_at           of the last purchase, never before the period that it counted in
    """

    pk = CompositePrimaryKey("player_id", "offer_id")
    player = models.ForeignKey(Player, models.PROTECT, related_name="+", db_index=False)
    offer = models.ForeignKey(Offer, models.PROTECT, related_name="+", db_index=False)
    quantity = models.PositiveIntegerField()
    period_quantity = models.PositiveIntegerField(default=0, db_default=0)
    last_at = models.DateTimeField(null=True)

    def __str__(self) -> str:
        return f"{self.quantity}"
