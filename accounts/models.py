"""Games, their keys, players, how they sign in, their sessions, sanctions; and staff."""

from typing import Any

from django.contrib.auth.models import AbstractUser
from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import Q
from django.utils.timezone import now

from config.db.ids import uuid7


class StaffUser(AbstractUser):
    """Someone who works in the back office. Players are not Django users."""

    class Role(models.TextChoices):
        SUPPORT = "support"
        DESIGNER = "designer"
        ANALYST = "analyst"
        ADMIN = "admin"

    role = models.CharField(max_length=10, choices=Role, default=Role.SUPPORT)

    class Meta(AbstractUser.Meta):
        verbose_name = "staff user"
        verbose_name_plural = "staff"

    def has_perm(self, perm: str, obj: Any = None) -> bool:
        """Admins may everything. What the other roles may is in each admin class's `roles`."""
        if self.is_active and self.is_staff and self.role == self.Role.ADMIN:
            return True
        return super().has_perm(perm, obj)

    def has_module_perms(self, app_label: str) -> bool:
        return self.has_perm("") or super().has_module_perms(app_label)


class Game(models.Model):
    """One game of the deployment. All other rows belong to one."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    slug = models.SlugField(max_length=50, unique=True)
    name = models.CharField(max_length=100)
    timezone = models.CharField(max_length=50, default="UTC")
    is_active = models.BooleanField(default=True)
    # Raised by config.db.definitions.changed; process caches compare it.
    definition_version = models.BigIntegerField(default=1, editable=False)
    created_at = models.DateTimeField(default=now, editable=False)

    def __str__(self) -> str:
        return self.name


def GameOfManyRows() -> "models.ForeignKey[Game, Game]":  # noqa: N802 (reads as a field)
    """The game of a row in a table that grows with play.

    Without a constraint in the database: checking it would lock the same row of `accounts_game`
    in every insert of every player. Games are never deleted, and the id comes from a checked
    credential. See docs/adr/0012-no-foreign-key-to-the-game.md.
    """
    return models.ForeignKey(
        Game, models.PROTECT, related_name="+", db_index=False, db_constraint=False
    )


class ApiKey(models.Model):
    """A publishable key (`pk_…`, identifies the game) or a secret server key (`sk_…`).

    Secret keys are stored as SHA-256 only: they have 256 random bits, so nothing slower is
    needed. Publishable keys are public, and kept as they are so that staff can look them up.
    """

    class Kind(models.TextChoices):
        PUBLISHABLE = "publishable"
        SECRET = "secret"  # noqa: S105 (the name of a kind)

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    game = models.ForeignKey(Game, models.PROTECT, related_name="keys")
    kind = models.CharField(max_length=12, choices=Kind)
    name = models.CharField(max_length=100, blank=True)
    # What staff see of a secret key; the whole of a publishable one.
    shown = models.CharField(max_length=80)
    hash = models.BinaryField(max_length=32, unique=True, editable=False)
    scopes = ArrayField(models.CharField(max_length=40), default=list, blank=True)
    created_at = models.DateTimeField(default=now, editable=False)
    expires_at = models.DateTimeField(null=True, blank=True)
    revoked_at = models.DateTimeField(null=True, blank=True)
    last_used_at = models.DateTimeField(null=True, blank=True, editable=False)

    class Meta:
        verbose_name = "API key"

    def __str__(self) -> str:
        return f"{self.shown} ({self.kind})"


class Player(models.Model):
    """One player of one game. There are many: the row is small, with few indexes."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    game = GameOfManyRows()
    display_name = models.CharField(max_length=30)
    # `display_name` folded for comparing and searching (a prefix is a range in collation C).
    name_key = models.CharField(max_length=120, editable=False, db_collation="C")
    tag = models.PositiveSmallIntegerField()
    avatar = models.CharField(max_length=100, blank=True)
    locale = models.CharField(max_length=20, blank=True)
    country = models.CharField(max_length=2, blank=True)
    timezone = models.CharField(max_length=50, default="UTC")
    marketing_consent = models.BooleanField(default=False)
    analytics_consent = models.BooleanField(default=False)
    is_tester = models.BooleanField(default=False)
    is_guest = models.BooleanField(default=True)
    # What the sanctions in force add up to: no sign-in before this time. Kept by
    # accounts.services.sanctions, so that sign-in reads one row.
    blocked_until = models.DateTimeField(null=True, blank=True, editable=False)
    # Who this player has become (accounts.services.merging): never somebody who was merged too.
    merged_into = models.ForeignKey(
        "self",
        models.DO_NOTHING,
        related_name="+",
        null=True,
        blank=True,
        editable=False,
        db_index=False,
        db_constraint=False,
    )
    # Counts the changes of the profile: its entity tag.
    version = models.PositiveIntegerField(default=1, editable=False)
    created_at = models.DateTimeField(default=now, editable=False)
    last_seen_at = models.DateTimeField(default=now, editable=False)

    class Meta:
        constraints = [
            # Also serves the search by name within a game.
            models.UniqueConstraint(
                fields=("game", "name_key", "tag"), name="accounts_player_name_once"
            ),
            models.CheckConstraint(
                condition=Q(tag__gte=0, tag__lte=9999), name="accounts_player_tag"
            ),
        ]
        indexes = [
            # Those whom a player has absorbed.
            models.Index(
                fields=("merged_into",),
                name="accounts_player_merged",
                condition=Q(merged_into__isnull=False),
            )
        ]

    def __str__(self) -> str:
        return f"{self.display_name}#{self.tag:04d}"


class Identity(models.Model):
    """A way for a player to sign in: a device, an e-mail address, a platform account."""

    class Method(models.TextChoices):
        DEVICE = "device"
        EMAIL = "email"
        GOOGLE = "google"
        APPLE = "apple"
        FACEBOOK = "facebook"
        STEAM = "steam"
        CUSTOM = "custom"

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    game = GameOfManyRows()
    player = models.ForeignKey(Player, models.CASCADE, related_name="identities")
    method = models.CharField(max_length=10, choices=Method)
    # The device id, the folded e-mail address, or the platform's id of the account.
    subject = models.CharField(max_length=254)
    # SHA-256 of a device secret (32 random bytes or more), or an argon2 hash of a password.
    secret = models.CharField(max_length=200, blank=True, editable=False)
    verified_at = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField(default=now, editable=False)

    class Meta:
        verbose_name_plural = "identities"
        constraints = [
            # Sign-in looks up by exactly this; two players can't share an identity.
            models.UniqueConstraint(
                fields=("game", "method", "subject"), name="accounts_identity_once"
            )
        ]

    def __str__(self) -> str:
        return f"{self.method}:{self.subject}"


class Session(models.Model):
    """A signed-in device: one row, however often its tokens are refreshed.

    `generation` counts refreshes; a refresh token names the one it belongs to.
    """

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    game = GameOfManyRows()
    # The statement that opens a session has just read or written the player: a constraint would
    # look the player up once more at every sign-in.
    player = models.ForeignKey(Player, models.CASCADE, related_name="sessions", db_constraint=False)
    method = models.CharField(max_length=10, choices=Identity.Method)
    generation = models.PositiveIntegerField(default=1)
    refreshed_at = models.DateTimeField(default=now)
    expires_at = models.DateTimeField()
    revoked_at = models.DateTimeField(null=True, blank=True)
    revoked_for = models.CharField(max_length=20, blank=True)
    device = models.CharField(max_length=100, blank=True)
    place = models.CharField(max_length=60, blank=True)
    platform = models.CharField(max_length=20, blank=True)
    app_version = models.CharField(max_length=20, blank=True)
    created_at = models.DateTimeField(default=now, editable=False)
    last_used_at = models.DateTimeField(default=now)

    class Meta:
        indexes = [
            # For telling Redis again: what was revoked while access tokens of it may still live.
            models.Index(
                fields=("revoked_at",),
                name="accounts_session_revoked",
                condition=Q(revoked_at__isnull=False),
            )
        ]

    def __str__(self) -> str:
        return str(self.id)


class Sanction(models.Model):
    """A warning, suspension, ban or shadow ban of a player."""

    class Kind(models.TextChoices):
        WARNING = "warning"
        SUSPENSION = "suspension"
        BAN = "ban"
        SHADOW_BAN = "shadow_ban"

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    game = GameOfManyRows()
    player = models.ForeignKey(Player, models.CASCADE, related_name="sanctions")
    kind = models.CharField(max_length=10, choices=Kind)
    reason = models.CharField(max_length=500)
    author = models.CharField(max_length=150)
    created_at = models.DateTimeField(default=now, editable=False)
    ends_at = models.DateTimeField(null=True, blank=True)
    lifted_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=~Q(kind="suspension") | Q(ends_at__isnull=False),
                name="accounts_sanction_suspension_ends",
            )
        ]

    def __str__(self) -> str:
        return f"{self.get_kind_display()}: {self.reason[:60]}"


class Merge(models.Model):
    """Two players who have become one: what was `absorbed`'s is the `survivor`'s.

    choices   what the player chose, by part (docs/accounts.md)
    journal   what each part has moved: what an undo takes back
    outcome   "merged": what the player was told; "undone": what an undo gave back; by part
    """

    class State(models.TextChoices):
        # What was still on its way to the absorbed player is looked for.
        SETTLING = "settling"
        DONE = "done"
        UNDONE = "undone"

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    game = GameOfManyRows()
    survivor = models.ForeignKey(Player, models.PROTECT, related_name="+", db_index=False)
    absorbed = models.ForeignKey(Player, models.PROTECT, related_name="+", db_index=False)
    state = models.CharField(max_length=8, choices=State, default=State.SETTLING)
    choices = models.JSONField(default=dict)
    journal = models.JSONField(default=dict)
    outcome = models.JSONField(default=dict)
    attempts = models.PositiveIntegerField(default=0)
    next_attempt_at = models.DateTimeField()
    last_error = models.CharField(max_length=500, blank=True)
    created_at = models.DateTimeField(default=now, editable=False)
    undone_at = models.DateTimeField(null=True, blank=True)
    undone_by = models.CharField(max_length=150, blank=True)
    reason = models.CharField(max_length=500, blank=True)

    class Meta:
        constraints = [
            # One player is absorbed once at a time. Also finds the merge of an absorbed player.
            models.UniqueConstraint(
                fields=("absorbed",),
                name="accounts_merge_once",
                condition=~Q(state="undone"),
            ),
            models.CheckConstraint(
                condition=~Q(survivor=models.F("absorbed")), name="accounts_merge_two"
            ),
            models.CheckConstraint(
                condition=Q(state__in=("settling", "done", "undone")), name="accounts_merge_state"
            ),
        ]
        indexes = [
            # A player's merges, newest first; and how many there were lately.
            models.Index(fields=("survivor", "-id"), name="accounts_merge_survivor"),
            # The history of who was absorbed.
            models.Index(fields=("absorbed", "-id"), name="accounts_merge_absorbed"),
            # For the sweeper.
            models.Index(
                fields=("next_attempt_at",),
                name="accounts_merge_settling",
                condition=Q(state="settling"),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.absorbed} into {self.survivor}"


class Friendship(models.Model):
    """Two friends: a row for each of them, so that a player's friends are one range of an index.

    Written by accounts.services.friends alone, both rows together, with both players locked.
    """

    pk = models.CompositePrimaryKey("player_id", "friend_id")
    # The primary key finds a player's friends, and whether two are. Nothing looks for `friend`.
    player = models.ForeignKey(Player, models.CASCADE, related_name="+", db_index=False)
    friend = models.ForeignKey(Player, models.CASCADE, related_name="+", db_index=False)
    created_at = models.DateTimeField(default=now, editable=False)

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=~Q(player=models.F("friend")), name="accounts_friendship_two"
            )
        ]

    def __str__(self) -> str:
        return f"{self.player_id} and {self.friend_id}"


class FriendRequest(models.Model):
    """A player asks another to be friends. Gone when it is answered or withdrawn.

    That of someone whom the recipient has blocked stands like any other, and the recipient does
    not see it (docs/adr/0017).
    """

    sender = models.ForeignKey(Player, models.CASCADE, related_name="+", db_index=False)
    recipient = models.ForeignKey(Player, models.CASCADE, related_name="+", db_index=False)
    created_at = models.DateTimeField(default=now, editable=False)

    class Meta:
        constraints = [
            # Also finds the requests that a player has sent.
            models.UniqueConstraint(
                fields=("sender", "recipient"), name="accounts_friendrequest_once"
            ),
            models.CheckConstraint(
                condition=~Q(sender=models.F("recipient")), name="accounts_friendrequest_two"
            ),
        ]
        indexes = [
            # The requests that a player has received.
            models.Index(fields=("recipient",), name="accounts_friendrequest_to")
        ]

    def __str__(self) -> str:
        return f"{self.sender_id} asks {self.recipient_id}"


class FriendCode(models.Model):
    """What a player gives others to be found by. Thrown away, another one takes its place."""

    player = models.OneToOneField(Player, models.CASCADE, primary_key=True, related_name="+")
    game = GameOfManyRows()
    code = models.CharField(max_length=8)
    created_at = models.DateTimeField(default=now, editable=False)

    class Meta:
        constraints = [
            # Whose code was typed.
            models.UniqueConstraint(fields=("game", "code"), name="accounts_friendcode_once")
        ]

    def __str__(self) -> str:
        return self.code


class Block(models.Model):
    """A player wants nothing to do with another, who does not find out."""

    player = models.ForeignKey(Player, models.CASCADE, related_name="+", db_index=False)
    blocked = models.ForeignKey(Player, models.CASCADE, related_name="+", db_index=False)
    created_at = models.DateTimeField(default=now, editable=False)

    class Meta:
        constraints = [
            # Also finds all whom a player has blocked.
            models.UniqueConstraint(fields=("player", "blocked"), name="accounts_block_once"),
            models.CheckConstraint(
                condition=~Q(player=models.F("blocked")), name="accounts_block_two"
            ),
        ]
        indexes = [
            # By whom a player was blocked, who is merged into another.
            models.Index(fields=("blocked",), name="accounts_block_of")
        ]

    def __str__(self) -> str:
        return f"{self.player_id} blocks {self.blocked_id}"
