"""Indexes for the back office, on a table that may be large: built without stopping sales."""

from django.contrib.postgres.operations import (
    AddConstraintNotValid,
    AddIndexConcurrently,
    ValidateConstraint,
)
from django.db import migrations, models
from django.db.models import Q
from django.db.models.functions import Coalesce


class Migration(migrations.Migration):
    atomic = False

    dependencies = [("store", "0009_backoffice")]

    operations = [
        AddConstraintNotValid(
            model_name="platformpurchase",
            constraint=models.CheckConstraint(
                condition=Q(decision__in=("", "grant", "refuse", "refund")),
                name="store_platformpurchase_decision",
            ),
        ),
        ValidateConstraint(model_name="platformpurchase", name="store_platformpurchase_decision"),
        AddIndexConcurrently(
            model_name="platformpurchase",
            index=models.Index(
                fields=["id"],
                name="store_platformpurchase_held",
                condition=Q(state="quarantined", environment="production", decision=""),
            ),
        ),
        AddIndexConcurrently(
            model_name="platformpurchase",
            index=models.Index(
                fields=["id"], name="store_platformpurchase_untold", condition=Q(told="failed")
            ),
        ),
        AddIndexConcurrently(
            model_name="platformpurchase",
            index=models.Index(
                "game",
                Coalesce("purchased_at", "created_at"),
                "id",
                name="store_platformpurchase_sold",
            ),
        ),
        AddIndexConcurrently(
            model_name="platformpurchase",
            index=models.Index(
                fields=["game", "revoked_at"],
                name="store_platformpurchase_back",
                condition=Q(revoked__gt=0),
            ),
        ),
    ]
