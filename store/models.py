"""The catalogue, the ledger, and what players own. docs/ledger.md has the invariants.

Tables that the ledger writes are written by one database function (`store_post`, in migration
0002) and by nothing else: triggers refuse other writes. They name players without a foreign
key constraint, because the function has just locked the player's row.
"""

from django.db import models
from django.db.models import CompositePrimaryKey, F, Q
from django.utils.timezone import now

from accounts.models import Game, Player
from config.db.ids import uuid7

INT64_MAX = 2**63 - 1
MAX_STACK = 10**12
# PostgreSQL copies row triggers to new partitions, but not this one.
REFUSE_TRUNCATE = """
    CREATE TRIGGER no_truncate BEFORE TRUNCATE ON {child} FOR EACH STATEMENT
    WHEN (current_setting('evenkeel.ledger_may_be_emptied', true) IS DISTINCT FROM 'on')
    EXECUTE FUNCTION store_refuse()
"""


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
    """A thing that players own in stacks. Only consumables can be consumed."""

    class Kind(models.TextChoices):
        DURABLE = "durable"
        CONSUMABLE = "consumable"

    id = models.BigAutoField(primary_key=True)
    game = models.ForeignKey(Game, models.PROTECT, related_name="+", db_index=False)
    key = models.CharField(max_length=64)
    name = models.CharField(max_length=100)
    kind = models.CharField(max_length=10, choices=Kind, default=Kind.DURABLE)
    # A stack never grows beyond it.
    max_stack = models.BigIntegerField(default=MAX_STACK)
    is_active = models.BooleanField(default=True)
    created_at = models.DateTimeField(default=now, editable=False)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=("game", "key"), name="store_item_once"),
            models.CheckConstraint(
                condition=Q(max_stack__gte=1, max_stack__lte=MAX_STACK), name="store_item_max_stack"
            ),
            models.CheckConstraint(
                condition=Q(kind__in=("durable", "consumable")), name="store_item_kind"
            ),
        ]

    def __str__(self) -> str:
        return self.key


class Offer(models.Model):
    """Something for sale: what is in it, and what it costs.

    contents   {"currencies": {key: amount}, "items": {key: quantity}}
    price      {currency key: amount}: all of them are paid. Empty: not for virtual currency
    products   {platform: product id in that platform's store}
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
                condition=Q(reference_minor_units=None, reference_currency="")
                | Q(reference_minor_units__gte=0, reference_currency__regex="^[A-Z]{3}$"),
                name="store_offer_reference_price",
            ),
        ]

    def __str__(self) -> str:
        return self.key


class Balance(models.Model):
    """What a player has of a currency: the sum of its ledger entries, held so by triggers.

    `updated_at` is the time of its latest entries: no two postings to a balance share a time.
    `paid` was bought with real money, `earned` was not. Only a refund takes `paid` below zero
    (`in_debt`); until it is repaid nothing can be spent.
    """

    pk = CompositePrimaryKey("player_id", "currency_id")
    player = models.ForeignKey(Player, models.PROTECT, related_name="+", db_index=False)
    currency = models.ForeignKey(Currency, models.PROTECT, related_name="+", db_index=False)
    paid = models.BigIntegerField()
    earned = models.BigIntegerField()
    in_debt = models.BooleanField(default=False)
    updated_at = models.DateTimeField()

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(earned__gte=0) & (Q(paid__gte=0) | Q(in_debt=True)),
                name="store_balance_not_negative",
            ),
            models.CheckConstraint(
                condition=Q(in_debt=False) | Q(paid__lt=0), name="store_balance_debt"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.paid + self.earned}"


class Transaction(models.Model):
    """One movement of value: ledger entries and stack movements that happened together.

    `key` is unique in its game for ever: nothing is done twice. `fingerprint` tells whether a
    repetition asks for the same. A purchase and a grant have the id of their transaction.
    """

    class Kind(models.TextChoices):
        INITIAL = "initial"
        PURCHASE = "purchase"
        GRANT = "grant"
        CONSUMPTION = "consumption"
        REFUND = "refund"

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    game = models.ForeignKey(
        Game, models.DO_NOTHING, related_name="+", db_index=False, db_constraint=False
    )
    player = models.ForeignKey(
        Player, models.DO_NOTHING, related_name="+", db_index=False, db_constraint=False
    )
    kind = models.CharField(max_length=12, choices=Kind)
    key = models.CharField(max_length=300)
    fingerprint = models.BinaryField(max_length=32, null=True)
    reason = models.CharField(max_length=200)
    reference = models.CharField(max_length=200, blank=True)
    created_at = models.DateTimeField()

    class Meta:
        verbose_name = "ledger transaction"
        constraints = [
            # Claimed by store_post with ON CONFLICT; also finds the first outcome of a repetition.
            models.UniqueConstraint(fields=("game", "key"), name="store_transaction_once")
        ]

    def __str__(self) -> str:
        return str(self.id)


class Account(models.TextChoices):
    """The chart of accounts. Players have wallets; the game's own accounts say where value
    comes from and where it goes. Their balance is the sum of their entries and kept nowhere: one
    row for all players would make them wait for each other."""

    WALLET = "wallet", "a player's wallet"
    SOURCE_INITIAL = "source:initial", "the balance that a player begins with"
    SOURCE_GRANT = "source:grant", "rewards and grants"
    SOURCE_PURCHASE = "source:purchase", "contents of what players bought"
    SINK_PURCHASE = "sink:purchase", "what players paid"
    SINK_REFUND = "sink:refund", "what refunds took back"


class Entry(models.Model):
    """One side of a posting, in month partitions. Those of a transaction add up to zero for each
    currency, of `paid` and of `earned`. The id is the movement's id in the API."""

    pk = CompositePrimaryKey("created_at", "id")
    created_at = models.DateTimeField()
    id = models.UUIDField(editable=False)
    transaction = models.ForeignKey(
        Transaction, models.DO_NOTHING, related_name="+", db_index=False, db_constraint=False
    )
    currency = models.ForeignKey(
        Currency, models.DO_NOTHING, related_name="+", db_index=False, db_constraint=False
    )
    account = models.CharField(max_length=20, choices=Account)
    # The wallet's owner; none for the game's own accounts.
    player = models.ForeignKey(
        Player, models.DO_NOTHING, related_name="+", db_index=False, db_constraint=False, null=True
    )
    paid = models.BigIntegerField()
    earned = models.BigIntegerField()
    # The wallet after this entry; none for the game's own accounts.
    paid_after = models.BigIntegerField(null=True)
    earned_after = models.BigIntegerField(null=True)

    class Meta:
        db_table = "store_entry"
        verbose_name_plural = "entries"
        constraints = [
            models.CheckConstraint(
                condition=Q(
                    account="wallet",
                    player__isnull=False,
                    paid_after__isnull=False,
                    earned_after__isnull=False,
                )
                | Q(player=None, paid_after=None, earned_after=None) & ~Q(account="wallet"),
                name="store_entry_account",
            )
        ]
        indexes = [
            # A player's ledger, newest first: the API's list, and "explain this balance".
            models.Index(
                fields=("player", "-created_at", "-id"),
                name="store_entry_player",
                condition=Q(player__isnull=False),
            )
        ]

    def __str__(self) -> str:
        return str(self.id)


class Wallet(Player):
    """A player, as the back office looks at what they own."""

    class Meta:
        proxy = True


class Stack(models.Model):
    """How many of an item a player has: the sum of its movements."""

    pk = CompositePrimaryKey("player_id", "item_id")
    player = models.ForeignKey(Player, models.PROTECT, related_name="+", db_index=False)
    item = models.ForeignKey(Item, models.PROTECT, related_name="+", db_index=False)
    quantity = models.BigIntegerField()
    updated_at = models.DateTimeField()

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(quantity__gte=0, quantity__lte=MAX_STACK), name="store_stack_quantity"
            )
        ]

    def __str__(self) -> str:
        return f"{self.quantity}"


class StackMovement(models.Model):
    """One change of a stack, in month partitions."""

    pk = CompositePrimaryKey("created_at", "id")
    created_at = models.DateTimeField()
    id = models.UUIDField(editable=False)
    transaction = models.ForeignKey(
        Transaction, models.DO_NOTHING, related_name="+", db_index=False, db_constraint=False
    )
    player = models.ForeignKey(
        Player, models.DO_NOTHING, related_name="+", db_index=False, db_constraint=False
    )
    item = models.ForeignKey(
        Item, models.DO_NOTHING, related_name="+", db_index=False, db_constraint=False
    )
    quantity = models.BigIntegerField()
    quantity_after = models.BigIntegerField()

    class Meta:
        db_table = "store_stackmovement"
        indexes = [
            # A player's item history, newest first.
            models.Index(fields=("player", "-created_at", "-id"), name="store_stackmovement_player")
        ]

    def __str__(self) -> str:
        return str(self.id)


class Purchase(models.Model):
    """An offer bought with virtual currency. Its id is its ledger transaction's.

    price, granted   what was paid and what came of it, in all (not for one unit)
    """

    id = models.UUIDField(primary_key=True, editable=False)
    game = models.ForeignKey(
        Game, models.DO_NOTHING, related_name="+", db_index=False, db_constraint=False
    )
    player = models.ForeignKey(
        Player, models.DO_NOTHING, related_name="+", db_index=False, db_constraint=False
    )
    offer = models.ForeignKey(
        Offer, models.DO_NOTHING, related_name="+", db_index=False, db_constraint=False
    )
    quantity = models.PositiveIntegerField()
    price = models.JSONField()
    granted = models.JSONField()
    created_at = models.DateTimeField()

    class Meta:
        indexes = [
            # The player's purchases, newest first, in the back office.
            models.Index(fields=("player", "-id"), name="store_purchase_player")
        ]

    def __str__(self) -> str:
        return str(self.id)


class OfferUse(models.Model):
    """How many of a limited offer a player has bought."""

    pk = CompositePrimaryKey("player_id", "offer_id")
    player = models.ForeignKey(Player, models.PROTECT, related_name="+", db_index=False)
    offer = models.ForeignKey(Offer, models.PROTECT, related_name="+", db_index=False)
    quantity = models.PositiveIntegerField()

    def __str__(self) -> str:
        return f"{self.quantity}"


class Grant(models.Model):
    """Value given: a reward of the game, by a game server, or by staff. Its id is its ledger
    transaction's. `currencies` and `items` are what was added; `clipped` says that some of what was
    asked for did not fit."""

    class Source(models.TextChoices):
        GAME = "game"
        SERVER = "server"
        STAFF = "staff"

    id = models.UUIDField(primary_key=True, editable=False)
    game = models.ForeignKey(
        Game, models.DO_NOTHING, related_name="+", db_index=False, db_constraint=False
    )
    player = models.ForeignKey(
        Player, models.DO_NOTHING, related_name="+", db_index=False, db_constraint=False
    )
    source = models.CharField(max_length=6, choices=Source)
    # Who gave it: the server key's id, or the staff user's name.
    actor = models.CharField(max_length=150, blank=True)
    reason = models.CharField(max_length=200)
    reference = models.CharField(max_length=200, blank=True)
    currencies = models.JSONField(default=dict)
    items = models.JSONField(default=dict)
    clipped = models.BooleanField(default=False)
    created_at = models.DateTimeField()
    # Set by the service, on what a repetition returns.
    is_replay = False

    class Meta:
        indexes = [
            # The player's grants, newest first, in the back office.
            models.Index(fields=("player", "-id"), name="store_grant_player")
        ]

    def __str__(self) -> str:
        return str(self.id)
