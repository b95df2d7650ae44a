"""Indexes for claims of a purchase, on a table that may be large: built without stopping sales."""

from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models
from django.db.models import Q


class Migration(migrations.Migration):
    atomic = False

    dependencies = [("store", "0010_backoffice_indexes")]

    operations = [
        AddIndexConcurrently(
            model_name="ownerconflict",
            index=models.Index(fields=["purchase", "-id"], name="store_ownerconflict_purchase"),
        ),
        AddIndexConcurrently(
            model_name="ownerconflict",
            index=models.Index(fields=["claimant", "-id"], name="store_ownerconflict_claimant"),
        ),
        AddIndexConcurrently(
            model_name="ownerconflict",
            index=models.Index(
                fields=["id"], name="store_ownerconflict_open", condition=Q(state="open")
            ),
        ),
    ]
