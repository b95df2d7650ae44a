"""Why value moved: purchases with virtual currency, gifts, and grants."""

from django.db import models

from accounts.models import Game, Player
from store.models.catalogue import Offer


class Purchase(models.Model):
    """An offer bought with virtual currency. Its id is its ledger transaction's.

    price, granted   what was paid and what came of it, in all (not for one unit). What was bought
                     for a friend grants the buyer nothing: the `Gift` says what the friend got
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


class Gift(models.Model):
    """What a player bought for a friend. Its id is that of the transaction in which the friend got
    `currencies` and `items`; `purchase` is the buyer's."""

    id = models.UUIDField(primary_key=True, editable=False)
    game = models.ForeignKey(
        Game, models.DO_NOTHING, related_name="+", db_index=False, db_constraint=False
    )
    sender = models.ForeignKey(
        Player, models.DO_NOTHING, related_name="+", db_index=False, db_constraint=False
    )
    recipient = models.ForeignKey(
        Player, models.DO_NOTHING, related_name="+", db_index=False, db_constraint=False
    )
    purchase = models.OneToOneField(
        Purchase, models.DO_NOTHING, related_name="gift", db_constraint=False
    )
    offer = models.ForeignKey(
        Offer, models.DO_NOTHING, related_name="+", db_index=False, db_constraint=False
    )
    quantity = models.PositiveIntegerField()
    currencies = models.JSONField(default=dict)
    items = models.JSONField(default=dict)
    created_at = models.DateTimeField()

    class Meta:
        indexes = [
            # What a player has given, newest first; and how many of late.
            models.Index(fields=("sender", "-created_at", "-id"), name="store_gift_sender"),
            # What a player has received, newest first; and how many of late.
            models.Index(fields=("recipient", "-created_at", "-id"), name="store_gift_recipient"),
        ]

    def __str__(self) -> str:
        return str(self.id)


class Grant(models.Model):
    """Value given: a reward of the game, by a game server, or by staff. Its id is its ledger
    transaction's. `currencies` and `items` are what was added; `clipped` says that some of what was
    asked for did not fit."""

    class Source(models.TextChoices):
        GAME = "game"
        SERVER = "server"
        STAFF = "staff"
        CODE = "code"

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
