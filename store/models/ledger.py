"""The ledger and what it holds; docs/ledger.md has the invariants.

The tables are written by one database function (`store_post`, in migration 0008) and by nothing
else: triggers refuse other writes. They name players without a foreign key constraint, because
the function has just locked the player's row.
"""

from django.db import models
from django.db.models import CompositePrimaryKey, Q

from accounts.models import Game, Player
from config.db.ids import uuid7
from store.models.catalogue import MAX_STACK, Currency, Item

# PostgreSQL copies row triggers to new partitions, but not this one.
REFUSE_TRUNCATE = """
    CREATE TRIGGER no_truncate BEFORE TRUNCATE ON {child} FOR EACH STATEMENT
    WHEN (current_setting('evenkeel.ledger_may_be_emptied', true) IS DISTINCT FROM 'on')
    EXECUTE FUNCTION store_refuse()
"""
# Nor statement triggers: who adds to a partition by its name is checked like everybody else.
GUARD_ENTRIES = f"""
    {REFUSE_TRUNCATE};
    CREATE TRIGGER store_entry_balanced AFTER INSERT ON {{child}} REFERENCING NEW TABLE AS added
    FOR EACH STATEMENT EXECUTE FUNCTION store_check_entries()
"""


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
        GIFT = "gift"
        MERGE = "merge"

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
    TRANSFER_MERGE = "transfer:merge", "what merged players brought along"


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
