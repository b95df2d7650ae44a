"""CSV files that a job writes, because there may be millions of rows in them."""

from django.db import models
from django.db.models import Q
from django.utils.timezone import now

from accounts.models import StaffUser
from config.db.ids import uuid7


class Export(models.Model):
    """A file that staff asked for, how far it is, and what became of it.

    query    which rows are in it (store/finance.py has its form)
    cursor   the last row that is written; a worker that is killed is followed by another from there
    total    how many rows there will be, as they were counted at first
    """

    class State(models.TextChoices):
        DUE = "due"
        DONE = "done"
        FAILED = "failed"

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    title = models.CharField(max_length=200)
    query = models.JSONField()
    cursor = models.JSONField(default=list, blank=True)
    state = models.CharField(max_length=6, choices=State, default=State.DUE)
    total = models.PositiveBigIntegerField(null=True)
    written = models.PositiveBigIntegerField(default=0)
    attempts = models.PositiveIntegerField(default=0)
    next_attempt_at = models.DateTimeField(default=now)
    last_error = models.CharField(max_length=200, blank=True)
    author = models.ForeignKey(StaffUser, models.PROTECT, related_name="+", db_index=False)
    created_at = models.DateTimeField(default=now, editable=False)
    # It is deleted then; it can be asked for again.
    expires_at = models.DateTimeField()

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(state__in=("due", "done", "failed")), name="store_export_state"
            )
        ]
        indexes = [
            # For the job, which looks only at what is due.
            models.Index(
                fields=("next_attempt_at",), name="store_export_due", condition=Q(state="due")
            ),
            # What is too old.
            models.Index(fields=("expires_at",), name="store_export_expires"),
        ]

    def __str__(self) -> str:
        return self.title


class ExportPart(models.Model):
    """Some lines of an export, compressed with gzip. Parts in a row are the file."""

    id = models.BigAutoField(primary_key=True)
    export = models.ForeignKey(Export, models.CASCADE, related_name="+", db_index=False)
    number = models.PositiveIntegerField()
    body = models.BinaryField()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=("export", "number"), name="store_exportpart_once")
        ]

    def __str__(self) -> str:
        return f"{self.export_id} {self.number}"
