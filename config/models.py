"""The plumbing's own tables."""

from django.db import models

from config.db.ids import uuid7


class IdempotencyRecord(models.Model):
    """One `Idempotency-Key`, with the first outcome. `owner` is a player or a server key."""

    owner = models.UUIDField()
    endpoint = models.CharField(max_length=80)
    key = models.CharField(max_length=200)
    fingerprint = models.BinaryField(max_length=32)
    status = models.PositiveSmallIntegerField()
    content_type = models.CharField(max_length=80)
    headers = models.JSONField(default=dict)
    body = models.BinaryField()
    created_at = models.DateTimeField()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=("owner", "endpoint", "key"), name="config_idempotency_once"
            )
        ]
        # For `forget_old`, which deletes by age.
        indexes = [models.Index(fields=("created_at",), name="config_idempotency_age")]

    def __str__(self) -> str:
        return f"{self.endpoint} {self.key}"


class HookCall(models.Model):
    """An `after_*` hook that has to be called: committed with its cause, done by the sweeper."""

    class State(models.TextChoices):
        DUE = "due"
        DONE = "done"
        DEAD = "dead"

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    hook = models.CharField(max_length=60)
    listener = models.CharField(max_length=200)
    payload = models.JSONField()
    state = models.CharField(max_length=8, choices=State, default=State.DUE)
    attempts = models.PositiveSmallIntegerField(default=0)
    next_attempt_at = models.DateTimeField()
    last_error = models.TextField(blank=True)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=models.Q(state__in=("due", "done", "dead")), name="config_hookcall_state"
            )
        ]
        # For the sweeper, which looks only at what is due.
        indexes = [
            models.Index(
                fields=("next_attempt_at",),
                name="config_hookcall_due",
                condition=models.Q(state="due"),
            )
        ]

    def __str__(self) -> str:
        return f"{self.hook} → {self.listener} ({self.state})"
